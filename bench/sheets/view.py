"""Tables as sheets: what was published, ours, or both; several selection rules or metrics beside each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.metrics import Metric
from bench.notation import fixed, listed, none_if_nan, signed
from bench.plan.table import TablePlan
from bench.rules import SOURCES
from bench.sheets.facts import path_of, records_of, wanted
from bench.sheets.formats import render_sheet
from bench.sheets.layout import ANY, SheetLayout
from bench.sheets.sheet import BEST, CLOSE, SECOND, Key, Record, Sheet, Shown
from bench.tables.candidates import short_labels
from bench.tables.caption import Caption
from bench.tables.compare import Entry, Table, title_line
from bench.tables.judging import sign_of
from bench.tables.legend import legend_of, published_legend
from bench.tables.signature import signature_of

PUBLISHED, OURS, BOTH = SOURCES
INFLATION = "inflation"
ORACLE_RULE = "best-test"


@dataclass(frozen=True)
class Look:
    """How tables are shown.

    Attributes:
        source: whose numbers, one of ``bench.rules.SOURCES``; empty for both where both are there.
        by_means: mark the best and the second by their means, whatever a test says.
        intervals: show the confidence interval of each difference behind it.
        command: what trains the runs that are missing; empty where that is not to be said.
    """

    source: str = ""
    by_means: bool = False
    intervals: bool = False
    command: str = ""


PLAIN = Look()


def sheet_of(table: Table, look: Look = PLAIN, source: str = "") -> Sheet:
    """A table as it is shown; ``source`` is in the place of the look's."""
    source = source or look.source or default_source([table])
    if not table.plan.is_published or _is_quoted_alone(table):
        source = OURS
    show = {PUBLISHED: _published, OURS: _ours, BOTH: _both}[source]
    return show(table, look)


def default_source(tables: Sequence[Table]) -> str:
    """Whose numbers are shown where nobody asks: both where both are there."""
    if all(not table.plan.is_published or _is_quoted_alone(table) for table in tables):
        return OURS
    entries = [entry for table in tables for _, entry in table.places() if not entry.is_average]
    run = [entry for entry in entries if entry.planned.candidates]  # what is counted is there without asking
    has_ours = any(entry.n or entry.cell.lacking for entry in run or entries)
    return BOTH if has_ours else PUBLISHED


def beside(tables: Mapping[str, Table], selector: Metric | None = None, look: Look = PLAIN) -> Sheet:
    """Tables of one plan with several metrics, by the name that each has below each column.

    Args:
        tables: by name.
        selector: the metric by which points of curves and candidates are picked for all of them.
        look: how they are shown.
    """
    first = next(iter(tables.values()))
    titles = _titles(tables)
    sheet = _joined({name: _ours(table, look) for name, table in tables.items()}, first.plan, titles)
    legend = legend_of({titles[name]: table for name, table in tables.items()}, look.by_means)
    notes = list(sheet.notes)
    if selector and len(tables) > 1:
        notes.append(f"For all metrics, points of curves and candidates of sweeps are picked by {selector.title}.")
    if any(contest.pairs for contest in first.plan.contests):
        notes.append("The comparisons of each metric are corrected by themselves.")
    return replace(sheet, title=title_line(first.plan), legend=legend, notes=tuple(notes))


def by_rule(tables: Mapping[str, Table]) -> Sheet:
    """Tables of the same runs by their selection rule, and what looking at the test split adds; nothing is tested."""
    first = next(iter(tables.values()))
    sheets = {rule: _ours(_without_tests(table), PLAIN) for rule, table in tables.items()}
    notes, inflation = [Caption(first).spread()], list[Record]()
    notes.append("Each rule picks a point of the same curves; nothing was trained anew.")
    honest = next((rule for rule in tables if rule != ORACLE_RULE), "")
    if ORACLE_RULE in tables and honest:
        sheets[INFLATION], inflation = _inflation(sheets[honest], tables[ORACLE_RULE], tables[honest])
        notes.append(f"{INFLATION}: {ORACLE_RULE}, which looks at the test split, less {honest}.")
    notes += _choices(tables)
    sheet = _joined(sheets, first.plan, {rule: rule for rule in tables})
    title, records = f"{first.heading} – by selection rule", (*sheet.records, *inflation)
    return replace(sheet, title=title, notes=tuple(notes), legend=(), records=records)


def _choices(tables: Mapping[str, Table]) -> Iterator[str]:
    """Where selection rules chose different candidates of a sweep, and which each of them chose."""
    clauses, plan = list[str](), next(iter(tables.values())).plan
    for place, planned in plan.places():
        rules: dict[str, list[str]] = {}
        for rule, table in tables.items():
            if label := table.at(place).cell.chosen:
                rules.setdefault(label, []).append(rule)
        if len(rules) > 1:
            short = short_labels([candidate.label for candidate in planned.candidates])
            choices = ", ".join(f"{' and '.join(names)} {short[label]}" for label, names in rules.items())
            clauses.append(f"{plan.cell_name(place)} ({choices})")
    if clauses:
        yield (
            "Where values were swept, each rule chooses among them for itself, and what it adds is of the "
            f"choice too: {'; '.join(clauses)}."
        )


