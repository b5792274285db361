"""Decimal commas and marks of thousands: what a column as a whole says, or else the other columns.

Only columns all of whose cells look like numbers are rewritten, with a point and without marks of
thousands; ids and names stay as they are written. A first row may hold units instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import polars as pl

Mark = Literal["comma", "point", "dots"]
"""Comma: decimal, with points of thousands. Point: decimal, with commas of thousands. Dots: points
are of thousands."""

_SAMPLE = 200

_SIGN = r"^\s*(?:[<>=≤≥⩽⩾~≈∼]|ca\.?)*\s*[+\-\u2212\u2013]?"
_TAIL = r"(?:[eE][+\-\u2212]?[0-9]+)?\s*(?:[a-zA-Zµμ%°][a-zA-Z0-9µμ%°/·^\- ]{0,15})?\s*$"
_NUMBER = _SIGN + r"[0-9.,][0-9.,'\u2019\s]*" + _TAIL
_COMMA = (
    r"(?:^|[^0-9.,])0?,[0-9]|,[0-9]{1,2}(?:[^0-9]|$)|,[0-9]{4,}|[0-9]{4,},[0-9]"
    r"|\.[0-9]{3}[.,][0-9]"
)
_POINT = (
    r"(?:^|[^0-9.,])0?\.[0-9]|\.[0-9]{1,2}(?:[^0-9]|$)|\.[0-9]{4,}|[0-9]{4,}\.[0-9]"
    r"|,[0-9]{3}[.,][0-9]"
)
_TELLING = _SIGN + r"(?:[0-9]{1,3}|[1-9][0-9]{0,2}(?:\.[0-9]{3}){2,})" + _TAIL
_DOTS = _SIGN + r"(?:[1-9][0-9]{0,2}(?:\.[0-9]{3})+|[0-9]+)" + _TAIL


def marks_of(frame: pl.DataFrame, decimal: str) -> dict[str, Mark]:
    """Return how numbers are marked in the columns of text that are not plain numbers.

    Parameters
    ----------
    frame : DataFrame
        Columns of text, or of anything else, which is left alone.
    decimal : {"auto", ".", ","}
        What the user said.

    Returns
    -------
    dict of str to {"comma", "point", "dots"}
        Columns that nothing decides are not in it, nor those in which cells contradict.
    """
    texts = [column for column in frame.iter_columns() if column.dtype == pl.String]
    marked = [c for c in texts if c.str.contains(",", literal=True).any() and _numbers(c)]
    said: dict[str, str | None] = {c.name: _said(c) for c in marked}
    if decimal == "auto":
        found = {word for word in said.values() if word in ("comma", "point")}
        # Only asked for where it decides: it looks through all the other columns.
        if not found and "open" in said.values():
            plain = any(_has_decimal_point(c) for c in texts if c.name not in said)
            found = {"point"} if plain else found
        general = found.pop() if len(found) == 1 else None
    else:
        general = "comma" if decimal == "," else "point"
        said = dict.fromkeys(said, "open")
    marks: dict[str, Mark] = {}
    for name, word in said.items():
        mark = general if word == "open" else word
        if mark is not None:
            marks[name] = "comma" if mark == "comma" else "point"
    if general == "comma":
        rest = (c for c in texts if c.name not in marks)
        tells = _dotted if decimal == "," else _thousands
        marks |= {c.name: "dots" for c in rest if tells(c)}
    return marks


def plainly(column: pl.Series, mark: Mark) -> pl.Series:
    """Return the cells of a column with a decimal point, and no marks of thousands."""
    if mark == "comma":
        column = column.str.replace_all(".", "", literal=True)
        return column.str.replace_all(",", ".", literal=True)
    return column.str.replace_all("," if mark == "point" else ".", "", literal=True)


def rewritten(frame: pl.DataFrame, marks: Mapping[str, Mark]) -> pl.DataFrame:
    """Return a frame with all its marked columns written plainly."""
    there = [name for name in frame.columns if name in marks]
    return frame.with_columns([plainly(frame[name], marks[name]) for name in there])


def _numbers(column: pl.Series) -> bool:
    """Return whether all cells look like numbers, perhaps with a sign and a unit."""
    cells = _below_units(column).drop_nulls()
    # Most columns of text are told by their first cells.
    return all(
        bool(part.str.contains(_NUMBER).all()) for part in (cells.head(_SAMPLE), cells)
    ) and bool(cells.len())


def _below_units(column: pl.Series) -> pl.Series:
    """Return a column without its first cell, where that has no mark and may be a unit."""
    first = column[0] if len(column) else None
    return column.slice(1) if first and not re.search(r"[0-9][.,]|[.,][0-9]", first) else column


def _said(column: pl.Series) -> str | None:
    """Return ``comma``, ``point``, ``open`` where nothing decides, None where cells contradict."""
    comma = bool(column.str.contains(_COMMA).any())
    point = bool(column.str.contains(_POINT).any())
    if comma and point:
        return None
    return "comma" if comma else "point" if point else "open"


def _has_decimal_point(column: pl.Series) -> bool:
    head = column.drop_nulls().head(_SAMPLE)
    return bool(head.len()) and _numbers(column) and bool(column.str.contains(_POINT).any())


def undecided(frame: pl.DataFrame, marks: Mapping[str, Mark]) -> list[str]:
    """Return columns whose points may be marks of thousands, as commas are decimal elsewhere."""
    if "comma" not in marks.values():
        return []
    texts = (c for c in frame.iter_columns() if c.dtype == pl.String and c.name not in marks)
    return [column.name for column in texts if _dotted(column)]


def _dotted(column: pl.Series) -> bool:
    """Return whether all points of a column stand where those of thousands do."""
    cells = _below_units(column).drop_nulls()
    if not cells.str.contains(".", literal=True).any():
        return False
    return all(bool(part.str.contains(_DOTS).all()) for part in (cells.head(_SAMPLE), cells))


def _thousands(column: pl.Series) -> bool:
    # 12.001 and 12.002 may be batches of a compound: only numbers below a thousand without a
    # point, or those above a million with two, tell.
    return _dotted(column) and bool(column.str.contains(_TELLING).any())
