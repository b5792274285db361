"""Cells as numbers, whichever way they are written; bounds, units and words of classes among them.

Text stays text until a column is used. Plain numbers are cast as a whole; only cells that are left
are looked at one by one, each different one once.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from molpool_common._arrays import SignArray
from molpool_common._errors import InputError, listed
from molpool_common.tables._settings import MISSING

Rows = Sequence[int] | pl.Series

CLASSES = (
    ("true", "false"),
    ("yes", "no"),
    ("active", "inactive"),
    ("positive", "negative"),
    ("pos", "neg"),
)
"""Words for the classes 1 and 0."""

_DASHES = str.maketrans({"\u2212": "-", "\u2013": "-", "\ufe63": "-", "\uff0d": "-"})
_SIGN_OF = dict.fromkeys(("<", "<=", "=<", "<<", "≤", "⩽"), -1)
_SIGN_OF |= dict.fromkeys((">", ">=", "=>", ">>", "≥", "⩾"), 1)
_ABOUT = ("~", "≈", "∼", "ca", "ca.")
_CELL = re.compile(
    r"(?P<sign><=|>=|=<|=>|<<|>>|[<>=≤≥⩽⩾~≈∼]|ca\.?)?\s*"
    r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*"
    r"(?P<unit>[A-Za-zµμ%°Å][A-Za-zµμ%°Å0-9/·^*²³⁻¹ -]{0,20})?"
)
_OF_UNITS = re.compile(
    r"[fpnuµμmckM]?(?:M|mol|g|[lL]|m|s|Da|V|J|cal|Hz|Pa|bar|eq)"
    r"|min|sec|h|hr|d|day|%|°C|K|Å|cells|AU|RU|ppm|ppb"
)
"""What units are made of: a number followed by another word is no number."""

_IN_NAMES = re.compile(
    rf"{_OF_UNITS.pattern}|log|ln|e|x|FC|minutes?|seconds?|hours?|days?|(un)?bound|remaining|inhibition|ratio|dimensionless"
)
"""What units in the name of a column are made of: ``(pH 7.4)`` and ``(human)`` are none."""

_GROUPED = re.compile(r"([+-]?)(\d{1,3}(?:[\s'’]\d{3})+)(?![\d'’])")
_POWER = re.compile(r"(\d)\s*[×x*·]\s*10\s*\^?\s*([+-]?\d+)")
_UNIT = re.compile(r".*\S\s*[\(\[]\s*(?P<unit>[^()\[\]]{1,20}?)\s*[\)\]]")
_UNREADABLE = (pl.List, pl.Array, pl.Struct, pl.Binary, pl.Object)
_TIMES = (pl.Date, pl.Datetime, pl.Time, pl.Duration)


class Cell(NamedTuple):
    """What a cell that is no plain number says.

    Parameters
    ----------
    value : float
    sign : int
        -1 where the value is an upper bound (``<``), +1 where it is a lower one, 0 where it is it.
    kind : str
        ``bound``, ``about``, or how the number was written.
    unit : str or None
        Behind the number.
    """

    value: float
    sign: int
    kind: str
    unit: str | None


@dataclass(frozen=True)
class Measured:
    """A column of measured values.

    Parameters
    ----------
    values : Series of float64 [N]
        Finite, null where missing.
    signs : ndarray of int8 [N]
        -1 for upper bounds (``<``), +1 for lower ones (``>``), 0 for the values themselves.
    notes : list of str
        What was interpreted, counted.
    unit : str or None
        Of the column's name, or behind the numbers.
    """

    values: pl.Series
    signs: SignArray
    notes: list[str]
    unit: str | None = None


def read_cell(text: str) -> Cell | None:
    """Return what a cell says, or None if it is no number.

    Parameters
    ----------
    text : str
        As ``<3.2``, ``> 200 µM``, ``≤ 1e-3``, ``~5``, ``1 234.5``, ``−3``, ``1.2×10^-3``.
    """
    plain = _POWER.sub(r"\1e\2", text.translate(_DASHES).strip())
    grouped = _GROUPED.sub(lambda m: m[1] + re.sub(r"\D", "", m[2]), plain)
    found = _CELL.fullmatch(grouped)
    if found is None:
        return None
    sign = found["sign"] or ""
    kind = "bound" if sign in _SIGN_OF else "about" if sign in _ABOUT else "written"
    unit = found["unit"].strip() if found["unit"] else None
    return Cell(float(found["number"]), _SIGN_OF.get(sign, 0), kind, unit)


def unit_of(name: str) -> str | None:
    """Return the unit at the end of a column's name, as of ``KSOL (uM)`` or ``CL [mL/min]``."""
    found = _UNIT.fullmatch(name.strip())
    return found["unit"] if found and _is_unit(found["unit"], _IN_NAMES) else None


