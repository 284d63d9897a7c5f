"""A digest of code: what a method does, whatever it is called and however it is commented."""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from bench.errors import InputError
from bench.reading.ordinary import read_ordinary


def read_source(path: Path) -> str:
    """The text of a file of Python. Raises ``InputError`` where it cannot be read."""
    try:
        return read_ordinary(path).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"{path}: cannot be read: {reason}") from None


def parse_source(text: str, path: Path) -> ast.Module:
    """The syntax tree of the text of a file. Raises ``InputError`` where it is no Python; says where."""
    try:
        return _tree(text)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise InputError(f"{path}:{line}: not valid Python: {getattr(error, 'msg', error)}") from None
    except (MemoryError, RecursionError):
        raise InputError(f"{path}:1: not valid Python: something in it is nested too deeply to be read") from None


@lru_cache(maxsize=256)
def _tree(text: str) -> ast.Module:
    """The syntax tree of a text. Raises as ``ast.parse``."""
    return ast.parse(text)


@lru_cache(maxsize=256)
def nodes_of(node: ast.AST) -> tuple[ast.AST, ...]:
    """A node of a syntax tree and all that are in it, as ``ast.walk`` has them; several look through the same ones."""
    return tuple(ast.walk(node))


def file_digest(path: Path) -> str:
    """The digest of the code of a file. Raises ``InputError`` where it cannot be read or is no Python."""
    text = read_source(path)
    parse_source(text, path)
    return code_digest(text)


@lru_cache(maxsize=256)  # many methods share one file of formulas
def code_digest(text: str, parent: str = "") -> str:
    """12 hexadecimal digits of the code without comments, docstrings, blank lines and trailing spaces.

    The text itself is hashed, not a parse of it, so that every version of Python finds the same digest. ``parent`` is
    the digest of the code that it builds on.
    """
    nodes, lines = nodes_of(_tree(text)), text.split("\n")
    for comment in _comments(text):
        (number, start), (_, stop) = comment.start, comment.end
        lines[number - 1] = lines[number - 1][:start] + lines[number - 1][stop:]
    docstrings = _docstrings(nodes)
    inside = _inside_strings(nodes) - {line for node in docstrings for line in _ends(node)}
    for node in docstrings:
        _cut(lines, node)
    stripped = [line if number in inside else line.rstrip() for number, line in enumerate(lines)]
    code = "\n".join(line for number, line in enumerate(stripped) if line or number in inside)
    return hashlib.sha256((parent + code).encode()).hexdigest()[:12]


def _comments(text: str) -> list[tokenize.TokenInfo]:
    """The comments of a file; most of a method's files have none, and need not be taken apart for it."""
    if "#" not in text:
        return []
    tokens = tokenize.generate_tokens(io.StringIO(text, newline="\n").readline)
    return [token for token in tokens if token.type == tokenize.COMMENT]


def _docstrings(nodes: Iterable[ast.AST]) -> list[ast.stmt]:
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    statements = [
        node.body[0] for node in nodes if isinstance(node, owners) and ast.get_docstring(node, clean=False) is not None
    ]
    return sorted(statements, key=lambda node: node.lineno, reverse=True)


def _inside_strings(nodes: Iterable[ast.AST]) -> set[int]:
    """Lines, from 0, whose end lies inside a string: there blanks mean something."""
    strings = (node for node in nodes if isinstance(node, (ast.Constant, ast.JoinedStr)))
    return {line for node in strings for line in _ends(node)}


def _ends(node: ast.expr | ast.stmt) -> range:
    return range(node.lineno - 1, (node.end_lineno or node.lineno) - 1)


def _cut(lines: list[str], node: ast.stmt) -> None:
    """Take a statement out; what stands before and after it on its lines stays. Columns of a tree count bytes."""
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    head = lines[first].encode()[: node.col_offset].decode()
    tail = lines[last].encode()[node.end_col_offset :].decode()
    lines[first : last + 1] = [head, *[""] * (last - first - 1), tail] if last > first else [head + tail]
