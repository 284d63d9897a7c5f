"""What a reader has to know to read a table: its words in place of numbers, its marks, and its rules as sentences."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from bench.notation import fixed, listed
from bench.papers.published import Key
from bench.plan.table import Contest
from bench.stats.verdict import NOT_COMPARABLE, NOT_RUN, Agreement, Verdict, rank_agreement, summary
from bench.tables.claim import sentences
from bench.tables.compare import STRONGER, Entry, Table
from bench.tables.judging import SIGNS
from bench.tables.results import FAILED
from bench.tables.testing import DRAWS, out_of_reach, pairing, shared_draws, sizes, test_name

MISSING, ALL_FAILED = "–", "failed"
ORACLE = " (an oracle that looks at the test split)"


Legend = tuple[tuple[str, str], ...]
"""What a mark means, by the mark: ``best``, ``close`` (not distinguishable from the best) or ``second``."""


class Caption:
    """The words of a table: each is worked out once for all formats.

    Args:
        table: the table.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        counts = Counter(entry.n for entry in table.finished)
        self.usual = max(counts, key=lambda n: (counts[n], n), default=0)
        reasons = (entry.cell.reason for _, entry in table.places() if entry.cell.reason)
        self.footnotes = tuple(dict.fromkeys(reasons))

    def word(self, entry: Entry) -> str:
        """What stands in the place of a number; empty where there is a number, or where nothing is wanted."""
        if entry.n or not entry.planned.axes:
            return ""
        if entry.cell.reason:
            return f"n/a [{self.footnotes.index(entry.cell.reason) + 1}]"
        return ALL_FAILED if entry.cell.failed else MISSING

    def count(self, entry: Entry) -> str:
        """``n=2/3!`` (2 of 3 planned seeds finished, some failed) where n is not the usual one; else empty."""
        if not entry.n or (entry.n == self.usual and not entry.cell.failed):
            return ""
        planned = f"/{entry.cell.planned}" if entry.cell.planned > entry.n else ""
        return f"n={entry.n}{planned}" + "!" * bool(entry.cell.failed)

    def dagger(self, entry: Entry) -> str:
        """† for significant against the baseline at alpha, ‡ at alpha / 5, else empty."""
        if not entry.significant or entry.p_holm is None:
            return ""
        return "‡" if entry.p_holm <= self.table.plan.rules.alpha / STRONGER else "†"

    def scoring(self) -> tuple[str, ...]:
        """How values come about and are compared, as short plain sentences."""
        rules = self.table.plan.rules
        oracle = ORACLE if rules.selection == "best-test" else ""
        scored = f"Selection rule, the point of its curve at which a run is scored: {rules.selection}{oracle}."
        return (
            *self.table.plan.notes,
            *filter(None, [self._spread()]),
            *([scored] if self._has_curve() else []),
            *self._sweep(),
            *_comparison(self.table),
        )

    def legend(self, by_means: bool = False, better: str = "") -> Legend:
        """What the marks of ours mean: by the table's test, or by the means alone; ``better`` names the best mean."""
        if not any(entry.rank for _, entry in self.table.places()):
            return ()
        if by_means:
            return (("best", "the best"), ("second", "the second best, by the means alone; no test stands behind it"))
        top = f"the {better or best_mean(self.table)} mean{_within(self.table)}, shared by printed ties"
        if all(entry.n < 2 for entry in self.table.finished):
            return (("best", top),)
        rules = self.table.plan.rules
        test = f"({test_name(rules.test)} against it, Holm-corrected, p > {rules.alpha:g})"
        return (("best", top), ("close", f"not distinguishable from it {test}"))

    def results(self, command: str = "") -> tuple[str, ...]:
        """What is claimed, what is missing and why, and what the verdicts say.

        Args:
            command: what trains the runs that are missing; empty where that is not to be said.
        """
        return (
            *self._claims(),
            *self._absent(command),
            *_failures(self.table),
            *_verdicts(self.table),
        )

    def _spread(self) -> str:
        entries = self.table.finished
        if not entries:
            lacking = any(entry.cell.lacking for _, entry in self.table.places())
            return "" if lacking else "No run has finished."
        most = max(entry.cell.planned for entry in entries)
        usual = f"n={self.usual} seed{'s' * (self.usual > 1)}"
        if most > max(entry.n for entry in entries):
            usual += f" (up to {most} planned)"
        marked = {self.count(entry) for entry in entries} - {""}
        notes = []
        if any("/" in mark for mark in marked):
            notes.append("n=2/3: two of three seeds are there")
        if any("!" in mark for mark in marked):
            notes.append("!: a seed failed")
        if min(entry.n for entry in entries) == 1:
            notes.append("n=1 has no ± and is not tested")
        other = ", or the n in the cell" if marked else ""
        if marked and notes:
            other += f" ({'; '.join(notes)})"
        if all(entry.n == 1 for entry in entries):
            return f"{usual} a cell{other}: no ± and no test."
        return f"± is the sample standard deviation over {usual}{other}."

    def _has_curve(self) -> bool:
        entries = (entry for _, entry in self.table.places())
        return any(entry.planned.candidates and entry.planned.metric.of_curve for entry in entries)

    def _sweep(self) -> Iterator[str]:
        """How one of several candidates was chosen, and how many each method was allowed."""
        allowed: dict[str, set[int]] = {}
        for _, planned in self.table.plan.places():
            if planned.candidates:
                allowed.setdefault(planned.name, set()).add(len(planned.candidates))
        counts = {method: sizes for method, sizes in allowed.items() if max(sizes) > 1}
        if not counts:
            return
        on_test = self.table.plan.rules.sweep == "best-test"
        split = f"test split{ORACLE}" if on_test else "validation split"
        methods = (f"{method} {_span(sizes)}" for method, sizes in counts.items())
        yield f"Of swept values the best on the {split} count; candidates tried: {', '.join(methods)}."

    def _claims(self) -> Iterator[str]:
        if self.table.plan.rules.across and not self.table.claims:
            why = "no method and its baseline have both finished on any of them"
            if not self.table.plan.baseline:
                why = "there is no baseline to compare with"
            elif not self.table.finished:
                why = "no run has finished"
            yield f"Nothing is claimed over datasets: {why}."
        yield from sentences(self.table.claims)

    def _absent(self, command: str) -> Iterator[str]:
        words = {self.word(entry) for _, entry in self.table.places()}
        missing = [entry for _, entry in self.table.places() if self.word(entry) == MISSING]
        lacking = [entry.cell.lacking for entry in missing if not entry.is_average]
        if missing and not (lacking and all(lacking)):
            some = "not run, or not finished" if self.table.finished else "no run has finished"
            yield f"{MISSING}: {some}" + (f"; '{command}' trains what is missing." if command else ".")
        for reason, count in Counter(filter(None, lacking)).items():
            yield f"{MISSING}: {reason} ({count} cell{'s' * (count > 1)})."
        some_lack = Counter(entry.cell.lacking for entry in self.table.finished if entry.cell.lacking)
        for reason, count in some_lack.items():
            yield f"Some seeds do not count, as {reason} ({count} cell{'s' * (count > 1)})."
        if ALL_FAILED in words:
            yield f"{ALL_FAILED}: every seed that ran failed."
        for number, reason in enumerate(self.footnotes, 1):
            yield f"[{number}] {reason}"


