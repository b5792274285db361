"""What is known of compounds besides their measurements: descriptors and classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from molpool_common import InputError, ReadConfig, listed, number_column, read_table
from rt_ridge import CompoundClasses, CompoundDescriptors, check_ids

from molpool_pipelines.tables import TableFiles


def read_descriptors(
    path: str,
    compound: str,
    names: Sequence[str] | None = None,
    *,
    read: ReadConfig | None = None,
) -> CompoundDescriptors:
    """Read the descriptors of compounds; compounds that lack one are left out.

    Parameters
    ----------
    path : str
        CSV or Parquet, one row per compound.
    compound : str
        Column of the compound's id.
    names : sequence of str or None
        Columns, or patterns; None: ``descriptor_*``.
    read : ReadConfig, optional
        What is known of the file.

    Raises
    ------
    InputError, RTRidgeError
        If a column is missing, holds text, or a compound has several rows.
    """
    table, frame = _compounds(path, "descriptors", compound, read)
    columns = table.matching(names or ["descriptor_*"], "descriptor_cols")
    repeated, counts = np.unique(frame[compound], return_counts=True)
    if (counts > 1).any():
        raise InputError(
            "descriptors",
            expected="one row per compound",
            found=f"several of {listed(repeated[counts > 1].tolist())}",
            where=table.name,
        )
    numbers = [number_column(frame, c, where=table.name).alias(c) for c in columns]
    # A compound without a full set of descriptors has the prior mean instead, as unknown compounds
    # have.
    complete = pl.DataFrame([frame[compound], *numbers]).drop_nulls()
    return CompoundDescriptors.from_frame(complete, compound=compound, columns=columns)


def read_classes(
    path: str, compound: str, column: str, *, read: ReadConfig | None = None
) -> CompoundClasses:
    """Read the class of each compound; compounds without one are left out.

    Parameters
    ----------
    path : str
        CSV or Parquet, one row per compound.
    compound, column : str
        Columns of the compound's id and of its class: ids or names.
    read : ReadConfig, optional
        What is known of the file.

    Raises
    ------
    InputError, RTRidgeError
        If a column is missing, an id is invalid, or a compound has several rows.
    """
    table, frame = _compounds(path, "classes", compound, read)
    table.require(column, "class_col")
    # dict.fromkeys: the class may be the compound itself.
    complete = frame.select(list(dict.fromkeys([compound, column]))).drop_nulls()
    return CompoundClasses.from_frame(complete, compound=compound, column=column)


def _compounds(
    path: str, key: str, compound: str, read: ReadConfig | None
) -> tuple[TableFiles, pl.DataFrame]:
    """Return a table of compounds, its ids checked."""
    table = TableFiles.find([path], key, read=read)
    table.require(compound, "compound_col")
    frame = read_table(table.files[0], read, key=key)
    numbers = number_column(frame, compound, where=table.name)
    ids = check_ids(numbers.to_numpy(), f"column {compound!r} ({table.name})")
    return table, frame.with_columns(pl.Series(compound, ids))


def with_descriptors(
    frame: pl.DataFrame, compound: str, descriptors: CompoundDescriptors
) -> pl.DataFrame:
    """Return rows with the descriptors of their compounds, NaN where there are none."""
    table = pl.DataFrame(descriptors.values, schema=list(descriptors.names))
    table = table.with_columns(pl.Series(compound, descriptors.ids))
    joined = frame.join(table, on=compound, how="left", maintain_order="left")
    return joined.with_columns(pl.col(descriptors.names).fill_null(float("nan")))
