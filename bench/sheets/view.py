"""Tables as sheets: what was published, ours, or both; several selection rules or metrics beside each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from bench.notation import fixed, signed
from bench.plan.table import Place
from bench.rules import SOURCES
from bench.sheets.formats import render_sheet
from bench.sheets.sheet import BEST, CLOSE, SECOND, Key, Sheet, Shown, Value
from bench.tables.candidates import choice_notes
from bench.tables.caption import Caption, best_mean, published_legend
from bench.tables.cells import Cell
from bench.tables.compare import Entry, Table, title_line
from bench.tables.judging import SIGNS

PUBLISHED, OURS, BOTH = SOURCES
INFLATION = "inflation"
ORACLE_RULE = "best-test"


@dataclass(frozen=True)
class Look:
    """How tables are shown.

    Attributes:
        source: whose numbers, one of ``bench.rules.SOURCES``; empty for both where both are there.
        by_means: mark the best and the second by their means, whatever a test says.
        command: what trains the runs that are missing; empty where that is not to be said.
    """

    source: str = ""
    by_means: bool = False
    command: str = ""


PLAIN = Look()


def sheet_of(table: Table, look: Look = PLAIN, source: str = "") -> Sheet:
    """A table as it is shown; ``source`` is in the place of the look's."""
    source = source or look.source or default_source([table])
    if not table.plan.is_published or _is_quoted(table):
        source = OURS
    show = {PUBLISHED: _published, OURS: _ours, BOTH: _both}[source]
    return show(table, look)


def default_source(tables: Sequence[Table]) -> str:
    """Whose numbers are shown where nobody asks: both where both are there."""
    if not any(table.plan.is_published for table in tables):
        return OURS
    entries = [entry for table in tables for _, entry in table.places() if not entry.is_average]
    known = any(entry.n or entry.cell.lacking for entry in entries)
    return BOTH if known else PUBLISHED


def beside(tables: Mapping[str, Table], look: Look = PLAIN) -> Sheet:
    """Tables of the same cells side by side: a column for each below each column.

    Args:
        tables: of one plan under several rules, or with several metrics, by the name that a column has.
        look: how they are shown.
    """
    sheets = {name: _ours(table, look) for name, table in tables.items()}
    first, plan = next(iter(sheets.values())), next(iter(tables.values())).plan
    alone = plan.columns == ((plan.measured,),)
    better = {best_mean(table) for table in tables.values()}
    columns, cells = list[Key](), [list[Shown]() for _ in first.rows]
    for at, column in enumerate(first.columns):
        for name, sheet in sheets.items():
            columns.append((name,) if alone else (*column, name))
            for row, line in enumerate(sheet.cells):
                cells[row].append(line[at])
    records = [
        {**record, "column": " / ".join(filter(None, ("" if alone else str(record["column"]), name)))}
        for name, sheet in sheets.items()
        for record in sheet.records
    ]
    notes = dict.fromkeys(note for sheet in sheets.values() for note in sheet.notes)
    remarks = dict.fromkeys(remark for sheet in sheets.values() for remark in sheet.remarks)
    return replace(
        first,
        title=title_line(plan),
        legend=Caption(next(iter(tables.values()))).legend(look.by_means, "best" if len(better) > 1 else ""),
        columns=tuple(columns),
        cells=tuple(map(tuple, cells)),
        notes=tuple(notes),
        remarks=tuple(remarks),
        records=tuple(records),
    )


