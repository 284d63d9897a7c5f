"""``bench data``: what is there, downloads that break off, archives that cannot be trusted, and what is verified."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.cli import main
from bench.data.download import ATTEMPTS, download
from bench.data.unpack import unpack
from bench.errors import InputError
from bench.registry import Registry

CONTENT = bytes(np.random.RandomState(0).randint(0, 256, 300_000).astype(np.uint8))


@dataclass
class Server:
    """A web server of a few files.

    Attributes:
        files: their bytes by name.
        breaks: after how many bytes the answers break off, one after another.
        ranges: whether it sends parts of files.
        shift: how far from where it was asked to begin it begins.
        asked: the range of each request, empty where it asked for the whole.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    breaks: list[int] = field(default_factory=list)
    ranges: bool = True
    shift: int = 0
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            state.asked.append(wanted)
            content = state.files.get(self.path.lstrip("/"))
            if content is None:
                self.send_error(404)
                return
            first = int(wanted.removeprefix("bytes=").rstrip("-")) + state.shift if wanted and state.ranges else 0
            if wanted and state.ranges and first >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if wanted and state.ranges else 200)
            if wanted and state.ranges:
                self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - first))
            self.end_headers()
            limit = state.breaks.pop(0) if state.breaks else len(content)
            self.wfile.write(content[first : first + limit])
            self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None: ...

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{web.server_port}"
    thread = threading.Thread(target=web.serve_forever)
    thread.start()
    yield state
    web.shutdown()
    thread.join()
    web.server_close()


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"


def problem_of(caught: pytest.ExceptionInfo[InputError]) -> str:
    (problem,) = caught.value.problems
    return problem


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# ---- one file