def _is_unit(text: str, made_of: re.Pattern[str] = _OF_UNITS) -> bool:
    parts = [part for part in re.split(r"[/·^*²³⁻¹0-9 -]+", text) if part]
    return bool(parts) and all(made_of.fullmatch(part) for part in parts)


def number_column(
    frame: pl.DataFrame, name: str, *, where: str, rows: Rows | None = None
) -> pl.Series:
    """Return a column as float64 with null for missing.

    Parameters
    ----------
    frame : DataFrame
        The table.
    name : str
        A column of it.
    where : str
        Name of the table, for messages.
    rows : sequence of int, optional
        Row numbers for messages, where `frame` is not the whole table; by default 1, 2, ...

    Returns
    -------
    Series
        Finite float64 values and nulls.

    Raises
    ------
    InputError
        For text, bounds or infinity, naming the first rows (the first row below the header is row
        1), and for a column of another type (lists, dates, bytes).
    """
    return _column(frame, name, where, rows, measured=False).values


def measured_column(
    frame: pl.DataFrame, name: str, *, where: str, rows: Rows | None = None
) -> Measured:
    """Return a column of measured values: numbers, bounds, or words of two classes.

    Parameters and what is refused are those of `number_column`; bounds and words are not.
    """
    return _column(frame, name, where, rows, measured=True)


def text_column(frame: pl.DataFrame, name: str, *, where: str) -> pl.Series:
    """Return a column as text, or raise `InputError` if its type is none that text is made of."""
    column = frame[name]
    if isinstance(column.dtype, (*_UNREADABLE, *_TIMES)):
        raise _wrong_type(column, "text", where)
    return column.cast(pl.String)


def _wrong_type(column: pl.Series, expected: str, where: str) -> InputError:
    return InputError(
        f"column {column.name!r}",
        expected=expected,
        found=f"a column of type {column.dtype}",
        where=where,
    )


def _column(
    frame: pl.DataFrame, name: str, where: str, rows: Rows | None, *, measured: bool
) -> Measured:
    column = frame[name]
    if isinstance(column.dtype, (*_UNREADABLE, *_TIMES)):
        raise _wrong_type(column, "numbers", where)
    if isinstance(column.dtype, (pl.Categorical, pl.Enum)):
        column = column.cast(pl.String)  # its labels, not the codes that stand for them
    numbered: Rows = range(1, frame.height + 1) if rows is None else rows
    numbers = column.cast(pl.Float64, strict=False).fill_nan(None)
    signs: SignArray = np.zeros(len(column), dtype=np.int8)
    notes: list[str] = []
    unit = unit_of(name)
    text = column.is_not_null() & numbers.is_null()
    if column.dtype.is_float():
        text &= column.is_not_nan()
    if text.any():
        left = column.filter(text)
        numbers = numbers.alias(name)
        found = _classes(left) if measured and len(left) == column.count() else None
        if found is None:
            found = _cells(left, unit, measured=measured)
        read, of_signs, bad, notes, of_cells = found
        unit = unit or of_cells
        at = text.arg_true()
        numbers = numbers.scatter(at, read)
        signs[at.to_numpy()] = of_signs
        _refuse(column, at.filter(bad).to_list(), "a number or nothing", where, numbered)
    infinite = numbers.is_infinite().fill_null(value=False).arg_true().to_list()
    _refuse(column, infinite, "a finite number", where, numbered)
    return Measured(numbers.alias(name), signs, notes, unit)


_Found = tuple[pl.Series, SignArray, pl.Series, list[str], str | None]
"""Numbers, signs, whether a cell is refused, notes, and the unit behind numbers."""


