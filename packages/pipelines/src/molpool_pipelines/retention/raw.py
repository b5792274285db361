"""Raw tables as `molpool-rt prepare` takes them: every column that is used is checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from molpool_common import MISSING, InputError, did_you_mean, listed, number_column, read_table

from molpool_pipelines.retention.config import PrepareConfig
from molpool_pipelines.tables import TableFiles

SPECIES, CLUSTER, COMPOUND = "species_raw", "species_group_raw", "compound_raw"
"""What the columns are called from here on."""


def read_raw(config: PrepareConfig, table: TableFiles, covariates: Sequence[str]) -> pl.DataFrame:
    """Read all files into one table.

    Returns
    -------
    DataFrame
        species_raw, species_group_raw and compound_raw, int64 where all values are whole numbers,
        else text; the target and the covariates, float64 with null for missing; the run, the
        library and ids that came with the table, where they are there.

    Raises
    ------
    InputError
        If a column is missing, holds text instead of numbers, or a value is missing where none
        may be.
    """
    named = {SPECIES: "species_raw", CLUSTER: "cluster_raw", COMPOUND: "compound_col"}
    for key in (*named.values(), "target_col"):
        table.require(getattr(config, key), key)
    optional = {"library_col": config.library_col, "compound_name": config.compound_name}
    for key, column in optional.items():
        if column is not None:
            table.require(column, key)
    if config.run_col not in table and config.missing_covariates == "run_median":
        table.require(config.run_col, "run_col")
    frame = pl.concat([_read(config, table, file, covariates) for file in table.files])
    frame = frame.with_columns(_whole(frame[name]) for name in named)
    return frame if config.libs is None else _of_libraries(config, frame)


def _read(
    config: PrepareConfig, table: TableFiles, file: Path, covariates: Sequence[str]
) -> pl.DataFrame:
    read = read_table(file)
    raw = {SPECIES: config.species_raw, CLUSTER: config.cluster_raw, COMPOUND: config.compound_col}
    texts = {new: _text(read[old]).alias(new) for new, old in raw.items()}
    others = [config.run_col, config.library_col, config.compound_name]
    others += [n for n in ("species", "species_cluster") if n not in raw.values()]
    texts |= {n: _text(read[n]) for n in others if n is not None and n in table}
    numbers = [number_column(read, n, where=file.name) for n in (config.target_col, *covariates)]
    frame = pl.DataFrame([*texts.values(), *numbers])
    used = frame[SPECIES].is_not_null() & frame[CLUSTER].is_not_null()
    if config.missing_covariates == "error":
        hint = "Take the run's median with an indicator by --missing-covariates run_median."
        for name in covariates:
            _refuse_gaps(frame[name], used, file, hint)
    if config.missing_target == "error":
        hint = "Leave such rows out by --missing-target drop."
        _refuse_gaps(frame[config.target_col], used, file, hint)
    _refuse_gaps(frame[COMPOUND].alias(config.compound_col), used, file, None)
    return frame


def _refuse_gaps(column: pl.Series, used: pl.Series, file: Path, hint: str | None) -> None:
    rows = (column.is_null() & used).arg_true() + 1
    if len(rows):
        raise InputError(
            f"column {column.name!r}",
            expected="a value in every row",
            found=f"{len(rows)} missing (rows {listed(rows.to_list())})",
            where=file.name,
            hint=hint,
        )


def _text(column: pl.Series) -> pl.Series:
    """Return text with null for what tables write for missing; 3.0 is 3."""
    if column.dtype.is_float() and column.drop_nulls().drop_nans().eq(column.floor()).all():
        column = column.fill_nan(None).cast(pl.Int64)
    text = column.cast(pl.String).str.strip_chars()
    return text.set(text.is_in(MISSING), None)


def _whole(column: pl.Series) -> pl.Series:
    """Return int64 where every value is a whole number."""
    numbers = column.cast(pl.Int64, strict=False)
    return numbers if numbers.null_count() == column.null_count() else column


def _of_libraries(config: PrepareConfig, frame: pl.DataFrame) -> pl.DataFrame:
    if config.library_col is None or config.libs is None:
        raise InputError("library_col", expected="the column that libs are of", found="none")
    present = frame[config.library_col].drop_nulls().unique().sort().to_list()
    for name in config.libs:
        if name not in present:
            raise InputError(
                "libs",
                expected=f"libraries of column {config.library_col!r}",
                found=repr(name),
                hint=did_you_mean(name, present),
            )
    return frame.filter(pl.col(config.library_col).is_in(config.libs))
