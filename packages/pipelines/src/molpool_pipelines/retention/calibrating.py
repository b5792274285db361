"""Intervals calibrated on whole runs held out, in memory that does not grow with the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from molpool_common import InputError, listed
from rt_ridge import (
    MAX_RUN_BLOCKS,
    Columns,
    CompoundDescriptors,
    ConformalSketch,
    FeatureMap,
    IntervalCalibration,
    Stage1CoeffSummaries,
    SufficientStatistics,
    outside_range,
)

from molpool_pipelines.retention.artefacts import Artefact
from molpool_pipelines.retention.batches import BatchReader
from molpool_pipelines.retention.config import FitConfig
from molpool_pipelines.retention.tables import Table, Wanted

Ints = npt.NDArray[np.int64]
Fit = Callable[[SufficientStatistics], Stage1CoeffSummaries]
Ends = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Calibrated:
    """What was measured, and on how much.

    Attributes
    ----------
    calibration : IntervalCalibration
        For the artefact.
    n_rows, n_runs, n_folds : int
        Held-out rows with a prediction, runs, and parts that they were held out in.
    """

    calibration: IntervalCalibration
    n_rows: int
    n_runs: int
    n_folds: int

    def metrics(self) -> dict[str, Any]:
        """Return what metrics.json says of it."""
        return {"rows": self.n_rows, "runs": self.n_runs, "folds": self.n_folds}

    def told(self) -> str:
        """Return what the screen says of it."""
        return (
            f"Intervals are calibrated on {self.n_rows:,} rows of {self.n_runs:,} runs, held out"
            f" in {self.n_folds} parts"
        )


@dataclass(frozen=True)
class RunFolds:
    """Which runs are held out together.

    Runs are put in the order of a hash of their names and dealt out in turn, so that neither the
    order of the rows nor the format of the file matters.

    Parameters
    ----------
    column : str
        Of the run.
    order : dict of str to int
        Place of each run in that order.
    n_folds : int
        Number of folds.
    """

    column: str
    order: dict[str, int]
    n_folds: int

    @classmethod
    def read(cls, config: FitConfig, table: Table) -> RunFolds:
        """Deal out the runs of a table.

        Raises
        ------
        InputError
            If the column is missing or has gaps, or there are fewer runs than folds.
        """
        column = table.require(config.calibrate.run_col, "calibrate.run_col")
        n_folds = config.calibrate.n_folds
        names: set[str] = set()
        for chunk in table.chunks(Wanted.names_of([column]), config.max_train_rows):
            runs = _names(chunk.frame[column])
            gaps = runs.is_null().arg_true() + chunk.first_row
            if len(gaps):
                raise InputError(
                    "calibrate.run_col",
                    expected="a run in every row",
                    found=f"{len(gaps)} missing in {column!r} (rows {listed(gaps.to_list())})",
                    where=chunk.where,
                )
            names.update(runs.unique().to_list())
        if len(names) < n_folds:
            raise InputError(
                "calibrate.n_folds",
                expected=f"at most the number of runs, {len(names)}",
                found=str(n_folds),
                where=table.name,
            )
        ordered = sorted(names, key=lambda run: blake2b(f"{config.seed}:{run}".encode()).digest())
        return cls(column, {run: i for i, run in enumerate(ordered)}, n_folds)

    def places(self, frame: pl.DataFrame) -> Ints:
        """Return the place of the run of each row in the order of runs, [N]."""
        named = _names(frame[self.column])
        return named.replace_strict(self.order, return_dtype=pl.Int64).to_numpy()

    def parts(self, frame: pl.DataFrame) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
        """Yield each fold that has rows of a frame, and which."""
        every = self.places(frame) % self.n_folds
        for fold in np.unique(every).tolist():
            yield fold, every == fold


def _names(runs: pl.Series) -> pl.Series:
    whole = runs.cast(pl.Int64) if runs.dtype.is_integer() else runs
    return (whole.fill_nan(None) if whole.dtype.is_float() else whole).cast(pl.String)


def calibrate(
    config: FitConfig,
    table: Table,
    columns: Columns,
    folds: RunFolds,
    features: FeatureMap,
    pairs: Ints,
    fit: Fit,
    known: CompoundDescriptors | None,
) -> Calibrated:
    """Fit to all but some runs, again and again, and measure the errors on those.

    One pass sums up the rows of each fold, one measures: the statistics and fits of all folds are
    in memory, never the rows.

    Parameters
    ----------
    config : FitConfig
        Names of columns, rows at most.
    table : Table
        The training rows.
    columns : Columns
        What the fit reads of them.
    folds : RunFolds
        Which runs are held out together.
    features : FeatureMap
        Of the fit to all rows, and so of every fold's.
    pairs : ndarray of int64, [G]
        Pairs that the fit to all rows knows; rows of others are left out.
    fit : callable
        From the statistics of some rows to a fit.
    known : CompoundDescriptors or None
        Descriptors of the compounds.

    Raises
    ------
    InputError, RTRidgeError
        If a fold cannot be fitted, or too few rows have a prediction.
    """
    sums, ends = _sums_by_fold(config, table, columns, features, folds)
    fits = [
        Artefact(f"fold {held_out}", Path(), fit(_without(sums, held_out, pairs)))
        for held_out in range(folds.n_folds)
    ]
    reader = BatchReader(
        table, fits, config, with_target=True, extra=[folds.column], descriptors=known
    )
    sketch = ConformalSketch()
    for batch in reader.batches(config.max_train_rows):
        for held_out, rows in folds.parts(batch.raw):
            held = HeldOut(fits[held_out], _ends(ends, held_out))
            runs = folds.places(batch.raw)[rows]
            _measure(sketch, reader, held, batch.frame.filter(rows), pairs, runs)
    found = sketch.calibration(_ends(ends))
    return Calibrated(found, sketch.n_rows, len(folds.order), folds.n_folds)


def _sums_by_fold(
    config: FitConfig, table: Table, columns: Columns, features: FeatureMap, folds: RunFolds
) -> tuple[dict[int, SufficientStatistics], dict[int, Ends]]:
    wanted = Wanted.names_of([*columns.names, folds.column])
    roles: dict[str, Any] = {"features": features, "parent": columns.parent}
    roles |= {"covariates": columns.covariates, "target": columns.target}
    roles |= {"group": columns.group, "compound": columns.compound}
    sums: dict[int, SufficientStatistics] = {}
    ends: dict[int, Ends] = {}
    for chunk in table.chunks(wanted, config.max_train_rows):
        for fold, rows in folds.parts(chunk.frame):
            part = chunk.frame.filter(rows)
            found = SufficientStatistics.from_frame(part, **roles)
            sums[fold] = sums[fold].merge(found) if fold in sums else found
            x = part.select(pl.col(n).cast(pl.Float64) for n in columns.covariates).to_numpy()
            now = (x.min(axis=0), x.max(axis=0))
            ends[fold] = _wider(ends[fold], now) if fold in ends else now
    return sums, ends


def _wider(a: Ends, b: Ends) -> Ends:
    return np.minimum(a[0], b[0]), np.maximum(a[1], b[1])


def _ends(ends: dict[int, Ends], held_out: int | None = None) -> Ends:
    """Return the ends of the readings of all folds, or of all but one."""
    return reduce(_wider, (found for fold, found in ends.items() if fold != held_out))


def _without(
    sums: dict[int, SufficientStatistics], held_out: int, pairs: Ints
) -> SufficientStatistics:
    first, *others = (part for fold, part in sums.items() if fold != held_out)
    rest = first.merge(*others)
    rest = rest.subset(np.isin(rest.keys, pairs))
    if rest.n_rows < 2:
        raise InputError(
            "calibrate.n_folds",
            expected="two rows or more of the pairs that are fitted, whatever part is held out",
            found=f"{rest.n_rows} without part {held_out + 1} of {len(sums)}",
        )
    return rest


@dataclass(frozen=True)
class HeldOut:
    """The fit to all runs but some, and the ends of their readings."""

    fit: Artefact
    ends: Ends


def _measure(
    sketch: ConformalSketch,
    reader: BatchReader,
    held: HeldOut,
    frame: pl.DataFrame,
    pairs: Ints,
    runs: Ints,
) -> None:
    support, keys = reader.support(held.fit, frame)
    there = np.isin(keys, pairs)
    frame, support = frame.filter(there), support[there]
    prediction = reader.predict(held.fit, frame)
    y = frame[reader.config.target_col].to_numpy()
    far = outside_range(held.fit.summaries.features.covariates(frame), *held.ends)
    z = (y - prediction.mean) / prediction.std
    sketch.update(z, support, runs[there] % MAX_RUN_BLOCKS, far)
