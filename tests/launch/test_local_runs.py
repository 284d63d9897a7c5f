"""Real workers on tiny runs: what is trained, what survives being killed, and what is recorded of a failure."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.scenes import untimed
from tests.warm import forking

slow = pytest.mark.slow
warm = pytest.mark.usefixtures("warm")

BENCH = Path(sys.executable).with_name("bench")
TINY = ["--set", "steps=8", "--set", "warmup=2", "--set", "evaluations=1", "--rates", "15", "--seeds", "2"]
RIVALS = ["--methods", "ce,gta"]

METHOD = """
import os
import signal
import time
from dataclasses import dataclass

from bench.method import Method


@dataclass(frozen=True)
class Mine(Method):
    '''Plain fine-tuning, with a twist.'''

    def loss(self, model, batch):
        {twist}
        return {{"ce": batch.cross_entropy(model(batch.images))}}
"""


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


def command(name: str, results: Path, *more: str, target: str = "demo") -> list[str]:
    jobs = ["--jobs", "2"] if name == "run" else []
    return [str(BENCH), name, target, *TINY, *jobs, "--results", str(results), *more]


def bench(name: str, results: Path, *more: str) -> Done:
    """Run a command to its end."""
    done = subprocess.run(
        command(name, results, *more), capture_output=True, text=True, timeout=240, check=False, cwd=results.parent
    )
    return Done(done.returncode, done.stdout, done.stderr)


@contextlib.contextmanager
def started(results: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    """``bench run`` in the background; killed at the end if it is still there."""
    process = subprocess.Popen(
        command("run", results, *more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=results.parent,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # where tests run with it ignored
    )
    try:
        yield process
    finally:
        for pid in workers(process):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.kill()
        process.communicate()


def workers(process: subprocess.Popen[str]) -> list[int]:
    """The process ids of the workers of a front process."""
    children = Path(f"/proc/{process.pid}/task")
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in children.iterdir():
            found += map(int, (task / "children").read_text().split())
    return sorted(found)


def alive(pid: int) -> bool:
    """Whether a process runs (one that waits to be reaped does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait(condition: Any, seconds: float, what: str) -> None:
    stop = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < stop, f"after {seconds} s still not: {what}"
        time.sleep(0.02)


def records(results: Path, kind: str = "runs") -> dict[str, dict[str, Any]]:
    """Every record of a kind, by folder."""
    found = (results / kind).glob("*/record.json")
    return {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in found}


def table(results: Path, *more: str, format: str = "csv") -> str:
    done = bench("table", results, *more, "--format", format)
    assert (done.code, done.err) == (0, "")
    return done.out


def plugin(folder: Path, twist: str = "pass", name: str = "mine") -> list[str]:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.py"
    path.write_text(METHOD.format(twist=twist), encoding="utf-8")
    return ["--plugin", str(path)]


NOT_OURS = ("torch.py", "bench/__init__.py", "datasets/__init__.py")
"""What somebody may have in the current folder, and what must not be taken for ours or for the library."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a grid of four runs that nobody disturbed, of workers that started beside what is not ours."""
    root = tmp_path_factory.mktemp("undisturbed")
    for name in NOT_OURS:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("raise RuntimeError('not this one')\n", encoding="utf-8")
    results = root / "results é"
    done = bench("run", results, *RIVALS)
    assert done.code == 0, done.err
    assert "4 runs were trained now, 4 of 4 are done" in done.out
    return results


@slow
class TestUndisturbed:
    def test_everything_is_trained_and_written(self, undisturbed: Path) -> None:
        found = records(undisturbed)
        assert len(found) == 4
        for name, record in found.items():
            folder = undisturbed / "runs" / name
            assert sorted(path.name for path in folder.iterdir()) == ["log.txt", "predictions.npz", "record.json"]
            assert record["status"] == "done"
            assert [point["step"] for point in record["curve"]] == [8]
            assert record["command"].startswith("bench run demo")
        assert {path.name for path in undisturbed.iterdir()} == {
            "claims",
            "drafts",
            "figures",
            "index.msgpack",
            "runs",
            "tables",
        }
        assert not list((undisturbed / "drafts").iterdir())
        assert all((undisturbed.parent / name).is_file() for name in NOT_OURS), "none of these was imported"
        suffixes = {path.suffix for path in (undisturbed / "tables").iterdir()}
        assert suffixes == {".txt", ".md", ".csv", ".json", ".html", ".tex"}

    @warm
    def test_again_it_trains_nothing_and_says_the_same(self, undisturbed: Path) -> None:
        before = {path: path.read_bytes() for path in undisturbed.rglob("*") if path.is_file()}
        done = bench("run", undisturbed, *RIVALS)
        assert done.code == 0
        assert "0 runs were trained now, 4 of 4 are done" in done.out
        assert done.err == ""
        assert {path: path.read_bytes() for path in undisturbed.rglob("*") if path.is_file()} == before

    def test_rivals_saw_the_same_images(self, undisturbed: Path) -> None:
        subsets: dict[int, set[str]] = {}
        for record in records(undisturbed).values():
            subsets.setdefault(record["spec"]["seed"], set()).add(record["subset"]["digest"])
        assert [len(found) for found in subsets.values()] == [1, 1]
        assert subsets[0] != subsets[1]

    @warm
    def test_one_worker_gives_the_same_bytes(self, undisturbed: Path, tmp_path: Path) -> None:
        """Which worker trains what, and what it trained before, changes nothing."""
        results = tmp_path / "results"
        arguments = command("run", results, *RIVALS)
        arguments[arguments.index("--jobs") + 1] = "1"
        subprocess.run(arguments, capture_output=True, check=True, timeout=240)
        assert table(results, *RIVALS) == table(undisturbed, *RIVALS)
        for record, other in zip(*(sorted(records(root).items()) for root in (results, undisturbed)), strict=True):
            assert untimed(record[1]["curve"]) == untimed(other[1]["curve"])

    @warm
    def test_a_damaged_record_is_set_aside_and_trained_again(self, undisturbed: Path, tmp_path: Path) -> None:
        results = tmp_path / "results"
        subprocess.run(["cp", "-r", undisturbed, results], check=True)
        path = sorted(results.glob("runs/*/record.json"))[0]
        content = path.read_bytes()
        path.write_bytes(content[:100])
        done = bench("run", results, *RIVALS)
        assert "1 run was trained now, 4 of 4 are done" in done.out, done.err
        assert untimed(json.loads(path.read_bytes())["curve"]) == untimed(json.loads(content)["curve"])
        (aside,) = (results / "damaged").glob("*/record.json")
        assert aside.read_bytes() == content[:100]
        assert table(results, *RIVALS) == table(undisturbed, *RIVALS)


@slow
class TestKilled:
    @warm
    def test_the_front_process(self, undisturbed: Path, tmp_path: Path) -> None:
        results = tmp_path / "results"
        with started(results, *RIVALS) as front:
            wait(lambda: records(results), 60, "a first record")
            running = workers(front)
            assert len(running) == 2
            front.kill()
            front.wait()
            wait(lambda: not any(map(alive, running)), 30, "its workers are gone")
        kept = set(records(results))
        assert 1 <= len(kept) < 4, "killed in the middle of the grid"
        assert not records(results, "failed")
        done = bench("run", results, *RIVALS, "--jobs", "1")
        assert done.code == 0, done.err
        assert re.search(rf"\b{4 - len(kept)} runs? w(as|ere) trained now, 4 of 4 are done", done.out)
        assert table(results, *RIVALS) == table(undisturbed, *RIVALS)
        assert table(results, *RIVALS, format="json") == table(undisturbed, *RIVALS, format="json")

    def test_the_front_process_while_workers_start(self, tmp_path: Path) -> None:
        results = tmp_path / "results"
        with started(results, *RIVALS) as front:
            wait(lambda: len(workers(front)) == 2, 30, "two workers are there")
            running = workers(front)
            front.kill()
            front.wait()
            wait(lambda: not any(map(alive, running)), 30, "its workers are gone")
        assert not records(results)
        assert not records(results, "failed")

    @warm
    def test_a_worker(self, undisturbed: Path, tmp_path: Path) -> None:
        results = tmp_path / "results"
        # the first run of the plugin says which process trains it; each waits until that one is killed
        sign = tmp_path / "sign"
        twist = f"""sign = {str(sign)!r}
        if not os.path.exists(sign):
            open(sign, 'w').write(str(os.getpid()))
        while open(sign).read() != 'killed': time.sleep(0.05)"""
        mine = [*plugin(tmp_path / "plugins", twist), "--methods", "ce,mine"]
        with started(results, *mine) as front:
            wait(lambda: sign.exists() and sign.read_text(), 60, "a run of the plugin has begun")
            victim = int(sign.read_text())
            assert victim in workers(front)
            os.kill(victim, signal.SIGKILL)
            sign.write_text("killed", encoding="utf-8")
            out, err = front.communicate(timeout=120)
        assert front.returncode == 1, err
        (failure,) = records(results, "failed").values()
        assert failure["status"] == "failed"
        assert "SIGKILL" in failure["error"]["message"]
        assert "signal 9" in failure["error"]["message"]
        assert len(records(results)) == 3
        assert "SIGKILL" in out
        assert (Path(results) / "failed" / next(iter(records(results, "failed"))) / "log.txt").is_file()

        status = json.loads(bench("status", results, *mine, "--format", "json").out)
        assert (status["done"], status["missing"], len(status["failed"])) == (3, 0, 1)
        again_done = bench("run", results, *mine)
        assert again_done.code == 1, "what failed is not trained again unless asked for"
        assert "0 runs were trained now, 3 of 4 are done, 1 failed" in again_done.out
        assert "--retry" in again_done.out
        retried = bench("run", results, *mine, "--retry")
        assert retried.code == 0, retried.err
        assert "1 run was trained now, 4 of 4 are done" in retried.out
        lines = {line["method"]: line for line in csv.DictReader(io.StringIO(table(results, *mine)))}
        plain = {line["method"]: line for line in csv.DictReader(io.StringIO(table(undisturbed, *RIVALS)))}
        assert lines["mine"]["mean"] == plain["Fine-tune (baseline)"]["mean"], "it trains as plain fine-tuning does"
        assert lines["Fine-tune (baseline)"]["std"] == plain["Fine-tune (baseline)"]["std"]

    @warm
    def test_with_control_c(self, undisturbed: Path, tmp_path: Path) -> None:
        results = tmp_path / "results"
        with started(results, *RIVALS) as front:
            wait(lambda: records(results), 60, "a first record")
            running = workers(front)
            front.send_signal(signal.SIGINT)
            out, err = front.communicate(timeout=60)
            wait(lambda: not any(map(alive, running)), 30, "its workers are gone")
        assert front.returncode == 130
        assert "run the same command again to go on" in out + err
        assert "Traceback" not in out + err
        assert not records(results, "failed")
        assert not list((results / "drafts").glob("worker-*"))
        kept = len(records(results))
        assert 1 <= kept < 4
        done = bench("run", results, *RIVALS, "--jobs", "1")
        assert re.search(rf"\b{4 - kept} runs? w(as|ere) trained now, 4 of 4 are done", done.out)
        assert table(results, *RIVALS) == table(undisturbed, *RIVALS)


TWISTS = {
    "mirrored": "model = lambda images, plain=model: plain(images.flip(-1))",
    "raising": "raise ValueError('the shapes differ')",
    "diverging": "return {'ce': batch.cross_entropy(model(batch.images)) * float('nan')}",
    "exiting": "os._exit(7)",
    "crashing": "os.kill(os.getpid(), signal.SIGSEGV)",
    "leaving": "raise SystemExit(3)",
    "unimported": "pass",
    "printing": "print('to the log'); os.write(1, b'{}\\n'); os.write(2, b'to the errors\\n')",
}
"""What the methods of one's own do, by name."""

FAILING = {
    "raising": ("ValueError", "the shapes differ"),
    "diverging": ("Diverged", "the term ce of the loss is nan"),
    "exiting": ("died", "exit code 7"),
    "crashing": ("died", "SIGSEGV"),
    "leaving": (None, "3"),
    "unimported": ("RuntimeError", "not today"),
}
"""What the failures of some of them are called, where that is promised, and what they say."""


@dataclass(frozen=True)
class Plugins:
    """A grid of plain fine-tuning and of every method in ``TWISTS``, two runs each, that one launch has trained."""

    results: Path
    done: Done
    chosen: list[str]

    def records(self, method: str, kind: str = "runs") -> dict[str, dict[str, Any]]:
        """The records of a method, by folder."""
        found = records(self.results, kind).items()
        return {name: record for name, record in found if record["spec"]["method"]["name"] == method}


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Plugins:
    """Of two workers, those that end with a run are replaced."""
    root = tmp_path_factory.mktemp("plugins")
    chosen = ["--methods", ",".join(["ce", *TWISTS])]
    for name, twist in TWISTS.items():
        chosen += plugin(root / "own", twist, name)
    path = root / "own" / "unimported.py"
    path.write_text("raise RuntimeError('not today')\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    with forking():
        return Plugins(root / "results", bench("run", root / "results", *chosen), chosen)


@slow
@warm
class TestPlugins:
    def test_the_others_are_trained(self, plugins: Plugins) -> None:
        assert plugins.done.code == 1, plugins.done.err
        for method in ["ce", *TWISTS]:
            failing = method in FAILING
            assert len(plugins.records(method)) == 2 * (not failing), method
            assert len(plugins.records(method, "failed")) == 2 * failing, method
        assert "6 runs were trained now, 6 of 18 are done, 12 failed" in plugins.done.out
        assert "Traceback" not in plugins.done.out + plugins.done.err

    def test_one_of_ones_own_is_compared(self, plugins: Plugins) -> None:
        lines = list(csv.DictReader(io.StringIO(table(plugins.results, *plugins.chosen))))
        assert {line["method"] for line in lines} == {"Fine-tune (baseline)", *TWISTS}
        (line,) = (line for line in lines if line["method"] == "mirrored")
        assert 0 <= float(line["p"]) <= 1
        assert line["n"] == "2"

    @pytest.mark.parametrize("method", FAILING)
    def test_one_that_fails_while_training_or_when_imported(self, plugins: Plugins, method: str) -> None:
        kind, says = FAILING[method]
        failed = plugins.records(method, "failed")
        assert len(failed) == 2
        for name, record in failed.items():
            assert name.endswith(f"{record['id']}-1")
            assert says in record["error"]["message"]
            assert kind is None or record["error"]["kind"] == kind
            log = (plugins.results / "failed" / name / "log.txt").read_text(encoding="utf-8")
            if kind not in (None, "died"):
                assert "Traceback" in log
                assert says in log
                assert says in record["error"]["trace"]
        (line,) = (line for line in plugins.done.out.splitlines() if f"): {method} micro_vit" in line)
        assert line.startswith("  failed (")
        assert says in line.partition(" and 1 more: ")[2]

    def test_their_cells_say_that_they_failed(self, plugins: Plugins) -> None:
        lines = table(plugins.results, *plugins.chosen, format="text").splitlines()
        for method in TWISTS:
            (line,) = (line for line in lines if line.startswith(f"{method} "))
            assert ("failed" in line) == (method in FAILING)

    def test_what_it_prints_disturbs_nobody(self, plugins: Plugins) -> None:
        assert "to the log" not in plugins.done.out + plugins.done.err
        found = plugins.records("printing")
        assert len(found) == 2
        for name in found:
            assert "to the log" in (plugins.results / "runs" / name / "log.txt").read_text(encoding="utf-8")
