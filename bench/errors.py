"""Errors that are for people: what is wrong, where, what is allowed, what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """Something a user wrote cannot be used; the command line prints it without a traceback and exits with 2.

    Args:
        problems: one sentence each; all that were found are reported together.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Problems:
    """Collects what is wrong with an input, so that all of it is reported at once."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, problem: str | InputError) -> None:
        """Note one problem, or all of a caught ``InputError``."""
        self.found.extend(problem.problems if isinstance(problem, InputError) else (problem,))

    def stop(self) -> None:
        """Raise ``InputError`` if anything was found; the same sentence is said once."""
        if self.found:
            raise InputError(*dict.fromkeys(self.found))


def choose(name: str, choices: Iterable[str], what: str) -> str:
    """The sentence for a name that is none of the choices: names the nearest one and lists what there is.

    Args:
        name: what was written.
        choices: what is allowed.
        what: the singular noun, such as ``"method"``.
    """
    known = sorted(choices)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    listed = ", ".join(known[:30]) + (", ..." if len(known) > 30 else "")
    return f"no {what} is called '{name}'{hint} (there are: {listed or 'none'})"
