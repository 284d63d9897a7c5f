"""YAML files as plain data that remembers its lines; no tags, no aliases, no duplicate keys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from bench.errors import InputError, hidden, odd_characters
from bench.reading.ordinary import open_ordinary

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MOST_BYTES, MOST_LEVELS = 1_000_000, 50
"""The largest file that is read, and how deep its values may be nested: far more than anyone writes by hand."""

_DEEP_LINE = re.compile(rf"([\[{{][^\[\]{{}}\n]*){{{MOST_LEVELS + 1}}}")
"""More brackets opened in a line than may be. The scanner looks ahead over a whole line before it gives an event, and a
limit of its own would answer before ours."""

_FLOAT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")  # YAML 1.1 reads 3e-3 as a text; nobody means that
_DECIMAL = re.compile(r"[-+]?(0|[1-9]\d*)|[-+]?(\d+\.\d*|\.\d+)([eE][-+]?\d+)?|[-+]?\.(inf|nan)", re.IGNORECASE)
"""Numbers as people mean them: YAML 1.1 reads 010 as eight, 1:30 as ninety and 1_5 as fifteen; here they are texts."""

_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_TRUTH = "tag:yaml.org,2002:bool"
_BREAKS = str.maketrans("", "", "\n\t")  # in a text of several lines they are what they are


class Section(dict[str, Any]):
    """A mapping read from a file, and where in it each of its keys stands: ``lines``, counted from 1."""

    def __init__(self, source: str, first_line: int) -> None:
        super().__init__()
        self.source = source
        self.first_line = first_line
        self.lines: dict[str, int] = {}

    def place(self, key: str | None = None) -> str:
        """``file:line`` of a key, or of the mapping itself."""
        return f"{self.source}:{self.lines.get(key or '', self.first_line)}"

    def text(self, key: str) -> str:
        """The text under a key that must be there. Raises ``InputError`` where it is not."""
        value = self.get(key)
        if not isinstance(value, str):
            raise InputError(f"{self.place(key)}: '{key}' is missing or is not a text")
        return value


def read_document(path: Path) -> Section:
    """Read one YAML file. Raises ``InputError`` where it is missing, unreadable, malformed, or not a mapping."""
    return parse_document(read_text(path), str(path))


def read_text(path: Path) -> str:
    """The text of a file that somebody wrote by hand. Raises ``InputError`` where it is none, or too long for that."""
    try:
        with open_ordinary(path) as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > MOST_BYTES:
        raise InputError(f"{path}: cannot be read: it has more than {MOST_BYTES:,} bytes")
    return decoded(content, f"{path}:")


def decoded(content: bytes, source: str) -> str:
    """The text in a file's bytes, without the mark at its beginning that some systems write.

    Raises ``InputError`` where it is not UTF-8, which begins with ``source``; says what it seems to be.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        is_wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        problem = "it is UTF-16 text; save it as UTF-8" if is_wide else "it is not UTF-8 text"
        raise InputError(f"{source} cannot be read: {problem}") from None


def parse_document(text: str, source: str) -> Section:
    """As ``read_document``, from a text that came from ``source``."""
    loader = _Loader(text)
    try:
        _refuse_traps(text, source)
        node = loader.get_single_node()
        value = _plain(node, source, loader) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise InputError(f"{source}:{line}: malformed YAML: {_cause(text, line) or error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{source}:1: malformed YAML: {str(error).splitlines()[0]}") from None
    finally:
        loader.dispose()
    if not isinstance(value, Section):
        raise InputError(f"{source}:1: the file must hold keys and values (name: value), not a {type(value).__name__}")
    return value


def _cause(text: str, line: int) -> str:
    """What a person would see in a line that YAML cannot read; empty where it is nothing of the kind."""
    lines = text.split("\n")
    written = lines[line - 1] if line <= len(lines) else ""
    if "\t" in written[: len(written) - len(written.lstrip())]:
        return "the line begins with a tab; indent with blanks"
    return f"the line has an odd character{odd}" if (odd := odd_characters(written)) else ""


def _refuse_traps(text: str, source: str) -> None:
    """An alias can make a few lines expand to gigabytes, and deep nesting takes forever; nothing here needs either."""
    too_deep = f"values are nested more than {MOST_LEVELS} levels deep"
    if deep := _DEEP_LINE.search(text):
        line = text.count("\n", 0, deep.start()) + 1
        raise InputError(f"{source}:{line}: {too_deep}")
    level = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise InputError(f"{source}:{_line(event)}: aliases (*{event.anchor}) are not allowed")
        level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if level > MOST_LEVELS:
            raise InputError(f"{source}:{_line(event)}: {too_deep}")


def _plain(node: yaml.Node, source: str, loader: Any) -> Any:
    line = _line(node)
    if not node.tag.startswith("tag:yaml.org,2002:") or node.tag.startswith("tag:yaml.org,2002:python"):
        raise InputError(f"{source}:{line}: the tag {node.tag} is not allowed; only plain values are read")
    if isinstance(node, yaml.MappingNode):
        mapping = Section(source, line)
        for key_node, value_node in node.value:
            key, key_line = _key(key_node, source, loader), _line(key_node)
            if key in mapping:
                raise InputError(f"{source}:{key_line}: '{key}' is written twice (first on line {mapping.lines[key]})")
            mapping[key], mapping.lines[key] = _plain(value_node, source, loader), key_line
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, source, loader) for item in node.value]
    if isinstance(node, yaml.ScalarNode) and not node.style and _FLOAT.fullmatch(node.value):
        return float(node.value)
    if node.tag == _TRUTH and node.value.lower() not in ("true", "false"):
        return node.value  # yes, no, on and off are words; whoever needs a truth takes them for one
    odd_number = node.tag in _NUMBERS and not _DECIMAL.fullmatch(node.value)
    if odd_number or node.tag == "tag:yaml.org,2002:timestamp":  # a date is a text here: JSON has none
        return node.value
    value = loader.construct_object(node)
    if isinstance(value, str) and (odd := hidden(value.translate(_BREAKS))):
        raise InputError(f"{source}:{line}: a text holds the character U+{ord(odd):04X}, which cannot be printed")
    return value


def _key(node: yaml.Node, source: str, loader: Any) -> str:
    """A key as it is written: ``no`` is a word, ``null`` and ``1.50`` are what they look like."""
    value = _plain(node, source, loader)
    is_plain = isinstance(node, yaml.ScalarNode) and not node.style
    return str(node.value if is_plain else value)


def _line(part: yaml.Node | yaml.Event) -> int:
    """Where a part of a document begins, counted from 1."""
    return part.start_mark.line + 1 if part.start_mark is not None else 1
