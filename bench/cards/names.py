"""Lists of names in which a comma may be part of a path: of datasets and backbones, as they are typed."""

from __future__ import annotations

import os

from bench.cards.folder import PREFIX, typed_folder
from bench.cards.folder_options import looks_chosen
from bench.cards.folders import typed_path
from bench.errors import InputError
from bench.reading.syntax import split_list


def split_names(text: str) -> list[str]:
    """``digits,folder:/x/birds, 2024,folder:y@split=20,seed=3`` as three names.

    A comma does not part what together names a file or folder that is there, the longest of which counts; nor what is
    chosen of a folder; nor what stands in parentheses.
    """
    pieces, names, start = text.split(","), list[str](), 0
    while start < len(pieces):
        ends = range(len(pieces), start, -1)
        tried = {end: ",".join(pieces[start:end]).strip() for end in ends}
        whole = [end for end, name in tried.items() if _is_there(name)]
        whole += [end for end, name in tried.items() if _is_choice_of_folder(name) or split_list(name) == [name]]
        end = whole[0] if whole else start + 1
        names.append(tried[end])
        start = end
    return [name for name in names if name]


def _is_choice_of_folder(name: str) -> bool:
    front, at, back = name.rpartition("@")
    return bool(at) and front.startswith(PREFIX) and "," not in front and looks_chosen(back)


def _is_there(name: str) -> bool:
    """Whether a name has a path in it, and something lies there."""
    if "," not in name:
        return False
    try:
        if name.startswith(PREFIX):
            return os.path.exists(typed_folder(name.removeprefix(PREFIX))[0])
        tails = [name.split("@", number)[-1] for number in range(1, name.count("@") + 1)]
        return any("," in tail and os.path.isfile(typed_path(tail)) for tail in tails)
    except InputError:
        return False