class TestDownload:
    @pytest.mark.parametrize("algorithm", ["md5", "sha256"])
    def test_a_file_is_fetched_and_verified(self, server: Server, tmp_path: Path, algorithm: str) -> None:
        server.files["a.bin"] = CONTENT
        checksum = f"{algorithm}:{hashlib.new(algorithm, CONTENT).hexdigest()}"
        download(f"{server.url}/a.bin", tmp_path / "deep" / "a.bin", checksum)
        assert (tmp_path / "deep" / "a.bin").read_bytes() == CONTENT
        assert names(tmp_path / "deep") == ["a.bin"]
        assert server.asked == [""]

    def test_what_is_there_is_not_fetched_again(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "a.bin").write_bytes(CONTENT)
        download(f"{server.url}/a.bin", tmp_path / "a.bin", md5(CONTENT))
        assert server.asked == []

    def test_what_is_there_and_wrong_is_told_and_kept(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "a.bin").write_bytes(b"mine")
        with pytest.raises(InputError) as caught:
            download(f"{server.url}/a.bin", tmp_path / "a.bin", md5(CONTENT))
        assert md5(b"mine") in problem_of(caught)
        assert (tmp_path / "a.bin").read_bytes() == b"mine"

    def test_a_broken_connection_is_taken_up_where_it_ended(self, server: Server, tmp_path: Path) -> None:
        server.files["a.bin"], server.breaks = CONTENT, [100_000, 50_000]
        download(f"{server.url}/a.bin", tmp_path / "a.bin", md5(CONTENT))
        assert (tmp_path / "a.bin").read_bytes() == CONTENT
        assert server.asked == ["", "bytes=100000-", "bytes=150000-"]

    def test_a_later_call_goes_on_too(self, server: Server, tmp_path: Path) -> None:
        server.files["a.bin"], server.breaks = CONTENT, [1000, *[0] * ATTEMPTS]
        with pytest.raises(InputError, match="1,000 bytes are there, and the same command goes on"):
            download(f"{server.url}/a.bin", tmp_path / "a.bin", md5(CONTENT))
        assert names(tmp_path) == ["a.bin.part"]
        server.breaks, server.asked = [], []
        download(f"{server.url}/a.bin", tmp_path / "a.bin", md5(CONTENT))
        assert (tmp_path / "a.bin").read_bytes() == CONTENT
        assert server.asked == ["bytes=1000-"]

    def test_a_server_without_parts_sends_it_anew(self, server: Server, tmp_path: Path) -> None:
        server.files["a.bin"], server.breaks, server.ranges = CONTENT, [100_000], False
        download(f"{server.url}/a.bin", tmp_path / "a.bin", md5(CONTENT))
        assert (tmp_path / "a.bin").read_bytes() == CONTENT

    def test_another_part_than_it_was_asked_for_is_not_taken(self, server: Server, tmp_path: Path) -> None:
        server.files["a.bin"], server.breaks, server.shift = CONTENT, [1000], 7
        with pytest.raises(InputError, match="sent another part than it was asked for; 1,000 bytes are there"):
            download(f"{server.url}/a.bin", tmp_path / "a.bin", md5(CONTENT))
        assert (tmp_path / "a.bin.part").read_bytes() == CONTENT[:1000]

    def test_a_part_that_is_whole_already(self, server: Server, tmp_path: Path) -> None:
        server.files["a.bin"] = CONTENT
        (tmp_path / "a.bin.part").write_bytes(CONTENT)
        download(f"{server.url}/a.bin", tmp_path / "a.bin", md5(CONTENT))
        assert names(tmp_path) == ["a.bin"]

    def test_a_wrong_checksum_leaves_nothing(self, server: Server, tmp_path: Path) -> None:
        server.files["a.bin"] = b"something else"
        with pytest.raises(InputError) as caught:
            download(f"{server.url}/a.bin", tmp_path / "a.bin", md5(CONTENT))
        assert md5(CONTENT) in problem_of(caught)
        assert md5(b"something else") in problem_of(caught)
        assert names(tmp_path) == []

    def test_a_part_of_something_else_is_thrown_away_and_the_next_call_is_right(
        self, server: Server, tmp_path: Path
    ) -> None:
        server.files["a.bin"] = CONTENT
        (tmp_path / "a.bin.part").write_bytes(b"an older version")
        with pytest.raises(InputError, match="has the checksum"):
            download(f"{server.url}/a.bin", tmp_path / "a.bin", md5(CONTENT))
        download(f"{server.url}/a.bin", tmp_path / "a.bin", md5(CONTENT))
        assert (tmp_path / "a.bin").read_bytes() == CONTENT

    def test_without_a_checksum_a_part_is_not_trusted(self, server: Server, tmp_path: Path) -> None:
        server.files["a.bin"] = CONTENT
        (tmp_path / "a.bin.part").write_bytes(b"an older version")
        download(f"{server.url}/a.bin", tmp_path / "a.bin")
        assert (tmp_path / "a.bin").read_bytes() == CONTENT
        assert server.asked == [""]

    def test_a_file_that_is_not_there(self, server: Server, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"none\.bin: the server answers 404"):
            download(f"{server.url}/none.bin", tmp_path / "none.bin", md5(CONTENT))
        assert names(tmp_path) == []

    def test_a_server_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"a\.bin: .*; 0 bytes are there, and the same command goes on"):
            download("http://127.0.0.1:9/a.bin", tmp_path / "a.bin", md5(CONTENT))

    @pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/a.bin", "/etc/passwd"])
    def test_only_the_web_is_fetched_from(self, tmp_path: Path, url: str) -> None:
        with pytest.raises(InputError, match="only http and https are fetched"):
            download(url, tmp_path / "a.bin")
        assert names(tmp_path) == []


# ---- archives


def tar(path: Path, members: dict[str, bytes | str | None], mode: Any = "w:gz") -> Path:
    """Files by their bytes, links by ``->target`` and ``=>target`` (hard), a device by ``!``, folders by None."""
    with tarfile.open(path, mode) as content:
        for name, what in members.items():
            member = tarfile.TarInfo(name)
            if isinstance(what, bytes):
                member.size = len(what)
                content.addfile(member, io.BytesIO(what))
                continue
            kinds = {"->": tarfile.SYMTYPE, "=>": tarfile.LNKTYPE, "!": tarfile.CHRTYPE}
            member.type = kinds[what[:2]] if what else tarfile.DIRTYPE
            member.linkname = what[2:] if what else ""
            content.addfile(member)
    return path


