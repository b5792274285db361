"""Ids of names: kept where they are numbers already, else counted up."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from rt_ridge import check_ids


@dataclass(frozen=True)
class Numbering:
    """An id for every name of a column.

    Parameters
    ----------
    ids : dict of str to int
        By name; an id that came as a number is its own name.
    """

    ids: dict[str, int]

    @classmethod
    def of(cls, column: pl.Series, before: Numbering | None = None) -> Numbering:
        """Return ids of the values of a column, after those that `before` has numbered.

        Whole numbers stay as they are; other names get 0, 1, ... in their order.

        Raises
        ------
        RTRidgeError
            If a number is negative or 2^31 or more.
        """
        names = column.drop_nulls().unique().sort()
        known = {} if before is None else before.ids
        if names.dtype.is_integer():
            ids = check_ids(names.to_numpy(), f"column {column.name!r}")
            return cls(known | {str(i): i for i in ids.tolist()})
        new = [name for name in names.to_list() if name not in known]
        first = max(known.values(), default=-1) + 1
        return cls(known | {name: first + j for j, name in enumerate(new)})

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, name: str, number: str) -> Numbering:
        """Take names and ids from two columns."""
        return cls(dict(zip(frame[name].cast(pl.String), frame[number], strict=True)))

    def apply(self, column: pl.Series) -> pl.Series:
        """Return the ids of a column, int64, null where it is."""
        text = column.cast(pl.String)
        return text.replace_strict(self.ids, return_dtype=pl.Int64).alias(column.name)

    def frame(self, name: str, number: str) -> pl.DataFrame:
        """Return names and ids as a table, by id."""
        columns = {name: list(self.ids), number: list(self.ids.values())}
        return pl.DataFrame(columns, schema={name: pl.String, number: pl.Int64}).sort(number)
