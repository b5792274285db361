"""Ids as tables write them: when two cells are one id, and when a column does not say.

An id is a string exactly as written, after Unicode normalisation (NFC) and without the blanks about
it. Only in columns of numbers are 7 and 7.0 one id: columns that a file declares so, and columns of
text all of whose cells are whole numbers as a program writes them (7) or all of them as it writes
a column of whole numbers with gaps (7.0). 007 is no such number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from molpool_common._errors import InputError, listed
from molpool_common._faults import Fault, TableError
from molpool_common.tables._settings import MISSING, IdSpelling

IdKind = Literal["number", "text"]

_INTEGER, _DECIMAL = r"^-?(0|[1-9]\d*)$", r"^-?(0|[1-9]\d*)\.0+$"
_DIGITS = r"^[+-]?\d+(\.0+)?$"
"""Also as people write whole numbers: 007, +7."""

_FEW = 3
"""Ids that stand for a kind in a note."""


@dataclass(frozen=True)
class IdColumn:
    """The ids of one column of one file.

    Make one with `read`.

    Attributes
    ----------
    name, where : str
        The column and the file, for messages.
    texts : Series
        As written, normalised and stripped; null where missing.
    form : {"integer", "decimal", "mixed", "text", "empty"}
        How its cells are written: all as 7, all as 7.0, some so and some so, anything else.
    declared : bool
        Whether the file says that they are numbers.
    notes : tuple of str
        Which ids were written in several ways.
    """

    name: str
    where: str
    texts: pl.Series
    form: Literal["integer", "decimal", "mixed", "text", "empty"]
    declared: bool
    notes: tuple[str, ...] = ()

    @classmethod
    def read(cls, column: pl.Series, where: str) -> IdColumn:
        """Return the ids of a column as a file has it.

        Raises
        ------
        InputError
            If the type of the column cannot name anything, or an id is no whole number in a
            column of numbers; names the rows.
        """
        dtype, name = column.dtype, column.name
        if dtype.is_nested() or dtype == pl.Binary:
            raise InputError(
                f"column {name!r}",
                expected="ids: text or whole numbers",
                found=str(dtype),
                where=where,
            )
        if dtype.is_integer():
            form: Literal["integer", "empty"] = "empty" if _empty(column) else "integer"
            return cls(name, where, column.cast(pl.String), form, declared=True)
        if dtype.is_float() or dtype.is_decimal():
            return cls(name, where, _whole(column, where), "decimal", declared=True)
        texts = column.cast(pl.String).str.normalize("NFC").str.strip_chars()
        texts = texts.set(texts.is_in(MISSING), None)
        return cls(name, where, texts, _form(texts), declared=False, notes=_respelt(column, texts))

    def rows(self, chosen: pl.Series) -> list[int]:
        """Return the numbers of some rows, from 1 below the header."""
        return [int(row) + 1 for row in chosen.fill_null(value=False).arg_true()]


@dataclass(frozen=True)
class Ids:
    """The ids of one column over all files of a table.

    Attributes
    ----------
    texts : list of Series
        Equal texts are one id, in the order of the files; null where missing.
    kind : {"number", "text"}
        Whether all ids are whole numbers.
    notes : tuple of str
        What was read as one id, and what was not.
    """

    texts: list[pl.Series]
    kind: IdKind
    notes: tuple[str, ...]


def joint_ids(
    columns: Sequence[IdColumn],
    known: IdKind | None = None,
    *,
    spelling: IdSpelling = "auto",
    cure: str | None = None,
) -> Ids:
    """Return the ids of the same column of several files.

    Parameters
    ----------
    columns : sequence of IdColumn
        One per file.
    known : {"number", "text"} or None
        What the ids of earlier tables are, to which these belong.
    spelling : {"auto", "text", "number"}
        ``auto``: a table whose files or cells disagree about whether ids are numbers is refused.
        ``text``: ids are what is written. ``number``: where all are whole numbers, however they
        are written, ids are these numbers.
    cure : str or None
        How the user says otherwise, for messages.

    Raises
    ------
    TableError
        If numbers and text are mixed; names files, rows and values.
    """
    notes = [note for column in columns for note in column.notes]
    if spelling == "number" and known != "text" and all(map(_is_number_however, columns)):
        return Ids([_plain(c.texts) for c in columns], "number", (*notes, *_several_ways(columns)))
    numbers = known != "text" and all(c.form in ("integer", "decimal", "empty") for c in columns)
    if spelling == "text":
        return Ids([c.texts for c in columns], "text", (*notes, *_look_alikes(columns)))
    if numbers:
        return Ids([_plain(c.texts) for c in columns], "number", (*notes, *_several_ways(columns)))
    faults = [fault for column in columns for fault in _mixed(column, columns, known, cure)]
    if faults:
        raise TableError(faults)
    return Ids([c.texts for c in columns], "text", (*notes, *_look_alikes(columns)))


def _empty(column: pl.Series) -> bool:
    return column.null_count() == len(column)


def _whole(column: pl.Series, where: str) -> pl.Series:
    numbers = column.cast(pl.Float64).fill_nan(None)
    broken = numbers.is_not_null() & ((numbers != numbers.floor()) | numbers.is_infinite())
    at = broken.arg_true().to_list()
    if at:
        fault = Fault.of_rows(
            f"column {column.name!r}",
            "whole numbers, or text, as ids",
            [column[i] for i in at],
            [i + 1 for i in at],
        )
        raise TableError([fault], where)
    return numbers.cast(pl.Int64).cast(pl.String)


def _form(texts: pl.Series) -> Literal["integer", "decimal", "mixed", "text", "empty"]:
    distinct = texts.drop_nulls().unique()
    if distinct.is_empty():
        return "empty"
    whole, decimal = (int(distinct.str.contains(p).sum()) for p in (_INTEGER, _DECIMAL))
    if whole + decimal < len(distinct):
        return "text"
    return "integer" if not decimal else "decimal" if not whole else "mixed"


def _is_number_however(column: IdColumn) -> bool:
    return bool(column.texts.drop_nulls().str.contains(_DIGITS).all())


def _plain(texts: pl.Series) -> pl.Series:
    """Return whole numbers as Python writes them."""
    whole = texts.str.replace(r"\.0+$", "").str.replace(r"^\+", "")
    return whole.str.replace(r"^(-?)0+(\d)", "$1$2")


def _respelt(column: pl.Series, texts: pl.Series) -> tuple[str, ...]:
    """Say which ids of a column are written with blanks or letters of several kinds."""
    pairs = pl.DataFrame({"id": texts, "written": column.cast(pl.String)}).drop_nulls().unique()
    several = pairs.filter(pl.len().over("id") > 1)["id"].unique().sort()
    if several.is_empty():
        return ()
    shown = listed([repr(i) for i in several.to_list()], _FEW)
    return (
        f"column {column.name!r}: {len(several)} ids stand with and without blanks, or composed"
        f" and decomposed letters, and are one each: {shown}.",
    )


def _several_ways(columns: Sequence[IdColumn]) -> tuple[str, ...]:
    """Say which numbers are written in several ways and are one id."""
    return _told(columns, "one id each, as the column is of numbers", dotted=True)


def _look_alikes(columns: Sequence[IdColumn]) -> tuple[str, ...]:
    """Say which texts are one number and yet several ids."""
    return _told(columns, "different ids, as the column is of text", dotted=False)


def _told(columns: Sequence[IdColumn], what: str, *, dotted: bool) -> tuple[str, ...]:
    several = (
        _spellings(columns, dotted).filter(pl.len().over("plain") > 1).sort("plain", "written")
    )
    if several.is_empty():
        return ()
    groups = several.group_by("plain", maintain_order=True).agg("written")["written"].to_list()
    shown = listed([" and ".join(ways) for ways in groups], _FEW)
    return (f"column {columns[0].name!r}: {what}: {shown}.",)


def _spellings(columns: Sequence[IdColumn], dotted: bool) -> pl.DataFrame:
    """Return how numbers are written, those of a declared column of floats with their point."""
    written = [
        c.texts + ".0" if dotted and c.declared and c.form == "decimal" else c.texts
        for c in columns
    ]
    distinct = pl.concat(t.alias("written") for t in written).drop_nulls().unique()
    numbers = distinct.filter(distinct.str.contains(_DIGITS))
    return pl.DataFrame({"written": numbers, "plain": _plain(numbers)})


def _mixed(
    column: IdColumn, columns: Sequence[IdColumn], known: IdKind | None, cure: str | None
) -> list[Fault]:
    """Return what in a column contradicts the others, itself or earlier tables."""
    texts, parameter = column.texts, f"column {column.name!r} ({column.where})"
    if column.form == "mixed":
        chosen, expected = texts.str.contains(_DECIMAL), "ids written one way, 7 or 7.0"
    elif column.form == "decimal" or (column.form == "integer" and column.declared):
        others = [c.where for c in columns if c.form == "text"]
        place = f"in {listed(others, _FEW)}" if others else "in earlier tables"
        chosen, expected = texts.is_not_null(), f"text, as {place}"
    elif known == "number" and column.form == "text":
        chosen, expected = ~texts.str.contains(_INTEGER), "whole numbers, as in earlier tables"
    else:
        return []
    rows = column.rows(chosen)
    dot = ".0" if column.declared and column.form == "decimal" else ""
    values = [texts[row - 1] + dot for row in rows[:100]]
    return [Fault.of_rows(parameter, expected, values, rows, cure)]