def _span(sizes: Iterable[int]) -> str:
    least, most = min(sizes), max(sizes)
    return f"{most}" if least == most else f"{least} to {most}"


def _comparison(table: Table) -> list[str]:
    plan, rules = table.plan, table.plan.rules
    if not plan.baseline:
        return []
    compared = [entry for entry in table.finished if entry.delta is not None]
    told = [f"Signed numbers are differences of means to {plan.baseline}, taken before rounding."] * bool(compared)
    if not any(entry.p is not None for entry in compared):
        needed = "two seeds finished on both sides" if rules.test == "paired" else "two finished seeds on each side"
        return [*told, f"No test against {plan.baseline}: it takes {needed}."]
    test = f"two-sided {test_name(rules.test)} against {plan.baseline}, Holm-corrected over {_family(table)}"
    told.append(f"† p ≤ {rules.alpha:g}, ‡ p ≤ {rules.alpha / STRONGER:g}: {test}.")
    if rules.test == "paired":
        told.append(pairing(_drawn_alike(table)))
    if rules.test == "welch" and any(entry.p in (0.0, 1.0) and not entry.std for entry in compared):
        told.append("Where no seed differs on either side, p is its limit 0 or 1, which speaks of these seeds alone.")
    if rules.test == "paired" and any(entry.p == 0.0 for entry in compared):
        told.append("Where all pairs differ by the same, p is its limit 0, which speaks of these seeds alone.")
    return [*told, *_refusals(table)]


