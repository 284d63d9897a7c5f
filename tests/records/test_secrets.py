"""What a method prints is kept without what is secret in it, however it is printed."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
import urllib.parse
from pathlib import Path

import pytest

from bench.records.secrets import MaskedLog, mask_file, redacted

SECRET = "S3cr3t.Value_9x"
NAMES = (
    "MYTOK",
    "MY_TOKEN",
    "APIKEY",
    "DB_PASSWD",
    "MYSQL_PWD",
    "AWS_CREDS",
    "BASIC_AUTH",
    "CLIENT_SECRET",
    "DSN_PROD",
)


@pytest.mark.parametrize("name", NAMES)
def test_whatever_the_variable_is_called(name: str) -> None:
    assert redacted(f"{SECRET} and 'x{SECRET}y'", {name: SECRET}) == "*** and 'x***y'"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PWD", "/a b/c"),
        ("OLDPWD", "/somewhere/else"),
        ("GIT_AUTHOR_NAME", "Somebody Else"),
        ("SSH_AUTH_SOCK", "/"),
        ("KEY_WIDTH", "12"),
        ("TOKENIZERS_PARALLELISM", "false"),
    ],
)
def test_what_is_no_secret_stays(name: str, value: str) -> None:
    assert redacted(f"in {value} it is", {name: value}) == f"in {value} it is"


def test_where_a_key_lies_is_no_secret(tmp_path: Path) -> None:
    assert redacted(f"read {tmp_path}", {"MY_KEY": str(tmp_path)}) == f"read {tmp_path}"


@pytest.mark.parametrize("secret", ["it's \"a\\ secret", "two\nlines that are long enough", "é±漢字字字", "a b/c?d&e"])
@pytest.mark.parametrize("form", [str, repr, json.dumps, urllib.parse.quote, lambda text: str({"X": text})])
def test_as_python_json_and_urls_write_it(secret: str, form: object) -> None:
    assert callable(form)
    masked = redacted(form(secret), {"MY_KEY": secret})
    assert masked.strip("'\"{}X: ") == "***"


def log_of(path: Path, *texts: str) -> str:
    with contextlib.closing(MaskedLog(path)) as log:
        for text in texts:
            print(text, end="", file=log)
            log.flush()
    return path.read_text(encoding="utf-8")


class TestLog:
    @pytest.mark.parametrize("size", [1, 3, 7, 10_000])
    def test_a_secret_cut_into_writes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
        monkeypatch.setenv("MYTOK", SECRET)
        text = f"one {SECRET} two\nhttps://me:{SECRET}x@example.org\n-----BEGIN PRIVATE KEY-----\nabc\nabd\n"
        text += f"-----END PRIVATE KEY-----\nlast {SECRET}"
        parts = [text[start : start + size] for start in range(0, len(text), size)]
        kept = log_of(tmp_path / "log.txt", *parts)
        assert kept == "one *** two\nhttps://***@example.org\n***\nlast ***"

    def test_a_whole_line_is_there_at_once(self, tmp_path: Path) -> None:
        with contextlib.closing(MaskedLog(tmp_path / "log.txt")) as log:
            print("step 1", file=log, flush=True)
            assert (tmp_path / "log.txt").read_text() == "step 1\n"

    def test_a_line_without_end(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MYTOK", SECRET)
        kept = log_of(tmp_path / "log.txt", *([f"{'x' * 1000} {SECRET}"] * 200), "-----BEGIN PRIVATE KEY-----\n")
        assert SECRET not in kept
        assert kept.count("x" * 1000) == 200

    def test_what_another_process_writes_into_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MYTOK", SECRET)
        with contextlib.closing(MaskedLog(tmp_path / "log.txt")) as log:
            print("begin", file=log)
            subprocess.run(["env"], stdout=log.fileno(), check=True)
            log.settle()
            print("end", file=log)
        kept = (tmp_path / "log.txt").read_text(encoding="utf-8")
        assert SECRET not in kept
        assert kept.startswith("begin\n")
        assert "MYTOK=***" in kept
        assert kept.endswith("end\n")

    def test_a_log_of_another_process(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MYTOK", SECRET)
        (tmp_path / "worker.log").write_bytes(b"\xff " + SECRET.encode())
        mask_file(tmp_path / "worker.log")
        assert SECRET.encode() not in (tmp_path / "worker.log").read_bytes()

    @pytest.mark.slow
    def test_many_small_writes_take_no_long_time(self, tmp_path: Path) -> None:
        started = time.process_time()
        log_of(tmp_path / "log.txt", *["="] * 100_000, *["= "] * 100_000)
        assert time.process_time() - started < 10


@pytest.mark.slow
def test_signs_that_join_words_take_no_long_time() -> None:
    started = time.process_time()
    redacted("= " * 100_000, {})
    redacted("password : " * 50_000, {})
    assert time.process_time() - started < 5


def test_a_value_of_several_lines_is_masked_whole_with_its_short_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "short\nand a longer line of it\nthird"
    monkeypatch.setenv("MY_SECRET", secret)
    path = tmp_path / "log.txt"
    with contextlib.closing(MaskedLog(path)) as log:
        print("it is", secret, file=log)
        for character in f"{secret}\n":
            log.write(character)
        log.write("short\n")
        log.write("of another text\n")
    assert path.read_text(encoding="utf-8") == "it is ***\n***\nshort\nof another text\n"


def test_the_bytes_of_a_secret_are_masked_as_python_prints_them() -> None:
    secret = "ключ-ä-geheim"
    assert redacted(f"it is {secret.encode()!r}", {"MY_KEY": secret}) == "it is b'***'"
