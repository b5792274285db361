"""Rows held out of fits: whole runs, compounds or species in folds, later runs, a column's word.

`Splits.read` reads the table that models are fitted to again, and says which rows train and test in
each fold of each repeat.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from molpool_common import (
    BoolArray,
    InputError,
    IntArray,
    listed,
    load_config,
    parse_times,
    split_names,
)

from molpool_pipelines.retention._batches import Artefact
from molpool_pipelines.retention._config import CONFIG, EvaluateConfig, FitConfig
from molpool_pipelines.retention._covariates import FILE, ROW, CentredFiles
from molpool_pipelines.retention._identifiers import as_prepared
from molpool_pipelines.retention._training import training_columns
from molpool_pipelines.tables import TableFiles


@dataclass(frozen=True)
class Cell:
    """One fold of one repeat.

    Attributes
    ----------
    repeat, fold : int
        From 0.
    train, test : ndarray of bool, [N]
        Rows that are fitted, and those that are held out.
    """

    repeat: int
    fold: int
    train: BoolArray
    test: BoolArray


@dataclass(frozen=True)
class Splits:
    """Rows, and how they are divided.

    Attributes
    ----------
    rows : DataFrame
        All columns that the models read, and `FILE` and `ROW` that they come from.
    how : str
        In words, for screen and page.
    cells : list of Cell
        In order.
    """

    rows: pl.DataFrame
    how: str
    cells: list[Cell]

    @classmethod
    def read(cls, config: EvaluateConfig, fits: Sequence[FitConfig], table: TableFiles) -> Splits:
        """Read the rows and divide them.

        Raises
        ------
        InputError
            If a column is missing, a row has no group, or there are fewer groups than folds.
        """
        files, names = _columns(config, fits, table)
        chunks = [
            c.frame.with_columns(
                pl.lit(c.where).alias(FILE),
                pl.int_range(c.first_row, c.first_row + c.frame.height).alias(ROW),
            )
            for c in files.chunks(names, config.max_test_rows)
        ]
        rows = pl.concat(chunks, how="vertical_relaxed")
        if config.split_column is not None:
            return cls._by_word(config, rows, table)
        column = table.require(_group_column(config, fits[0]), f"{config.split_type}_col")
        gaps = rows[column].is_null().arg_true().to_list()
        if gaps:
            raise InputError(
                f"column {column!r}",
                expected=f"a {config.split_type} in every row",
                found=f"none in rows {listed([row + 1 for row in gaps])}",
                where=table.name,
            )
        groups, place = _places(rows[column])
        if config.split_type == "time":
            time_column = config.time_column or _order_column(fits, table)
            return cls._by_time(config, rows, place, len(groups), table, time_column)
        n_folds = len(groups) if config.cv.folds == "all" else config.cv.folds
        if not 2 <= n_folds <= len(groups):
            raise InputError(
                "cv.folds",
                expected=f"2 to the number of them, {len(groups)} by {column!r}",
                found=str(n_folds),
                where=table.name,
            )
        cells = []
        for repeat in range(config.cv.repeats):
            order = np.random.default_rng([config.split_seed, repeat]).permutation(len(groups))
            fold_of = np.empty(len(groups), dtype=np.int64)
            fold_of[order] = np.arange(len(groups)) % n_folds
            folds = fold_of[place]
            cells += [Cell(repeat, k, folds != k, folds == k) for k in range(n_folds)]
        times = f", {config.cv.repeats} times" if config.cv.repeats > 1 else ""
        how = f"held out by {config.split_type} in {n_folds} folds{times}"
        return cls(rows, how, cells)

    @classmethod
    def _by_word(cls, config: EvaluateConfig, rows: pl.DataFrame, table: TableFiles) -> Splits:
        assert config.split_column is not None
        values = rows[config.split_column].to_list()
        found = split_names(values, parameter="split_column", where=table.name)
        words = np.array([word or "" for word in found])
        cell = Cell(0, 0, np.isin(words, ("train", "val")), words == "test")
        for name, chosen in (("train", cell.train), ("test", cell.test)):
            if not chosen.any():
                raise InputError(
                    "split_column", expected=f"rows of {name}", found="none", where=table.name
                )
        return cls(rows, f"held out by column {config.split_column}", [cell])

    @classmethod
    def _by_time(
        cls,
        config: EvaluateConfig,
        rows: pl.DataFrame,
        place: IntArray,
        n_runs: int,
        table: TableFiles,
        time_column: str | None,
    ) -> Splits:
        """Divide runs into blocks in their order: each but the first is tested by earlier ones."""
        order, column = np.arange(n_runs), time_column
        if column is not None:
            times = parse_times(rows[column].to_list())
            first = np.full(n_runs, np.inf)
            np.minimum.at(first, place, times)
            order = np.argsort(np.argsort(first, kind="stable"), kind="stable")
        n_folds = n_runs - 1 if config.cv.folds == "all" else config.cv.folds
        if not 2 <= n_folds < n_runs:
            raise InputError(
                "cv.folds",
                expected=f"fewer than the {n_runs} runs",
                found=str(n_folds),
                where=table.name,
            )
        if config.cv.repeats > 1:
            raise InputError(
                "cv.repeats", expected="1, for time has one order", found=str(config.cv.repeats)
            )
        block = (order * (n_folds + 1) // n_runs)[place]
        cells = [Cell(0, k - 1, block < k, block == k) for k in range(1, n_folds + 1)]
        by = "as in the table" if column is None else f"by {column}"
        return cls(rows, f"later runs held out in {n_folds} steps, in order {by}", cells)

    def parts(self, cell: Cell) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the rows that train and those that test."""
        return self.rows.filter(cell.train), self.rows.filter(cell.test)