def _titles(tables: Mapping[str, Table]) -> dict[str, str]:
    """What sentences call the metric of each of several tables: ``top-1`` where its columns are ``top-1 (%)``."""
    titles = dict[str, str]()
    for name, table in tables.items():
        titles[name] = next((cell.metric.title for _, cell in table.plan.places() if cell.axes), name)
    return titles if len({*titles.values()}) == len(titles) else {name: name for name in tables}


def _joined(sheets: Mapping[str, Sheet], plan: TablePlan, called: Mapping[str, str]) -> Sheet:
    """Sheets of one plan side by side, each with its name below each column.

    ``called`` are the names of those whose sentences count: what is not said of all of them names which it is of.
    """
    first = next(iter(sheets.values()))
    alone = plan.columns == ((plan.measured,),)
    columns, cells, records = list[Key](), [list[Shown]() for _ in first.rows], list[Record]()
    for at, column in enumerate(first.columns):
        for name, sheet in sheets.items():
            columns.append((name,) if alone else (*column, name))
            for row, line in enumerate(sheet.cells):
                cells[row].append(line[at])
    for name, sheet in sheets.items():
        for record in sheet.records:
            records.append({**record, "column": name if alone else path_of(record["column"], name)})
    return replace(
        first,
        columns=tuple(columns),
        cells=tuple(map(tuple, cells)),
        notes=_attributed({about: sheets[name].notes for name, about in called.items()}),
        remarks=_attributed({about: sheets[name].remarks for name, about in called.items()}),
        records=tuple(records),
        signatures=tuple(signature for sheet in sheets.values() for signature in sheet.signatures),
    )


