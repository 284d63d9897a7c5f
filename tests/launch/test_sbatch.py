"""Options of sbatch of one's own: their form, which of them are refused, and what takes the place of what."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from bench.errors import InputError
from bench.launch import Job
from bench.launch.profile import Profile, Resources, read_profile
from bench.launch.sbatch import REFUSED, asks_for_gpus, gpus_of_gres, read_sbatch
from bench.launch.slurm import SlurmExecutor, parameters
from bench.launch.submissions import read
from tests.launch.runs import spec


def profile(folder: Path, text: str) -> Profile:
    path = folder / "lab.toml"
    path.write_text(text, encoding="utf-8")
    return read_profile(str(path))


def script_of(root: Path, fake: Any, resources: Profile) -> dict[str, str]:
    """What stands in the script that sbatch is given: option and value, as a shell would read it."""
    SlurmExecutor(resources).execute([spec(0)], Job(root / "results"), lambda event: None)
    lines = re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", fake.scripts[-1], re.MULTILINE)
    return {key: "".join(shlex.split(value)) for key, value in lines}


def test_reach_the_script(tmp_path: Path, fake: Any) -> None:
    text = """sbatch = {gres = "gpu:a100:1", exclusive = true, nice = 100, comment = "it's # \\"mine\\" $(x)"}"""
    given = script_of(tmp_path, fake, profile(tmp_path, text))
    assert (given["gres"], given["exclusive"], given["nice"]) == ("gpu:a100:1", "", "100")
    assert given["comment"] == 'it\'s # "mine" $(x)'
    assert "gpus-per-node" not in given
    (submission,) = read(tmp_path / "results")
    assert submission.arrays[0].resources["sbatch"].startswith("comment=it's # ")


def test_typed_ones_come_over_those_of_the_profile_and_its_matches(tmp_path: Path) -> None:
    text = """
