"""Texts that a spreadsheet program takes for formulas are marked as text in the CSV that we write.

The mark is the apostrophe that such programs know themselves, https://owasp.org/www-community/attacks/CSV_Injection.
Where CSV is read it is taken off, so that a value comes back as it was; texts that begin with
apostrophes before such a sign get one more, so that each has one way to be written.
"""

from __future__ import annotations

import re

import polars as pl

_FORMULA = r"^'*[=@+\-\t\r]"
_NUMBER = r"^'*[+\-]?\d*[.,]?\d*(?:[eE][+\-]?\d+)?$"
"""Numbers have signs too."""


def formulas_marked(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a table to write as CSV, texts and names of columns that look like formulas marked."""
    marked = frame.with_columns(
        pl.when(_is_formula(name)).then("'" + pl.col(name)).otherwise(pl.col(name)).alias(name)
        for name in _texts(frame)
    )
    return marked.rename({name: marked_text(name) for name in frame.columns})


def formulas_unmarked(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a table read from CSV, marks of texts and names taken off; see `formulas_marked`."""
    bare = frame.with_columns(
        pl.when(pl.col(name).str.starts_with("'") & _is_formula(name))
        .then(pl.col(name).str.slice(1))
        .otherwise(pl.col(name))
        .alias(name)
        for name in _texts(frame)
    )
    return bare.rename({name: unmarked_text(name) for name in frame.columns})


def marked_text(text: str) -> str:
    """Return a text, marked where it looks like a formula."""
    return f"'{text}" if _looks_like_one(text) else text


def unmarked_text(text: str) -> str:
    """Return a text without the mark."""
    return text[1:] if text.startswith("'") and _looks_like_one(text) else text


def _looks_like_one(text: str) -> bool:
    return bool(re.match(_FORMULA, text)) and not re.match(_NUMBER, text)


def _is_formula(name: str) -> pl.Expr:
    text = pl.col(name).str
    return text.contains(_FORMULA) & ~text.contains(_NUMBER)


def _texts(frame: pl.DataFrame) -> list[str]:
    return [name for name, kind in frame.schema.items() if kind == pl.String]