def _attributed(sentences_of: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Each sentence once, and of which it is said, where it is not of all."""
    owners = dict[str, list[str]]()
    for about, sentences in sentences_of.items():
        for sentence in sentences:
            owners.setdefault(sentence, []).append(about)
    return tuple(
        sentence if len(each) == len(sentences_of) else f"{listed((*each,))}: {sentence}"
        for sentence, each in owners.items()
    )


def _without_tests(table: Table) -> Table:
    entries = tuple(tuple(map(_finer, line)) for line in table.entries)
    return replace(table, plan=replace(table.plan, baseline="", contests=()), entries=entries)


def _finer(entry: Entry) -> Entry:
    """With a digit more, since rules differ by little, and without what a test says."""
    planned = replace(entry.planned, decimals=entry.planned.decimals + 1)
    return Entry(planned, entry.cell, entry.mean, entry.std)


def _inflation(alike: Sheet, oracle: Table, honest: Table) -> tuple[Sheet, list[Record]]:
    """A sheet of the oracle's means less the honest rule's, and its records."""
    gaps = {place: none_if_nan(entry.cell.mean - honest.at(place).cell.mean) for place, entry in oracle.places()}
    cells = [[Shown("")] * len(line) for line in oracle.entries]
    for (row, column), gap in gaps.items():
        if gap is not None:
            cells[row][column] = Shown(signed(gap, oracle.at((row, column)).planned.decimals + 1))
    records = list[Record]()
    for record, (place, _) in zip(records_of(oracle), wanted(oracle), strict=True):
        labels = {"row": record["row"], "metric": record["metric"], "column": path_of(record["column"], INFLATION)}
        records.append({**dict.fromkeys(record), **labels, "mean": gaps[place]})
    return replace(alike, cells=tuple(map(tuple, cells)), notes=(), remarks=(), records=(), signatures=()), records


def _ours(table: Table, look: Look) -> Sheet:
    caption, quoted = Caption(table), _is_quoted(table)
    note = ["Quoted: published numbers as they are; not compared and never tested."] if quoted else []
    return _sheet(
        table,
        OURS,
        look,
        title=f"{table.heading} (ours)" if table.plan.is_published and not _is_quoted_alone(table) else table.heading,
        cells=tuple(tuple(_entry(entry, caption, look) for entry in line) for line in table.entries),
        notes=caption.scoring(look.intervals),
        legend=legend_of({"": table}, look.by_means),
        remarks=(*caption.results(look.command), *note),
    )


def _published(table: Table, look: Look) -> Sheet:
    return _sheet(
        table,
        PUBLISHED,
        look,
        title=f"{title_line(table.plan, table.plan.published_measured or table.plan.measured)} (as published)",
        cells=tuple(tuple(_printed(entry, look) for entry in line) for line in table.entries),
        notes=(table.plan.published_note,),
        legend=published_legend(table, look.by_means),
    )


def _both(table: Table, look: Look) -> Sheet:
    """Published and ours side by side; the difference, ours less published, stands behind ours."""
    published, ours, plan = _published(table, look), _ours(table, look), table.plan
    cells = [list[Shown]() for _ in table.entries]
    gaps = False
    for (row, column), entry in table.places():
        gap = math.nan if entry.planned.unlike else entry.cell.mean - entry.planned.published
        delta = "" if math.isnan(gap) else signed(gap, entry.planned.decimals)
        gaps = gaps or bool(delta)
        mine = Shown("") if entry.planned.quoted else _against_print(ours.cells[row][column], delta)
        cells[row] += [published.cells[row][column], mine]
    scoring = [note for note in ours.notes if not note.startswith("Signed numbers")]
    signs = ["Signed numbers are ours less the published one."] if gaps else []
    title = f"{table.heading} (published and ours)"
    if plan.published_measured:
        title = title_line(plan, f"published: {plan.published_measured}, ours: {plan.measured}")
    return replace(
        ours,
        title=title,
        columns=tuple((*column, source) for column in plan.columns for source in (PUBLISHED, OURS)),
        cells=tuple(map(tuple, cells)),
        notes=(*published.notes, *scoring, *signs),
        legend=ours.legend or published.legend,
    )


def _against_print(cell: Shown, gap: str) -> Shown:
    """A cell of ours with its gap to print: a dagger, which is about the baseline, stands before that, at the mean."""
    if cell.std:
        return replace(cell, std=cell.std + cell.mark, mark="", delta=gap)
    return replace(cell, value=cell.value + cell.mark, mark="", delta=gap)


def _sheet(table: Table, source: str, look: Look, **content: Any) -> Sheet:
    plan = table.plan
    measured = (source == PUBLISHED and plan.published_measured) or plan.measured
    facts: dict[str, Any] = {"metric": measured, "baseline": plan.baseline or None, "rules": asdict(plan.rules)}
    if table.claims:
        facts["across"] = [claim.facts for claim in table.claims]
    return Sheet(
        name=plan.name,
        stub=plan.stub,
        columns=plan.columns,
        rows=plan.rows,
        by_means=look.by_means,
        records=tuple(records_of(table, ours=source == OURS)),
        facts=facts,
        signatures=(str(signature),) if source == OURS and (signature := signature_of(table)) else (),
        **content,
    )


def _entry(entry: Entry, caption: Caption, look: Look) -> Shown:
    """A cell of ours; a quoted number as it is."""
    word, printed = caption.word(entry), entry.planned.printed
    if entry.planned.quoted and printed:
        std = fixed(float(printed.std), entry.planned.decimals) if printed.std else ""
        return Shown(fixed(printed.number, entry.planned.decimals), std)
    if entry.mean is None:
        return Shown(word, is_word=True)
    decimals = entry.planned.decimals
    if look.by_means:
        mark = {1: BEST, 2: SECOND}.get(entry.rank, "")
    else:
        mark = BEST if entry.rank == 1 else CLOSE if entry.near else ""
    return Shown(
        fixed(entry.mean, decimals),
        "" if entry.std is None else fixed(entry.std, decimals),
        delta=_difference(entry, look.intervals),
        hover=_hover(entry, caption.table.plan.rules.alpha),
        mark=caption.dagger(entry),
        count="" if entry.is_average and entry.cell.stated else caption.count(entry),
        sign=sign_of(entry.verdict, decimals) if entry.verdict else "",
        look=mark,
    )


def _difference(entry: Entry, interval: bool) -> str:
    """The difference to the baseline, with its interval where that is wanted and there is one."""
    if entry.delta is None:
        return ""
    decimals = entry.planned.decimals
    difference = signed(entry.delta, decimals)
    if not interval or entry.low is None or entry.high is None:
        return difference
    return f"{difference} [{signed(entry.low, decimals)}, {signed(entry.high, decimals)}]"


def _hover(entry: Entry, alpha: float) -> str:
    """What a page says of a cell on request: the interval of its difference, and why the verdict is what it is."""
    parts = list[str]()
    if entry.low is not None and entry.high is not None:
        low, high = (signed(end, entry.planned.decimals + 1) for end in (entry.low, entry.high))
        parts.append(f"{100 * (1 - alpha):g} % interval of the difference {low} to {high}")
    if entry.verdict:
        parts.append(f"{entry.verdict.word}: {entry.verdict.reason}")
    return "; ".join(parts)


def _printed(entry: Entry, look: Look) -> Shown:
    printed = entry.planned.printed
    if printed is None:
        return Shown("")
    marks = {1: BEST, 2: SECOND if look.by_means else ""}
    return Shown(
        printed.value,
        printed.std,
        delta=f"({printed.delta})" if printed.delta else "",
        look=marks.get(entry.published_rank, ""),
        is_word=math.isnan(printed.number),
    )


def _is_quoted(table: Table) -> bool:
    return any(entry.planned.quoted for _, entry in table.places())


def _is_quoted_alone(table: Table) -> bool:
    """Whether every published number is a row's, and none is of what was run."""
    published = [entry.planned for _, entry in table.places() if entry.planned.printed]
    return bool(published) and all(planned.quoted for planned in published)


def render(
    table: Table, format: str = "text", look: Look = PLAIN, width: int | None = None, layout: SheetLayout = ANY
) -> str:
    """A table in one of ``bench.sheets.formats.FORMATS``; errors are those of ``render_sheet``."""
    return render_sheet(sheet_of(table, look), format, width, layout)
