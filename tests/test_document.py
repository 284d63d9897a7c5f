"""YAML files: what is read, and what is refused with its line."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

import bench.reading.document
from bench.errors import InputError
from bench.reading.document import Section, parse_document, read_document


def refused(text: str) -> str:
    """What the one problem of a text says."""
    with pytest.raises(InputError) as caught:
        parse_document(text, "file.yaml")
    (problem,) = caught.value.problems
    assert "\n" not in problem
    return problem


def value(text: str) -> Any:
    return parse_document(f"key: {text}\n", "file.yaml")["key"]


class TestValues:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("3e-3", 0.003),
            ("1e-4", 0.0001),
            ("-2E+5", -200000.0),
            ("1.5e3", 1500.0),
            ("3.e-3", 0.003),
            ("0.003", 0.003),
            ("300", 300),
            ("-1", -1),
            ("true", True),
            ("null", None),
            ("", None),
            ("text", "text"),
            ("'3e-3'", "3e-3"),
            ('"3e-3"', "3e-3"),
            ("3e-3x", "3e-3x"),
            ("[1, 2.5, a]", [1, 2.5, "a"]),
            ("{a: {b: [3e-3]}}", {"a": {"b": [0.003]}}),
            ("é ± 漢", "é ± 漢"),
        ],
    )
    def test_plain_values(self, text: str, expected: Any) -> None:
        found = value(text)
        assert found == expected
        assert type(found) is type(expected) or isinstance(found, Section)

    @pytest.mark.parametrize("word", ["no", "No", "yes", "on", "OFF", "null", "1.50", "010", "1e3", "0x10"])
    def test_a_key_is_the_word_that_is_written(self, word: str) -> None:
        assert parse_document(f"{word}: ce\n", "f") == {word: "ce"}

    @pytest.mark.parametrize("word", ["no", "Yes", "on", "OFF", "y", "n"])
    def test_words_that_yaml_takes_for_truths_are_words(self, word: str) -> None:
        assert value(word) == word

    def test_keys_are_texts(self) -> None:
        assert list(parse_document("1: a\ntrue: b\n2.5: c\n", "f")) == ["1", "true", "2.5"]

    def test_many_lines_of_text(self) -> None:
        assert parse_document("a: >-\n  one\n  two\nb: |\n  one\n  two\n", "f") == {"a": "one two", "b": "one\ntwo\n"}

    def test_a_byte_order_mark_is_no_mistake(self, tmp_path: Path) -> None:
        path = tmp_path / "bom.yaml"
        path.write_bytes(b"\xef\xbb\xbfa: 1\n")
        assert read_document(path) == {"a": 1}

    def test_line_ends_of_windows(self, tmp_path: Path) -> None:
        path = tmp_path / "dos.yaml"
        path.write_bytes(b"a: 1\r\nb:\r\n  c: 2\r\n")
        found = read_document(path)
        assert found == {"a": 1, "b": {"c": 2}}
        assert found["b"].place("c") == f"{path}:3"


class TestPlaces:
    TEXT = "# comment\na: 1\n\nb:\n  c: 2\n  d: [\n    {e: 5},\n  ]\n"

    def test_of_keys_and_mappings(self) -> None:
        found = parse_document(self.TEXT, "dir/file.yaml")
        assert found.place("a") == "dir/file.yaml:2"
        assert found.place("b") == "dir/file.yaml:4"
        assert found["b"].place("d") == "dir/file.yaml:6"
        assert found["b"]["d"][0].place("e") == "dir/file.yaml:7"

    def test_of_a_key_that_is_not_there_it_is_the_mapping(self) -> None:
        found = parse_document(self.TEXT, "file.yaml")
        assert found.place() == found.place("nothing") == "file.yaml:2"
        assert found["b"].place("nothing") == "file.yaml:5"

    def test_text_says_where_a_text_is_missing(self) -> None:
        found = parse_document("a: 5\nb: x\n", "file.yaml")
        assert found.text("b") == "x"
        for key, line in (("a", 1), ("nothing", 1)):
            with pytest.raises(InputError, match=rf"file\.yaml:{line}: '{key}' is missing or is not a text"):
                found.text(key)


class TestRefused:
    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("a: 1\nb: [1, 2\nc: 3\n", 3),
            ("a: 1\n\tb: 2\n", 2),
            ("a: 'open\n", 2),
            ("a: 1\n  b: 2\n", 2),
            ("a: b: c\n", 1),
            ("a: 1\n%x\n", 2),
            ("a: {b\n", 2),
            ("a: 1\n---\nb: 2\n", 2),
        ],
    )
    def test_malformed_text_with_its_line(self, text: str, line: int) -> None:
        problem = refused(text)
        assert problem.startswith(f"file.yaml:{line}: ")
        assert "malformed YAML" in problem

    def test_a_tab_is_called_so(self) -> None:
        problem = "malformed YAML: the line begins with a tab; indent with blanks"
        assert refused("a:\n\tb: 2\n") == f"file.yaml:2: {problem}"

    def test_a_quote_that_is_none_is_called_so(self) -> None:
        assert "odd character (it holds U+201C left double quotation mark, U+201D " in refused(
            "a: {\u201cb\u201d: [}\n"
        )

    def test_keys_written_twice(self) -> None:
        assert refused("a: 1\nb: 2\na: 3\n") == "file.yaml:3: 'a' is written twice (first on line 1)"
        assert refused("x:\n  a: 1\n  a: 3\n") == "file.yaml:3: 'a' is written twice (first on line 2)"
        assert "written twice" in refused("1: a\n'1': b\n")

    def test_aliases(self) -> None:
        assert refused("a: &x 1\nb: 2\nc: *x\n") == "file.yaml:3: aliases (*x) are not allowed"

    def test_merge_keys(self) -> None:
        assert "aliases" in refused("a: &x {b: 1}\nc:\n  <<: *x\n")

    def test_a_billion_laughs(self) -> None:
        lines = ["a0: &a0 [lol, lol]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))]
        assert refused("\n".join(lines)) == "file.yaml:2: aliases (*a0) are not allowed"

    def test_an_alias_of_itself(self) -> None:
        assert "aliases" in refused("a: &a [*a]\n")

    @pytest.mark.parametrize(
        "tag",
        [
            "!!python/object/apply:os.system ['touch /tmp/harm']",
            "!!python/name:os.system",
            "!!python/tuple [1, 2]",
            "!mine {a: 1}",
            "!mine x",
            "!!python/none x",
        ],
    )
    def test_tags(self, tag: str) -> None:
        problem = refused(f"a: 1\nb: {tag}\n")
        assert problem.startswith("file.yaml:2: the tag ")
        assert "is not allowed" in problem

    @pytest.mark.parametrize(
        "tag", ["!!binary x", "!!set {a, b}", "!!omap [a: 1]", "!!timestamp 2001-01-01", "!!int x"]
    )
    def test_tags_of_yaml_are_plain_values_or_refused(self, tag: str) -> None:
        try:
            found = value(tag)
        except InputError as error:
            assert error.problems[0].startswith("file.yaml:1: ")  # noqa: PT017
        else:
            assert found is None or isinstance(found, (bool, int, float, str, list, dict)), type(found)

    @pytest.mark.parametrize("text", ["2001-01-01", "2001-01-01 10:00:00"])
    def test_a_date_is_a_plain_value(self, text: str) -> None:
        """Nothing here is a date: ``about: 2024-01-02`` must be a text and never break JSON."""
        assert value(text) == text

    @pytest.mark.parametrize(
        ("text", "what"),
        [("- a\n- b\n", "list"), ("text\n", "str"), ("5\n", "int"), ("", "NoneType"), ("# only\n", "NoneType")],
    )
    def test_a_top_level_that_is_no_mapping(self, text: str, what: str) -> None:
        problem = refused(text)
        assert problem.startswith("file.yaml:1: the file must hold keys and values")
        assert what in problem or "NoneType" in what

    DEEP: ClassVar[dict[str, tuple[str, int]]] = {
        "open": ("a: " + "[" * 20000, 1),
        "closed": ("b: 1\na: " + "[" * 20000 + "]" * 20000, 2),
        "mappings": ("a: " + "{a: " * 300 + "1" + "}" * 300, 1),
        "lines": ("a:\n" + " [\n" * 3000, 51),
        "dashes": ("- " * 3000, 1),
        "indentation": ("".join(f"{' ' * n}a:\n" for n in range(3000)), 51),
    }

    @pytest.mark.parametrize("loader", [yaml.SafeLoader, bench.reading.document._Loader], ids=["plain", "fast"])
    @pytest.mark.parametrize("kind", DEEP)
    def test_deep_nesting_by_our_limit_before_any_of_the_parser(
        self, kind: str, loader: type, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bench.reading.document, "_Loader", loader)
        text, line = self.DEEP[kind]
        assert refused(text) == f"file.yaml:{line}: values are nested more than 50 levels deep"

    def test_values_at_the_limit_are_read(self) -> None:
        assert value("[" * 49 + "]" * 49)
        assert value("'" + "[] {" * 49 + "'") == "[] {" * 49

    @pytest.mark.parametrize("key", ["[1, 2]: a", "{a: 1}: b", "? [a]\n: b"])
    def test_keys_that_are_no_plain_values(self, key: str) -> None:
        """Read as their text or refused; never an exception of Python's."""
        try:
            assert all(isinstance(name, str) for name in parse_document(f"{key}\n", "f"))
        except InputError as error:
            assert error.problems[0].startswith("f:1: ")  # noqa: PT017

    @pytest.mark.parametrize("character", ["\0", "\x07", "\x1b", "\ufffe"])
    def test_control_characters(self, character: str) -> None:
        assert "malformed YAML" in refused(f"a: x{character}y\n")

    def test_a_number_too_long_for_python(self) -> None:
        assert refused(f"a: {'9' * 5000}\n").startswith("file.yaml:1: malformed YAML")

    def test_a_broken_escape(self) -> None:
        assert refused('a: "\\q"\n').startswith("file.yaml:1: malformed YAML")


