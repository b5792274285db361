"""Tables of compound descriptors, as fits and predictions take them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from molpool_common import InputError, listed, number_column, read_table
from rt_ridge import CompoundClasses, CompoundDescriptors, check_ids

from molpool_pipelines.tables import TableFiles

PATTERN = "descriptor_*"
"""What `molpool-rt simulate` calls them."""


def read_descriptors(
    path: str, compound: str, names: Sequence[str] | None = None
) -> CompoundDescriptors:
    """Read one row a compound; rows with a missing descriptor are left out.

    Parameters
    ----------
    path : str
        CSV or Parquet.
    compound : str
        Column of the compound's id.
    names : sequence of str or None
        Columns, or patterns; None: those that `PATTERN` matches.

    Raises
    ------
    InputError, RTRidgeError
        If a column is missing, holds text, or a compound stands twice.
    """
    table = TableFiles.find([path], key="descriptors")
    table.require(compound, "compound_col")
    columns = table.matching(names or [PATTERN], "descriptor_cols")
    frame = read_table(table.files[0])
    numbers = pl.DataFrame(
        [number_column(frame, c, where=table.name).alias(c) for c in (compound, *columns)]
    )
    ids = check_ids(numbers[compound].to_numpy(), f"column {compound!r} ({table.name})")
    if len(np.unique(ids)) < len(ids):
        repeated, counts = np.unique(ids, return_counts=True)
        raise InputError(
            "descriptors",
            expected="one row a compound",
            found=f"several of {listed(repeated[counts > 1].tolist())}",
            where=table.name,
        )
    whole = numbers.with_columns(pl.Series(compound, ids)).drop_nulls()
    return CompoundDescriptors.from_frame(whole, compound=compound, columns=columns)


def read_classes(path: str, compound: str, column: str) -> CompoundClasses:
    """Read the class of each compound; rows without one are left out.

    Parameters
    ----------
    path : str
        CSV or Parquet, one row a compound.
    compound, column : str
        Columns of the compound's id and of its class: ids or names.

    Raises
    ------
    InputError, RTRidgeError
        If a column is missing, an id is none, or a compound stands twice.
    """
    table = TableFiles.find([path], key="classes")
    table.require(compound, "compound_col")
    table.require(column, "class_col")
    frame = read_table(table.files[0])
    numbers = number_column(frame, compound, where=table.name).alias(compound)
    ids = check_ids(numbers.to_numpy(), f"column {compound!r} ({table.name})")
    whole = pl.DataFrame({compound: ids, column: frame[column]}).drop_nulls()
    return CompoundClasses.from_frame(whole, compound=compound, column=column)


def described(frame: pl.DataFrame, compound: str, known: CompoundDescriptors) -> pl.DataFrame:
    """Return rows with the descriptors of their compounds, NaN where there are none."""
    table = pl.DataFrame(known.values, schema=list(known.names))
    table = table.with_columns(pl.Series(compound, known.ids))
    joined = frame.join(table, on=compound, how="left", maintain_order="left")
    return joined.with_columns(pl.col(known.names).fill_null(float("nan")))
