"""What looks like a credential is masked in every text that is kept: records, logs and messages are shared."""

from __future__ import annotations

import functools
import io
import json
import os
import re
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TextIO

from bench.records.files import write_file

_MASK = "***"
_SHORTEST = 6
"""Characters of a variable's value, below which it is taken for a setting."""

_SHORTEST_LINE = 16
"""Characters of a line of a value of several lines, below which the line alone is not masked."""

_CREDENTIAL = (
    r"(?:token|secret|passwords?|passwd|passphrase|credentials?|cookie|authorization"
    r"|(?:api|access|account|auth|encryption|private|secret|ssh)[_-]?key)"
)
_OPTION = re.compile(rf"-{{1,2}}[\w.-]*?{_CREDENTIAL}", re.IGNORECASE)
_ASSIGNED = re.compile(rf"{_CREDENTIAL}['\"]?\s*[=:]", re.IGNORECASE)
_VARIABLE = re.compile(r"key|tok|secret|pass|pwd|cred|auth(?!or)|cookie|bearer|private|webhook|dsn", re.IGNORECASE)
_PLACES = ("PWD", "OLDPWD")
_HARMLESS = re.compile(r"(?:true|false|none|null|[-+.\d]{1,3})[\s,;)\]}'\"]*", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)[^\s/?#'\"]*@")
_WORD = re.compile(r"""(?:'[^'\n]*'|"[^"\n]*"|\S)+""")  # as a shell cuts a command
_REMEMBERED = 64
"""Characters of the words before a value in which its name is looked for."""

_KEY_BEGINS, _KEY_ENDS = "-----BEGIN ", "-----END "
_SHAPES = re.compile(
    r"\b(?:gh[opsur]_|github_pat_|glpat-|hf_|sk-|pypi-|xox[abeprs]-|AKIA|ASIA|AIza|eyJ)[\w.=-]{12,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)


_MOST_HELD = 1 << 16
"""Characters that are held of a line that does not end."""

_OVERLAP = 1 << 12
"""Of them, those that stay: a secret may go on behind them."""


def redacted(text: str, environ: Mapping[str, str] | None = None) -> str:
    """A text, such as a command, a trace or a log, with ``***`` in the place of what looks like a credential.

    Masked are: the value after a name such as ``--api-key``, ``HF_TOKEN=`` or ``"password":``; a login in a URL; what
    has the form of a known service's token, or of a private key; and, wherever they stand, the values of environment
    variables (by default of this process) that are named like credentials: with ``KEY``, ``TOK``, ``SECRET``, ``PASS``,
    ``PWD``, ``CRED``, ``AUTH`` or such in their name. Quotes as a shell reads them keep words together.
    """
    text = _LOGIN.sub(f"{_MASK}@", _SHAPES.sub(_MASK, without_values(text, environ)))
    previous = ""

    def masked(match: re.Match[str]) -> str:
        nonlocal previous
        word, preceding = match[0], previous
        previous = (preceding + word)[-_REMEMBERED:] if word in ("=", ":") else word[-_REMEMBERED:]
        return _masked_word(word, preceding)

    return _WORD.sub(masked, text)


def without_values(text: str, environ: Mapping[str, str] | None = None) -> str:
    """A text in which the values of variables that are named like credentials are masked, and nothing else."""
    secrets = _secrets(tuple((os.environ if environ is None else environ).items()))
    return secrets.sub(_MASK, text) if secrets else text


class MaskedLog(io.TextIOBase):
    """A log that what is printed goes to, without what is secret in it, however it is cut into writes.

    It is written by lines, since it is read meanwhile; what has no end yet is held until it has one, or the log is
    settled.
    """

    encoding = "utf-8"

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._file: TextIO = path.open("w", buffering=1, encoding="utf-8", errors="backslashreplace")
        self._held: list[str] = []
        self._size = 0
        self._raw = False

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str) -> int:
        """Take a text; gives its length."""
        self._held.append(text)
        self._size += len(text)
        if "\n" in text or self._size > _MOST_HELD:
            self._pass_on(_whole)
        return len(text)

    def flush(self) -> None:
        """Have on disk what is passed on."""
        if not self._file.closed:
            self._file.flush()

    def fileno(self) -> int:
        """The file's, for a process that is started with it: what it writes is masked when the log is settled."""
        self._raw = True
        self.flush()
        return self._file.fileno()

    def settle(self) -> None:
        """Have all of it in the file, without what is secret: what was held, and what other processes wrote."""
        self._pass_on(len)
        self._file.flush()
        if self._raw:
            mask_file(self._path)
            self._file.close()
            self._file = self._path.open("a", encoding="utf-8", errors="backslashreplace")

    def close(self) -> None:
        """Pass on what is held, and close the file."""
        if not self.closed:
            self._pass_on(len)
            self._file.close()
        super().close()

    def _pass_on(self, whole: Callable[[str], int]) -> None:
        text = "".join(self._held)
        end = whole(text)
        self._held, self._size = [text[end:]], len(text) - end
        self._file.write(redacted(text[:end]))


def _whole(text: str) -> int:
    """How much of a text can be judged: up to its last line break, but not into a key or value that has not ended."""
    end = text.rfind("\n") + 1
    for beginning in _beginnings(tuple(os.environ.items())):
        if text.endswith(beginning, 0, end):
            end = text.rfind("\n", 0, end - len(beginning)) + 1
    begun = text.rfind(_KEY_BEGINS, 0, end)
    if begun >= 0 and _KEY_ENDS not in text[begun:]:
        end = text.rfind("\n", 0, begun) + 1
    if len(text) - end > _MOST_HELD:  # nobody's line, nobody's key
        end = max(text.rfind(" ", 0, len(text) - _OVERLAP) + 1, len(text) - _MOST_HELD // 2)
    return end


def mask_file(path: Path) -> None:
    """Mask what is secret in a log that another process wrote. Raises ``OSError``."""
    text = path.read_text(encoding="utf-8", errors="backslashreplace")
    if (masked := redacted(text)) != text:
        write_file(path, masked)


@functools.lru_cache(maxsize=4)
def _secrets(variables: tuple[tuple[str, str], ...]) -> re.Pattern[str] | None:
    """What matches the secrets among variables as they are printed, the longest first."""
    values = [value for name, value in variables if _is_secret(name, value)]
    lines = [line for value in values if "\n" in value for line in value.splitlines()]
    values += [line for line in map(str.strip, lines) if len(line) >= _SHORTEST_LINE]
    written = {form for value in values for form in _forms(value)}
    return re.compile("|".join(map(re.escape, sorted(written, key=len, reverse=True)))) if written else None


@functools.lru_cache(maxsize=4)
def _beginnings(variables: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Of secrets of several lines the first line, the first two, and so on without the last one; the longest first."""
    values = [value.rstrip("\n").split("\n") for name, value in variables if _is_secret(name, value)]
    texts = ["\n".join([*lines[:number], ""]) for lines in values for number in range(1, len(lines))]
    return tuple(sorted(texts, key=len, reverse=True))


def _is_secret(name: str, value: str) -> bool:
    if len(value) < _SHORTEST or name in _PLACES or not _VARIABLE.search(name) or _HARMLESS.fullmatch(value):
        return False
    return not (value.startswith("/") and os.path.exists(value))  # where a key lies is no secret


def _forms(value: str) -> Iterable[str]:
    """A value as it is, as Python (text or bytes) and JSON write it, and as in a URL."""
    return (
        value,
        repr(value)[1:-1],
        repr(os.fsencode(value))[2:-1],
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        urllib.parse.quote(value),
        urllib.parse.quote(value, safe=""),
        urllib.parse.quote_plus(value),
    )


def _masked_word(word: str, preceding: str) -> str:
    bare = preceding.strip("'\"")
    opened = _OPTION.fullmatch(bare) and not word.startswith("--")
    assigns = any(name.end() == len(bare) for name in _ASSIGNED.finditer(bare))
    if opened or assigns or bare.lower() in ("bearer", "basic"):
        return word if _HARMLESS.fullmatch(word) else _MASK
    name = _ASSIGNED.search(word)
    if name is None or name.end() == len(word) or _HARMLESS.fullmatch(word[name.end() :]):
        return word
    return word[: name.end()].replace("'", "").replace('"', "") + _MASK
