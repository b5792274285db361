"""A worksheet as a table of text."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from molpool_common._errors import InputError, did_you_mean, listed
from molpool_common.tables._layout import named_columns
from molpool_common.tables._settings import ReadConfig

_ERRORS = {
    "Div0": "#DIV/0!",
    "NA": "#N/A",
    "Name": "#NAME?",
    "Null": "#NULL!",
    "Num": "#NUM!",
    "Ref": "#REF!",
    "Value": "#VALUE!",
    "GettingData": "#GETTING_DATA",
}
"""What Excel shows of an error, by the name that the reader gives it."""

_ERROR = re.compile(r".*Error\((\w+)\)'?$")


class Sheet(NamedTuple):
    """A worksheet as text.

    Parameters
    ----------
    frame : DataFrame
        Cells with an error are null, numbers are text with as many digits as it takes.
    written : DataFrame
        The same, null where Excel itself holds a number.
    name : str
    notes : list of str
        What the user should know of its header.
    errors : mapping of str to mapping of str to int
        How often each error stands in a column, by column.
    """

    frame: pl.DataFrame
    written: pl.DataFrame
    name: str
    notes: list[str]
    errors: Mapping[str, Mapping[str, int]]


def read_excel(path: Path, read: ReadConfig, key: str) -> Sheet:
    """Return a worksheet: the one that is named, or the only one with rows.

    Raises
    ------
    InputError
        If several sheets have rows and none is named, none has, or the named one is not there.
    ImportError
        Without the extra ``excel``.
    """
    try:
        import fastexcel
    except ImportError as error:
        raise ImportError(
            "Excel files need fastexcel, which the extra `excel` installs: "
            "pip install 'molpool-common[excel]'"
        ) from error

    with _quiet():
        book = fastexcel.read_excel(path)
        name = _sheet(book, read.sheet, path, key)
        head = book.load_sheet(name, header_row=None, n_rows=1, dtypes="string").to_polars()
        if head.height == 0:
            raise InputError(key, expected="a header and rows", found="an empty sheet", where=name)
        rows, written, found = _texts(book, name)
    names, notes = named_columns([text or "" for text in head.row(0)], f"{path.name}, {name}")
    kept = [i for i, column in enumerate(names) if column is not None]
    body, texts = (
        pl.DataFrame([cells.to_series(i).alias(names[i] or "") for i in kept])
        for cells in (rows, written)
    )
    # Rows that were cleared, not deleted, are still in the file.
    filled = body.select(~pl.all_horizontal(pl.all().is_null())).to_series().arg_true()
    height = 0 if filled.is_empty() else int(filled[-1]) + 1
    errors = {names[i] or "": dict(found[i]) for i in kept if i in found}
    return Sheet(body.head(height), texts.head(height), name, notes, errors)


def _texts(book: Any, name: str) -> tuple[pl.DataFrame, pl.DataFrame, dict[int, Counter[str]]]:
    """Return the cells below the header as text, those that are text, and each column's errors."""
    # As in all but Parquet: a column of ids keeps 5950 from becoming 5950.0, and 007 from 7.
    sheet = book.load_sheet(name, dtypes="string")
    texts: pl.DataFrame = sheet.to_polars()
    numbers: pl.DataFrame = book.load_sheet(name, dtypes="float").to_polars()
    columns, written = [], []
    for text, number in zip(texts.iter_columns(), numbers.iter_columns(), strict=True):
        # fastexcel writes nine digits behind the point: 1e-10 mol/L would be nothing.
        cut = (text.cast(pl.Float64, strict=False) != number).fill_null(value=False)
        columns.append(text.zip_with(~cut, number.cast(pl.String)))
        written.append(text.set(number.is_not_null(), None))
    return pl.DataFrame(columns), pl.DataFrame(written), _errors(sheet)


def _errors(sheet: Any) -> dict[int, Counter[str]]:
    try:
        _, errors = sheet.to_arrow_with_errors()
    except ImportError:
        return {}  # without pyarrow, of which nothing but their names needs
    found: dict[int, Counter[str]] = {}
    for error in errors.errors if errors is not None else ():
        if (kind := _ERROR.match(error.detail)) is not None:
            word = _ERRORS.get(kind[1], f"#{kind[1]}")
            found.setdefault(error.offset_position[1], Counter())[word] += 1
    return found


def _sheet(book: Any, wanted: str | None, path: Path, key: str) -> str:
    names: list[str] = book.sheet_names
    if wanted is not None:
        if wanted not in names:
            raise InputError(
                "--read.sheet",
                expected="a sheet of the file",
                found=repr(wanted),
                where=path.name,
                hint=did_you_mean(wanted, names),
            )
        return wanted
    # A header alone, or a remark, is no table.
    found = [name for name in names if book.load_sheet(name, n_rows=2).height > 0]
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError(key, expected="a sheet with rows", found="none", where=path.name)
    raise InputError(
        key,
        expected="one sheet with rows",
        found=f"{len(found)}: {listed([repr(name) for name in found])}",
        where=path.name,
        hint="Name one by --read.sheet.",
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what fastexcel logs of columns without a type: all of them are text here."""
    log = logging.getLogger("fastexcel")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
