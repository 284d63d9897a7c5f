"""The command line: help, bad input in one line a problem, quick start, and what programs read."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import ttest_ind

from bench.cli import build_parser, main
from bench.commands.request import request_of
from bench.plan.overrides import Overrides
from bench.plan.table import Plan
from bench.plan.target import read_plan
from bench.records.store import Store
from bench.registry import Registry
from bench.spec import RunSpec
from tests.clock import cpu_seconds
from tests.scenes import runs_with_axes

COMMANDS = [
    *("run", "retry", "plan", "status", "cancel", "logs", "doctor", "rehearse", "rerun"),
    *("table", "runs", "report", "figure", "items"),
    *("list", "show"),
    *(
        "completion",
        "check-method",
        "convert",
        "export",
        "measure",
        "predict",
        "data",
        "audit",
        "claims",
        "power",
        "import",
        "reference",
    ),
]
BENCH = Path(sys.executable).with_name("bench")

PLUGIN = """
from dataclasses import dataclass

from bench.method import Method, hyper


@dataclass(frozen=True)
class Mine(Method):
    '''A method of one's own.'''

    weight: float = hyper(1.0, low=0, source="our choice")
"""


def call(arguments: list[str]) -> int:
    """The exit code of ``bench`` with some arguments."""
    try:
        return main(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)


def demo(**overrides: Any) -> Plan:
    return read_plan("demo", Registry(), Overrides(**overrides))


def accuracy(spec: RunSpec) -> float:
    """A made-up accuracy: of GTA better than of the rest, and of no two seeds the same."""
    return 50 + 20 * (spec.method.name == "gta") + float(spec.rate) / 10 + 1.25 * spec.seed


def publish(store: Store, spec: RunSpec) -> None:
    top1 = accuracy(spec)
    curve = [
        {"step": 150, "val": {"top1": top1 + 5}, "test": {"top1": top1 + 2}},
        {"step": 300, "val": {"top1": top1}, "test": {"top1": top1}},
    ]
    with store.draft() as draft:
        store.publish(draft, spec, {"status": "done", "curve": curve, "timing": {"seconds": 2.0}, "command": "bench"})


def fail(store: Store, spec: RunSpec, message: str) -> None:
    with store.draft() as draft:
        (draft / "log.txt").write_text("trace\n", encoding="utf-8")
        told = {"status": "failed", "error": {"kind": "ValueError", "message": message}}
        store.publish_failure(draft, spec, told)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(folder.rglob("*"))}


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that succeeds prints."""
    assert call(list(arguments)) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


