"""Input that means harm: code in checkpoints, bombs, paths that leave, names that inject, secrets that would leak."""

from __future__ import annotations

import ast
import csv
import html.parser
import io
import json
import os
import pickle
import re
import signal
import struct
import subprocess
import sys
import tarfile
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from bench.backbones import build_model
from bench.backbones.checkpoints import read_checkpoint, tensors
from bench.cards.folders import stays_inside
from bench.cli import main
from bench.data import read_data, unpack
from bench.data.dataset import FileImages
from bench.errors import InputError, printable
from bench.reading.document import parse_document
from bench.registry import Registry
from bench.sheets.formats import FORMATS, render_sheet, render_sheets
from bench.sheets.layout import SheetLayout
from bench.sheets.sheet import Sheet, Shown
from bench.training.checkpoint import Checkpoint
from bench.training.shelf import Shelf

ROOT = Path(__file__).parent.parent
BENCH = Path(sys.executable).with_name("bench")
ESCAPE = "\x1b[2J\x1b]0;owned\x07"

METHOD = """
{top}
from dataclasses import dataclass

from bench.method import Method


@dataclass(frozen=True)
class Mine(Method):
    {doc}

    paper = "an example"

    def loss(self, model, batch):
        {inside}
        return {{"ce": batch.cross_entropy(model(batch.images))}}
"""