def refitted(artefacts: Sequence[Artefact]) -> list[FitConfig]:
    """Return the configurations that fits were made by.

    Raises
    ------
    InputError
        If one is not known.
    """
    found = []
    for artefact in artefacts:
        stored = artefact.folder / CONFIG
        if not stored.is_file():
            raise InputError(
                "artefacts",
                expected="run folders of fits, whose models are fitted again",
                found=f"{artefact.name} without {CONFIG}",
            )
        found.append(load_config(FitConfig, stored))
    return found


def _columns(
    config: EvaluateConfig, fits: Sequence[FitConfig], table: TableFiles
) -> tuple[CentredFiles, list[str]]:
    """Return the files and the columns that any of the models reads, and those of the split."""
    names = dict[str, None]()
    covariates = dict[str, None]()
    for fit in fits:
        columns = training_columns(fit, table)
        names |= dict.fromkeys(columns.names)
        covariates |= dict.fromkeys(columns.covariates)
        prepared = as_prepared(fit, table)
        # What the models are fitted again with, where the table has it.
        of_runs = (prepared.calibrate.run_col, prepared.run_col, prepared.order_col)
        names |= {name: None for name in of_runs if name is not None and name in table}
    for key in ("split_column", "time_column"):
        given = getattr(config, key)
        names |= {} if given is None else {table.require(given, key): None}
    names |= {table.require(name, "strata_column"): None for name in config.strata_column}
    if config.run_col is not None and config.run_col in table:
        names[config.run_col] = None
    elif config.split_type in ("run", "time"):
        table.require(config.run_col or "run", "run_col")
    return CentredFiles.of(table, list(covariates)), list(names)


def _order_column(fits: Sequence[FitConfig], table: TableFiles) -> str | None:
    """Return the column of acquisition order that the fits have, where the table has it."""
    return next(
        (f.order_col for f in fits if f.order_col is not None and f.order_col in table), None
    )


def _group_column(config: EvaluateConfig, fit: FitConfig) -> str:
    if config.split_type == "compound":
        return fit.compound_col
    if config.split_type == "species":
        return fit.group_column
    return config.run_col or "run"


def _places(column: pl.Series) -> tuple[list[str], IntArray]:
    """Return groups in the order in which they come first, and the place of each row's."""
    names = column.cast(pl.String)
    groups = names.unique(maintain_order=True)
    numbers = dict(zip(groups.to_list(), range(len(groups)), strict=True))
    return groups.to_list(), names.replace_strict(numbers, return_dtype=pl.Int64).to_numpy()


def each_cell(splits: Splits) -> Iterator[tuple[Cell, pl.DataFrame, pl.DataFrame]]:
    """Yield cells with the rows that train and those that test."""
    for cell in splits.cells:
        yield cell, *splits.parts(cell)
