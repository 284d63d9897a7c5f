"""The candidates of swept cells as a sheet: what each scored where one is chosen and where it is shown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.notation import SPLITS, fixed, none_if_nan
from bench.plan.table import Candidate
from bench.sheets.sheet import BEST, Key, Record, Sheet, Shown
from bench.stats.samples import Summary, summary
from bench.tables.compare import Entry, Table, title_line
from bench.tables.results import Results


def candidates_sheet(table: Table, results: Results) -> Sheet:
    """Every candidate of the swept cells with the mean of its finished runs, and which one counts.

    On the split of the sweep and on that which the table shows, if they are two. Until the sweep is complete each
    candidate has the runs that have finished, and none counts. The records have a line for each split.
    """
    rules = table.plan.rules
    splits = list(dict.fromkeys((rules.sweep.removeprefix("best-"), rules.split)))
    rows, cells, records, headings = list[Key](), list[tuple[Shown, ...]](), list[Record](), dict[str, None]()
    for place, entry in table.places():
        if len(entry.planned.candidates) < 2:
            continue
        name = table.plan.cell_name(place)
        headings[results.picking(entry.planned).heading] = None
        for candidate in entry.planned.candidates:
            scores = [_scored(candidate, entry, table, results, split) for split in splits]
            finished = sum(spec.id in results.finished for spec in candidate.runs)
            rows.append((name, candidate.label))
            texts = tuple(_text(score, candidate, entry, results) for score in scores)
            cells.append((*texts, Shown(f"{finished}/{len(candidate.runs)}")))
            for split, score in zip(splits, scores, strict=True):
                records.append(
                    {
                        "cell": name,
                        **entry.planned.axes,
                        "candidate": candidate.label,
                        "split": SPLITS[split],
                        "metric": results.picking(entry.planned).name,
                        "mean": score.mean if score else None,
                        "std": none_if_nan(score.std) if score else None,
                        "n": finished if score else 0,
                        "planned": len(candidate.runs),
                        "chosen": candidate.label == entry.cell.chosen,
                        "note": _why(candidate, entry, score) or None,
                    }
                )
    notes = ["± is the sample standard deviation over the seeds that have finished."] if _has_deviation(cells) else []
    waits = dict.fromkeys(entry.cell.lacking for _, entry in table.places() if len(entry.planned.candidates) > 1)
    return Sheet(
        name=f"{table.plan.name}-candidates",
        title=f"{title_line(table.plan, ', '.join(headings))} – candidates of each swept cell",
        stub=("cell", "candidate"),
        columns=(*((f"mean on the {SPLITS[split]} split",) for split in splits), ("finished",)),
        rows=tuple(rows),
        cells=tuple(cells),
        notes=tuple(notes),
        legend=(("best", f"the candidate that counts, the best on the {SPLITS[splits[0]]} split"),),
        remarks=tuple(f"None counts: {why}." for why in waits if why),
        by_means=True,
        records=tuple(records),
    )


def _scored(candidate: Candidate, entry: Entry, table: Table, results: Results, split: str) -> Summary | None:
    """Mean and deviation of the runs that have finished; None where none has a score."""
    metric = results.picking(entry.planned)
    finished = [spec for spec in candidate.runs if spec.id in results.finished]
    scores = results.scores_of(finished, entry.planned, table.plan.rules.selection, split, metric)
    numbers = [score for score in scores if not math.isnan(score)]
    return summary(numbers) if numbers else None


def _text(score: Summary | None, candidate: Candidate, entry: Entry, results: Results) -> Shown:
    if score is None:
        return Shown(_why(candidate, entry, score), is_word=True)
    decimals = results.picking(entry.planned).decimals + 1
    mark = BEST if candidate.label == entry.cell.chosen else ""
    return Shown(fixed(score.mean, decimals), "" if math.isnan(score.std) else fixed(score.std, decimals), look=mark)


def _why(candidate: Candidate, entry: Entry, score: Summary | None) -> str:
    """Why a candidate has no score, or cannot be chosen."""
    left_out = dict(entry.cell.left_out).get(candidate.label, "")
    return left_out or ("" if score else entry.cell.lacking or "no run has finished")


def _has_deviation(cells: Sequence[Sequence[Shown]]) -> bool:
    return any(cell.std for line in cells for cell in line)