def _classes(cells: pl.Series) -> _Found | None:
    """Return 1 and 0 where all cells are words of one pair."""
    words = cells.str.strip_chars().str.to_lowercase()
    there = set(words.unique().to_list())
    pair = next((pair for pair in CLASSES if there <= set(pair)), None)
    if pair is None:
        return None
    values = (words == pair[0]).cast(pl.Float64)
    signs: SignArray = np.zeros(len(cells), dtype=np.int8)
    note = f"{pair[0]!r} and {pair[1]!r} read as the classes 1 and 0"
    return values, signs, pl.Series([False] * len(cells), dtype=pl.Boolean), [note], None


def _cells(column: pl.Series, unit: str | None, *, measured: bool) -> _Found:
    """Read the cells of a column that are no plain numbers."""
    # In the order of the rows: the examples that notes give are the same in every run.
    texts = column.unique(maintain_order=True).to_list()
    counts = dict(zip(texts, column.unique_counts().to_list(), strict=True))
    read = {text: read_cell(text) for text in texts}
    units = Counter[str]()
    written: dict[str, str] = {}
    for text, cell in read.items():
        if cell is not None and cell.unit is not None and _is_unit(cell.unit):
            units[_folded(cell.unit)] += counts[text]
            written.setdefault(_folded(cell.unit), cell.unit)
    # Two units in a column are two scales: only one of them can be meant.
    expected = _folded(unit) if unit else units.most_common(1)[0][0] if units else None
    missing = {text for text in texts if text.strip() in MISSING}
    for text, cell in read.items():
        if cell is None:
            continue
        other = cell.unit is not None and _folded(cell.unit) != expected
        if other or (cell.sign and not measured):
            read[text] = None
    values = {text: None if cell is None else cell.value for text, cell in read.items()}
    sign = {text: 0 if cell is None else cell.sign for text, cell in read.items()}
    bad = {text: cell is None and text not in missing for text, cell in read.items()}
    numbers = _mapped(column, values, pl.Float64)
    signs = _mapped(column, sign, pl.Int8).to_numpy()
    notes = _notes(read, counts) if measured else []
    of_cells = written.get(expected) if expected else None
    return numbers, signs, _mapped(column, bad, pl.Boolean), notes, of_cells


def _mapped(
    column: pl.Series, values: Mapping[str, float | None], dtype: type[pl.DataType]
) -> pl.Series:
    return column.replace_strict(list(values), list(values.values()), return_dtype=dtype)


def _folded(unit: str) -> str:
    """Return a unit with one letter for micro and no spaces."""
    folded = unit.replace("\N{GREEK SMALL LETTER MU}", "u").replace("\N{MICRO SIGN}", "u")
    return folded.replace(" ", "")


def _notes(read: dict[str, Cell | None], counts: dict[str, int]) -> list[str]:
    words = {
        ("bound", -1): "read as upper bounds",
        ("bound", 1): "read as lower bounds",
        ("about", 0): "read as the value itself",
        ("unit", 0): "read without the unit",
        ("written", 0): "read as plain numbers",
    }
    totals = Counter[tuple[str, int]]()
    examples: dict[tuple[str, int], str] = {}
    for text, cell in read.items():
        if cell is None:
            continue
        kind = "unit" if cell.kind == "written" and cell.unit else cell.kind
        key = (kind, cell.sign)
        totals[key] += counts[text]
        examples.setdefault(key, text)
    return [
        f"{totals[key]:,} {'cells such as' if totals[key] > 1 else 'cell'} {examples[key]!r} {said}"
        for key, said in words.items()
        if totals[key]
    ]


def _refuse(column: pl.Series, at: list[int], expected: str, where: str, rows: Rows) -> None:
    if not at:
        return
    hint = f"Rows: {listed([rows[i] for i in at])}." if len(at) > 1 else ""
    shown = column[at[0]]
    if isinstance(shown, str) and "," in shown:
        hint += " Commas: --read.decimal says whether they are decimal."
    raise InputError(
        f"column {column.name!r}",
        expected=f"{expected} in every row",
        found=f"{shown!r} in row {rows[at[0]]}",
        where=where,
        hint=hint.strip() or None,
    )