class TestHelp:
    @pytest.mark.parametrize("command", COMMANDS)
    def test_of_every_command_has_an_example(self, command: str, capsys: pytest.CaptureFixture[str]) -> None:
        out = output(capsys, command, "--help")
        assert out.startswith(f"usage: bench {command}")
        assert f"\n  bench {command} " in out

    def test_of_the_whole_names_every_command(self, capsys: pytest.CaptureFixture[str]) -> None:
        out = output(capsys, "--help")
        assert re.findall(r"^    ([\w-]+)(?: |$)", out, re.MULTILINE) == COMMANDS

    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert output(capsys, "--version").startswith("bench ")

    @pytest.mark.slow
    def test_every_example_is_accepted(
        self, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of those that read, without files of one's own; no steps are timed."""
        monkeypatch.setattr("bench.cost.measure._answers", lambda *_: iter(()))
        for command in ("plan", "status", "table", "list", "show"):
            for line in output(capsys, command, "--help").splitlines():
                example = line.strip().split("   ")[0].split(" > ")[0]
                if example.startswith("bench ") and not any(w in example for w in ("~", "3f9a")):
                    assert call(example.split()[1:]) == 0, example
                    capsys.readouterr()

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_completion(self, shell: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert "bench" in output(capsys, "completion", shell)


BAD: dict[str, tuple[list[str], str]] = {
    "no command": ([], "COMMAND"),
    "an unknown command": (["trian", "demo"], "trian"),
    "no target": (["run"], "TARGET"),
    "an unknown option": (["run", "demo", "--nothing"], "--nothing"),
    "an unknown experiment": (["run", "dmeo"], "did you mean 'demo'?"),
    "an experiment with a path": (["plan", "../demo"], "no experiment, paper or table is called '../demo'"),
    "an absolute path": (["plan", "/etc/passwd"], "no experiment, paper or table is called '/etc/passwd'"),
    "an empty name": (["plan", ""], "no experiment, paper or table is called ''"),
    "a missing file": (["run", "none.yaml"], "none.yaml: cannot be read: "),
    "a folder for a file": (["run", "folder.yaml"], "folder.yaml: cannot be read: "),
    "a list for an experiment": (["run", "list.yaml"], "list.yaml:1: the file must hold keys and values"),
    "an empty file": (["run", "empty.yaml"], "empty.yaml:1: the file must hold keys and values"),
    "malformed YAML": (["run", "broken.yaml"], "broken.yaml:2: malformed YAML"),
    "a file that is not UTF-8": (["run", "latin.yaml"], "latin.yaml: cannot be read: it is not UTF-8 text"),
    "a tag": (["run", "tag.yaml"], "tag.yaml:1: the tag"),
    "an alias": (["run", "alias.yaml"], "alias.yaml:2: aliases"),
    "steps and epochs": (["run", "both.yaml"], "either steps or epochs"),
    "every cell excluded": (["run", "excluded.yaml"], "nothing is left to run: no time"),
    "a table without methods": (["table", "layout.yaml"], "layout.yaml:"),
    "an axis placed twice": (["table", "twice.yaml"], "twice.yaml:"),
    "a date for a title": (["plan", "date.yaml"], "date.yaml:"),
    "an unknown method": (
        ["run", "demo", "--methods", "gtaa"],
        "--methods: no method is called 'gtaa'; did you mean 'gta'?",
    ),
    "an open parenthesis": (["run", "demo", "--methods", "gta("], "--methods: 'gta(' is not of the form"),
    "a closed parenthesis": (["run", "demo", "--methods", "gta)"], "--methods: 'gta)' is not of the form"),
    "a method that leaves its folder": (["run", "demo", "--methods", "../gta"], "no method is called '../gta'"),
    "nothing but a comma": (["run", "demo", "--methods", ","], "--methods: "),
    "an unknown hyper-parameter": (["run", "demo", "--methods", "gta(wieght=1)"], "did you mean 'weight'?"),
    "a hyper-parameter out of range": (["run", "demo", "--methods", "gta(weight=-1)"], "weight = -1 is not allowed"),
    "a hyper-parameter of another type": (["run", "demo", "--methods", "gta(weight=x)"], "weight = 'x' is not allowed"),
    "a hyper-parameter without value": (["run", "demo", "--methods", "gta(weight)"], "is not of the form key=value"),
    "a hyper-parameter that is no number": (["run", "demo", "--methods", "gta(weight=.nan)"], "weight = nan"),
    "a hyper-parameter too large": (["run", "demo", "--methods", f"gta(weight=1{'0' * 400})"], "is not allowed"),
    "an unknown backbone": (["run", "demo", "--backbones", "microvit"], "did you mean 'micro_vit'?"),
    "a timm name with odd characters": (["run", "demo", "--backbones", "timm:a b;c"], "--backbones: timm:a b;c"),
    "a timm name that leaves": (["run", "demo", "--backbones", "timm:../x@none"], "--backbones: timm:../x"),
    "weights that are not there": (
        ["run", "demo", "--backbones", "micro_vit@x.safetensors"],
        "existing .safetensors file",
    ),
    "weights of another format": (["run", "demo", "--backbones", "micro_vit@file"], "existing .safetensors file"),
    "weights of another suffix": (
        ["run", "demo", "--backbones", "timm:resnet18@file"],
        "; 'bench convert timm:resnet18 file OUT.safetensors' makes one of a checkpoint",
    ),
    "weights of another folder": (
        ["run", "demo", "--backbones", "timm:resnet18@gone/x.safetensors"],
        "gone/x.safetensors\n",
    ),
    "a word for a backbone's own weights": (
        ["run", "demo", "--backbones", "micro_vit@pretrained"],
        "; without the @, micro_vit takes its own",
    ),
    "a repository of the hub for a timm name": (
        ["run", "demo", "--backbones", "timm:timm/resnet18.a1_in1k"],
        "; did you mean timm:resnet18.a1_in1k?",
    ),
    "a colon before the weights": (
        ["run", "demo", "--backbones", "timm:resnet18:none"],
        "; did you mean timm:resnet18@none?",
    ),
    "a list of images that is not there": (
        ["run", "demo", "--datasets", "cub200@lists/train_15.txt"],
        "lists/train_15.txt; after @ stands a file that lists training images, one path a line\n",
    ),
    "a list that is like a variant": (
        ["run", "demo", "--datasets", "oxford_flowers102@train.txt"],
        "one path a line, or one of its variants: train\n",
    ),
    "a dataset that a paper cannot have": (
        ["plan", "gta/table2", "--datasets", "cub"],
        "--datasets: no dataset of gta/table2 is called 'cub'; did you mean 'CUB'?",
    ),
    "a backbone that a paper cannot have": (
        ["run", "gta", "--backbones", "beit_base"],
        "--backbones: no backbone of gta is called 'beit_base'",
    ),
    "a split for a folder of images": (["run", "demo", "--datasets", "folder:images/train"], "images?\n"),
    "images without classes": (
        ["run", "demo", "--datasets", "folder:flat"],
        "'train' holds no image inside a folder of its class",
    ),
    "a backbone without attention": (
        ["run", "demo", "--methods", "gta", "--backbones", "timm:resnet18@none"],
        "gta needs cls_attention",
    ),
    "an unknown dataset": (["run", "demo", "--datasets", "digit"], "did you mean 'digits'?"),
    "a folder that is not there": (["run", "demo", "--datasets", "folder:none"], "there is no such folder"),
    "a folder without test": (["run", "demo", "--datasets", "folder:images"], "it has no folder 'test'"),
    "no datasets": (["run", "photos"], "--datasets"),
    "rate 0": (["run", "demo", "--rates", "0"], "--rates: the rate 0 is not allowed"),
    "rate 150": (["run", "demo", "--rates", "15,150"], "--rates: the rate 150 is not allowed"),
    "rate -1": (["run", "demo", "--rates=-1"], "--rates: the rate -1 is not allowed"),
    "rate -1 apart": (["run", "demo", "--rates", "-1"], "--rates"),
    "rate abc": (["run", "demo", "--rates", "abc"], "--rates: the rate abc is not allowed"),
    "rate nan": (["run", "demo", "--rates", ".nan"], "--rates: the rate nan is not allowed"),
    "rate nan as a word": (["run", "demo", "--rates", "nan"], "--rates: the rate nan is not allowed"),
    "rate true": (["run", "demo", "--rates", "true"], "--rates: the rate True is not allowed"),
    "seeds 0": (["run", "demo", "--seeds", "0"], "--seeds: seeds are how many (3) or which (0,1,2), not 0"),
    "seeds -1": (["run", "demo", "--seeds=-1"], "--seeds: seeds are how many"),
    "seeds x": (["run", "demo", "--seeds", "x"], "--seeds: seeds are how many"),
    "seeds 1.5": (["run", "demo", "--seeds", "1.5"], "--seeds: seeds are how many"),
    "seeds with a hole": (["run", "demo", "--seeds", "1,x"], "--seeds: seeds are how many"),
    "seeds nothing but a comma": (["run", "demo", "--seeds", ","], "lists nothing"),
    "seeds too many": (["run", "demo", "--seeds", "1000000000000"], "--seeds"),
    "jobs 0": (["run", "demo", "--jobs", "0"], "--jobs 0: at least one"),
    "jobs -1": (["run", "demo", "--jobs", "-1"], "--jobs -1: at least one"),
    "jobs x": (["run", "demo", "--jobs", "x"], "--jobs"),
    "a setting without =": (["run", "demo", "--set", "steps"], "--set: 'steps' is not of the form key=value"),
    "a setting without a key": (["run", "demo", "--set", "=5"], "--set: '=5' is not of the form key=value"),
    "an unknown setting": (
        ["run", "demo", "--set", "stps=5"],
        "--set: no protocol setting is called 'stps'; did you mean 'steps'?",
    ),
    "steps 0": (["run", "demo", "--set", "steps=0"], "either steps or epochs"),
    "steps -1": (["run", "demo", "--set", "steps=-1"], "--set: protocol: steps = -1 is not allowed"),
    "steps a text": (["run", "demo", "--set", "steps=many"], "--set: protocol: steps = 'many' is not allowed"),
    "steps of nothing": (["run", "demo", "--set", "steps="], "--set: protocol: steps = "),
    "a warm-up as long as all": (
        ["run", "demo", "--set", "steps=20", "--set", "warmup=20"],
        "must be shorter than the schedule (20)",
    ),
    "epochs and steps": (["run", "demo", "--set", "epochs=2", "--set", "steps=200"], "either steps or epochs"),
    "an unknown choice": (["run", "demo", "--set", "optimizer=adam"], "one of adamw, sgd, lars, lion, muon"),
    "a share above 1": (["run", "demo", "--set", "label_smoothing=2"], "a number from 0 to 1"),
    "a learning rate too large": (["run", "demo", "--set", f"lr=1{'0' * 400}"], "--set: protocol: lr = "),
    "an unknown selection": (
        ["table", "demo", "--selection", "best"],
        "--selection: no selection is called 'best'",
    ),
    "an unknown split": (["table", "demo", "--split", "train"], "--split: no split is called 'train'"),
    "an unknown format": (["table", "demo", "--format", "xml"], "--format"),
    "a format of another command": (["plan", "demo", "--format", "latex"], "--format"),
    "width 0": (["table", "demo", "--width", "0"], "--width 0"),
    "width x": (["table", "demo", "--width", "x"], "--width"),
    "results that are a file": (["run", "demo", "--results", "file"], "file is not a folder"),
    "results under a file": (
        ["run", "demo", "--results", "file/deep"],
        "--results file/deep: nothing can be written there",
    ),
    "a plugin that is not there": (["run", "demo", "--plugin", "none.py"], "--plugin "),
    "a plugin that is no Python": (["run", "demo", "--plugin", "file"], "--plugin "),
    "a plugin that is YAML": (["list", "methods", "--plugin", "list.yaml"], "--plugin "),
    "a plugin with a slip": (
        ["run", "demo", "--plugin", "slip.py", "--methods", "slip"],
        "slip.py:1: not valid Python",
    ),
    "a plugin without a method": (
        ["run", "demo", "--plugin", "none_in.py", "--methods", "none_in"],
        "no class that derives",
    ),
    "a plugin with a taken name": (["list", "methods", "--plugin", "taken/gta.py"], "two methods are called 'gta'"),
    "a plugin with an odd name": (["list", "methods", "--plugin", "my-method.py"], "cannot be a name"),
    "a plugin without its parent": (
        ["run", "demo", "--plugin", "orphan.py", "--methods", "orphan"],
        "orphan.py",
    ),
    "show unknown": (["show", "gtaa"], "did you mean 'gta'?"),
    "show nothing": (["show", ""], "is called ''"),
    "show a path": (["show", "../methods/gta"], "is called '../methods/gta'"),
    "show a run that is not there": (
        ["show", "0123456789ab"],
        "no record of a run whose id begins with '0123456789ab'",
    ),
    "show a bad timm name": (["show", "timm:a b"], "timm model's name"),
    "show bad weights": (["show", "micro_vit@none.safetensors"], "existing .safetensors file"),
    "show a folder that is not there": (["show", "folder:none"], "there is no such folder"),
    "list an unknown kind": (["list", "method"], "method"),
    "completion of an unknown shell": (["completion", "tcsh"], "tcsh"),
    "a figure of nothing": (["figure", "demo"], "nothing to draw"),
    "a figure of another format": (["figure", "demo", "--output", "x.bmp"], ".png"),
    "several at once": (
        ["run", "dmeo.yaml", "--jobs", "1"],
        "dmeo.yaml: cannot be read",
    ),
}


class TestBadInput:
    def scene(self, folder: Path) -> None:
        """Files and folders to be wrong with."""
        head = "methods: [ce]\nbackbones: [micro_vit]\ndatasets: [digits]\nrates: [15]\n"
        texts = {
            "list.yaml": "- a\n- b\n",
            "empty.yaml": "",
            "broken.yaml": "a: 1\nb: [1, 2}\n",
            "tag.yaml": "a: !!python/object/apply:os.getcwd []\n",
            "alias.yaml": "a: &x 1\nb: *x\n",
            "both.yaml": head + "protocol: {steps: 5, epochs: 5}\n",
            "excluded.yaml": head + "protocol: {steps: 5}\nexclude: [{method: ce, because: no time}]\n",
            "layout.yaml": head + "protocol: {steps: 5}\ntable: {rows: [dataset], columns: [rate]}\n",
            "twice.yaml": head + "protocol: {steps: 5}\ntable: {rows: [method, rate], columns: [rate]}\n",
            "date.yaml": head + "protocol: {steps: 5}\ntitle: [2001-01-01]\n",
            "file": "x",
            "slip.py": "class Slip(\n",
            "none_in.py": "x = 1\n",
            "my-method.py": PLUGIN,
            "orphan.py": PLUGIN.replace(
                "from bench.method import Method", "from bench.methods.gone import Method as Gone"
            )
            .replace("import Method as Gone, hyper", "import Method as Gone")
            .replace("(Method)", "(Gone)"),
        }
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        (folder / "latin.yaml").write_bytes("title: é\n".encode("latin-1"))
        (folder / "folder.yaml").mkdir()
        (folder / "taken").mkdir()
        (folder / "taken" / "gta.py").write_text(PLUGIN, encoding="utf-8")
        (folder / "images" / "train" / "a").mkdir(parents=True)
        (folder / "images" / "train" / "a" / "1.png").write_bytes(b"x")
        for split in ("train", "test"):
            (folder / "flat" / split).mkdir(parents=True)
            (folder / "flat" / split / "1.png").write_bytes(b"x")

    @pytest.mark.parametrize("kind", BAD)
    def test_is_told_in_a_line_and_changes_nothing(
        self, here: Path, capsys: pytest.CaptureFixture[str], kind: str
    ) -> None:
        arguments, says = BAD[kind]
        self.scene(here)
        before = tree(here)
        code = call(arguments)
        captured = capsys.readouterr()
        assert (code, captured.out) == (2, "")
        lines = captured.err.splitlines()
        if kind == "results under a file":  # noticed when it is to be made, after all else was found right
            assert [lines.pop(0), lines.pop(0).split()[0]] == ["demo: 72 runs: 72 to train", "6"]
        assert len(lines) == 1, captured.err
        assert lines[0].startswith("bench: "), captured.err
        assert says in captured.err
        assert tree(here) == before

    def test_every_problem_has_a_line(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert call(["run", "demo", "--methods", "gtaa", "--rates", "0,150", "--seeds", "x", "--set", "stps=1"]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        lines = captured.err.splitlines()
        told = sorted(line.split(":")[1].strip() for line in lines)
        assert told == ["--methods", "--rates", "--rates", "--seeds", "--set"]
        assert all(line.startswith("bench: ") for line in lines)
        assert not list(here.iterdir())

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_results_that_cannot_be_written(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (here / "locked").mkdir(mode=0o555)
        assert call(["run", "demo", "--results", "locked/results"]) == 2
        captured = capsys.readouterr()
        assert (
            captured.err
            == f"bench: --results locked/results: nothing can be written there: {os.strerror(errno.EACCES)}\n"
        )
        assert captured.out == ""

    def test_in_a_process_of_its_own_there_is_no_traceback(self, here: Path) -> None:
        done = subprocess.run([BENCH, "run", "dmeo"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("bench: no experiment, paper or table is called 'dmeo'; did you mean 'demo'?")
        assert done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def libraries() -> float:
    """Seconds of CPU that Python takes to start and to load what any command needs."""
    return min(cpu_seconds([sys.executable, "-c", "import msgspec, numpy, yaml"])[0] for _ in range(3))


class TestStart:
    """What plans, lists and prints must not wait for torch."""

    ARGUMENTS = [
        ["list", "methods"],
        ["show", "gta"],
        ["list", "measures"],
        ["show", "s_dbw"],
        ["list", "presets"],
        ["show", "mae"],
        ["show", "timm:vit_tiny_patch16_224"],
        ["plan", "demo"],
        ["status", "demo"],
        ["table", "demo"],
    ]

    NOTHING_COMPUTED = [["table", "demo"], ["status", "demo"], ["plan", "demo"]]

    LISTS = [["list", what] for what in ("methods", "backbones", "datasets", "measures", "tables", "figures")]

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("commands", "heavy"),
        [
            (ARGUMENTS, {"torch", "torchvision", "timm", "sklearn", "pandas", "matplotlib"}),
            (LISTS, {"numpy", "torch"}),
            (NOTHING_COMPUTED, {"numpy", "scipy", "PIL", "tqdm", "bench.plan.paper"}),
        ],
    )
    def test_without_what_is_heavy(self, here: Path, commands: list[list[str]], heavy: set[str]) -> None:
        """One after the other in a process of their own: the first that imports any of it is named."""
        code = (
            "import json, sys\nfrom bench.cli import main\ncommands, heavy = json.loads(sys.argv[1])\n"
            "for words in commands:\n"
            "    assert main(words) == 0, words\n"
            "    assert not set(heavy) & set(sys.modules), (words, set(heavy) & set(sys.modules))"
        )
        asked = [sys.executable, "-c", code, json.dumps([commands, sorted(heavy)])]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    @pytest.mark.parametrize("arguments", ARGUMENTS, ids=" ".join)
    def test_quickly(self, here: Path, libraries: float, arguments: list[str]) -> None:
        """Measured by what Python itself takes to start and to load the libraries that any of it needs, of three."""
        took: list[float] = []
        while not took or (min(took) >= 6 * libraries and len(took) < 3):
            seconds, done = cpu_seconds([str(BENCH), *arguments])
            assert done.returncode == 0, done.stderr
            took.append(seconds)
        assert min(took) < 6 * libraries

    def test_a_reader_that_goes_away_is_no_mistake(self, here: Path) -> None:
        """``bench list methods | head -1``"""
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run([BENCH, "table", "demo"], stdout=writing, stderr=subprocess.PIPE, check=False)
        os.close(writing)
        assert done.stderr == b""
        assert done.returncode in (0, 141)


class TestForPrograms:
    def test_list(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for kind in ("methods", "backbones", "datasets", "tables", "experiments", "presets"):
            rows = json.loads(output(capsys, "list", kind, "--format", "json"))
            assert all(set(row) == {"name", "about"} for row in rows)
            assert kind == "tables" or all(row["about"] for row in rows)
            assert len({row["name"] for row in rows}) == len(rows)
        names = [row["name"] for row in json.loads(output(capsys, "list", "methods", "--format", "json"))]
        assert {"ce", "gta", "l2sp"} <= set(names)

    def test_list_tables_says_so_when_there_are_none(
        self, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Registry, "table_files", {})
        assert output(capsys, "list", "tables") == "there are no tables yet\n"
        assert output(capsys, "list", "tables", "--format", "json") == "[]\n"

    def test_show(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        gta, paper = json.loads(output(capsys, "show", "gta", "--format", "json"))
        assert (paper["kind"], paper["name"]) == ("paper", "gta")
        assert paper["protocol"]["settings"]["steps"] == {"value": 3000, "source": "paper 4"}
        assert "gta/table2" in paper["tables"]
        assert set(gta) >= {"kind", "name", "about", "paper", "needs", "hyper_parameters", "file"}
        assert (gta["kind"], gta["name"], gta["needs"]) == ("method", "gta", ["cls_attention"])
        weight = gta["hyper_parameters"][0]
        assert (weight["name"], weight["default"], weight["low"]) == ("weight", 1.0, 0)
        (backbone,) = json.loads(output(capsys, "show", "timm:vit_tiny_patch16_224@none", "--format", "json"))
        assert (backbone["kind"], backbone["weights"]) == ("backbone", "random")
        (dataset,) = json.loads(output(capsys, "show", "cluttered_digits", "--format", "json"))
        assert (dataset["kind"], dataset["classes"]) == ("dataset", 10)

    @pytest.mark.parametrize("name", ["gta", "micro_vit", "cluttered_digits", "demo", "timm:resnet18"])
    def test_show_for_people(self, here: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
        out = output(capsys, "show", name)
        assert name in out.splitlines()[0]
        assert "{'" not in out
        assert "None" not in out

    def test_show_of_a_name_that_is_two_things(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        kinds = {card["kind"] for card in json.loads(output(capsys, "show", "digits", "--format", "json"))}
        assert kinds == {"dataset", "experiment"}

    def test_show_of_a_run(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        done, failed = list(demo(methods="ce", rates="15", seeds="2").unique.values())
        publish(Store("results"), done)
        fail(Store("results"), failed, "the loss is nan")
        out = output(capsys, "show", done.id[:8])
        assert done.label in out
        assert f"{accuracy(done):.2f} % after 300 steps" in out
        (record,) = json.loads(output(capsys, "show", done.id, "--format", "json"))
        assert record["id"] == done.id
        assert "the loss is nan" in output(capsys, "show", failed.id)

    def test_plan(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        plan = demo()
        publish(Store("results"), next(iter(plan.unique.values())))
        told = json.loads(output(capsys, "plan", "demo", "--format", "json"))
        keys = {"target", "needed", "different", "done", "missing_weights", "parts", "runs", "excluded", "missing_data"}
        assert set(told) == keys | {"images", "estimate", "forecast", "models", "notes"}
        assert (told["target"], told["done"], told["excluded"], told["missing_data"]) == ("demo", 1, [], [])
        assert [run["id"] for run in told["runs"]] == list(plan.unique)
        assert set(told["runs"][0]) == {"id", "axes", "spec", "lack"}
        assert set(told["runs"][0]["axes"]) == {"table", "method", "backbone", "dataset", "rate"}
        assert told["runs"][0]["spec"]["protocol"]["recipe"]["steps"] == 100

    def test_plan_for_people(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = output(capsys, "plan", "demo", "--methods", "ce,gta", "--backbones", "micro_vit,timm:resnet18@none")
        assert "36 different runs: 0 done, 0 failed, 36 to train" in out
        assert "gta needs cls_attention, which timm:resnet18@none lacks" in out
        assert not list(here.iterdir())

    def test_status(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        specs = list(demo(methods="ce", rates="15").unique.values())
        store = Store("results")
        publish(store, specs[0])
        fail(store, specs[1], "the loss is nan")
        (store.root / "runs" / "x-000000000000").mkdir()
        arguments = ("status", "demo", "--methods", "ce", "--rates", "15")
        told = json.loads(output(capsys, *arguments, "--format", "json"))
        counted = {
            "runs",
            "done",
            "running",
            "queued",
            "missing",
            "failed",
            "damaged",
            "unseen",
            "newer",
            "reasons",
            "closed",
            "lacking",
            "lacking_weights",
            "parts",
        }
        assert set(told) == {"experiment", *counted, "training", "seconds_left", "forecast"}
        assert (told["runs"], told["done"], told["missing"]) == (3, 1, 1)
        (failure,) = told["failed"]
        assert set(failure) == {"run", "label", "message", "class", "folder"}
        assert (failure["run"], failure["message"]) == (specs[1].id, "the loss is nan")
        assert (Path(failure["folder"]) / "log.txt").is_file()
        assert told["damaged"] == ["x-000000000000"]
        out = output(capsys, *arguments)
        assert "3 runs: 1 done, 1 failed, 1 missing" in out
        assert "the loss is nan" in out
        assert "x-000000000000" in out

    @pytest.mark.parametrize("record", ["", "{}", "[]", '{"schema": 1}'])
    def test_status_beside_a_damaged_failure(self, here: Path, capsys: pytest.CaptureFixture[str], record: str) -> None:
        spec = next(iter(demo(methods="ce", rates="15", seeds="1").unique.values()))
        fail(Store("results"), spec, "x")
        (path,) = here.glob("results/failed/*/record.json")
        path.write_text(record, encoding="utf-8")
        assert "demo: 1 run: " in output(capsys, "status", "demo", "--methods", "ce", "--rates", "15", "--seeds", "1")

    def test_show_of_a_damaged_run(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        spec = next(iter(demo(methods="ce", rates="15", seeds="1").unique.values()))
        publish(Store("results"), spec)
        (path,) = here.glob("results/runs/*/record.json")
        path.write_text("{", encoding="utf-8")
        assert call(["show", spec.id]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("bench: ")
        assert path.parent.name in captured.err

    def test_a_record_of_a_newer_version(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        publish(Store("results"), next(iter(demo().unique.values())))
        (path,) = here.glob("results/runs/*/record.json")
        path.write_text(path.read_text(encoding="utf-8").replace('"schema": 2', '"schema": 9'), encoding="utf-8")
        for command in ("plan", "status", "table", "runs"):
            assert call([command, "demo"]) == 0
            captured = capsys.readouterr()
            (line,) = [line for line in (captured.out + captured.err).splitlines() if "newer version" in line]
            assert f"1 record was written by a newer version, left out and left alone: {path.parent.name}" in line
            assert "(schema 9)" in line
        assert "71 missing" in output(capsys, "status", "demo")


class TestMissingData:
    """What is planned may need data that is not on this machine: that is said at once, of all of it."""

    ASKED = ("--methods", "ce", "--rates", "15", "--seeds", "1")

    @pytest.fixture(autouse=True)
    def nothing_is_there(self, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BENCH_DATA", "none")

    def test_a_plan_names_it(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = output(capsys, "plan", "demo", *self.ASKED, "--datasets", "digits,cub200,oxford_flowers102@train,svhn")
        assert out.splitlines()[-2:] == [
            "3 datasets are not on this machine: cub200, oxford_flowers102, svhn "
            f"(looked in {here}/none; BENCH_DATA says where datasets lie)",
            "  'bench data prepare NAME' fetches one or says how",
        ]
        assert not list(here.iterdir())

    def test_a_plan_for_programs_has_the_reasons(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        names = "digits,oxford_flowers102@train,svhn"
        told = json.loads(output(capsys, "plan", "demo", *self.ASKED, "--datasets", names, "--format", "json"))
        flowers, svhn = told["missing_data"]
        assert set(flowers) == {"dataset", "reason"}
        assert (flowers["dataset"], svhn["dataset"]) == ("oxford_flowers102@train", "svhn")
        assert flowers["reason"].startswith(f"there is no folder {here}/none/oxford_flowers102 with ")
        assert flowers["reason"].endswith("'bench data prepare oxford_flowers102' fetches it or says how")

    def test_what_is_there_is_not_named(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for name in Registry().dataset("svhn").facts["expects"]:
            (here / "none" / "svhn" / name).parent.mkdir(parents=True, exist_ok=True)
            (here / "none" / "svhn" / name).touch()
        out = output(capsys, "plan", "demo", *self.ASKED, "--datasets", "cub200,svhn")
        assert "1 dataset is not on this machine: cub200 (" in out
        assert "not on this machine" not in output(capsys, "plan", "demo", *self.ASKED, "--datasets", "digits,svhn")

    @pytest.mark.slow
    @pytest.mark.parametrize("target", ["gta", "gta/table2"])
    def test_a_paper_s_plan_names_it(self, here: Path, capsys: pytest.CaptureFixture[str], target: str) -> None:
        for backbone in ("deit_small", "ibot_vit_small"):
            (here / "none" / "weights").mkdir(parents=True, exist_ok=True)
            (here / "none" / "weights" / f"{backbone}.safetensors").touch()
        out = output(capsys, "plan", target)
        names = {run["spec"]["dataset"]["name"] for run in self.runs_of(capsys, target)}
        (line,) = [line for line in out.splitlines() if "not on this machine" in line]
        assert line.startswith(f"{len(names)} datasets are not on this machine: ")
        assert all(name in line for name in names)
        told = json.loads(output(capsys, "plan", target, "--format", "json"))
        assert {missing["dataset"] for missing in told["missing_data"]} == names

    def runs_of(self, capsys: pytest.CaptureFixture[str], target: str) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = json.loads(output(capsys, "plan", target, "--format", "json"))["runs"]
        return runs

    def test_a_run_is_refused_for_all_of_it(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert call(["run", "demo", *self.ASKED, "--datasets", "digits,cub200,svhn,dtd"]) == 2
        captured = capsys.readouterr()
        assert (captured.out, captured.err) == (
            "",
            f"bench: 3 datasets are not on this machine: cub200, svhn, dtd (looked in {here}/none; BENCH_DATA says "
            "where datasets lie); 'bench data prepare NAME' fetches one or says how\n",
        )
        assert not list(here.iterdir())

    def test_a_run_that_lacks_one_is_told_what_of_it(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (here / "none" / "cub200").mkdir(parents=True)
        assert call(["run", "demo", *self.ASKED, "--datasets", "digits,cub200"]) == 2
        lacks = ", ".join(Registry().dataset("cub200").facts["expects"])
        assert capsys.readouterr().err.startswith(f"bench: cub200: {here}/none/cub200 lacks {lacks} (BENCH_DATA")


class TestTable:
    def cells(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(output(capsys, "table", "demo", "--format", "csv", *arguments))))

    def test_csv_has_a_line_a_cell(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        plan, store = demo(), Store("results")
        for spec in plan.unique.values():
            publish(store, spec)
        found = self.cells(capsys, "--test", "welch")
        assert len(found) == 6 * 4
        by_cell: dict[tuple[str, str], list[float]] = {}
        for spec, axes in runs_with_axes(plan):
            by_cell.setdefault((axes["method"], axes["rate"]), []).append(accuracy(spec))
        assert len({(line["row"], line["column"]) for line in found}) == 24
        for line in found:
            values = by_cell[line["method"], line["rate"]]
            assert line["row"] == line["method"]
            assert line["column"] == line["rate"]
            assert float(line["mean"]) == pytest.approx(statistics.mean(values))
            assert float(line["std"]) == pytest.approx(statistics.stdev(values))
            assert (line["n"], line["planned"], line["failed"]) == ("3", "3", "0")
            baseline = by_cell["Fine-tune (baseline)", line["rate"]]
            if line["method"] == "Fine-tune (baseline)":
                assert line["p"] == ""
            else:
                assert float(line["p"]) == pytest.approx(ttest_ind(values, baseline, equal_var=False).pvalue)
        significant = {line["method"] for line in found if line["significant"] == "true"}
        assert significant == {"GTA"}

    def test_another_selection_reads_another_point(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for spec in demo().unique.values():
            publish(Store("results"), spec)
        last = [float(line["mean"]) for line in self.cells(capsys)]
        for rule in ("best-val", "best-test"):
            found = [float(line["mean"]) for line in self.cells(capsys, "--selection", rule)]
            assert found == pytest.approx([value + 2 for value in last])

    def test_the_validation_split(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for spec in demo().unique.values():
            publish(Store("results"), spec)
        test = [float(line["mean"]) for line in self.cells(capsys)]
        for selection, more in (("last", 0), ("best-val", 5)):
            lines = self.cells(capsys, "--split", "val", "--selection", selection)
            assert [float(line["mean"]) for line in lines] == pytest.approx([value + more for value in test])
        assert "validation" in output(capsys, "table", "demo", "--split", "val")

    def test_missing_and_failed_cells(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Of CE every run, of GTA at 15 % none, at 30 % two failed, at 50 % all failed, at 100 % one is missing."""
        store = Store("results")
        for spec in demo(methods="ce,gta").unique.values():
            spec = spec
            if (
                spec.method.name == "ce"
                or (spec.rate in (30, 100) and spec.seed == 0)
                or (spec.rate, spec.seed) == (100, 1)
            ):
                publish(store, spec)
            elif spec.rate in (30, 50):
                fail(store, spec, "no")
        cells = {line["rate"]: line for line in self.cells(capsys, "--methods", "ce,gta") if line["method"] == "GTA"}
        counts = {rate: (line["n"], line["failed"], line["planned"]) for rate, line in cells.items()}
        assert counts == {
            "15 %": ("0", "0", "3"),
            "30 %": ("1", "2", "3"),
            "50 %": ("0", "3", "3"),
            "100 %": ("2", "0", "3"),
        }
        assert [line["mean"] == "" for line in cells.values()] == [True, False, True, False]
        notes = [line["note"] for line in cells.values()]
        assert notes[0::3] == ["no run has finished", ""]
        assert notes[1:3] == ["2 of 3 runs failed (code)", "3 of 3 runs failed (code)"]
        out = output(capsys, "table", "demo", "--methods", "ce,gta", "--width", "150")
        assert "n=1/3!" in out
        assert "n=2/3" in out
        assert "failed" in out

    def test_excluded_cells_say_why(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        arguments = ("--methods", "ce,gta", "--backbones", "micro_vit,timm:resnet18@none", "--rates", "15")
        (line,) = [line for line in self.cells(capsys, *arguments) if line["note"].startswith("gta needs")]
        assert (line["backbone"], line["method"], line["mean"]) == ("timm:resnet18@none", "GTA", "")
        out = output(capsys, "table", "demo", *arguments)
        assert "n/a [1]" in out
        assert "gta needs cls_attention" in " ".join(out.split())

    @pytest.mark.parametrize("format", ["text", "markdown", "csv", "json", "latex"])
    def test_every_format_of_nothing_and_of_all(
        self, here: Path, capsys: pytest.CaptureFixture[str], format: str
    ) -> None:
        empty = output(capsys, "table", "demo", "--format", format)
        assert not list(here.iterdir()), "asking for a table writes nothing"
        for spec in demo().unique.values():
            publish(Store("results"), spec)
        full = output(capsys, "table", "demo", "--format", format)
        assert full != empty
        assert full == output(capsys, "table", "demo", "--format", format)
        assert all(method in full for method in ("GTA", "L2-SP", "BSS"))

    def test_json(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        told = json.loads(output(capsys, "table", "demo", "--format", "json"))
        assert set(told) == {"name", "title", "notes", "metric", "baseline", "rules", "cells"}
        assert len(told["cells"]) == 24
        assert {"row", "column", "mean", "std", "n", "p", "p_holm", "note"} <= set(told["cells"][0])

    def test_damaged_records_are_told_and_not_counted(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for spec in demo(methods="ce", rates="15").unique.values():
            publish(Store("results"), spec)
        path = sorted(here.glob("results/runs/*/record.json"))[0]
        path.write_text("{", encoding="utf-8")
        assert call(["table", "demo", "--methods", "ce", "--rates", "15", "--format", "csv"]) == 0
        captured = capsys.readouterr()
        (line,) = csv.DictReader(io.StringIO(captured.out))
        assert (line["n"], line["planned"]) == ("2", "3")
        assert captured.err.startswith(f"bench: {path.parent.name} is damaged")

    def test_width(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for spec in demo().unique.values():
            publish(Store("results"), spec)
        for width in (40, 72, 120):
            out = output(capsys, "table", "demo", "--width", str(width))
            assert max(map(len, out.splitlines())) <= width

    @pytest.mark.slow
    def test_figure(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for spec in demo().unique.values():
            publish(Store("results"), spec)
        out = output(capsys, "figure", "demo", "--output", "accuracy.pdf")
        assert out == "accuracy.pdf\n"
        assert (here / "accuracy.pdf").read_bytes().startswith(b"%PDF")
        assert call(["figure", "demo", "--output", "nowhere/accuracy.pdf"]) == 2
        assert capsys.readouterr().err.startswith("bench: --output nowhere/accuracy.pdf: ")

    def test_a_figure_of_a_split_that_no_run_has(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        words = ("demo", "--methods", "ce", "--rates", "15", "--seeds", "1")
        (spec,) = demo(methods="ce", rates="15", seeds="1").unique.values()
        with Store("results").draft() as draft:
            points = [{"step": step, "val": None, "test": {"top1": 50.0}} for step in (150, 300)]
            entries = {"status": "done", "curve": points, "timing": {"seconds": 2.0}}
            Store("results").publish(draft, spec, entries)
        assert call(["figure", *words, "--kind", "curves", "--split", "val"]) == 2
        assert capsys.readouterr().err == "bench: demo: nothing to draw: its runs have no score on the val split\n"


class TestPlugins:
    def test_one_of_ones_own(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (here / "mine.py").write_text(PLUGIN, encoding="utf-8")
        names = [
            row["name"]
            for row in json.loads(output(capsys, "list", "methods", "--plugin", "mine.py", "--format", "json"))
        ]
        assert "mine" in names
        assert "A method of one's own." in output(capsys, "show", "mine", "--plugin", "mine.py")
        assert "72 different runs" in output(capsys, "plan", "demo")
        out = output(capsys, "plan", "demo", "--plugin", "mine.py", "--methods", "ce,mine(weight=2)")
        assert "24 different runs" in out
        assert "mine(weight=2)" in out

    def test_one_that_raises_when_imported_is_still_listed(
        self, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (here / "mine.py").write_text('raise RuntimeError("imported")\n' + PLUGIN, encoding="utf-8")
        assert "mine " in output(capsys, "list", "methods", "--plugin", "mine.py")
        assert "weight" in output(capsys, "show", "mine", "--plugin", "mine.py")
        assert "24 different runs" in output(capsys, "plan", "demo", "--plugin", "mine.py", "--methods", "ce,mine")


def test_an_experiment_as_declared_keeps_its_name_and_a_changed_one_does_not() -> None:
    """Else the tables of `bench run demo --rates 15` would take the place of the demo's."""
    parser = build_parser()
    declared = request_of(parser.parse_args(["run", "demo"])).plan
    changed = request_of(parser.parse_args(["run", "demo", "--rates", "15"])).plan
    assert declared.variant == "demo"
    assert re.fullmatch(r"demo-[0-9a-f]{6}", changed.variant)
