"""What a reader has to know to read a table: its words in place of numbers, and its rules as sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from bench.errors import in_sentence
from bench.notation import listed
from bench.papers.published import Key
from bench.plan.table import REHEARSED
from bench.rate import WHOLE, budget_of, rate_label
from bench.rules import PAIRED, kept_at
from bench.tables.compare import STRONGER, Entry, Table
from bench.tables.legend import within_one
from bench.tables.results import FAILED
from bench.tables.swept import choices, choosing_runs
from bench.tables.testing import DRAWS, TEST_NAMES, out_of_reach, shared_draws, sizes
from bench.tables.verdicts import verdict_sentences

MISSING, ALL_FAILED = "–", "failed"
ORACLE = " (an oracle that looks at the test split)"


class Caption:
    """The words of a table: each is worked out once for all formats."""

    def __init__(self, table: Table) -> None:
        self.table = table
        complete = [entry.n for entry in table.finished if entry.cell.has_n and entry.n >= entry.cell.planned]
        counts = Counter(complete or [entry.n for entry in table.finished if entry.cell.has_n])
        self.usual = max(counts, key=lambda n: (counts[n], n), default=0)
        reasons = (entry.cell.reason for _, entry in table.places() if entry.cell.reason)
        self.footnotes = tuple(dict.fromkeys(reasons))

    def word(self, entry: Entry) -> str:
        """What stands in the place of a number; empty where there is a number, or where nothing is wanted."""
        if entry.n or entry.planned.quoted or not entry.planned.axes:
            return ""
        if entry.cell.reason:
            return f"n/a [{self.footnotes.index(entry.cell.reason) + 1}]"
        return ALL_FAILED if entry.cell.failed else MISSING

    def count(self, entry: Entry) -> str:
        """``n=2/3!`` (2 of 3 planned seeds finished, some failed) where n is not the usual one; else empty."""
        if not entry.n or not entry.cell.has_n or entry.planned.counted:
            return ""
        if entry.n == self.usual and not entry.cell.failed:
            return ""
        planned = f"/{entry.cell.planned}" if entry.cell.planned > entry.n else ""
        return f"n={entry.n}{planned}" + "!" * bool(entry.cell.failed)

    def dagger(self, entry: Entry) -> str:
        """† for significant against the baseline at alpha, ‡ at alpha / 5, else empty."""
        if not entry.significant or entry.p_holm is None:
            return ""
        return "‡" if entry.p_holm <= self.table.plan.rules.alpha / STRONGER else "†"

    def scoring(self, intervals: bool = False) -> tuple[str, ...]:
        """How values come about and are compared, as short plain sentences; ``intervals`` where they are shown."""
        rules = self.table.plan.rules
        oracle = ORACLE if rules.selection == "best-test" else ""
        scored = f"Selection rule, the point of its curve at which a run is scored: {rules.selection}{oracle}."
        planned = [cell for _, cell in self.table.plan.places()]
        has_curve = any(cell.candidates and cell.metric.of_curve for cell in planned)
        kept = any(cell.candidates and cell.metric.measure for cell in planned)
        return (
            *self.table.plan.notes,
            *filter(None, [self.spread()]),
            *([scored] if has_curve else []),
            *([f"Models are measured as they were kept at the point: {kept_at(rules.selection)}."] if kept else []),
            *self._sweep(),
            *choices(self.table),
            *choosing_runs(self.table),
            *self._budgets(),
            *_comparison(self.table),
            *(_intervals(self.table) if intervals else ()),
        )

    def results(self, command: str = "") -> tuple[str, ...]:
        """What is claimed, what is missing and why, and what the verdicts say.

        ``command`` is what trains the runs that are missing.
        """
        return (
            *_untold(self.table),
            *self._claims(),
            *self._absent(command),
            *_failures(self.table),
            *verdict_sentences(self.table),
        )

    def spread(self) -> str:
        """What ± is, over how many seeds, and what stands where they are fewer."""
        entries = self.table.finished
        if not entries:
            every = [entry for _, entry in self.table.places()]
            explained = any(entry.cell.lacking or entry.planned.quoted for entry in every)
            explained = explained or any(entry.planned.counted for entry in every)
            return "" if explained else "No run has finished."
        if all(entry.cell.stated for entry in entries):
            return self._stated(entries)
        most = max(entry.cell.planned for entry in entries)
        counts = [entry.n for entry in entries]
        seed = _unit(self.table)
        usual = f"n={self.usual} {seed}{'s' * (self.usual > 1)}"
        if most > max(counts):
            usual += f" (up to {most} planned)"
        marks = self._counts
        meanings = {
            f"n=2/3: two of three {seed}s are there": "/" in marks,
            f"!: a {seed} failed": "!" in marks,
            "n=1 has no ± and is not tested": min(counts) == 1,
        }
        notes = "; ".join(meaning for meaning, holds in meanings.items() if holds)
        if marks:
            usual += ", or the n in the cell" + (f" ({notes})" if notes else "")
        if max(counts) == 1:
            return f"{usual} a cell: no ± and no test."
        stated = any(entry.cell.stated for entry in entries)
        return f"± is the sample standard deviation over {usual}{', or as it is stated' if stated else ''}."

    def _stated(self, entries: Sequence[Entry]) -> str:
        """What ± is where nobody gives the runs."""
        if not all(entry.cell.has_n for entry in entries):
            return "± is as stated; where nobody says of how many runs, nothing is tested."
        if all(entry.std is None for entry in entries):
            return f"Means as stated, of n={self.usual} runs: no ± and no test."
        or_else = " or the n in the cell" if self._counts else ""
        return f"± is the standard deviation as stated, of n={self.usual} runs{or_else}."

    @property
    def _counts(self) -> str:
        """The counts that stand in cells."""
        return "".join(self.count(entry) for entry in self.table.finished)

    def _sweep(self) -> Iterator[str]:
        """How one of several candidates was chosen, and how many each method was allowed."""
        allowed: dict[str, set[int]] = {}
        for _, planned in self.table.plan.places():
            if planned.candidates:
                allowed.setdefault(planned.name, set()).add(len(planned.candidates))
        counts = {method: tried for method, tried in allowed.items() if max(tried) > 1}
        if not counts:
            return
        on_test = self.table.plan.rules.sweep == "best-test"
        split = f"test split{ORACLE}" if on_test else "validation split"
        methods = [f"{method} {_span(tried)}" for method, tried in counts.items()]
        spans = {_span(tried) for tried in allowed.values()}
        if len(methods) > 2 and len(spans) == 1:
            methods = [f"{spans.pop()} in each row"]
        yield f"Of swept values the best on the {split} count; candidates tried: {', '.join(methods)}."

    def _budgets(self) -> Iterator[str]:
        """Which budgets of images do not count those by which points or candidates are chosen."""
        rules = self.table.plan.rules
        labels = dict[str, None]()
        for _, planned in self.table.plan.places():
            rate = planned.candidates[0].runs[0].rate if planned.candidates else WHOLE
            chooses = rules.selection == "best-val" or (len(planned.candidates) > 1 and rules.sweep == "best-val")
            chooses = chooses or any(candidate.chooses for candidate in planned.candidates)
            if chooses and budget_of(rate):
                labels[rate_label(rate)] = None
        if labels:
            yield f"Validation images, by which points or values are chosen, are not counted in {listed((*labels,))}."

    def _claims(self) -> Iterator[str]:
        if self.table.plan.rules.across and not self.table.claims:
            why = "no method and its baseline have both finished on any of them"
            if not self.table.plan.baseline:
                why = "there is no baseline to compare with"
            elif not self.table.finished:
                why = "no run has finished"
            yield f"Nothing is claimed over datasets: {why}."
        if self.table.claims:
            from bench.tables.claim import sentences

            yield from sentences(self.table.claims)

    def _absent(self, command: str) -> Iterator[str]:
        words = [(self.word(entry), entry) for _, entry in self.table.places()]
        missing = [entry for word, entry in words if word == MISSING]
        lacking = [entry.cell.lacking for entry in missing if not entry.is_average]
        if missing and not (lacking and all(lacking)):
            state = "not run, or not finished" if self.table.finished else "no run has finished"
            remedy = f"; {in_sentence(command)} trains what is missing" if command else ""
            yield f"{MISSING}: {state}{remedy}."
        for reason, count in Counter(filter(None, lacking)).items():
            yield f"{MISSING}: {reason} ({count} cell{'s' * (count > 1)})."
        some_lack = Counter(entry.cell.lacking for entry in self.table.finished if entry.cell.lacking)
        for reason, count in some_lack.items():
            yield f"Some seeds do not count, as {reason} ({count} cell{'s' * (count > 1)})."
        if any(word == ALL_FAILED for word, _ in words):
            yield f"{ALL_FAILED}: every seed that ran failed."
        for number, reason in enumerate(self.footnotes, 1):
            yield f"[{number}] {reason}"


def _unit(table: Table) -> str:
    """What n counts: folds, seeds, or runs of which nobody says the seed."""
    if table.plan.rules.folds:
        return "fold"
    cells = [entry.cell for entry in table.finished]
    return "run" if cells and not any(cell.seeds or cell.runs for cell in cells) else "seed"


def _span(sizes: Iterable[int]) -> str:
    least, most = min(sizes), max(sizes)
    return f"{most}" if least == most else f"{least} to {most}"


def _comparison(table: Table) -> Iterator[str]:
    """What is compared with the baseline, by which test, and what that cannot say."""
    plan, rules = table.plan, table.plan.rules
    if not plan.baseline:
        return
    compared = [entry for entry in table.finished if entry.delta is not None]
    tested = [entry for entry in compared if entry.p is not None]
    if compared:
        shared = ", over the seeds that both have" if _has_other_seeds(table) else ""
        yield f"Signed numbers are differences of means to {plan.baseline}{shared}, taken before rounding."
    if not tested:
        seed = _unit(table)
        needed = f"two {seed}s finished on both sides" if rules.test in PAIRED else f"two finished {seed}s on each side"
        why = f"it takes {needed}" if compared else "nothing stands beside it"
        yield f"No test against {plan.baseline}: {why}."
        return
    test = f"two-sided {table.test_name} against {plan.baseline}, {_family(table)}"
    yield f"† p ≤ {rules.alpha:g}, ‡ p ≤ {rules.alpha / STRONGER:g}: {test}."
    if rules.folds:
        yield "Pairs are results on one fold."
    elif rules.test in PAIRED:
        draws = listed(_drawn_alike(table))
        yield "Pairs are runs of one seed" + (f", which share {draws}." if draws else ".")
    if rules.test == "welch" and any(entry.p in (0.0, 1.0) and not entry.std for entry in tested):
        yield "Where no seed differs on either side, p is its limit 0 or 1, which speaks of these seeds alone."
    if rules.test in PAIRED and any(entry.p == 0.0 for entry in tested):
        yield "Where all pairs differ by the same, p is its limit 0, which speaks of these seeds alone."
    yield from _refusals(table)


def _has_other_seeds(table: Table) -> bool:
    """Whether pairs are compared, and some cell or its baseline has seeds that the other lacks."""
    if table.plan.rules.test not in PAIRED and not table.plan.rules.folds:
        return False
    pairs = ((entry.cell, base.cell) for _, entry, base in table.pairs() if entry.p is not None)
    return any({*cell.seeds} != {*base.seeds} for cell, base in pairs)


def _intervals(table: Table) -> Iterator[str]:
    """What the interval behind each difference is."""
    rules = table.plan.rules
    if any(entry.low is not None for entry in table.finished):
        test = TEST_NAMES["welch"] if rules.test == "permutation" else table.test_name
        level = f"{100 * (1 - rules.alpha):g} %"
        alone = "each by itself, so that one may exclude zero where no † stands"
        yield f"In brackets the {level} intervals of the differences by the {test}, {alone}."


def _drawn_alike(table: Table) -> tuple[str, ...]:
    """The draws that all pairs of runs share, in words."""
    pairs = [(entry.cell.runs, base.cell.runs) for _, entry, base in table.pairs() if entry.p is not None]
    shared = [shared_draws(runs, base_runs) for runs, base_runs in pairs if runs and base_runs]
    return tuple(name for draw, name in DRAWS.items() if shared and all(draw in draws for draws in shared))


def _refusals(table: Table) -> Iterator[str]:
    """Where no comparison of a family can be significant with so few seeds, with the arithmetic."""
    rules, families = table.plan.rules, dict[Key, list[tuple[int, ...]]]()
    for contest, entry, base in table.pairs():
        if entry.p is not None:
            family = contest.where if rules.family == "column" else ()
            families.setdefault(family, []).append(sizes(rules.test, entry.cell, base.cell))
    hopeless: dict[str, list[str]] = {}
    for family, compared in families.items():
        if why := out_of_reach(rules.test, compared, rules.alpha):
            hopeless.setdefault(why, []).append(" / ".join(family))
    everywhere = sum(map(len, hopeless.values())) == len(families)
    for why, places in hopeless.items():
        where = "" if everywhere else f" at {listed(tuple(places))}"
        yield f"No † can stand{where}: {why}."


def _family(table: Table) -> str:
    counts = Counter(id(contest) for contest, entry, _ in table.pairs() if entry.p is not None)
    if table.plan.rules.family == "table" and counts.total() > 1:
        return f"Holm-corrected over all {counts.total()} comparisons of the table"
    size = _span(counts.values())
    if size == "1":
        return f"one comparison{within_one(table)}"
    return f"Holm-corrected over the {size} comparisons{within_one(table)}"


def _untold(table: Table) -> Iterator[str]:
    """Where nothing can be told from the best, and how many seeds would tell it from the baseline, or the second."""
    silent = [group for group in table.groups if group.tells_nothing]
    if not silent:
        return
    everywhere = len(silent) == len(table.groups)
    where = "" if everywhere else f" at {listed(tuple(' / '.join(group.where) for group in silent))}"
    sentence = f"Nothing can be told from the best{where}"
    needs = [group.seeds for group in silent if group.seeds is not None]
    if needs and len(needs) == len(silent):
        rival = "the baseline" if table.plan.baseline else "the second"
        counts = listed(tuple(map(str, needs))) if len(needs) < 5 else _span(needs)
        sentence += f": to tell {rival} from it in four of five tables would take about {counts} seeds"
        sentence += ", were the differences what they seem"
    yield f"{sentence}."


def _failures(table: Table) -> Iterator[str]:
    """What was not averaged in, and which candidates were left out."""
    named = [(table.plan.cell_name(place), entry.cell) for place, entry in table.places()]
    lost = _grouped((cell.failures, name) for name, cell in named if cell.failures)
    left_out = _grouped((f"{label}, {why}", name) for name, cell in named for label, why in cell.left_out)
    if lost:
        yield f"Not averaged in: {lost}."
    if left_out:
        yield f"Left out of the choice among swept values, as some of their seeds have no score: {left_out}."
    if FAILED in lost + left_out:
        again = "'bench rehearse' again" if table.plan.name.startswith(REHEARSED) else "'bench retry'"
        yield f"What failed and did not diverge can be trained again: {again}."


def _grouped(named: Iterable[tuple[str, str]]) -> str:
    """What is said of cells, each once, with the cells that it is said of."""
    names = dict[str, list[str]]()
    for clause, name in named:
        names.setdefault(clause, []).append(name)
    return "; ".join(f"{clause}, in {', '.join(cells)}" for clause, cells in names.items())