def _drawn_alike(table: Table) -> list[str]:
    """The draws that all pairs of runs share."""
    pairs = [(entry.cell.runs, base.cell.runs) for _, entry, base in table.pairs() if entry.p is not None]
    shared = [shared_draws(runs, others) for runs, others in pairs if runs and others]
    return [draw for draw in DRAWS if shared and all(draw in draws for draws in shared)]


def _refusals(table: Table) -> list[str]:
    """Where no comparison of a family can be significant with so few seeds, with the arithmetic."""
    rules, families = table.plan.rules, dict[Key, list[tuple[int, ...]]]()
    for contest, entry, base in table.pairs():
        if entry.p is not None:
            family = contest.where if rules.family == "column" else ()
            families.setdefault(family, []).append(sizes(rules.test, entry.cell, base.cell))
    hopeless: dict[str, list[Key]] = {}
    for family, compared in families.items():
        if why := out_of_reach(rules.test, compared, rules.alpha):
            hopeless.setdefault(why, []).append(family)
    everywhere = sum(map(len, hopeless.values())) == len(families)
    sentences_of = []
    for why, places in hopeless.items():
        where = "" if everywhere else f" at {listed(tuple(' / '.join(labels) for labels in places))}"
        sentences_of.append(f"No † can stand{where}: {why}.")
    return sentences_of


def _family(table: Table) -> str:
    compared: dict[int, int] = {}
    for contest, entry, _ in table.pairs():
        compared[id(contest)] = compared.get(id(contest), 0) + (entry.p is not None)
    counts = sorted(count for count in compared.values() if count)
    if table.plan.rules.family == "table":
        return f"all {sum(counts)} comparisons of the table"
    size = _span(counts)
    return f"the {size} comparison{'s' * (size != '1')}{_within(table)}"


def _within(table: Table) -> str:
    return f" within one {listed(table.plan.within)}" if table.plan.within else ""


def best_mean(table: Table) -> str:
    """What is best: the highest mean, or the lowest where less is better."""
    signs = {entry.planned.metric.sign for _, entry in table.places() if entry.rank}
    return "best" if len(signs) > 1 else "lowest" if signs == {-1} else "highest"


def published_legend(table: Table, by_means: bool = False) -> Legend:
    """What the marks of published numbers mean."""
    if not any(entry.published_rank for _, entry in table.places()):
        return ()
    alone = "of the published numbers by themselves; no test stands behind it"
    return (
        (("best", "the best"), ("second", f"the second best, {alone}"))
        if by_means
        else (("best", f"the best {alone}"),)
    )


def _failures(table: Table) -> Iterator[str]:
    """What was not averaged in, and which candidates were left out."""
    named = [(table.plan.cell_name(place), entry.cell) for place, entry in table.places()]
    lost = _grouped((cell.failures, name) for name, cell in named if cell.failures)
    left = _grouped((f"{label}, {why}", name) for name, cell in named for label, why in cell.left_out)
    if lost:
        yield f"Not averaged in: {lost}."
    if left:
        yield f"Left out of the choice among swept values, as some of their seeds have no score: {left}."
    if FAILED in lost + left:
        yield "What failed and did not diverge can be trained again: 'bench retry'."