def by_rule(tables: Mapping[str, Table]) -> Sheet:
    """Selection rules side by side, and what looking at the test split adds; nothing is tested.

    Args:
        tables: by the rule; the same runs in each.
    """
    plain = {rule: _without_tests(table) for rule, table in tables.items()}
    sheet = beside(plain)
    first = next(iter(tables.values()))
    honest = next((rule for rule in tables if rule != ORACLE_RULE), "")
    notes = ["Each rule picks a point of the same curves; nothing was trained anew."]
    if ORACLE_RULE in tables and honest:
        sheet = _with_inflation(sheet, tables[ORACLE_RULE], tables[honest])
        notes.append(f"{INFLATION}: {ORACLE_RULE}, which looks at the test split, less {honest}.")
    chosen = []
    for place, planned in first.plan.places():
        labels = {rule: table.at(place).cell.chosen for rule, table in tables.items()}
        chosen.append((first.plan.cell_name(place), planned, labels))
    notes += choice_notes(chosen)
    return replace(sheet, title=f"{first.heading} – by selection rule", notes=tuple(notes), legend=())


def _without_tests(table: Table) -> Table:
    bare = {"delta": None, "p": None, "p_holm": None, "significant": False, "rank": 0, "near": False, "verdict": None}
    entries = tuple(tuple(_finer(replace(entry, **bare)) for entry in line) for line in table.entries)  # type: ignore[arg-type]
    return replace(table, plan=replace(table.plan, baseline="", contests=()), entries=entries)


def _finer(entry: Entry) -> Entry:
    """With a digit more: rules differ by little."""
    return replace(entry, planned=replace(entry.planned, decimals=entry.planned.decimals + 1))


def _with_inflation(sheet: Sheet, oracle: Table, honest: Table) -> Sheet:
    """A further column behind those of each column: the oracle's mean less the honest rule's."""
    each = len(sheet.columns) // len(oracle.plan.columns)
    columns, cells = list[Key](), [list[Shown]() for _ in sheet.rows]
    for at in range(len(oracle.plan.columns)):
        places = range(at * each, (at + 1) * each)
        columns += [*(sheet.columns[place] for place in places), (*sheet.columns[places[0]][:-1], INFLATION)]
        for row, line in enumerate(sheet.cells):
            cells[row] += [*(line[place] for place in places), _gap(oracle.at((row, at)), honest.at((row, at)))]
    records = [*sheet.records, *_gaps(oracle, honest)]
    return replace(sheet, columns=tuple(columns), cells=tuple(map(tuple, cells)), records=tuple(records))


def _gaps(oracle: Table, honest: Table) -> list[dict[str, Value]]:
    """The inflation of each cell for machines."""
    found = []
    for record, (place, entry) in zip(records(oracle), _wanted(oracle), strict=True):
        mean = honest.at(place).mean
        gap = None if entry.mean is None or mean is None else entry.mean - mean
        column = " / ".join(filter(None, (str(record["column"]), INFLATION)))
        kept = {key: record[key] for key in ("row", "metric")}
        found.append({**dict.fromkeys(record), **kept, "column": column, "mean": gap})
    return found


def _gap(entry: Entry, other: Entry) -> Shown:
    if entry.mean is None or other.mean is None:
        return Shown("")
    return Shown(signed(entry.mean - other.mean, entry.planned.decimals + 1))


def _ours(table: Table, look: Look) -> Sheet:
    caption = Caption(table)
    cells = tuple(tuple(_entry(entry, caption, look) for entry in line) for line in table.entries)
    return replace(
        _sheet(table, cells, OURS, look),
        title=f"{table.heading} (ours)" if table.plan.is_published and not _is_quoted(table) else table.heading,
        notes=caption.scoring(),
        legend=caption.legend(look.by_means),
        remarks=(*caption.results(look.command), *_quoted_note(table)),
    )


def _published(table: Table, look: Look) -> Sheet:
    cells = tuple(tuple(_printed(entry, look) for entry in line) for line in table.entries)
    return replace(
        _sheet(table, cells, PUBLISHED, look),
        title=f"{title_line(table.plan, table.plan.published_measured or table.plan.measured)} (as published)",
        notes=(table.plan.published_note,),
        legend=published_legend(table, look.by_means),
    )


