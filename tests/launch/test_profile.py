"""Profiles of clusters: what each run is given, who wins, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import InputError
from bench.launch.profile import Profile, Resources, read_profile
from bench.launchers.slurm import Slurm
from bench.protocol import Protocol, Recipe
from bench.spec import MethodSpec, Named, RunSpec, Seeds


def spec(method: str = "ce", backbone: str = "micro_vit", dataset: str = "digits") -> RunSpec:
    return RunSpec(
        method=MethodSpec(method, "a" * 12, ()),
        backbone=Named(backbone, "b" * 12),
        dataset=Named(dataset, "c" * 12),
        rate=15.0,
        protocol=Protocol(Recipe(steps=8)),
        seeds=Seeds(0, 0, 0),
        seed=0,
    )


def written(folder: Path, text: str) -> str:
    path = folder / "lab.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


class TestWhatARunIsGiven:
    def test_nothing_said(self) -> None:
        assert Profile().resources(spec()) == Resources()

    def test_every_key(self, tmp_path: Path) -> None:
        text = """
partition = "gpu"
time = "1-02:30:01"
gpus_per_run = 2
cpus_per_run = 8
mem = 12.5
account = "a"
qos = "q"
constraint = "v100|a100"
exclude = "n[1-2]"
max_running = 9
pack_minutes = 30
setup = ["module load cuda", "source env.sh"]
signal_seconds = 60
max_requeues = 3
"""
        assert read_profile(written(tmp_path, text)).resources(spec()) == Resources(
            partition="gpu",
            time=26 * 60 + 31,
            gpus_per_run=2,
            cpus_per_run=8,
            mem=12.5,
            account="a",
            qos="q",
            constraint="v100|a100",
            exclude="n[1-2]",
            max_running=9,
            pack_minutes=30.0,
            setup=("module load cuda", "source env.sh"),
            signal_seconds=60,
            max_requeues=3,
        )

    def test_later_matches_win_and_what_is_typed_wins_over_all(self, tmp_path: Path) -> None:
        text = """