class Harm:
    """Creates a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(self.mark), "w")


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """Is there after code of a file has run."""
    return tmp_path / "harm"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("BENCH_DATA", str(folder / "data"))
    return folder


def call(*arguments: str) -> int:
    try:
        return main(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)


def problem(read: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        read()
    return "; ".join(caught.value.problems)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def method(folder: Path, name: str = "mine", top: str = "", inside: str = "pass", doc: str = "'''Mine.'''") -> Path:
    path = folder / f"{name}.py"
    path.write_text(METHOD.format(top=top, inside=inside, doc=doc), encoding="utf-8")
    return path


class TestCodeInFiles:
    @pytest.mark.parametrize("zipped", [True, False])
    def test_a_checkpoint_is_converted_without_running_it(
        self, here: Path, mark: Path, capsys: pytest.CaptureFixture[str], zipped: bool
    ) -> None:
        torch.save({"teacher": Harm(mark)}, here / "c.pth", _use_new_zipfile_serialization=zipped)
        assert call("convert", "ibot_vit_small", "c.pth", "out.safetensors") == 2
        assert "it holds code (" in capsys.readouterr().err
        assert not mark.exists()
        assert names(here) == ["c.pth"]

    def test_a_pickle_that_calls_itself_safetensors_is_no_weights(self, here: Path, mark: Path) -> None:
        (here / "w.safetensors").write_bytes(pickle.dumps(Harm(mark)))
        card = Registry().backbone("micro_vit@w.safetensors")
        assert "cannot be read as safetensors" in problem(lambda: build_model(card, 2))
        assert "cannot be read as safetensors" in problem(lambda: read_checkpoint(here / "w.safetensors"))
        assert not mark.exists()

    def test_a_pickle_is_no_backbone(self, here: Path, mark: Path) -> None:
        torch.save(Harm(mark), here / "w.pth")
        assert ".safetensors" in problem(lambda: Registry().backbone("micro_vit@w.pth"))
        assert not mark.exists()

    def test_a_shared_stage_is_trained_anew(self, tmp_path: Path, mark: Path) -> None:
        shelf = Shelf(tmp_path / "shared")
        shelf.path("key").parent.mkdir()
        shelf.path("key").write_bytes(pickle.dumps(Harm(mark)))
        found, there = shelf.get("key", lambda: {"a": torch.zeros(1)}, {})
        assert (list(found), there) == (["a"], False)
        assert not mark.exists()

    @pytest.mark.parametrize("zipped", [True, False])
    def test_a_state_inside_a_run_is_begun_anew(self, tmp_path: Path, mark: Path, zipped: bool) -> None:
        torch.save({"form": Harm(mark)}, tmp_path / "current.pt", _use_new_zipfile_serialization=zipped)
        assert Checkpoint(tmp_path, "key", 60.0).current is None
        assert not mark.exists()
        assert not (tmp_path / "current.pt").exists()

    def test_batches_that_are_pickles_are_verified_before_they_are_read(self, here: Path, mark: Path) -> None:
        folder = here / "data" / "cifar10" / "cifar-10-batches-py"
        folder.mkdir(parents=True)
        for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"):
            (folder / name).write_bytes(pickle.dumps(Harm(mark)))
        assert "cifar10: " in problem(lambda: read_data(Registry().dataset("cifar10")))
        assert not mark.exists()

    @pytest.mark.parametrize(
        "path", sorted([*(ROOT / "bench").rglob("*.py"), *(ROOT / "methods").glob("*.py")]), ids=lambda path: path.stem
    )
    def test_nothing_of_the_suite_reads_code_as_data(self, path: Path) -> None:
        """No call that would run what lies in a file."""
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name, given = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
                assert name not in ("eval", "exec", "os.system", "pickle.load", "pickle.loads", "yaml.load"), name
                assert name != "torch.load" or given.get("weights_only") == "True", name
                assert name not in ("np.load", "numpy.load") or given.get("allow_pickle") == "False", name
                assert not name.startswith("subprocess.") or "shell" not in given, name


class TestBombs:
    """Little input that would become much: refused before it does."""

    def measured(self, read: Callable[[], object], mebibytes: float = 40, seconds: float = 2) -> str:
        def stop(*args: object) -> None:
            raise AssertionError("it takes too long")

        before = signal.signal(signal.SIGALRM, stop)
        signal.alarm(10)  # a machine may be busy
        tracemalloc.start()
        started = time.process_time()
        try:
            said = problem(read)
            assert tracemalloc.get_traced_memory()[1] < mebibytes * 2**20
        finally:
            tracemalloc.stop()
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
        assert time.process_time() - started < seconds
        return said

    def test_a_billion_laughs(self) -> None:
        text = "a0: &a0 [lol, lol]\n" + "".join(
            f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
        )
        assert "aliases" in self.measured(lambda: parse_document(text, "f"))

    @pytest.mark.parametrize("text", ["a: " + "[" * 300_000, "a: " + "{a: " * 100_000, "a: " + "- " * 100_000])
    def test_deep_yaml(self, text: str) -> None:
        assert self.measured(lambda: parse_document(text, "f")).startswith("f:1: ")

    @pytest.mark.parametrize("size", [2_000_000, 10**12])
    def test_a_file_without_end(self, tmp_path: Path, size: int) -> None:
        with (tmp_path / "x.yaml").open("wb") as file:
            file.truncate(size)
        assert "more than 1,000,000 bytes" in self.measured(lambda: Registry().experiment(str(tmp_path / "x.yaml")))

    @pytest.mark.parametrize(
        "tag",
        ["!!python/object/apply:os.system [touch harm]", "!!python/object/new:os.mkdir [harm]", "!!python/name:os"],
    )
    def test_tags_build_nothing(self, here: Path, capsys: pytest.CaptureFixture[str], tag: str) -> None:
        (here / "x.yaml").write_text(f"title: {tag}\n", encoding="utf-8")
        assert call("plan", "x.yaml") == 2
        assert "x.yaml:1: the tag " in capsys.readouterr().err
        assert names(here) == ["x.yaml"]

    def archive(self, folder: Path, kind: str, size: int) -> Path:
        path = folder / "bomb"
        if kind == "zip":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as content:
                content.writestr("zeros", bytes(size))
        else:
            mode: Any = f"w:{kind}"
            with tarfile.open(path, mode) as content:
                member = tarfile.TarInfo("zeros")
                member.size = size
                content.addfile(member, io.BytesIO(bytes(size)))
        return path

    @pytest.mark.parametrize("kind", ["zip", "gz", "bz2", "xz"])
    def test_an_archive_that_grows(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
        monkeypatch.setattr("bench.data.unpack.FREE_BYTES", 1 << 20)
        archive = self.archive(tmp_path, kind, 20 << 20)
        assert archive.stat().st_size < 50_000
        assert "more than 100 times its size" in problem(lambda: unpack.unpack(archive, tmp_path / "out"))
        assert names(tmp_path / "out") == []

    def test_an_archive_of_very_many_empty_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bench.data.unpack.FREE_BYTES", 1 << 10)
        with tarfile.open(tmp_path / "a", "w:xz") as content:
            for number in range(3000):
                content.addfile(tarfile.TarInfo(f"{number}"))
        assert "more than 100 times its size" in problem(lambda: unpack.unpack(tmp_path / "a", tmp_path / "out"))
        assert names(tmp_path / "out") == []

    def test_an_archive_that_grows_a_little_is_unpacked(self, tmp_path: Path) -> None:
        unpack.unpack(self.archive(tmp_path, "zip", 20 << 20), tmp_path / "out")
        assert (tmp_path / "out" / "zeros").stat().st_size == 20 << 20

    def test_an_image_of_a_hundred_thousand_pixels_a_side(self, tmp_path: Path) -> None:
        def chunk(kind: bytes, content: bytes) -> bytes:
            return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

        header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
        path = tmp_path / "x.png"
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
        with pytest.raises(InputError, match=r"x\.png: it claims more than 160,000,000 pixels"):
            FileImages((path,)).take(torch.zeros(1, dtype=torch.int64).numpy())

    def test_a_tensor_that_repeats_one_number(self, tmp_path: Path) -> None:
        torch.save({"w": torch.zeros(1).expand(1 << 40)}, tmp_path / "c.pth")
        assert "the tensor w of 4,398,046,511,104 bytes" in problem(
            lambda: tensors(read_checkpoint(tmp_path / "c.pth"))
        )

    def test_safetensors_with_a_head_without_end(self, tmp_path: Path) -> None:
        (tmp_path / "w.safetensors").write_bytes((1 << 60).to_bytes(8, "little") + b"{}")
        assert self.measured(lambda: read_checkpoint(tmp_path / "w.safetensors"))

    @pytest.mark.parametrize("head", [b"[1, 2]", b"[" * 60_000, b"5", b'"x"'])
    def test_safetensors_with_an_odd_head_have_no_names(self, tmp_path: Path, head: bytes) -> None:
        (tmp_path / "w.safetensors").write_bytes(len(head).to_bytes(8, "little") + head)
        card = Registry().backbone(f"timm:resnet18@{tmp_path / 'w.safetensors'}")
        assert "source_head" not in card.offers


class TestPaths:
    """No name leads out of the folder that it is meant for."""

    @pytest.mark.parametrize(
        "name", ["../x", "../../etc/passwd", "/etc/passwd", "a/../../x", "..", ".", "~", "x\0", "a\\b"]
    )
    @pytest.mark.parametrize("kind", ["method", "backbone", "dataset", "experiment", "table_file"])
    def test_of_names(self, kind: str, name: str) -> None:
        assert f"is called '{name}'" in problem(lambda: getattr(Registry(), kind)(name))

    @pytest.mark.parametrize("name", ["../x", "gta/../../x", "../../x/table1", "/gta/table2"])
    @pytest.mark.parametrize("command", ["table", "plan", "status", "audit", "claims", "show"])
    def test_of_tables(self, here: Path, capsys: pytest.CaptureFixture[str], command: str, name: str) -> None:
        (here.parent / "x.yaml").write_text("title: x\n", encoding="utf-8")
        assert call(command, name) == 2
        assert "is called" in capsys.readouterr().err

    def test_of_claims(self, here: Path) -> None:
        from bench.papers.claims import read_claims

        folder = here / "paper_tables" / "p"
        folder.mkdir(parents=True)
        (folder / "claims.yaml").write_text(
            "claims: [{claim: c, section: '1', table: ../../gta/table2, better: {row: a, than: b}}]\n", encoding="utf-8"
        )
        assert "no table of p is called '../../gta/table2'" in problem(lambda: read_claims("p", Registry([here])))

    @pytest.mark.parametrize("name", ["..", "a b", "a-b", "-a", "a\x1bb"])
    def test_of_plugins(self, here: Path, name: str) -> None:
        path = method(here, name)
        assert re.search("cannot be a name|cannot be printed", problem(lambda: Registry([path]).method_files))

    @pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", "C:/a", "..", "", "a\\b", "a\0", None, 5, ["a"]])
    def test_of_what_cards_name(self, name: object) -> None:
        assert not stays_inside(name)

    @pytest.mark.parametrize("name", ["a", "a/b", "a b/ü.tar.gz", ".hidden", "...", "a/./b"])
    def test_of_what_cards_may_name(self, name: str) -> None:
        assert stays_inside(name)

    CARD = (
        "title: D\nreader: domainnet\ntask: classification\nclasses: 1\nofficial: {train: 1, test: 1}\n"
        "use: {train: [train], test: [test]}\noptions: {domain: d}\nlicence: x\n"
    )

    def dataset(self, here: Path, train: str = "d/cat/1.png", more: str = "") -> Registry:
        (here / "datasets").mkdir()
        (here / "datasets" / "mine.yaml").write_text(self.CARD + more, encoding="utf-8")
        root = here / "data" / "mine"
        for name in ("d/cat/1.png", "d/cat/2.png", "../cat/3.png", "../../cat/3.png"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"x")
        (root / "d_train.txt").write_text(f"{train} 0\n", encoding="utf-8")
        (root / "d_test.txt").write_text("d/cat/2.png 0\n", encoding="utf-8")
        return Registry([here])

    def test_of_official_lists(self, here: Path) -> None:
        registry = self.dataset(here, train="../cat/3.png")
        assert "a list names" in problem(lambda: read_data(registry.dataset("mine")))

    def test_of_official_lists_is_not_asked_too_much(self, here: Path) -> None:
        assert len(read_data(self.dataset(here).dataset("mine")).train) == 1

    @pytest.mark.parametrize("line", ["../../cat/3.png", "/etc/passwd", "d/cat/2.png", "../mine/d/cat/3.png"])
    def test_of_lists_of_ones_own(self, here: Path, line: str) -> None:
        registry = self.dataset(here)
        (here / "list.txt").write_text(f"{line}\n", encoding="utf-8")
        assert "is no training image of mine" in problem(lambda: read_data(registry.dataset("mine@list.txt")))

    @pytest.mark.parametrize(
        "entry",
        [
            "{url: 'https://localhost/x', into: ../..}",
            "{url: 'https://localhost/x', file: ../../x}",
            "{url: 'https://localhost/x', file: /etc/x}",
            "{url: 'https://localhost/..'}",
            "{url: 'https://localhost/x', gives: [../../x]}",
            "{url: 'https://localhost/x', gives: [a], rename: {a: ../../x}}",
            "{url: 'https://localhost/x', gives: [a], inner: [../../x.tar]}",
            "{url: 'file:///etc/passwd'}",
            "{url: '/etc/passwd'}",
        ],
    )
    def test_of_downloads(self, here: Path, capsys: pytest.CaptureFixture[str], entry: str) -> None:
        self.dataset(here, more=f"download: [{entry}]\n")
        before = names(here)
        assert call("data", "prepare", "mine", "--plugin", ".") == 2
        assert "mine.yaml:9: " in capsys.readouterr().err
        assert names(here) == before

    @pytest.mark.parametrize("member", ["../x", "/x", "a/../../x", "..\\x", "C:/x", "link", "hard", "device"])
    @pytest.mark.parametrize("kind", ["tar", "zip"])
    def test_of_archives(self, tmp_path: Path, kind: str, member: str) -> None:
        archive = tmp_path / "a"
        if kind == "zip":
            with zipfile.ZipFile(archive, "w") as content:
                info = zipfile.ZipInfo(member)
                info.external_attr = {"link": 0o120777, "hard": 0o120777, "device": 0o020666}.get(
                    member, 0o100644
                ) << 16
                content.writestr(info, "/etc/passwd")
        else:
            kinds = {"link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "device": tarfile.CHRTYPE}
            with tarfile.open(archive, "w") as content:
                member_info = tarfile.TarInfo(member)
                member_info.type, member_info.linkname = kinds.get(member, tarfile.REGTYPE), "/etc/passwd"
                content.addfile(member_info, io.BytesIO())
        assert re.search(
            "leaves the folder|a link or a device", problem(lambda: unpack.unpack(archive, tmp_path / "o"))
        )
        assert names(tmp_path) == ["a", "o"]

    def test_of_experiments(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Tables are called after the file, whatever path led to it."""
        (here / "sub").mkdir()
        text = "methods: [ce]\nbackbones: [micro_vit]\ndatasets: [digits]\nrates: [15]\nprotocol: {steps: 5}\n"
        (here / "x.yaml").write_text(text, encoding="utf-8")
        assert call("plan", "sub/../../work/x.yaml") == 0
        assert capsys.readouterr().out.startswith("x: ")


