"""Lists of names in which a comma may be part of a path: of datasets and backbones, as they are typed."""

from __future__ import annotations

import os

from bench.cards.folder import typed_folder
from bench.cards.folder_options import UNTYPED, looks_chosen
from bench.cards.folders import typed_path
from bench.cards.layout import PREFIX
from bench.errors import InputError
from bench.reading.syntax import split_list, split_unless


def split_names(text: str) -> list[str]:
    """``digits,folder:/x/birds, 2024,folder:y@split=20,seed=3`` as three names.

    A comma does not part what together names a file or folder that is there, the longest of which counts; nor what is
    chosen of a folder; nor what stands in parentheses.
    """
    return split_unless(text, _is_there, _is_choice_of_folder, lambda name: split_list(name) == [name])


def comma_hint(name: str, text: str) -> str:
    """What is to be known of commas where a name that stood before one in a list is no folder; else empty."""
    if not name.startswith(PREFIX) or f"{name}," not in text or os.path.exists(name.removeprefix(PREFIX)):
        return ""
    if "also=" in name:
        return "" if "@" in name.rpartition("also=")[2] else f"; none of {UNTYPED}"
    return "; a comma parts two names where no file or folder is there that has it in its path"


def _is_choice_of_folder(name: str) -> bool:
    front, at, back = name.rpartition("@")
    return bool(at) and front.startswith(PREFIX) and "," not in front and looks_chosen(back)


def _is_there(name: str) -> bool:
    """Whether a name has a path in it, and something lies there."""
    try:
        if _is_choice_of_folder(name) and "also=" in name:
            return os.path.exists(typed_path(name.removeprefix(PREFIX).rpartition("@")[0]))
        if name.startswith(PREFIX):
            return os.path.exists(typed_folder(name.removeprefix(PREFIX))[0])
        parts = name.split("@")
        files = ["@".join(parts[at:]) for at in range(1, len(parts)) if "," not in "".join(parts[:at])]
        return any(os.path.isfile(typed_path(file)) for file in files if file)
    except InputError:
        return False
