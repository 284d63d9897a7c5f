"""What the verdicts of a table say, for machines and in sentences: signs and margins, claimed gains, order of rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from bench.notation import fixed, none_if_nan
from bench.papers.published import Key
from bench.plan.table import Contest
from bench.stats.verdict import CANNOT_TELL, DIFFERS, LEVEL, NOT_COMPARABLE, NOT_RUN, Verdict, summary
from bench.tables.compare import Entry, Table
from bench.tables.gains import IS_THERE, REVERSED, Gain
from bench.tables.judging import SIGNS

if TYPE_CHECKING:
    from bench.stats.agreement import Agreement


def verdict_sentences(table: Table) -> Iterator[str]:
    """The signs of the verdicts, how many there are of each, what would decide the open ones, the gains, the ranks."""
    verdicts = [entry.verdict for _, entry in table.places() if entry.verdict is not None]
    words = {verdict.word for verdict in verdicts}
    if not words - {NOT_RUN}:
        return
    signs = ", ".join(f"{sign} {word}" for word, sign in SIGNS.items() if sign and word in words)
    yield f"The sign behind ours is the verdict on the published number: {signs}."
    judged = [verdict for verdict in verdicts if not math.isnan(verdict.margin)]
    if judged:
        yield _margin(table, judged)
    yield f"Verdicts: {summary(verdicts)}."
    yield from _counts(table)
    yield from _open(table, verdicts)
    why = Counter(verdict.reason for verdict in verdicts if verdict.word == NOT_COMPARABLE)
    if why:
        reasons = (f"{reason} ({_cells(count)})" for reason, count in why.items())
        yield f"Not comparable: {'; '.join(reasons)}."
    yield from _gains(table)
    yield from _agreement(table)


def verdict_facts(entry: Entry) -> dict[str, str | float | None]:
    """The verdict on a published number and on the printed gain over the baseline; None is what does not exist."""
    verdict, gain = entry.verdict or Verdict("", ""), entry.gain
    numbers = {name: getattr(verdict, name) for name in ("gap", "low", "high", "margin", "half_width")}
    return {
        "verdict": verdict.word or None,
        "reason": verdict.reason or None,
        **{name: none_if_nan(number) for name, number in numbers.items()},
        "seeds_to_decide": verdict.seeds_to_decide,
        "claimed_gain": gain.printed if gain else None,
        "claim": gain.word if gain else None,
    }


def _counts(table: Table) -> Iterator[str]:
    """Of numbers that need no run, which are not those in print, and what the cards say of them."""
    counts = {place: entry for place, entry in table.places() if entry.planned.counted and entry.verdict}
    if not counts:
        return
    clauses = [
        f"{table.plan.cell_name(place)}, {entry.verdict.reason.removeprefix('counted, and ')}"
        for place, entry in counts.items()
        if entry.verdict and entry.verdict.word == DIFFERS
    ]
    differ = f"; {'; '.join(clauses)}" if clauses else ""
    numbers = f"{len(counts)} numbers need" if len(counts) > 1 else "One number needs"
    yield f"{numbers} no run: counted, as cards have it, and = where it prints alike{differ}."


def _margin(table: Table, judged: Sequence[Verdict]) -> str:
    """What the margin is, and what = and ≠ mean by it."""
    declared = table.plan.rules.margin
    margin = f"{declared:g}" if declared is not None else _claimed_margin(table, judged)
    if all(entry.planned.metric.unit == "%" for _, entry in table.places() if entry.verdict is not None):
        margin += " points" if margin != "1" else " point"
    wider = f"{50 * (1 + LEVEL):g} %"
    rule = f"= lies within it by the {100 * LEVEL:g} % interval of the gap, ≠ beyond it by the {wider} one"
    return f"Margin: {margin}; {rule}, each wrong in about {50 * (1 - LEVEL):g} % of cells at most."


def _claimed_margin(table: Table, judged: Sequence[Verdict]) -> str:
    sizes = _range([each.margin for each in judged], _digits(table))
    return f"half of the printed gain of each row, at least a printed step and at most a point, {sizes}"


def _open(table: Table, verdicts: Iterable[Verdict]) -> Iterator[str]:
    """What cannot be told, and how many seeds would tell."""
    unsure = [verdict for verdict in verdicts if verdict.word == CANNOT_TELL]
    seeds = [verdict.seeds_to_decide for verdict in unsure if verdict.seeds_to_decide is not None]
    unknown = sum(math.isnan(verdict.half_width) for verdict in unsure)
    never = len(unsure) - len(seeds) - unknown
    clauses = []
    if seeds:
        clauses.append(f"{_range(seeds)} seeds of ours would tell in {_cells(len(seeds))} if the gaps stayed")
    if never:
        why = "as the published number itself is of too few runs (where nobody says how many, of one)"
        clauses.append(f"no number of seeds would in {_cells(never)}, {why}")
    if unknown:
        clauses.append(f"nothing says how much seeds differ in {_cells(unknown)}")
    if clauses:
        yield f"Of what cannot be told (? and ± half of the interval), {'; '.join(clauses)}."


def _gains(table: Table) -> Iterator[str]:
    """How many of the printed gains are there, reversed or open, and how many rows stand in the order of print."""
    judged = [entry.gain for _, entry in table.places() if entry.gain is not None]
    if not judged:
        return
    count = Counter(gain.word for gain in judged)
    unsure = f"{count[CANNOT_TELL]} cannot be told"
    if halves := [gain.half_width for gain in judged if gain.word == CANNOT_TELL and not math.isnan(gain.half_width)]:
        unsure += f" (± {_range(halves, _digits(table))})"
    verb = "is" if count[IS_THERE] == 1 else "are"
    turned = "is" if count[REVERSED] == 1 else "are"
    level = f"{100 * (1 - table.plan.rules.alpha):g}"
    yield (
        f"Claimed gains over the baseline, by the {level} % interval of our difference, each by itself: "
        f"{count[IS_THERE]} of {len(judged)} {verb} there, {count[REVERSED]} {turned} reversed, {unsure}; "
        f"{_order(judged)}."
    )


def _order(judged: Sequence[Gain]) -> str:
    alike = sum(gain.in_order for gain in judged)
    text = f"the means are in the order of print in {alike} of {len(judged)}"
    if deviating := sum(not gain.comparable for gain in judged):
        text += f"; {deviating} under a protocol that is not the paper's"
    return text


def _digits(table: Table) -> int:
    """Digits after the point of margins and half-widths."""
    return max([1, *(entry.planned.decimals for _, entry in table.places() if entry.verdict is not None)])


def _range(values: Sequence[float], decimals: int = 0) -> str:
    least, most = fixed(min(values), decimals), fixed(max(values), decimals)
    return least if least == most else f"{least} to {most}"


def _cells(count: int) -> str:
    return f"{count} cell{'s' * (count > 1)}"


def _agreement(table: Table) -> Iterator[str]:
    """Kendall's tau between print and ours, for each contest; of two rows only whether their order is the same."""
    ranked: list[tuple[Key, Agreement]] = []
    in_order = list[bool]()
    for contest in table.plan.contests:
        agreement = _ranks_alike(table, contest)
        if math.isnan(agreement.tau):
            continue
        if agreement.methods > 2:
            ranked.append((contest.where, agreement))
        else:
            in_order.append(agreement.tau > 0)
    if ranked:
        yield _taus(ranked, table.plan.rules.alpha)
    for note in dict.fromkeys(agreement.note for _, agreement in ranked if agreement.note):
        yield f"Of the ranks, {note}."
    if in_order:
        columns = f"{len(in_order)} column{'s' * (len(in_order) > 1)}"
        verb = "has" if sum(in_order) == 1 else "have"
        yield f"Of {columns} of two rows, {sum(in_order)} {verb} them in the order of print."