class TestPlugins:
    """What a plugin's file does when it is run happens only where it is to be run."""

    def test_its_file_is_not_run_to_list_show_or_plan(
        self, here: Path, mark: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        method(here, top=f"open({str(mark)!r}, 'w')\nprint('printed')\nraise SystemExit(7)")
        for arguments in (
            ("list", "methods"),
            ("show", "mine"),
            ("plan", "demo", "--methods", "mine"),
            ("status", "demo", "--methods", "mine"),
            ("table", "demo", "--methods", "mine"),
        ):
            assert call(*arguments, "--plugin", "mine.py") == 0, arguments
            assert "printed" not in capsys.readouterr().out
        assert not mark.exists()

    @pytest.mark.parametrize(
        ("top", "says"),
        [
            ("raise RuntimeError('no')", "mine.py:2: running the file ends in RuntimeError: no"),
            ("import sys; sys.exit(0)", "running the file ends the process: sys.exit(0)"),
            ("import no_such_module", "mine.py:2: running the file ends in ModuleNotFoundError"),
            ("raise SystemError('\\x1b[2J')", r"running the file ends in SystemError: \x1b[2J"),
        ],
    )
    def test_one_that_breaks_when_it_is_run_is_told(
        self, here: Path, capsys: pytest.CaptureFixture[str], top: str, says: str
    ) -> None:
        method(here, top=top)
        assert call("check-method", "mine.py") == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert says in captured.err
        assert captured.err.count("\n") == 1

    @pytest.mark.slow
    @pytest.mark.usefixtures("warm")
    def test_one_that_leaves_costs_its_own_runs_only(self, here: Path) -> None:
        method(here, top="import sys\nsys.exit(0)")
        done = run_bench(here, "--methods", "ce,mine", "--plugin", "mine.py")
        assert done.returncode == 1, done.stderr
        assert sorted(record["status"] for record in records(here)) == ["done", "failed"]


HARMFUL = {
    "formula": "=HYPERLINK('http://localhost';'x')",
    "plus": "+1+cmd|' /C calc'!A0",
    "minus": "-2+3",
    "at": "@SUM(1)",
    "tab": "\t=1+1",
    "return": "\r=1+1",
    "script": "<script>alert(1)</script>",
    "attribute": "\"><img src=x onerror='alert(1)'>",
    "entity": "&lt;b&gt;&#x3c;b&#x3e;",
    "tex": r"\input{/etc/passwd}\immediate\write18{touch harm}",
    "tex end": r"}\end{tabular}\def\x{",
    "tex hat": r"^^5cinput{/etc/passwd}",
    "tex comment": "a % b & c # d $ e _ f ~ g",
    "markdown": "[x](javascript:alert(1)) ![y](http://localhost/y.png) | z | `code`",
    "terminal": ESCAPE,
    "backwards": "\u202eevil\u2066",
    "lines": "one\ntwo\r\nthree\u2028four",
}
REFUSED = ("terminal", "backwards", "return", "lines")
"""What a YAML file cannot hold, in whatever form it is written."""

PLAIN = "plain"


class Tags(html.parser.HTMLParser):
    """The tags of a page with their attributes, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attributes))


def sheet(label: str) -> Sheet:
    """A sheet with one text in every place that somebody else can fill."""
    cell = Shown(label, std=label, delta=label, mark=label, count=label, sign=label, look="best")
    record = {"row": label, "column": label, "note": label}
    where = {"columns": ((label, label),), "rows": ((label, label),), "cells": ((cell,),), "records": (record,)}
    return Sheet(name=label, title=label, stub=(label, label), notes=(label,), **where)  # type: ignore[arg-type]


def commands(tex: str) -> set[str]:
    return set(re.findall(r"\\(?:[A-Za-z]+|.)", tex))


def check_csv(text: str, plain: str) -> None:
    fields = [field for line in csv.reader(io.StringIO(text)) for field in line]
    assert not [field for field in fields if field.startswith(("=", "+", "-", "@", "\t", "\r"))]


def check_html(text: str, plain: str) -> None:
    assert Tags(text).found == Tags(plain).found


def check_tex(text: str, plain: str) -> None:
    names = "backslash|asciitilde|asciicircum|asciigrave|less|greater|bar"
    assert commands(text) - commands(plain) <= {
        *(f"\\{character}" for character in "%&#$_{}\\"),
        *(f"\\text{name}" for name in names.split("|")),
        r"\textquotedbl",
        *(r"\par", r"\noindent", r"\parbox", r"\footnotesize"),  # a longer caption stands below the table
        *(r"\small", r"\scriptsize", r"\setlength", r"\tabcolsep"),  # a wider table is set in smaller letters
        *(r"\allowbreak", r"\shortstack", r"\raggedright"),  # and a longer label in lines
    }
    bare = re.sub(r"\\[\\{}%]", "", text)
    assert bare.count("{") == bare.count("}")
    assert "^^" not in text
    comments, allowed = (re.findall("%.*", re.sub(r"\\[\\{}%]", "", content)) for content in (text, plain))
    assert len(comments) == len(allowed)


def check_macros(text: str, plain: str) -> None:
    r"""Names are letters; what stands behind them is as in every other LaTeX."""
    named, told = (re.sub(r"(?m)^\\newcommand\{\\[A-Za-z]+\}", "", content) for content in (text, plain))
    check_tex(named, told)


def check_markdown(text: str, plain: str) -> None:
    bare = re.sub(r"\\.", "", text).replace("<u>", "").replace("</u>", "")
    assert not re.search(r"[<`\[\]]", bare)
    bars = [line.count("|") for line in bare.splitlines() if "|" in line]
    assert bars == [line.count("|") for line in re.sub(r"\\.", "", plain).splitlines() if "|" in line]


def check_json(text: str, plain: str) -> None:
    def shape(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shape(item) for key, item in value.items()}
        return [shape(item) for item in value] if isinstance(value, list) else type(value)

    assert shape(json.loads(text)) == shape(json.loads(plain))


def check_text(text: str, plain: str) -> None:
    """One thing is asked of every format for people: nothing in it steers a terminal."""


CHECKS = {
    "csv": check_csv,
    "html": check_html,
    "latex": check_tex,
    "latex-siunitx": check_tex,
    "macros": check_macros,
    "markdown": check_markdown,
    "json": check_json,
    "text": check_text,
}


class TestInjection:
    """A label is shown as it is written, and is nothing but a label, in every format."""

    @pytest.mark.parametrize("harm", HARMFUL)
    @pytest.mark.parametrize("format", FORMATS)
    def test_of_labels_titles_and_cells(self, format: str, harm: str) -> None:
        text = render_sheet(sheet(HARMFUL[harm]), format, 100)
        CHECKS[format](text, render_sheet(sheet(PLAIN), format, 100))
        if format not in ("json", "csv"):
            assert all(line.isprintable() for line in text.split("\n")), text

    @pytest.mark.parametrize("harm", HARMFUL)
    @pytest.mark.parametrize("format", ["latex", "latex-siunitx"])
    def test_of_every_way_to_lay_out_latex(self, format: str, harm: str) -> None:
        """Labels from right to left and of letters that pdflatex lacks are between those of every kind."""
        for layout in (
            SheetLayout(transpose=True, fit="page"),
            SheetLayout(longtable=True, font_size="tiny", notes=False),
            SheetLayout(columns_per_block=1, caption=HARMFUL[harm]),
        ):
            plain = replace(layout, caption=layout.caption and PLAIN)
            text = render_sheet(sheet(HARMFUL[harm]), format, layout=layout)
            check_tex(text, render_sheet(sheet(PLAIN), format, layout=plain))
            standalone = replace(layout, standalone=True)
            written = render_sheets([sheet(f"漢 {HARMFUL[harm]} ط")], FORMATS[format], None, standalone)
            expected = render_sheets([sheet(f"漢 {PLAIN} ط")], FORMATS[format], None, replace(plain, standalone=True))
            check_tex(written, expected)
            assert all(line.isprintable() for line in written.split("\n")), written

    @pytest.mark.parametrize("harm", HARMFUL)
    @pytest.mark.parametrize("format", ["text", "markdown", "csv", "json", "latex"])
    def test_of_imported_results(self, here: Path, capsys: pytest.CaptureFixture[str], format: str, harm: str) -> None:
        def imported(label: str) -> str:
            lines = [("method", "dataset", "seed", "value", "metric")]
            lines += [
                (f"m{label}", f"d{label}", "0", "1.5", f"v{label}"),
                (label, f"d{label}", "0", "2.5", f"v{label}"),
            ]
            with (here / "r.csv").open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows(lines)
            assert call("import", "r.csv", "--format", format, "--title", f"t{label}", "--higher") == 0
            return capsys.readouterr().out

        plain = imported(PLAIN)
        text = imported(HARMFUL[harm])
        CHECKS[format](text, plain)
        if format not in ("json", "csv"):
            assert all(line.isprintable() for line in text.split("\n"))

    @pytest.mark.parametrize("harm", [name for name in HARMFUL if name not in REFUSED])
    @pytest.mark.parametrize("format", FORMATS)
    def test_of_experiments(self, here: Path, capsys: pytest.CaptureFixture[str], format: str, harm: str) -> None:
        def shown(label: str) -> str:
            head = "backbones: [micro_vit]\ndatasets: [digits]\nrates: [15]\nprotocol: {steps: 5}\n"
            text = f"{head}title: {json.dumps(label)}\nmethods: {{{json.dumps(label)}: ce, other: gta}}\n"
            (here / "x.yaml").write_text(text, encoding="utf-8")
            assert call("table", "x.yaml", "--format", format) == 0
            return capsys.readouterr().out

        plain = shown(PLAIN)
        CHECKS[format](shown(HARMFUL[harm]), plain)

    @pytest.mark.parametrize("harm", REFUSED)
    def test_of_terminals_by_an_experiment(self, here: Path, capsys: pytest.CaptureFixture[str], harm: str) -> None:
        head = "methods: [ce]\nbackbones: [micro_vit]\ndatasets: [digits]\nrates: [15]\nprotocol: {steps: 5}\n"
        (here / "x.yaml").write_text(f"{head}title: {json.dumps(HARMFUL[harm])}\n", encoding="utf-8")
        assert call("plan", "x.yaml") == 2
        assert "x.yaml:6: a text holds the character U+" in capsys.readouterr().err

    def test_of_terminals_by_a_folder(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for part in ("train", "test"):
            (here / ESCAPE / part / "a").mkdir(parents=True)
            (here / ESCAPE / part / "a" / "1.png").write_bytes(b"x")
        (here / "link").symlink_to(ESCAPE)
        plan = ("plan", "photos", "--backbones", "micro_vit", "--datasets")
        for command, name in ((plan, ESCAPE), (plan, "link"), (("show",), ESCAPE), (("show",), "link")):
            assert call(*command, f"folder:{name}") == 2
            error = capsys.readouterr().err
            assert "a path with the character U+001B cannot be printed; rename it" in error
            assert error.rstrip("\n").isprintable()

    @pytest.mark.parametrize("command", [("list", "methods"), ("show", "mine")])
    def test_of_terminals_by_a_plugin(
        self, here: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
    ) -> None:
        method(here, doc=repr(f"{ESCAPE}\u202e a method"))
        assert call(*command, "--plugin", "mine.py") == 0
        out = capsys.readouterr().out
        assert all(line.isprintable() for line in out.split("\n"))
        assert r"\x1b[2J" in out

    @pytest.mark.parametrize("name", [ESCAPE, "a\rb", "a\x9b2Jb", "a\u202eb", "a\x7f"])
    @pytest.mark.parametrize(
        "command", [("plan",), ("show",), ("audit",), ("claims",), ("import",), ("plan", "--plugin")]
    )
    def test_of_terminals_by_what_is_typed(
        self, here: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...], name: str
    ) -> None:
        assert call(*command, name, *(("demo",) if "--plugin" in command else ())) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert error.rstrip("\n").isprintable()

    def test_a_problem_is_one_line(self) -> None:
        assert printable("a\nbench: done\r\nb\x1b[1m\x85c") == r"a; bench: done; b\x1b[1m; c"
        assert printable("a" * 400).count("a") == 150


SECRETS = {
    "WANDB_API_KEY": "a0b1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e6f7a8b9",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMIK7MDENGbPxRfiCYzEXAMPLEKEYq",
    "AWS_ACCESS_KEY_ID": "AKIAABCDEFGHIJKLMNOP",
    "HF_TOKEN": "hf_abcdefghijklmnopqrstuvwxyzabcdefgh",
    "DB_PASSWORD": "correct-horse-battery-staple",
    "MYTOK": "another one 'with' quotes",
}
LOGIN = "ghp_0123456789abcdefghijklmnopqrstuvwxyz"


def run_bench(here: Path, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The smallest real run."""
    tiny = ("--seeds", "1", "--rates", "15", "--set", "steps=2", "--set", "warmup=0", "--set", "evaluations=1")
    command = [str(BENCH), "run", "digits", "--backbones", "micro_vit", *tiny, "--jobs", "1", *more]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=here, timeout=300, env={**os.environ, **environment}
    )