class TestFiles:
    def problem(self, path: Path) -> str:
        with pytest.raises(InputError) as caught:
            read_document(path)
        (problem,) = caught.value.problems
        return problem

    def test_missing(self, tmp_path: Path) -> None:
        path = tmp_path / "none.yaml"
        assert self.problem(path) == f"{path}: cannot be read: {os.strerror(errno.ENOENT)}"

    def test_a_folder(self, tmp_path: Path) -> None:
        assert self.problem(tmp_path) == f"{tmp_path}: cannot be read: {os.strerror(errno.EISDIR)}"

    def test_under_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x", encoding="utf-8")
        assert "cannot be read" in self.problem(tmp_path / "file" / "x.yaml")

    def test_utf16_is_called_so(self, tmp_path: Path) -> None:
        path = tmp_path / "x.yaml"
        path.write_bytes("a: 1\n".encode("utf-16"))
        assert self.problem(path) == f"{path}: cannot be read: it is UTF-16 text; save it as UTF-8"

    @pytest.mark.parametrize("content", [b"a: \xff\n", "a: é\n".encode("latin-1")])
    def test_not_utf8(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "x.yaml"
        path.write_bytes(content)
        assert self.problem(path) == f"{path}: cannot be read: it is not UTF-8 text"

    def test_empty(self, tmp_path: Path) -> None:
        path = tmp_path / "x.yaml"
        path.touch()
        assert self.problem(path).startswith(f"{path}:1: the file must hold keys and values")
