"""How a sheet is laid out where its reader wants it otherwise: turned, in blocks, on pages, in smaller letters."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from bench.sheets.sheet import Sheet, turned

FONT_SIZES = ("small", "footnotesize", "scriptsize", "tiny")
FITS = ("column", "page")


@dataclass(frozen=True)
class SheetLayout:
    """What is asked of the writers; what is empty, they choose.

    Attributes:
        columns_per_block: how many columns stand beside each other; 0 for as many as fit.
        transpose: rows become columns.
        longtable: the table goes on from page to page, with its header on each; else it does where no page holds it.
        font_size: of the table, one of ``FONT_SIZES``; empty for the largest in which it fits.
        label: LaTeX's, in the place of that made of the name.
        caption: in the place of the title.
        notes: whether the rules of the table stand below it.
        standalone: a document that compiles by itself.
        fit: of a paper in two columns, what the table has to fit, one of ``FITS``; empty for a paper in one.
    """

    columns_per_block: int = 0
    transpose: bool = False
    longtable: bool = False
    font_size: str = ""
    label: str = ""
    caption: str = ""
    notes: bool = True
    standalone: bool = False
    fit: str = ""

    @property
    def asked(self) -> tuple[str, ...]:
        """The names of what is asked for."""
        return tuple(each.name for each in fields(self) if getattr(self, each.name) != each.default)


OF_SHEETS = frozenset({"transpose", "caption", "notes"})
"""What is done to a sheet before it is written, so that every format which shows cells in a grid has it."""

OF_LATEX = OF_SHEETS | {"columns_per_block", "longtable", "font_size", "label", "standalone", "fit"}
"""What LaTeX has."""

ANY = SheetLayout()


def arranged(sheet: Sheet, layout: SheetLayout) -> Sheet:
    """The sheet turned, with another title, or without its rules, as the layout asks."""
    if layout.transpose:
        sheet = turned(sheet)
    if layout.caption:
        sheet = replace(sheet, title=layout.caption)
    if not layout.notes:
        legend = tuple((look, "") for look, _ in sheet.legend)
        sheet = replace(sheet, notes=(), remarks=(), legend=legend, signatures=())
    return sheet
