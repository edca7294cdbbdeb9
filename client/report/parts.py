"""What the sections of a report are made of: numbers as people read them, tables, and data to take away."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from qafm.retrieval.bootstrap import Interval


class Cell(NamedTuple):
    """HTML of a cell, and a class of the page's style for it."""

    content: str
    style: str = "n"


def percent(fraction: float, digits: int = 2) -> str:
    return f"{100 * fraction:.{digits}f}"


def points(difference: float, digits: int = 1) -> str:
    """A difference of two fractions in percentage points, with its sign."""
    return f"{100 * difference:+.{digits}f}"


def interval(ends: Interval | None, digits: int = 2) -> str:
    return ends.in_per_cent(digits) if ends else ""


def chance(ends: Interval) -> int:
    """Of the interval of a difference: 1 where it is above 0 beyond chance, -1 below, 0 where neither is known."""
    return 1 if ends.low > 0 else -1 if ends.high < 0 else 0


def table(heads: Sequence[str], rows: Iterable[Sequence[str | Cell]]) -> str:
    """HTML in, HTML out. The first column names the row; the others are numbers, where they are not a Cell of another
    style."""
    first, *others = heads
    head = f"<th>{first}" + "".join(f'<th class="n">{each}' for each in others)
    body = ""
    for name, *cells in rows:
        styled = (cell if isinstance(cell, Cell) else Cell(cell) for cell in cells)
        named = name if isinstance(name, Cell) else Cell(name, "")
        body += f'<tr><th class="{named.style}">{named.content}' if named.style else f"<tr><th>{named.content}"
        body += "".join(f'<td class="{cell.style}">{cell.content}' for cell in styled)
    return wide(f"<table><thead><tr>{head}</thead><tbody>{body}</tbody></table>")


def wide(content: str) -> str:
    """HTML that scrolls by itself where it is wider than the screen, by the keyboard too."""
    return f'<div class="wide" tabindex="0">{content}</div>'


def note(content: str) -> str:
    """HTML: what a reader of the section should know."""
    return f'<p class="note">{content}</p>'


def download(file: str, rows: Iterable[Iterable[object]]) -> str:
    """A link that saves rows as CSV. They are inside the page: it needs nothing beside it."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    data = base64.b64encode(text.getvalue().encode()).decode()
    return f'<a class="data" download="{escape(file)}" href="data:text/csv;base64,{data}">{escape(file)}</a>'