def _ranks_alike(table: Table, contest: Contest) -> Agreement:
    from bench.stats.agreement import rank_agreement

    entries = [table.at(place) for place in contest.places]
    entries = [entry for entry in entries if not entry.planned.ground.other_metric]
    return rank_agreement([entry.planned.published for entry in entries], [entry.cell.mean for entry in entries])


def _taus(ranked: Sequence[tuple[Key, Agreement]], alpha: float) -> str:
    """Each contest's tau behind its last label, together for what shares the other labels."""
    counts = sorted({agreement.methods for _, agreement in ranked})
    taus: dict[str, list[str]] = {}
    for where, agreement in ranked:
        words = [*where[-1:], fixed(agreement.tau, 2).replace("-", "−")]
        if agreement.p <= alpha:
            words[-1] += "*"
        if len(counts) > 1:
            words.append(f"(of {agreement.methods})")
        taus.setdefault(" / ".join(where[:-1]), []).append(" ".join(filter(None, words)))
    groups = "; ".join(f"{outer}: " * bool(outer) + ", ".join(texts) for outer, texts in taus.items())
    rows = f"{counts[0]} rows a column" if len(counts) == 1 else "with the number of rows"
    star = f"; * p ≤ {alpha:g}" if any(agreement.p <= alpha for _, agreement in ranked) else ""
    return f"Rank agreement with print (Kendall's τ, {rows}{star}): {groups}."
