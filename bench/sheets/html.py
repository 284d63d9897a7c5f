"""A sheet as a page that stands alone: no scripts, no links, everything escaped."""

from __future__ import annotations

import html

from bench.notation import one_line
from bench.sheets.sheet import Sheet, Shown, spans

STYLE = (
    "body{font:15px/1.4 serif;margin:2em}table{border-collapse:collapse;border-top:2px solid;border-bottom:2px solid}"
    "caption{text-align:left;margin-bottom:.5em}th,td{padding:.15em .6em;text-align:right;white-space:nowrap}"
    "th{font-weight:normal}th[scope=row],thead th.stub{text-align:left;vertical-align:top}"
    "thead th[colspan]{text-align:center;border-bottom:1px solid}thead tr:last-child th{border-bottom:1px solid}"
    "tr.group th,tr.group td{border-top:1px solid #999}small{opacity:.75}"
)


def to_html(sheet: Sheet) -> str:
    """A whole HTML document with the table."""
    notes = "".join(f"<p>{_text(note)}</p>\n" for note in sheet.sentences(sheet.emphasis()))
    notes += "".join(f"<p>Signature: <code>{_text(signature)}</code></p>\n" for signature in sheet.signatures)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{_text(sheet.title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<table>\n<caption>{_text(sheet.title)}</caption>\n"
        f"<thead>\n{_head(sheet)}</thead>\n<tbody>\n{_body(sheet)}</tbody>\n</table>\n{notes}</body>\n</html>\n"
    )


def _head(sheet: Sheet) -> str:
    levels = [""] * len(sheet.columns[0])
    stub = "".join(f'<th class="stub" rowspan="{len(levels)}">{_text(name)}</th>' for name in sheet.stub)
    for level in range(len(levels)):
        for span in spans(sheet.columns, level):
            levels[level] += f'<th scope="col"{_span("colspan", span.count)}>{_text(span.label)}</th>'
    rows = "</tr>\n<tr>".join(levels)
    return f"<tr>{stub}{rows}</tr>\n"


def _body(sheet: Sheet) -> str:
    lines = [""] * len(sheet.rows)
    groups = {span.start for span in spans(sheet.rows, 0) if span.count > 1 or len(sheet.stub) > 1}
    for level in range(len(sheet.stub)):
        for span in spans(sheet.rows, level):
            lines[span.start] += f'<th scope="row"{_span("rowspan", span.count)}>{_text(span.label)}</th>'
    body = ""
    for number, (line, cells) in enumerate(zip(lines, sheet.cells, strict=True)):
        start = '<tr class="group">' if number and number in groups else "<tr>"
        body += f"{start}{line}{''.join(_data(cell, sheet) for cell in cells)}</tr>\n"
    return body


def _data(cell: Shown, sheet: Sheet) -> str:
    hover = f' title="{_text(cell.hover)}"' if cell.hover else ""
    return f"<td{hover}>{_cell(cell, sheet)}</td>"


def _cell(cell: Shown, sheet: Sheet) -> str:
    value = _text(cell.value)
    if sheet.is_underlined(cell):
        value = f"<u>{value}</u>"
    if sheet.is_bold(cell):
        value = f"<b>{value}</b>"
    mark = f"<sup>{_text(cell.mark)}</sup>" if cell.mark else ""
    std = f" <small>± {_text(cell.std)}</small>" if cell.std else ""
    small = "".join(f" <small>{_text(text)}</small>" for text in (cell.delta, cell.count) if text)
    return value + mark + std + small + (f" {_text(cell.sign)}" if cell.sign else "")


def _span(name: str, count: int) -> str:
    return f' {name}="{count}"' if count > 1 else ""


def _text(text: str) -> str:
    return html.escape(one_line(text))
