"""Columns that siunitx aligns at the decimal marker; what both writers of LaTeX share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bench.sheets.widths import points, width

PACKAGE = r"\usepackage{siunitx} (Debian: texlive-science)"
SETUP = (
    r"\sisetup{mode=text, detect-weight, separate-uncertainty, retain-explicit-plus, group-minimum-digits=9}",
    r"\renewcommand{\bfdefault}{b}% bold digits as wide as the others",
    r"\renewcommand{\textpm}{\ensuremath{\pm}}% the text fonts' own may be missing in bold",
)
BEST, SECOND = r"$^{\bullet}$", r"$^{\diamond}$"
"""Behind a number that is marked and not bold: what is underlined could not be aligned."""

_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?", re.ASCII)
_FORMAT = re.compile(r"S\[table-format=([+-]?)(\d+)\.(\d+)(?:\((\d+)\))?(?:, table-space-text-post=\{(.*)\})?\]")


@dataclass(frozen=True)
class Aligned:
    """A cell that siunitx can align.

    Attributes:
        value: a plain decimal number, with its sign if it has one.
        std: after ±; empty where there is none.
        behind: LaTeX that follows the number, such as a dagger.
    """

    value: str
    std: str = ""
    behind: str = ""
    bold: bool = False


def plain(text: str) -> str:
    """A number as siunitx reads it, a real minus as a hyphen; empty where the text is none."""
    number = text.replace("−", "-")
    return number if _NUMBER.fullmatch(number) else ""


def columns(cells: Sequence[Aligned | str]) -> tuple[str, list[str]]:
    """The specification of a column and its cells: each a number, or LaTeX that stands in its place, centred.

    A ± is siunitx's uncertainty where every number of the column has as many decimals as its ±, and small text behind
    the number elsewhere.
    """
    numbers = [cell for cell in cells if isinstance(cell, Aligned)]
    apart = any(cell.std and _decimals(cell.std) != _decimals(cell.value) for cell in numbers)
    texts, groups = list[str](), [""]
    for cell in cells:
        if isinstance(cell, str):
            texts.append(f"{{{cell}}}" if cell else "")
            continue
        std = rf" \scriptsize$\pm$ {cell.std}" if cell.std and apart else ""
        uncertainty = f" +- {cell.std}" if cell.std and not apart else ""
        # in a group of its own and never bold
        groups.append(rf"{{\mdseries{{}}{cell.behind}{std}}}" if cell.behind or std else "")
        number = r"\bfseries " * cell.bold + cell.value + uncertainty
        texts.append(" ".join(filter(None, (number, groups[-1]))))
    if not numbers:
        return "c", texts
    widest = max(groups, key=lambda group: points(width(group), "normalsize"))
    room = f", table-space-text-post={{{widest}}}" if widest else ""
    return f"S[table-format={_format(numbers, apart)}{room}]", texts


def _format(numbers: Sequence[Aligned], apart: bool) -> str:
    """The room a column needs: sign, digits before and after the marker, digits of the uncertainty."""
    sign = "+" if any(cell.value[0] in "+-" for cell in numbers) else ""
    whole = max(len(cell.value.lstrip("+-").partition(".")[0]) for cell in numbers)
    decimals = max(_decimals(cell.value) for cell in numbers)
    digits = max(len(cell.std.replace(".", "")) for cell in numbers)
    return f"{sign}{whole}.{decimals}" + (f"({digits})" if digits and not apart else "")


def _decimals(text: str) -> int:
    return len(text.partition(".")[2])


def ruler(spec: str) -> str:
    """LaTeX that is as wide as the numbers of a column; empty for one of words."""
    match = _FORMAT.match(spec)
    if match is None:
        return ""
    sign, whole, decimals, digits, room = match.groups(default="")
    number = "$-$" * bool(sign) + "0" * int(whole) + "." * (decimals != "0") + "0" * int(decimals)
    uncertainty = f"+-{'0' * int(digits)}." if digits else ""
    return number + uncertainty + room