time = 10
gpus_per_run = 1
[[match]]
backbone = "vit_b*"
gpus_per_run = 2
time = 20
[[match]]
backbone = "vit_*"
method = "lacvit*"
time = 30
"""
        profile = read_profile(written(tmp_path, text))

        def given(profile: Profile, **names: str) -> tuple[int, int]:
            found = profile.resources(spec(**names))
            return found.gpus_per_run, found.time

        assert given(profile) == (1, 10)
        assert given(profile, backbone="vit_base") == (2, 20)
        assert given(profile, backbone="vit_small", method="lacvit") == (1, 30)
        assert given(profile, backbone="vit_base", method="lacvit_simclr") == (2, 30)
        assert given(profile.over({"time": 5}), backbone="vit_base", method="lacvit") == (2, 5)

    def test_a_job_has_as_many_runs_as_share_its_gpu(self, tmp_path: Path) -> None:
        profile = read_profile(written(tmp_path, "runs_per_gpu = 4\nmps = true\n"))
        assert profile.resources(spec()) == Resources(runs_per_gpu=4, mps=True, pack=4)
        assert profile.over({"pack": 9}).resources(spec()).pack == 9
        assert profile.over({"pack_minutes": 30}).resources(spec()).pack_minutes == 30

    @pytest.mark.parametrize(
        ("values", "says"),
        [
            ({"runs_per_gpu": 4, "pack": 2}, "pack 2: a job that trains 4 runs at a time"),
            ({"runs_per_gpu": 4, "gpus_per_run": 2}, "runs_per_gpu 4: each run has 2 GPUs"),
            ({"runs_per_gpu": 4, "gpus_per_run": 0}, "runs_per_gpu 4: each run has 0 GPUs"),
            ({"mps": True}, "mps .--mps. is for runs that share a GPU"),
        ],
    )
    def test_runs_that_cannot_share_a_gpu_are_refused(self, values: dict[str, object], says: str) -> None:
        with pytest.raises(InputError, match=says):
            Profile(values).resources(spec())

    def test_one_way_to_pack_takes_the_place_of_the_other(self, tmp_path: Path) -> None:
        profile = read_profile(written(tmp_path, 'pack = 10\n[[match]]\ndataset = "digits"\npack_minutes = 5\n'))
        found = profile.resources(spec())
        assert (found.pack, found.pack_minutes) == (1, 5.0)
        other = profile.over({"pack": 3}).resources(spec())
        assert (other.pack, other.pack_minutes) == (3, 0.0)

    @pytest.mark.parametrize(("minutes", "seconds"), [(1, 30), (3, 90), (4, 120), (600, 120)])
    def test_the_signal_comes_before_the_limit(self, minutes: int, seconds: int) -> None:
        assert Resources(time=minutes).signal == seconds

    def test_a_signal_before_the_job_has_begun_is_refused(self) -> None:
        with pytest.raises(InputError, match="a time limit of 2 minutes ends before that"):
            Profile({"time": 2, "signal_seconds": 120}).resources(spec())

    def test_by_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        folder = tmp_path / "finetune-bench" / "clusters"
        folder.mkdir(parents=True)
        (folder / "lab.toml").write_text("time = 7\n", encoding="utf-8")
        assert read_profile("lab").resources(spec()).time == 7
        with pytest.raises(InputError, match=r"no profile is called 'lap'; did you mean 'lab'\?"):
            read_profile("lap")


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "line", "says"),
        [
            ("partition = 'a'\ngpu = 1\n", 2, "no key is called 'gpu'"),
            ("\n\n[match]\ntime = 1\n", 3, "[[match]]"),
            ("match = 3\n", 1, "[[match]]"),
            ("[[match]]\ntime = 1\n", 1, "backbone, method, dataset"),
            ("[[match]]\nbackbone = 3\n", 1, "backbone, method, dataset"),
            ("time = 1\n[[match]]\nbackbone = 'a'\nmax_running = 3\n", 4, "no key is called 'max_running'"),
            ("[[match]]\nmethod = 'a'\n[[match]]\nmethod = 'b'\ntimes = 3\n", 5, "did you mean 'time'?"),
            ("time = -1\n", 1, "time: -1 is not a time"),
            ("time = true\n", 1, "is not a time"),
            ("time = '1:00'\n", 1, "HH:MM:SS"),
            ("time = '0:00:00'\n", 1, "is not a time"),
            ("\ngpus_per_run = 1.5\n", 2, "a whole number of 0 or more"),
            ("cpus_per_run = 0\n", 1, "a whole number of 1 or more"),
            ("mem = 'much'\n", 1, "a number above 0"),
            ("mem = nan\n", 1, "a number above 0"),
            ('partition = "a\\n#SBATCH --wrap=x"\n', 1, "a text of one line"),
            ("partition = ''\n", 1, "a text of one line"),
            ("setup = [1]\n", 1, "a list of lines of shell"),
            ("setup = {}\n", 1, "a list of lines of shell"),
            ("pack = 3\npack_minutes = 4\n", 2, "not both"),
            ("time = 1\ntime = 2\n", 2, "malformed TOML"),
            ("time = \n", 1, "malformed TOML"),
            (f"setup = {'[' * 100_000}", 1, "malformed TOML"),
            ("[slurm]\ntime = 1\n", 1, "no key is called 'slurm'"),
        ],
    )
    def test_say_where(self, tmp_path: Path, text: str, line: int, says: str) -> None:
        path = written(tmp_path, text)
        with pytest.raises(InputError) as refused:
            read_profile(path)
        (problem,) = refused.value.problems
        assert problem.startswith(f"{path}:{line}: ")
        assert says in problem

    def test_all_that_is_wrong_is_said_at_once(self, tmp_path: Path) -> None:
        with pytest.raises(InputError) as refused:
            read_profile(written(tmp_path, "a = 1\ntime = 0\n[[match]]\nb = 2\n"))
        assert len(refused.value.problems) == 4

    @pytest.mark.parametrize("name", ["nowhere.toml", "../nowhere", "nowhere"])
    def test_no_such_profile(self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        with pytest.raises(InputError, match="--cluster"):
            read_profile(name)

    def test_what_is_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
        with pytest.raises(InputError, match="it is UTF-16 text; save it as UTF-8"):
            read_profile(str(tmp_path / "x.toml"))
        (tmp_path / "folder.toml").mkdir()
        with pytest.raises(InputError, match="cannot be read"):
            read_profile(str(tmp_path / "folder.toml"))


OPTIONS = {option.key: option for option in Slurm.options}


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("time", "90", 90),
        ("time", "00:00:01", 1),
        ("time", "48:00:00", 2880),
        ("time", "2-00:00:00", 2880),
        ("gpus_per_run", "0", 0),
        ("mem", "1.5", 1.5),
        ("setup", ["a", "b"], ("a", "b")),
    ],
)
def test_what_is_typed(key: str, text: object, value: object) -> None:
    assert OPTIONS[key].value(text) == value


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("runs_per_gpu", "0"),
        ("runs_per_gpu", "auto"),
        ("time", "soon"),
        ("time", "1:00"),
        ("time", "1e3"),
        ("gpus_per_run", "-1"),
        ("mem", "inf"),
        ("pack", "²"),
    ],
)
def test_what_is_typed_wrongly(key: str, text: str) -> None:
    with pytest.raises(InputError, match=f"{OPTIONS[key].flag}: '.*' is not "):
        OPTIONS[key].value(text)