def _both(table: Table, look: Look) -> Sheet:
    """Published and ours side by side; the difference, ours less published, stands behind ours."""
    published, ours, plan = _published(table, look), _ours(table, look), table.plan
    columns = tuple((*column, source) for column in plan.columns for source in (PUBLISHED, OURS))
    cells = []
    for row, line in enumerate(table.entries):
        shown: list[Shown] = []
        for at, entry in enumerate(line):
            shown += [published.cells[row][at], replace(ours.cells[row][at], delta=_to_published(entry))]
        cells.append(tuple(shown))
    scoring = tuple(note for note in ours.notes if not note.startswith("Signed numbers"))
    gap = ["Signed numbers are ours less the published one."] if any(map(_to_published, table.finished)) else []
    title = f"{table.heading} (published and ours)"
    if plan.published_measured:
        title = title_line(plan, f"published: {plan.published_measured}, ours: {plan.measured}")
    return replace(
        ours,
        title=title,
        columns=columns,
        cells=tuple(cells),
        notes=(*published.notes, *scoring, *gap),
        legend=ours.legend or published.legend,
    )


def _sheet(table: Table, cells: tuple[tuple[Shown, ...], ...], source: str, look: Look) -> Sheet:
    plan = table.plan
    facts = {
        "metric": (source == PUBLISHED and plan.published_measured) or plan.measured,
        "baseline": plan.baseline or None,
        "rules": asdict(plan.rules),
        **({"across": [claim.facts for claim in table.claims]} if table.claims else {}),
    }
    return Sheet(
        name=plan.name,
        title=table.heading,
        stub=plan.stub,
        columns=plan.columns,
        rows=plan.rows,
        cells=cells,
        by_means=look.by_means,
        records=tuple(records(table, ours=source != PUBLISHED)),
        facts=facts,
    )


def _entry(entry: Entry, caption: Caption, look: Look) -> Shown:
    """A cell of ours; a quoted number as it is."""
    word, printed = caption.word(entry), entry.planned.printed
    if entry.planned.quoted and printed:
        return Shown(fixed(printed.number, entry.planned.decimals))
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
        delta="" if entry.delta is None else signed(entry.delta, decimals),
        mark=caption.dagger(entry),
        count="" if entry.is_average else caption.count(entry),
        sign=SIGNS[entry.verdict.word] if entry.verdict else "",
        look=mark,
    )


def _printed(entry: Entry, look: Look) -> Shown:
    printed = entry.planned.printed
    if printed is None:
        return Shown("")
    delta = f"({printed.delta})" if printed.delta else ""
    best = BEST if entry.published_rank == 1 else SECOND if look.by_means and entry.published_rank == 2 else ""
    return Shown(printed.value, printed.std, delta=delta, look=best, is_word=math.isnan(printed.number))


def _to_published(entry: Entry) -> str:
    published = entry.planned.published
    if entry.mean is None or math.isnan(published) or entry.planned.unlike:
        return ""
    return signed(entry.mean - published, entry.planned.decimals)


def _is_quoted(table: Table) -> bool:
    return any(entry.planned.quoted for _, entry in table.places())


def _quoted_note(table: Table) -> Sequence[str]:
    return ["Quoted: published numbers as they are; not compared and never tested."] if _is_quoted(table) else []


def records(table: Table, ours: bool = True) -> list[dict[str, Value]]:
    """Each cell for machines, by the names of columns: full numbers, plain signs; None is what does not exist."""
    axes = dict.fromkeys(axis for _, entry in table.places() for axis in entry.planned.axes)
    found = []
    for (row, column), entry in _wanted(table):
        labels = {
            "row": " / ".join(filter(None, table.plan.rows[row])),
            "column": " / ".join(filter(None, table.plan.columns[column])),
            **{axis: entry.planned.axes.get(axis) for axis in axes},
            "metric": entry.planned.metric.name,
        }
        measured = entry if ours else Entry(entry.planned, Cell())
        found.append({**labels, **_measured(measured), **_judged(entry if ours else measured)})
    return found


