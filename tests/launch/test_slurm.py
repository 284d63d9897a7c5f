"""Submitting: what reaches sbatch through submitit, what is written down, and what is refused."""

from __future__ import annotations

import json
import pickle
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from bench.errors import InputError
from bench.launch import Job, handover
from bench.launch.handover import Handover
from bench.launch.pack import Pack
from bench.launch.profile import Profile, Resources
from bench.launch.slurm import SlurmExecutor, parameters
from bench.launch.submissions import read
from bench.spec import RunSpec
from tests.launch.runs import spec


def submit(root: Path, runs: list[RunSpec], profile: Profile | None = None, **job: Any) -> SlurmExecutor:
    executor = SlurmExecutor(profile or Profile())
    executor.execute(runs, Job(root, **job), lambda event: None)
    return executor


def options(script: str) -> dict[str, str]:
    return {key: value.strip("'") for key, value in re.findall(r"#SBATCH --([\w-]+)=?(.*)", script)}


class TestWhatReachesSbatch:
    def test_every_resource(self) -> None:
        resources = Resources(
            partition="gpu", time=90, gpus_per_run=2, cpus_per_run=8, mem=1.5, account="a", qos="q", constraint="c",
            exclude="n1", setup=("module load cuda",), max_running=4,
        )  # fmt: skip
        told = parameters(resources, "name", predecessor="17")
        assert told["additional_parameters"] == {"ntasks": 2, "requeue": True}
        assert (told["ntasks_per_node"], told["nodes"], told["gpus_per_node"], told["cpus_per_task"]) == (2, 1, 2, 4)
        assert (told["mem"], told["time"], told["signal_delay_s"]) == ("1536MB", 90, 120)
        assert (told["partition"], told["account"], told["qos"]) == ("gpu", "a", "q")
        assert (told["constraint"], told["exclude"], told["setup"]) == ("c", "n1", ["module load cuda"])
        assert (told["array_parallelism"], told["dependency"]) == (4, "afterany:17")

    def test_runs_that_share_a_gpu_have_cores_and_memory_for_each(self) -> None:
        told = parameters(Resources(cpus_per_run=3, mem=1.5, pack=8, runs_per_gpu=4), "name")
        assert (told["gpus_per_node"], told["ntasks_per_node"], told["cpus_per_task"]) == (1, 1, 12)
        assert told["mem"] == "6144MB"
        assert "--cpus-per-task=12" in told["srun_args"]

    def test_what_is_not_said_is_left_to_the_cluster(self) -> None:
        told = parameters(Resources(), "name")
        assert not {"partition", "account", "qos", "mem", "dependency", "setup"} & told.keys()

    def test_an_array(self, tmp_path: Path, fake: Any) -> None:
        submit(tmp_path, [spec(seed) for seed in range(5)], Profile({"pack": 2, "max_running": 2}))
        (script,) = fake.scripts
        given = options(script)
        assert given["array"] == "0-2%2"
        assert given["ntasks"] == "1"
        assert given["signal"] == "USR2@120"
        assert "requeue" in given
        assert "wckey" not in given

    def test_a_job_of_runs_that_share_its_gpu(self, tmp_path: Path, fake: Any) -> None:
        submit(tmp_path, [spec(seed) for seed in range(8)], Profile({"runs_per_gpu": 4, "mps": True}))
        (script,) = fake.scripts
        given = options(script)
        assert (given["array"].partition("%")[0], given["cpus-per-task"], given["gpus-per-node"]) == ("0-1", "4", "1")
        (array,) = read(tmp_path)[0].arrays
        assert {"runs_per_gpu": 4, "mps": True, "pack": 4}.items() <= array.resources.items()

    def test_arrays_are_split(self, tmp_path: Path, fake: Any) -> None:
        fake.configure(MaxArraySize=4)
        submit(tmp_path, [spec(seed) for seed in range(10)])
        assert [options(script)["array"] for script in fake.scripts] == ["0-3%4", "0-3%4", "0-1%2"]
        assert not any("dependency" in options(script) for script in fake.scripts)

    def test_the_cap_holds_over_several_arrays(self, tmp_path: Path, fake: Any) -> None:
        fake.configure(MaxArraySize=4)
        submit(tmp_path, [spec(seed) for seed in range(10)], Profile({"max_running": 3}))
        found = [options(script) for script in fake.scripts]
        assert [given["array"] for given in found] == ["0-3%3", "0-3%3", "0-1%2"]
        assert [given.get("dependency") for given in found] == [None, "afterany:101", "afterany:102"]

    def test_one_pack_is_no_array(self, tmp_path: Path, fake: Any) -> None:
        submit(tmp_path, [spec(0), spec(1)], Profile({"pack": 9}))
        assert "array" not in options(fake.scripts[0])
        (submission,) = read(tmp_path)
        assert list(submission.tasks()) == [("101", (spec(0).id, spec(1).id))]

    def test_what_runs_share(self, tmp_path: Path, fake: Any) -> None:
        profile = Profile({}, (({"backbone": "vit_*"}, {"gpus_per_run": 2}),))
        submit(tmp_path, [spec(0), spec(0, "vit_base"), spec(1)], profile)
        first, second = map(options, fake.scripts)
        assert (first["gpus-per-node"], first["ntasks"]) == ("1", "1")
        assert (second["gpus-per-node"], second["ntasks"]) == ("2", "2")

    def test_odd_paths(self, tmp_path: Path, fake: Any) -> None:
        root = tmp_path / "résultats 漢 'x'"
        submit(root, [spec(0)], plugins=(Path("my plugin.py"),))
        (script,) = fake.scripts
        assert "résultats 漢" in script
        for name in ("a%j", "a\\b"):
            with pytest.raises(InputError, match="SLURM cannot write logs"):
                submit(tmp_path / name, [spec(0)])
            assert not (tmp_path / name).exists()

    def test_from_within_a_job(self, tmp_path: Path, fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its options would else count for the jobs that it submits; but the cluster stays the same one."""
        fake.write("bin/sbatch", f"#!/bin/sh\nenv > '{fake.folder}/env'\necho 'Submitted batch job 1'\n")
        monkeypatch.setenv("SLURM_JOB_ID", "3")
        monkeypatch.setenv("SLURM_MEM_PER_NODE", "77")
        monkeypatch.setenv("SLURM_CONF", "/somewhere/slurm.conf")
        submit(tmp_path, [spec(0)])
        environment = "\n".join(fake.lines("env"))
        assert "SLURM_MEM_PER_NODE" not in environment
        assert "SLURM_CONF=/somewhere/slurm.conf" in environment


class TestWhatIsWrittenDown:
    def test_jobs_runs_and_options(self, tmp_path: Path, fake: Any) -> None:
        runs = [spec(seed) for seed in range(5)]
        submit(tmp_path, runs, Profile({"pack": 2, "time": 30}), command="bench run demo")
        (submission,) = read(tmp_path)
        assert list(submission.tasks()) == [
            ("101_0", (runs[0].id, runs[1].id)),
            ("101_1", (runs[2].id, runs[3].id)),
            ("101_2", (runs[4].id,)),
        ]
        assert (submission.cluster, submission.command) == ("fake", "bench run demo")
        assert submission.arrays[0].resources == {"pack": 2, "time": 30}
        assert (tmp_path / "submissions" / submission.name).is_dir()

    def test_what_each_job_trains(self, tmp_path: Path, fake: Any) -> None:
        """The files that submitit made, each with the runs that were written down for its job."""
        runs = [spec(seed) for seed in range(3)]
        failed = tmp_path / "failed" / f"ce-{runs[1].id}-2"
        failed.mkdir(parents=True)
        submit(tmp_path, runs, Profile({"pack": 2, "gpus_per_run": 2}), checkpoint_every=7.0)
        (submission,) = read(tmp_path)
        for job, ids in submission.tasks():
            path = tmp_path / "submissions" / submission.name / f"{job}_submitted.pkl"
            pack = pickle.loads(path.read_bytes()).function
            assert isinstance(pack, Pack)
            assert tuple(one.id for one in pack.specs()) == ids
            assert (pack.job.ranks, pack.job.launcher, pack.job.checkpoint_every) == (2, "slurm", 7.0)
            assert Path(pack.job.results).is_absolute()
            assert pack.failed == ({runs[1].id: 2} if runs[1].id in ids else {})

    @pytest.mark.slow
    def test_ten_thousand_in_a_handful_of_calls(self, tmp_path: Path, fake: Any) -> None:
        runs = [spec(seed) for seed in range(10_000)]
        submit(tmp_path, runs, Profile({"pack": 50}))
        assert len(fake.scripts) == 1
        (submission,) = read(tmp_path)
        assert [run for _, ids in submission.tasks() for run in ids] == [run.id for run in runs]


class TestLostAnswers:
    """The job is in the queue, and its command was killed, or told too late that it is."""

    TWO: ClassVar = [spec(0), spec(1)]

    def test_is_written_down_before_sbatch_is_called(self, tmp_path: Path, fake: Any) -> None:
        fake.write("bin/sbatch", f"#!/bin/sh\ncp '{tmp_path}'/submissions/*.json '{fake.folder}/seen'\nexit 1\n")
        with pytest.raises(InputError, match="sbatch refuses"):
            submit(tmp_path, self.TWO)
        (array,) = json.loads("".join(fake.lines("seen")))["arrays"]
        assert array["job"] == ""
        assert array["tasks"] == [[run.id] for run in self.TWO]
        assert read(tmp_path) == [], "what the queue does not know was not submitted"

    def test_a_job_that_sbatch_says_nothing_of_is_found(self, tmp_path: Path, fake: Any) -> None:
        """``Socket timed out on send/recv operation``: the controller has it all the same."""
        said = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
        name = 'n=$(sed -n "s/#SBATCH --job-name=//p" "$1"); for t in 0 1; do echo "77_$t|PENDING|$n"; done > queue'
        fake.write("bin/sbatch", f"#!/bin/sh\ncd '{fake.folder}'\n{name}\necho '{said}' >&2; exit 1\n")
        submit(tmp_path, self.TWO)
        (submission,) = read(tmp_path)
        assert list(submission.tasks()) == [("77_0", (self.TWO[0].id,)), ("77_1", (self.TWO[1].id,))]

    def test_what_its_jobs_train_is_kept_for_them(self, tmp_path: Path, fake: Any) -> None:
        """submitit gives a job its file after the answer; where that did not come, the job takes it."""
        fake.write("bin/sbatch", f"#!/bin/sh\ncp -r '{tmp_path}'/submissions/*/0.packs '{fake.folder}/kept'\nexit 1\n")
        with pytest.raises(InputError, match="sbatch refuses"):
            submit(tmp_path, self.TWO)
        (fake.folder / "kept").rename(tmp_path / "0.packs")
        handover.PATIENCE, patience = 0.0, handover.PATIENCE
        try:
            Handover(tmp_path, 0).take(1, tmp_path / "77_1_submitted.pkl")
        finally:
            handover.PATIENCE = patience
        delayed = pickle.loads((tmp_path / "77_1_submitted.pkl").read_bytes())
        assert delayed.function.specs() == [self.TWO[1]]
        assert (delayed._timeout_min, delayed._timeout_countdown) == (60, 100)

    def test_nothing_is_kept_of_what_was_answered(self, tmp_path: Path, fake: Any) -> None:
        submit(tmp_path, self.TWO)
        assert not list(tmp_path.rglob("*.packs"))

    def test_a_queue_that_cannot_be_asked_leaves_it_open(self, tmp_path: Path, fake: Any) -> None:
        fake.write("bin/sbatch", f"#!/bin/sh\n: > '{fake.folder}/down'\necho 'error: timed out' >&2; exit 1\n")
        with pytest.raises(InputError, match="whether it has taken the jobs, 'bench status' will say"):
            submit(tmp_path, self.TWO)
        (submission,) = read(tmp_path)
        assert (submission.is_answered, list(submission.runs())) == (False, [run.id for run in self.TWO])

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_a_signal_waits_until_the_answer_is_written(self, tmp_path: Path, fake: Any, number: int) -> None:
        class Stopped(Exception):
            pass

        def stop(number: int, frame: object) -> None:
            raise Stopped

        noted = f"grep SigBlk /proc/self/status > '{fake.folder}/mask'"
        script = f"#!/bin/bash\n{noted}\nkill -{int(number)} $PPID\necho 'Submitted batch job 55'\n"
        fake.write("bin/sbatch", script)
        earlier = signal.signal(number, stop)
        try:
            with pytest.raises(Stopped):
                submit(tmp_path, self.TWO)
        finally:
            signal.signal(number, earlier)
        (submission,) = read(tmp_path)
        assert [job for job, _ in submission.tasks()] == ["55_0", "55_1"]
        (mask,) = fake.lines("mask")
        assert int(mask.split()[1], 16) & 1 << number - 1, "Ctrl-C reaches sbatch too, and must not end it"


class TestLimits:
    def test_no_more_jobs_than_the_user_may_have(self, tmp_path: Path, fake: Any) -> None:
        fake.write("assoc", "7|\n")
        fake.queue("1", "2_0", "2_1")
        executor = submit(tmp_path, [spec(seed) for seed in range(10)], Profile({"pack": 2}))
        (submission,) = read(tmp_path)
        assert len(list(submission.tasks())) == 4
        assert [run.seed for run in executor.left] == [8, 9]

    def test_no_room_at_all(self, tmp_path: Path, fake: Any) -> None:
        fake.write("assoc", "2|\n")
        fake.queue("1", "2")
        executor = submit(tmp_path, [spec(0)])
        assert not fake.scripts
        assert [run.seed for run in executor.left] == [0]
        assert read(tmp_path) == []


class TestRefusals:
    def test_no_cluster(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(InputError, match="SLURM cannot be asked: there is no scontrol here"):
            submit(tmp_path / "results", [spec(0)])
        assert not (tmp_path / "results").exists()

    def test_sbatch_refuses(self, tmp_path: Path, fake: Any, capfd: pytest.CaptureFixture[str]) -> None:
        fake.write("refuse", "sbatch: error: invalid partition specified: gpu\nsbatch: error: Batch job failed\n")
        with pytest.raises(InputError, match=r"^sbatch refuses: invalid partition specified: gpu$"):
            submit(tmp_path, [spec(0), spec(1)])
        assert read(tmp_path) == []
        assert capfd.readouterr() == ("", "")

    def test_sbatch_refuses_after_a_while(self, tmp_path: Path, fake: Any) -> None:
        """What was submitted before is written down, so that it is not submitted again."""
        fake.configure(MaxArraySize=2)
        fake.write("allow", "102")
        with pytest.raises(InputError, match="no more jobs; before it, 4 runs had been submitted"):
            submit(tmp_path, [spec(seed) for seed in range(9)])
        (submission,) = read(tmp_path)
        assert len(list(submission.tasks())) == 4

    @pytest.mark.parametrize("error", [RuntimeError("a\nb: error: c\n"), OSError(28, "No space left on device")])
    def test_whatever_submitit_raises(
        self, tmp_path: Path, fake: Any, error: Exception, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def engine(**given: Any) -> Callable[..., Any]:
            raise error

        with pytest.raises(InputError, match=r"sbatch refuses: .*(c$|No space left)"):
            SlurmExecutor(engine=engine).execute([spec(0)], Job(tmp_path), lambda event: None)
        assert not json.dumps([one.name for one in read(tmp_path)]).strip("[]")
