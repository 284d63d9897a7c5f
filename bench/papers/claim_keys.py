"""The keys of a paper's claims: of a claim, of each kind of statement, and of the numbers that it takes from a table.

A label is written as it is printed; ``MAE & CE`` is a row with both.
"""

from __future__ import annotations

from bench.papers.assertion import RELATIONS, TAKES
from bench.reading.keys import Key

_LABELS = (str, list)
_BOUND = (float, str, list, dict)

CLAIM = (
    Key("claim", (str,), "the sentence, in one's own words"),
    Key("section", (str,), "where the paper makes it"),
    Key("table", (str,), "the table of the paper that it is about, by its file's name"),
)
"""What every claim has, beside one of ``STATEMENTS``."""

STATEMENTS = (
    Key("better", (dict,), "every gap is positive: `{row: GTA, than: Fine-tune}`"),
    Key("best", (dict,), "better than the best other row"),
    Key("monotone", (dict,), "values or gaps rise or fall along the columns that are named"),
    Key("number", (dict,), "a number taken of values or gaps is, exceeds or stays below another"),
    Key("significant", (dict,), "better by a test over the columns, which are datasets (Wilcoxon's, Holm-corrected)"),
    Key("all", (list,), "statements that all hold"),
    Key("not", (dict,), "a statement that does not hold"),
    Key("unprinted", (str,), "why no table can show it"),
)

QUANTITY = (
    Key("row", _LABELS, "the rows that are meant"),
    Key("than", _LABELS, "rows that they are compared with, or `others`; the numbers are gaps then"),
    Key("pairs", (dict,), "in the place of both: `{ROW: its other rows}`"),
    Key("against", (str,), "of several other rows, each of them or the best", ("each", "best"), "each"),
    Key("columns", _LABELS, "the columns that are meant, in their order", default="all"),
    Key("among", _LABELS, "only rows with one of these labels"),
    Key("except", _LABELS, "labels of cells that are not meant"),
    Key("transposed", (bool,), "rows are columns: for a table whose columns are compared"),
    Key("across", (bool,), "pair rows that the table itself does not compare"),
    Key("table", (str,), "another table of the paper than the claim's"),
)
"""What `better`, `best`, `monotone`, `number` and `significant` take."""

_ABOUT_RELATIONS = {
    "is": "equal to it as printed; of our runs: reached",
    "at_least": "not below it",
    "at_most": "not above it",
    "above": "above it",
    "below": "below it",
}

OWN = {
    "better": (Key("or_equal", (bool,), "a gap may be 0"),),
    "best": (Key("alone", (bool,), "no other row may be as good"),),
    "significant": (Key("alpha", (float,), "the level of the test", default="0.05"),),
    "monotone": (Key("order", (str,), "which way", ("rising", "falling")),),
    "number": (
        Key("take", (str,), "which number of them", tuple(TAKES)),
        Key("between", (list,), "of a count: which numbers are counted, both ends included", default="the positive"),
        *(Key(relation, _BOUND, f"{_ABOUT_RELATIONS[relation]}: a number, or another one") for relation in RELATIONS),
    ),
}
"""What each kind of statement takes beside ``QUANTITY``."""