def _grouped(named: Iterable[tuple[str, str]]) -> str:
    """What is said of cells, each once, with the cells that it is said of."""
    names = dict[str, list[str]]()
    for clause, name in named:
        names.setdefault(clause, []).append(name)
    return "; ".join(f"{clause}, in {', '.join(cells)}" for clause, cells in names.items())


def _verdicts(table: Table) -> list[str]:
    """The signs of the verdicts, how many there are of each, why not comparable, and the ranks."""
    verdicts = [entry.verdict for _, entry in table.places() if entry.verdict is not None]
    words = {verdict.word for verdict in verdicts}
    if not words - {NOT_RUN}:
        return []
    signs = ", ".join(f"{sign} {word}" for word, sign in SIGNS.items() if sign and word in words)
    why = Counter(_why(verdict) for verdict in verdicts if verdict.word == NOT_COMPARABLE)
    reasons = [f"{reason} ({count} cell{'s' * (count > 1)})" for reason, count in why.items()]
    return [
        f"The sign behind ours is the verdict on the published number: {signs}.",
        f"Verdicts: {summary(verdicts)}.",
        *([f"Not comparable: {'; '.join(reasons)}."] if reasons else []),
        *_agreement(table),
    ]


def _why(verdict: Verdict) -> str:
    """The reason without the numbers that differ from cell to cell."""
    return verdict.reason.partition("; ")[2] if verdict.reason.startswith("off by") else verdict.reason


def _agreement(table: Table) -> Iterator[str]:
    """Kendall's tau between print and ours, for each contest."""
    every = [(contest.where, _ranks_alike(table, contest)) for contest in table.plan.contests]
    every = [(where, agreement) for where, agreement in every if not math.isnan(agreement.tau)]
    ranked = [(where, agreement) for where, agreement in every if agreement.methods > 2]
    if ranked:
        yield _taus(ranked, table.plan.rules.alpha)
    for note in dict.fromkeys(agreement.note for _, agreement in ranked if agreement.note):
        yield f"Of the ranks, {note}."
    if pairs := [agreement for _, agreement in every if agreement.methods == 2]:
        same = sum(agreement.tau > 0 for agreement in pairs)
        verb = "has" if same == 1 else "have"
        yield f"Of {len(pairs)} column{'s' * (len(pairs) > 1)} of two rows, {same} {verb} them in the order of print."


def _ranks_alike(table: Table, contest: Contest) -> Agreement:
    entries = [table.at(place) for place in contest.places]
    entries = [entry for entry in entries if not entry.planned.ground.other_metric]
    ours = [math.nan if entry.mean is None else entry.mean for entry in entries]
    return rank_agreement([entry.planned.published for entry in entries], ours)


def _taus(ranked: Sequence[tuple[Key, Agreement]], alpha: float) -> str:
    counts = {agreement.methods for _, agreement in ranked}
    clauses: dict[str, list[str]] = {}
    for where, agreement in ranked:
        star = "*" if agreement.p <= alpha else ""
        rows = f" (of {agreement.methods})" if len(counts) > 1 else ""
        tau = fixed(agreement.tau, 2).replace("-", "−")
        clauses.setdefault(" / ".join(where[:-1]), []).append(f"{where[-1] if where else ''} {tau}{star}{rows}".strip())
    groups = [f"{name}: {', '.join(taus)}" if name else ", ".join(taus) for name, taus in clauses.items()]
    rows_of = f", {counts.pop()} rows a column" if len(counts) == 1 else ", with the number of rows"
    star = f"; * p ≤ {alpha:g}" if any(agreement.p <= alpha for _, agreement in ranked) else ""
    return f"Rank agreement with print (Kendall's τ{rows_of}{star}): {'; '.join(groups)}."
