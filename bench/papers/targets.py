"""The tables that a command line names: by themselves, or by their paper."""

from __future__ import annotations

from collections.abc import Collection

from bench.errors import InputError, choose
from bench.registry import Registry


def tables_of(targets: Collection[str], registry: Registry) -> list[str]:
    """The tables that are named, by themselves (``gta/table2``) or by their paper (``gta``), all where none is.

    They are in the registry's order.

    Raises:
        InputError: there is no such paper or table.
    """
    known = [*registry.papers, *registry.table_files]
    for target in targets:
        if target not in known:
            raise InputError(choose(target, known, "paper or table"))
    return [name for name in registry.table_files if not targets or {name, name.partition("/")[0]} & {*targets}]
