"""What is asked of a table of molecules, and what its rows say of their quality and time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from molpool_common import (
    InputError,
    ReadConfig,
    TimesError,
    did_you_mean,
    listed,
    parse_times,
    require_columns,
)

from molpool_pipelines.tables._table_config import DataConfig, OnBadSmiles, SourceConfig

NO_STRATUM = "none given"
"""Stratum of rows whose cell is empty."""


@dataclass(frozen=True)
class Wanted:
    """What of a table is read, and how strictly.

    Parameters
    ----------
    config : DataConfig
        Targets, and the split that may want times.
    quality_column : str or None
        Column of quality labels, where a source does not give one label for all its rows; None
        if they are not needed.
    qualities : sequence of str or None
        The labels that may stand there; None: any.
    on_bad_smiles : {"error", "drop", "keep"}
        Whether rows whose SMILES do not parse are faults, or are left out and listed.
    min_labels : int
        Fewest labels that a task may have.
    check_times : bool
        Whether times must read as times; otherwise they may be names of any kind.
    target_key : str
        What named the targets, for messages.
    read : ReadConfig or None
        What is known of the files.
    strata_column : str or None
        Column of strata, where intervals shall hold within them.
    counted : bool
        Whether molecules are counted only: SMILES then go by some thousand at a time, and memory
        holds keys of molecules, so that the table may be larger than memory.
    """

    config: DataConfig
    quality_column: str | None = None
    qualities: Sequence[str] | None = None
    on_bad_smiles: OnBadSmiles = "error"
    min_labels: int = 0
    check_times: bool = True
    target_key: str = "data.target_columns"
    read: ReadConfig | None = None
    strata_column: str | None = None
    counted: bool = False

    @property
    def strict(self) -> bool:
        """Whether every row counts, whatever its SMILES."""
        return self.on_bad_smiles == "error"


def read_quality(
    part: pl.DataFrame, source: SourceConfig, wanted: Wanted, rows: pl.Series, where: str
) -> list[str] | None:
    """Return the quality labels of rows, where they are needed; parameters as of `read_times`.

    Raises
    ------
    InputError
        If the column is missing, or a row has no label or an unknown one.
    """
    column, of_source = wanted.quality_column, source.quality
    if column is None:
        return None
    if of_source is not None:
        # A label of the source takes precedence: stacked tables often lack the column.
        labels = pl.Series([of_source] * part.height, dtype=pl.String)
    else:
        key = "joint_sampling.curriculum.quality_col"
        require_columns(part, [column], key=key, where=where)
        labels = part[column].cast(pl.String)
    missing = labels.is_null().arg_true()
    if len(missing):
        numbers = rows.gather(missing)
        raise InputError(
            f"column {column!r}",
            expected="a quality label in every row",
            found=f"none in row {numbers[0]}",
            where=where,
            hint=f"Rows: {listed(numbers.to_list())}." if len(numbers) > 1 else None,
        )
    if wanted.qualities is not None:
        _check_quality(labels, column, wanted.qualities, rows, where)
    one: dict[str, str] = {}
    return [one.setdefault(label, label) for label in labels.to_list()]


def _check_quality(
    labels: pl.Series, column: str, qualities: Sequence[str], rows: pl.Series, where: str
) -> None:
    unknown = (~labels.is_in(list(qualities))).arg_true()
    if not len(unknown):
        return
    label = labels[int(unknown[0])]
    names = labels.gather(unknown).unique(maintain_order=True).to_list()
    more = f" {len(unknown)} rows have {listed([repr(n) for n in names], 5)}."
    raise InputError(
        f"column {column!r}",
        expected="a label of joint_sampling.curriculum.qualities",
        found=f"{label!r} in row {rows[int(unknown[0])]}",
        where=where,
        hint=did_you_mean(label, qualities) + (more if len(unknown) > 1 else ""),
    )


def read_strata(part: pl.DataFrame, wanted: Wanted, where: str) -> list[str] | None:
    """Return the stratum of each row, where strata are asked for; empty cells are one of their own.

    Raises
    ------
    InputError
        If the column is missing.
    """
    if wanted.strata_column is None:
        return None
    require_columns(part, [wanted.strata_column], key="strata_column", where=where)
    return strata_of(part[wanted.strata_column])


def strata_of(column: pl.Series) -> list[str]:
    """Return the cells of a column as names of strata."""
    return column.cast(pl.String).fill_null(NO_STRATUM).to_list()


def read_times(
    part: pl.DataFrame, source: SourceConfig, wanted: Wanted, rows: pl.Series, where: str
) -> list[Any] | None:
    """Return the times of rows, where the split asks for them.

    Parameters
    ----------
    part : DataFrame
        The rows.
    source : SourceConfig
        Whose rows they are.
    wanted : Wanted
        What is read.
    rows : Series
        Their numbers.
    where : str
        What messages call the table.

    Raises
    ------
    InputError
        If the column is missing, or a time does not read as the others do.
    """
    column = wanted.config.time_column
    if wanted.config.split_type != "time" or column is None:
        return None
    # Rows for training only need no time, as they are never split.
    if not source.hold_out:
        return [None] * part.height
    require_columns(part, [column], key="data.time_column", where=where)
    times = part[column].to_list()
    if wanted.check_times:
        _check_times(times, column, rows, where)
    return times


def _check_times(times: list[Any], column: str, rows: pl.Series, where: str) -> None:
    try:
        parse_times(times)
    except TimesError as error:
        wrong = error.rows
        more = f" Rows: {listed([rows[i] for i in wrong])}." if len(wrong) > 1 else ""
        raise InputError(
            f"column {column!r}",
            expected=error.expected,
            found=error.found if not wrong else f"{_first(error, times)} in row {rows[wrong[0]]}",
            where=where,
            hint=f"{error.hint or ''}{more}".strip() or None,
        ) from None


def _first(error: TimesError, times: list[Any]) -> str:
    # Of several rows that do not fit the first; what a single one could mean is said with it.
    return error.found if len(error.rows) == 1 else repr(times[error.rows[0]])