def zipped(path: Path, members: dict[str, bytes], link: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as content:
        for name, what in members.items():
            content.writestr(name, what)
        if link:
            member = zipfile.ZipInfo("link")
            member.external_attr = 0o120777 << 16
            content.writestr(member, link)
    return path


class TestUnpack:
    @pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
    def test_tar(self, tmp_path: Path, mode: str) -> None:
        archive = tar(tmp_path / "a", {"d": None, "d/a.txt": b"a", "d/e/b.txt": b"b", "top": b"t"}, mode)
        unpack(archive, tmp_path / "out")
        assert names(tmp_path / "out") == ["d", "d/a.txt", "d/e", "d/e/b.txt", "top"]
        assert (tmp_path / "out" / "d" / "e" / "b.txt").read_bytes() == b"b"

    def test_zip(self, tmp_path: Path) -> None:
        unpack(zipped(tmp_path / "a", {"d/": b"", "d/a.txt": CONTENT}), tmp_path / "out")
        assert (tmp_path / "out" / "d" / "a.txt").read_bytes() == CONTENT

    def test_names_as_some_archives_write_them(self, tmp_path: Path) -> None:
        unpack(tar(tmp_path / "a", {"./d/a b.txt": b"a", "./": None}), tmp_path / "out")
        assert names(tmp_path / "out") == ["d", "d/a b.txt"]

    def test_things_at_the_top_are_renamed(self, tmp_path: Path) -> None:
        unpack(tar(tmp_path / "a", {"data_256/a": b"a"}), tmp_path / "out", {"data_256": "data_256_standard"})
        assert names(tmp_path / "out") == ["data_256_standard", "data_256_standard/a"]

    def test_what_is_there_is_kept(self, tmp_path: Path) -> None:
        (tmp_path / "out" / "d").mkdir(parents=True)
        (tmp_path / "out" / "d" / "mine").write_bytes(b"m")
        unpack(tar(tmp_path / "a", {"d/a": b"a", "e/b": b"b"}), tmp_path / "out")
        assert names(tmp_path / "out") == ["d", "d/mine", "e", "e/b"]

    @pytest.mark.parametrize(
        "members",
        [
            {"good": b"g", "../evil": b"e"},
            {"good": b"g", "d/../../evil": b"e"},
            {"good": b"g", "/tmp/evil": b"e"},
            {"good": b"g", "..\\evil": b"e"},
            {"good": b"g", "C:/evil": b"e"},
            {"good": b"g", "../evil": None},
        ],
    )
    def test_a_path_that_leaves_the_folder(self, tmp_path: Path, members: dict[str, bytes | str | None]) -> None:
        self.check_refused(tar(tmp_path / "a", members), tmp_path, "leaves the folder")

    @pytest.mark.parametrize("what", ["->/etc", "->good", "=>good", "=>/etc/passwd", "!!"])
    def test_a_link_or_a_device(self, tmp_path: Path, what: str) -> None:
        members: dict[str, bytes | str | None] = {"good": b"g", "evil": what.replace("!!", "!")}
        if what == "!!":
            with tarfile.open(tmp_path / "a", "w") as content:
                member = tarfile.TarInfo("evil")
                member.type = tarfile.CHRTYPE
                content.addfile(member)
            archive = tmp_path / "a"
        else:
            archive = tar(tmp_path / "a", members)
        self.check_refused(archive, tmp_path, "a link or a device")

    def test_a_file_behind_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        archive = tar(tmp_path / "a", {"d": f"->{tmp_path}/elsewhere", "d/evil": b"e"})
        self.check_refused(archive, tmp_path, "a link or a device")
        assert names(tmp_path / "elsewhere") == []

    @pytest.mark.parametrize("name", ["../evil", "/evil", "d/../../evil"])
    def test_a_path_in_a_zip_that_leaves_the_folder(self, tmp_path: Path, name: str) -> None:
        self.check_refused(zipped(tmp_path / "a", {"good": b"g", name: b"e"}), tmp_path, "leaves the folder")

    def test_a_link_in_a_zip(self, tmp_path: Path) -> None:
        self.check_refused(zipped(tmp_path / "a", {"good": b"g"}, link="/etc/passwd"), tmp_path, "a link or a device")

    def test_a_damaged_archive(self, tmp_path: Path) -> None:
        archive = tar(tmp_path / "a", {"d/a": CONTENT, "d/b": CONTENT})
        archive.write_bytes(archive.read_bytes()[:350_000])
        self.check_refused(archive, tmp_path, "cannot be unpacked")

    def test_a_zip_whose_content_was_changed(self, tmp_path: Path) -> None:
        archive = tmp_path / "a"
        with zipfile.ZipFile(archive, "w") as content:
            content.writestr("a", b"0123456789" * 100)
        archive.write_bytes(archive.read_bytes().replace(b"0123456789", b"012345678X", 1))
        self.check_refused(archive, tmp_path, "cannot be unpacked")

    def test_no_archive(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"<html>404</html>")
        self.check_refused(tmp_path / "a", tmp_path, "is neither a tar nor a zip file")

    def check_refused(self, archive: Path, folder: Path, says: str) -> None:
        """And nothing is left of it, inside or outside."""
        with pytest.raises(InputError) as caught:
            unpack(archive, folder / "out")
        assert says in problem_of(caught)
        assert names(folder / "out") == []
        assert not [path for path in folder.rglob("*evil*") if path != archive]


# ---- the command

CARD = """
title: Little birds
reader: imagenet
task: classification
classes: 2
official: {{train: 4, val: 2}}
use: {{train: [train], test: [val]}}
expects: [images/train, images/val]
options: {{roots: [images]}}
checksums: {{names.txt: "{names}"}}
size: 10 kB
licence: only for tests
download:
  - url: {url}/birds.tar.gz
    checksum: {birds}
    gives: [images]
  - url: {url}/names.txt
    checksum: {names}
"""
BY_HAND = """
title: Secret birds
reader: imagenet
task: classification
classes: 2
official: {train: 4, val: 2}
use: {train: [train], test: [val]}
expects: [train, val]
licence: nobody may
steps: [Ask the owner., Unpack   it here.]
"""


@pytest.fixture
def birds(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A plugin with a dataset on the server and one by hand, and an empty data folder; work is done in a folder."""
    members: dict[str, bytes | str | None] = {}
    for number, (split, count) in enumerate((("train", 2), ("val", 1))):
        for name in ("auk", "owl"):
            for index in range(count):
                stream = io.BytesIO()
                Image.new("RGB", (8, 8), (number, index, len(members))).save(stream, "PNG")
                members[f"images/{split}/{name}/{index}.png"] = stream.getvalue()
    server.files["birds.tar.gz"] = tar(tmp_path / "birds.tar.gz", members).read_bytes()
    server.files["names.txt"] = b"auk\nowl\n"
    place = tmp_path / "plugin" / "datasets"
    place.mkdir(parents=True)
    sums = {"birds": md5(server.files["birds.tar.gz"]), "names": md5(server.files["names.txt"])}
    (place / "birds.yaml").write_text(CARD.format(url=server.url, **sums))
    (place / "secret.yaml").write_text(BY_HAND)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return server


def call(*arguments: str) -> int:
    return main(["data", *arguments, "--plugin", "plugin"])


class TestCommand:
    def test_prepare_fetches_unpacks_and_opens(
        self, birds: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert call("prepare", "birds") == 0
        out = capsys.readouterr().out
        assert "licence: only for tests" in out
        assert "2 classes, train 4, test 2 images, as its card says" in out
        assert sorted(path.name for path in (tmp_path / "data" / "birds").iterdir()) == ["images", "names.txt"]
        assert call("check", "birds", "--images") == 0
        out = capsys.readouterr().out
        assert "verified checksums: names.txt" in out
        assert "6 images decoded" in out

    def test_prepare_again_fetches_nothing(self, birds: Server, capsys: pytest.CaptureFixture[str]) -> None:
        assert call("prepare", "birds") == 0
        birds.asked.clear()
        assert call("prepare", "birds") == 0
        assert birds.asked == []
        assert "as its card says" in capsys.readouterr().out

    def test_prepare_fetches_only_what_is_missing(self, birds: Server, tmp_path: Path) -> None:
        assert call("prepare", "birds") == 0
        (tmp_path / "data" / "birds" / "names.txt").unlink()
        birds.asked.clear()
        assert call("prepare", "birds") == 0
        assert len(birds.asked) == 1

    def test_prepare_keeps_archives_if_told_to(self, birds: Server, tmp_path: Path) -> None:
        assert call("prepare", "birds", "--keep") == 0
        assert (tmp_path / "data" / "birds" / "birds.tar.gz").read_bytes() == birds.files["birds.tar.gz"]

    def test_prepare_goes_on_after_a_break(
        self, birds: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        birds.breaks = [100, *[0] * ATTEMPTS]
        assert call("prepare", "birds") == 2
        assert "100 bytes are there, and the same command goes on" in capsys.readouterr().err
        assert names(tmp_path / "data" / "birds") == ["birds.tar.gz.part"]
        assert call("check", "birds") == 2
        birds.breaks, birds.asked = [], []
        assert call("prepare", "birds") == 0
        assert birds.asked[0] == "bytes=100-"

    def test_prepare_refuses_what_is_not_the_published_archive(
        self, birds: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        birds.files["birds.tar.gz"] = b"something else"
        assert call("prepare", "birds") == 2
        (told,) = capsys.readouterr().err.splitlines()
        assert md5(b"something else") in told
        assert names(tmp_path / "data" / "birds") == []

    def test_prepare_refuses_a_hostile_archive(
        self, birds: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        hostile = tar(tmp_path / "hostile", {"images/train/auk/0.png": b"x", "../evil": b"e"}).read_bytes()
        card = tmp_path / "plugin" / "datasets" / "birds.yaml"
        card.write_text(card.read_text().replace(md5(birds.files["birds.tar.gz"]), md5(hostile)))
        birds.files["birds.tar.gz"] = hostile
        assert call("prepare", "birds") == 2
        assert "a path that leaves the folder" in capsys.readouterr().err
        assert names(tmp_path / "data" / "birds") == ["birds.tar.gz"]
        assert not (tmp_path / "data" / "evil").exists()

    def test_prepare_refuses_an_archive_of_something_else(
        self, birds: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        other = tar(tmp_path / "other", {"pictures/0.png": b"x"}).read_bytes()
        card = tmp_path / "plugin" / "datasets" / "birds.yaml"
        card.write_text(card.read_text().replace(md5(birds.files["birds.tar.gz"]), md5(other)))
        birds.files["birds.tar.gz"] = other
        assert call("prepare", "birds") == 2
        assert "does not hold images" in capsys.readouterr().err

    def test_prepare_says_step_by_step_what_only_its_owner_can_do(
        self, birds: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert call("prepare", "secret") == 1
        out = capsys.readouterr().out
        assert f"secret: lacks train, val in {tmp_path}/data/secret; it has to be fetched by hand:" in out
        assert "\n  1. Ask the owner.\n  2. Unpack it here.\n" in out
        for name in ("train", "val"):
            (tmp_path / "data" / "secret" / name).mkdir(parents=True)
        assert call("prepare", "secret") == 0

    @pytest.mark.parametrize("command", ["prepare", "check"])
    def test_what_comes_with_the_package(self, capsys: pytest.CaptureFixture[str], command: str) -> None:
        assert main(["data", command, "digits"]) == 0
        assert "digits: comes with the package" in capsys.readouterr().out

    @pytest.mark.parametrize("command", ["prepare", "check"])
    def test_a_name_that_is_none(self, capsys: pytest.CaptureFixture[str], command: str) -> None:
        assert main(["data", command, "cub20"]) == 2
        assert "did you mean 'cub200'?" in capsys.readouterr().err

    def test_check_tells_what_is_missing(
        self, birds: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert call("check", "birds") == 2
        (told,) = capsys.readouterr().err.splitlines()
        assert f"there is no folder {tmp_path}/data/birds with images/train, images/val" in told
        assert "'bench data prepare birds' fetches it or says how" in told

    def test_check_tells_what_was_changed(
        self, birds: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert call("prepare", "birds") == 0
        (tmp_path / "data" / "birds" / "images" / "val" / "owl" / "0.png").unlink()
        assert call("check", "birds") == 2
        assert "its card says 2 classes and {'train': 4, 'val': 2}, found are 2 classes" in capsys.readouterr().err
        (tmp_path / "data" / "birds" / "names.txt").write_bytes(b"auk\n")
        assert call("check", "birds") == 2
        assert md5(b"auk\n") in capsys.readouterr().err

    def test_check_decodes_every_image_if_told_to(
        self, birds: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert call("prepare", "birds") == 0
        (tmp_path / "data" / "birds" / "images" / "val" / "owl" / "0.png").write_bytes(b"no image")
        assert call("check", "birds") == 0
        assert call("check", "birds", "--images") == 2
        said = capsys.readouterr()
        assert "images/val/owl/0.png: it is no image" in said.err
        assert "1 of 6 images cannot be used" in said.err

    def test_list(self, birds: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert call("prepare", "birds") == 0
        capsys.readouterr()
        assert call("list", "--format", "json") == 0
        rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
        assert set(rows) == {*Registry().dataset_files, "birds", "secret"}
        assert (rows["birds"]["state"], rows["birds"]["splits"]) == ("there", {"train": 4, "test": 2})
        assert (rows["secret"]["state"], rows["secret"]["fetched"]) == ("missing", "by hand")
        assert rows["digits"]["state"] == "comes with the package"
        assert rows["oxford_flowers102"]["variants"] == ["train"]
        assert rows["cub200"]["folder"] == f"{tmp_path}/data/cub200"
        assert call("list") == 0
        out = capsys.readouterr().out
        assert str(tmp_path / "data") in out
        assert [line.split("  ")[-1].strip() for line in out.splitlines() if line.startswith("secret ")] == [
            "Secret birds"
        ]
        assert "missing: by hand" in out
        assert "missing: download, 1.1 GB" in out

    def test_a_plan_says_how_those_of_a_plugin_are_had(self, birds: Server, capsys: pytest.CaptureFixture[str]) -> None:
        asked = ("demo", "--methods", "ce", "--rates", "100", "--datasets", "birds,secret", "--plugin", "plugin")
        assert main(["plan", *asked]) == 0
        captured = capsys.readouterr()
        assert "2 datasets are not on this machine: birds, secret (" in captured.out
        assert "\n  'bench data prepare NAME --plugin plugin' fetches one or says how\n" in captured.out
        assert main(["run", *asked]) == 2
        assert captured.err == ""
        assert "'bench data prepare NAME --plugin plugin' fetches one" in capsys.readouterr().err
        assert call("prepare", "birds") == 0
        capsys.readouterr()
        assert main(["plan", *asked]) == 0
        assert "1 dataset is not on this machine: secret (" in capsys.readouterr().out

    def test_show_tells_whether_it_is_there(self, birds: Server, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["show", "birds", "--plugin", "plugin"]) == 0
        assert "there: no: lacks images/train, images/val" in capsys.readouterr().out
        assert call("prepare", "birds") == 0
        capsys.readouterr()
        assert main(["show", "birds", "--plugin", "plugin"]) == 0
        assert "there: yes" in capsys.readouterr().out

    @pytest.mark.parametrize("name", sorted(Registry().dataset_files))
    def test_show_of_every_dataset_is_for_people(self, capsys: pytest.CaptureFixture[str], name: str) -> None:
        assert main(["show", name]) == 0
        out = capsys.readouterr().out
        assert out.startswith(f"dataset {name}: ")
        assert "{'" not in out
        assert "None" not in out

    def test_the_group_alone_says_what_there_is(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["data"]) == 0
        out = capsys.readouterr().out
        assert "bench data prepare cub200" in out

    @pytest.mark.slow
    def test_listing_needs_no_torch(self, tmp_path: Path) -> None:
        code = (
            "import sys; from bench.cli import main; main(['data', 'list']); main(['show', 'cub200']);"
            "main(['plan', 'demo', '--datasets', 'cub200']); print(sorted({'torch', 'torchvision'} & set(sys.modules)))"
        )
        environment = {**os.environ, "BENCH_DATA": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
        assert done.stdout.splitlines()[-1] == "[]"


def test_a_task_of_vtab_is_checked_with_and_without_images_to_choose_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As large as it is published, of one image under all its names."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    Image.new("RGB", (4, 2)).save(tmp_path / "only.jpg")
    kitti = tmp_path / "vtab-1k" / "kitti"
    for name, count in Registry().dataset("vtab_kitti").facts["official"].items():
        (kitti / "images" / name).mkdir(parents=True)
        paths = [f"images/{name}/{number:06d}.jpg" for number in range(count)]
        for path in paths:
            os.link(tmp_path / "only.jpg", kitti / path)
        (kitti / f"{name}.txt").write_text("".join(f"{path} {at % 4}\n" for at, path in enumerate(paths)))
    assert main(["data", "check", "vtab_kitti"]) == 0
    assert "4 classes, train 800, val 200, test 711 images, as its card says" in capsys.readouterr().out
    assert main(["data", "check", "vtab_kitti@full"]) == 0
    assert "4 classes, train 1,000, test 711 images, as its card says" in capsys.readouterr().out
    with (kitti / "val200.txt").open("a") as file:
        file.write("images/val200/000000.jpg 4\n")
    assert main(["data", "check", "vtab_kitti"]) == 2
    assert f"{kitti}/val200.txt:201: a line is a path and a label from 0 to 3" in capsys.readouterr().err