sbatch = {gres = "gpu:1", reservation = "a", exclusive = true}
[[match]]
dataset = "digits"
sbatch = {reservation = "b", licenses = "x", exclusive = false}
"""
    typed = {"sbatch": read_sbatch(["reservation=c", "--requires-nothing", "mail_user=me@x"])}
    found = profile(tmp_path, text).over(typed).resources(spec(0)).sbatch
    assert dict(found) == {
        "gres": "gpu:1",
        "reservation": "c",
        "licenses": "x",
        "requires-nothing": "",
        "mail-user": "me@x",
    }
    assert hash(found) == hash(tuple(found)), "runs are grouped by what they are given"


@pytest.mark.parametrize(
    ("typed", "suite_asks"),
    [
        ("gres=gpu:a100:2", False),
        ("gres=lscratch:10,gpu:2", False),
        ("gres=lscratch:10", True),
        ("gpus-per-task=1", False),
        ("gpus=2", False),
        ("tres-per-task=gres/gpu:1", False),
        ("licenses=gpu", True),
        ("exclusive", True),
    ],
)
def test_gpus_are_asked_for_once(typed: str, suite_asks: bool) -> None:
    options = Profile().over({"sbatch": read_sbatch([typed])}).resources(spec(0)).sbatch
    assert asks_for_gpus(options) is not suite_asks
    assert ("gpus_per_node" in parameters(Resources(sbatch=options), "x")) is suite_asks


def test_memory_is_asked_for_once() -> None:
    given = parameters(Resources(mem=4, sbatch=(("mem-per-cpu", "2G"),)), "x")
    assert "mem" not in given
    assert given["additional_parameters"]["mem-per-cpu"] == "2G"


def test_of_two_ways_to_ask_for_the_same_the_later_one_counts() -> None:
    common, typed = read_sbatch({"gpus-per-task": 1, "mem-per-gpu": "1G"}), read_sbatch(["gpus=2", "mem-per-cpu=1G"])
    found = Profile({"sbatch": common}).over({"sbatch": typed}).resources(spec(0)).sbatch
    assert dict(found) == {"gpus": "2", "mem-per-cpu": "1G"}
    other = Profile({"sbatch": {"gres": "gpu:1"}}).over({"sbatch": typed}).resources(spec(0)).sbatch
    assert dict(other) == {"gpus": "2", "mem-per-cpu": "1G"}


def test_a_dependency_of_ones_own_stays_beside_that_of_max_running() -> None:
    own = (("dependency", "afterok:7"),)
    assert parameters(Resources(sbatch=own), "x", predecessor="17")["dependency"] == "afterok:7,afterany:17"
    assert parameters(Resources(sbatch=own), "x")["dependency"] == "afterok:7"


@pytest.mark.parametrize(
    ("gres", "count"),
    [("gpu", 1), ("gpu:2", 2), ("gpu:a100", 1), ("gpu:a100:4", 4), ("gpu:a:1,gpu:b:1", 2), ("x:3", None), ("", None)],
)
def test_gpus_of_gres(gres: str, count: int | None) -> None:
    assert gpus_of_gres((("gres", gres),)) == count


def test_fewer_gpus_than_share_a_run_are_refused() -> None:
    with pytest.raises(InputError, match=r"sbatch gres=gpu:a100:1: 2 GPUs share each run \(gpus_per_run\)"):
        Profile({"gpus_per_run": 2, "sbatch": {"gres": "gpu:a100:1"}}).resources(spec(0))


@pytest.mark.parametrize("name", [*REFUSED, "outp", "arr", "o", "open_mode"])
def test_what_the_suite_sets_is_refused_with_the_reason(name: str) -> None:
    """The beginning of a name is that name to sbatch."""
    with pytest.raises(InputError, match=r"is not free to choose: \w+ .*"):
        read_sbatch([f"{name}=1"])


@pytest.mark.parametrize("name", ["mem-per-cpu", "time-min", "nodelist", "exclusive", "no-kill", "wait-all-nodes", "x"])
def test_what_only_looks_like_it_is_not(name: str) -> None:
    assert read_sbatch([name]) == {name: ""}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sbatch = 3", "3 is not a table of sbatch's options"),
        ("sbatch = {'a b' = 1}", "'a b' cannot be an option of sbatch"),
        ("sbatch = {'a=b' = 1}", "letters, digits and dashes"),
        ("sbatch = {'-' = 1}", "letters, digits and dashes"),
        ("sbatch = {'é' = 1}", "letters, digits and dashes"),
        ('sbatch = {comment = "a\\n#SBATCH --wrap=x"}', "comment: "),
        ('sbatch = {comment = ""}', "comment: '' is not a text of one line, a number or true"),
        ("sbatch = {comment = [1]}", "comment: "),
        ("sbatch = {output = '/x'}", "output is not free to choose"),
        ("gres = 'gpu:1'", "no key is called 'gres'"),
        ("reservation = 'x'", "an option of sbatch is written sbatch = {reservation = ...}"),
    ],
)
def test_refusals_say_where(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError) as refused:
        profile(tmp_path, f"\n{text}\n")
    (problem,) = refused.value.problems
    assert problem.startswith(f"{tmp_path / 'lab.toml'}:2: ")
    assert says in problem


def test_what_is_typed_wrongly(tmp_path: Path, fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from bench.cli import main

    words = ["run", "demo", "--launcher", "slurm", "--results", str(tmp_path / "results")]
    assert main([*words, "--sbatch", "output=x"]) == 2
    assert capsys.readouterr().err.startswith("bench: --sbatch: output is not free to choose: ")
    assert not (tmp_path / "results").exists()


def test_a_cluster_that_wants_gres_says_so_and_the_line_says_what_to_do(tmp_path: Path, fake: Any) -> None:
    fake.write("refuse", "sbatch: error: Batch job submission failed: Requested GRES option unsupported\n")
    with pytest.raises(InputError, match=r"GRES option unsupported; --sbatch gres=gpu:N takes the place of"):
        SlurmExecutor().execute([spec(0)], Job(tmp_path), lambda event: None)