def records(here: Path) -> list[dict[str, Any]]:
    found = (*(here / "results" / "runs").glob("*/record.json"), *(here / "results" / "failed").glob("*/record.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in found]


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
class TestSecrets:
    def test_none_is_written_into_records(self, here: Path) -> None:
        """Of the environment, of a plugin's repository, and of what a method prints, and says when it fails."""
        folder = here / f"{LOGIN}-project"
        folder.mkdir()
        git = ("git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@localhost")
        method(folder, inside="import os; print(os.environ); raise RuntimeError('key ' + os.environ['WANDB_API_KEY'])")
        for words in (
            ("init", "-q"),
            ("add", "mine.py"),
            ("commit", "-q", "-m", "m"),
            ("remote", "add", "origin", f"https://me:{LOGIN}@localhost/me/project.git"),
        ):
            subprocess.run((*git, *words), check=True, capture_output=True)
        done = run_bench(here, "--methods", "ce,mine", "--plugin", str(folder / "mine.py"), **SECRETS)
        assert done.returncode == 1, done.stderr
        assert sorted(record["status"] for record in records(here)) == ["done", "failed"]
        kept = [path for path in (here / "results").rglob("*") if path.is_file()]
        assert {"log.txt", "record.json"} <= {path.name for path in kept}
        for path in kept:
            content = path.read_bytes()
            for name, secret in {**SECRETS, "login": LOGIN}.items():
                assert secret.encode() not in content, f"{name} is in {path}"


def test_weights_are_read_where_they_are_sound(tmp_path: Path) -> None:
    """That nothing hostile is taken means something only if what is sound is taken."""
    save_file({"w": torch.ones(2)}, tmp_path / "w.safetensors")
    assert tensors(read_checkpoint(tmp_path / "w.safetensors"))["w"].tolist() == [1, 1]
    torch.save({"w": torch.ones(2)}, tmp_path / "w.pth")
    assert tensors(read_checkpoint(tmp_path / "w.pth"))["w"].tolist() == [1, 1]