def _wanted(table: Table) -> list[tuple[Place, Entry]]:
    """The entries in which something is shown, with their places."""
    return [(place, entry) for place, entry in table.places() if entry.planned.axes]


def _measured(entry: Entry) -> dict[str, Value]:
    cell = entry.cell
    return {
        "mean": entry.mean,
        "std": entry.std,
        "n": len(cell.values),
        "planned": cell.planned,
        "failed": cell.failed,
        "delta": entry.delta,
        "p": entry.p,
        "p_holm": entry.p_holm,
        "significant": entry.significant,
        "best": entry.rank == 1,
        "indistinguishable": entry.near,
        "chosen": cell.chosen or None,
        "note": _note(entry),
    }


def _judged(entry: Entry) -> dict[str, Value]:
    printed, verdict = entry.planned.printed, entry.verdict
    numbers = {name: getattr(verdict, name, math.nan) for name in ("gap", "low", "high")}
    return {
        "published": _known(entry.planned.published),
        "published_std": float(printed.std) if printed and printed.std else None,
        "printed": _ascii(printed.value) if printed else None,
        "verdict": verdict.word if verdict else None,
        "reason": _ascii(verdict.reason) if verdict else None,
        **{name: _known(number) for name, number in numbers.items()},
    }


def _note(entry: Entry) -> str | None:
    """Why there is no number, and what was left out of one."""
    cell = entry.cell
    if not cell.values:
        return cell.why_empty or None
    left_out = [f"left out: {label}, {why}" for label, why in cell.left_out]
    return "; ".join(filter(None, [*left_out, cell.failures, cell.lacking])) or None


def _ascii(text: str) -> str:
    """The signs of a number as programs read them."""
    return text.replace("−", "-").replace("±", "+-")


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def candidates_sheet(table: Table) -> Sheet:
    """Every candidate of the swept cells with its score on the split it was chosen by, and which was chosen."""
    rows, cells, records_of = list[Key](), list[tuple[Shown, ...]](), list[dict[str, Value]]()
    split = "test" if table.plan.rules.sweep == ORACLE_RULE else "validation"
    for place, entry in table.places():
        for candidate in entry.planned.candidates if len(entry.planned.candidates) > 1 else ():
            label, cell = candidate.label, table.plan.cell_name(place)
            score, why = _candidate(entry, label)
            chosen, seeds = label == entry.cell.chosen, len(candidate.runs)
            shown = why if score is None else fixed(score, entry.planned.decimals + 1)
            rows.append((cell, label))
            cells.append((Shown(shown, look=BEST if chosen else "", is_word=score is None), Shown(f"{seeds}")))
            record = {"cell": cell, "candidate": label, "split": split, "mean": score, "n": seeds}
            records_of.append({**record, "chosen": chosen, "note": why or None})
    return Sheet(
        name=f"{table.plan.name}-candidates",
        title=f"{table.heading} – candidates of each swept cell",
        stub=("cell", "candidate"),
        columns=((f"mean on the {split} split",), ("seeds",)),
        rows=tuple(rows),
        cells=tuple(cells),
        legend=(("best", "the candidate that counts"),),
        by_means=True,
        records=tuple(records_of),
    )


def _candidate(entry: Entry, label: str) -> tuple[float | None, str]:
    """What a candidate scored on the split of its sweep, or why it has no score."""
    score = _known(dict(entry.cell.tried).get(label, math.nan))
    why = dict(entry.cell.left_out).get(label) or entry.cell.lacking or "no run has finished"
    return score, "" if score is not None else why


def render(table: Table, format: str = "text", look: Look = PLAIN, width: int | None = None) -> str:
    """A table in one of ``bench.sheets.formats.FORMATS``.

    Raises:
        ValueError: there is no such format, or ``width`` is below 1.
    """
    return render_sheet(sheet_of(table, look), format, width)
