"""Intervals from conformal quantiles of the errors on held-out runs.

Every fold of runs is predicted by a fit to the others, and the absolute errors over their standard
deviation are kept by training rows of the pair: cross-conformal intervals whose exchangeable units
are runs, not rows (Barber et al. 2021, doi:10.1214/20-AOS1965). One pass over the rows sums up each
fold, one predicts: statistics and fits of all folds are in memory, never the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
import polars as pl
from molpool_common import FloatArray, InputError, IntArray, told
from rt_ridge import (
    HeldOutErrors,
    RunCalibration,
    Stage1CoeffSummaries,
    StoredRows,
    SufficientStatistics,
    outside_range,
    reweighted,
)

from molpool_pipelines.retention._batches import Artefact, BatchReader
from molpool_pipelines.retention._covariates import run_names
from molpool_pipelines.retention._training import RunFolds, Training, statistics_roles

Fit = Callable[[SufficientStatistics], Stage1CoeffSummaries]
Range = tuple[FloatArray, FloatArray]
"""Least and greatest reading of each covariate, [P] and [P]."""


@dataclass(frozen=True)
class Calibrated:
    """Conformal quantiles, and on how much they rest.

    Attributes
    ----------
    calibration : RunCalibration
        For the artefact.
    n_runs, n_folds : int
        Runs held out, and folds.
    """

    calibration: RunCalibration
    n_runs: int
    n_folds: int

    @property
    def n_rows(self) -> int:
        """Held-out rows with a prediction."""
        return self.calibration.n_rows

    def metrics(self) -> dict[str, float]:
        """Return what metrics.json holds of it."""
        highest = self.calibration.highest_level
        counts = {"rows": self.n_rows, "runs": self.n_runs, "folds": self.n_folds}
        return {**counts, "highest_level": highest, "highest_level_of_runs": self.of_runs}

    @property
    def of_runs(self) -> float:
        """Level up to which the intervals hold even if runs are off as a whole: K of K + 1 runs."""
        return self.n_runs / (self.n_runs + 1)

    def sentence(self) -> str:
        """Return on what intervals rest, and what level they support."""
        return (
            f"Intervals are calibrated on {self.n_rows:,} rows of {self.n_runs:,} held-out runs in"
            f" {self.n_folds} folds, up to {100 * self.calibration.highest_level:.4g} %; above"
            f" {100 * self.of_runs:.4g} % they presume that no run is off as a whole by more than"
            " these."
        )


def calibrate(
    training: Training,
    folds: RunFolds,
    fit: Fit,
    of_all: Stage1CoeffSummaries,
) -> Calibrated:
    """Fit to all but one fold of runs, fold by fold, and take quantiles of the errors on it.

    Parameters
    ----------
    training : Training
        Rows and features of the fit to all rows; rows of pairs that it does not know are left out.
    folds : RunFolds
        Which runs are held out together.
    fit : callable
        From the statistics of some rows to a fit.
    of_all : Stage1CoeffSummaries
        The fit to all rows: its weights of those that are fitted, and its effects of runs, stand.

    Raises
    ------
    InputError, RTRidgeError
        If a fold cannot be fitted, or too few rows have a prediction.
    """
    sums, ranges = _sums_by_fold(training, folds, of_all)
    pairs = training.stats.keys
    # All fits are held at once, so that the second pass over the rows serves all folds.
    fits = [
        Artefact(f"fold {fold}", Path(), fit(_without(fold, sums, pairs)))
        for fold in told(range(folds.n_folds), "Fits without held-out runs", folds.n_folds)
    ]
    reader = BatchReader(
        training.table.table,
        fits,
        training.config,
        with_target=True,
        extra=[folds.column],
        descriptors=training.descriptors,
        absent=training.config.absent_covariates,
    )
    errors = HeldOutErrors()
    for batch in reader.batches(training.config.max_train_rows):
        for fold, rows in folds.split(batch.raw):
            # From the raw frame: a run is a name, which `batch.frame` does not carry.
            runs = folds.positions(batch.raw)[rows]
            held_out = batch.frame.filter(rows)
            _add_errors(errors, reader, fits[fold], held_out, runs, pairs, _joint(ranges, fold))
    # The range of all folds: extrapolation is flagged later against what the final fit saw.
    calibration = errors.calibration(_joint(ranges))
    return Calibrated(calibration, len(folds.order), folds.n_folds)


def _sums_by_fold(
    training: Training, folds: RunFolds, of_all: Stage1CoeffSummaries
) -> tuple[dict[int, SufficientStatistics], dict[int, Range]]:
    columns, most = training.columns, training.config.max_train_rows
    roles = statistics_roles(columns, training.features)
    sums: dict[int, SufficientStatistics] = {}
    ranges: dict[int, Range] = {}
    table = training.table
    effects = of_all.runs
    shifted = [] if effects is None else [effects.column]
    chunks = table.chunks([*columns.names, folds.column, *shifted], most)
    for chunk in table.told(chunks, "Reading runs for calibration"):
        for fold, rows in folds.split(chunk.frame):
            part = chunk.frame.filter(rows)
            if effects is not None:
                shift = effects.of(run_names(part[effects.column]), part.height)[0]
                less = part[columns.target].cast(pl.Float64) - pl.Series(shift)
                part = part.with_columns(less.alias(columns.target))
            stats = SufficientStatistics.from_frame(part, **roles)
            if of_all.weighs_rows:
                stored = StoredRows.of_frame(part, columns)
                stats = reweighted(stats, stored, of_all).statistics()
            sums[fold] = sums[fold].merge(stats) if fold in sums else stats
            x = np.empty((part.height, len(columns.covariates)))
            for place, name in enumerate(columns.covariates):
                x[:, place] = part[name].cast(pl.Float64).to_numpy()
            range_ = (x.min(axis=0), x.max(axis=0))
            ranges[fold] = _wider(ranges[fold], range_) if fold in ranges else range_
    return sums, ranges


def _wider(a: Range, b: Range) -> Range:
    return np.minimum(a[0], b[0]), np.maximum(a[1], b[1])


def _joint(ranges: dict[int, Range], held_out: int | None = None) -> Range:
    """Return the range of the readings of all folds, or of all but one."""
    return reduce(_wider, (r for fold, r in ranges.items() if fold != held_out))


def _without(
    held_out: int, sums: dict[int, SufficientStatistics], pairs: IntArray
) -> SufficientStatistics:
    first, *others = (stats for fold, stats in sums.items() if fold != held_out)
    rest = first.merge(*others)
    # With `max_groups` only some pairs are fitted; the others would widen the intervals of pairs
    # that the artefact does not hold.
    rest = rest.subset(np.isin(rest.keys, pairs))
    if rest.n_rows < 2:
        raise InputError(
            "calibrate.n_folds",
            expected="two rows or more of the pairs that are fitted, whatever fold is held out",
            found=f"{rest.n_rows} without fold {held_out} of 0 to {len(sums) - 1}",
        )
    return rest


def _add_errors(
    errors: HeldOutErrors,
    reader: BatchReader,
    fit: Artefact,
    frame: pl.DataFrame,
    runs: IntArray,
    pairs: IntArray,
    trained: Range,
) -> None:
    """Count the errors of a fit on held-out rows of known pairs."""
    support, keys = reader.support(fit, frame)
    # Leaves out pairs that `max_groups` dropped. One whose rows are all in this fold stays, with
    # support 0: it calibrates pairs never seen.
    known = np.isin(keys, pairs)
    frame, support, runs = frame.filter(known), support[known], runs[known]
    prediction = reader.predict(fit, frame)
    # Scaled by the predictive sd before pooling, so that quiet and noisy groups share one quantile.
    z = (frame[reader.config.target_col].to_numpy() - prediction.mean) / prediction.std
    extrapolated = outside_range(fit.summaries.features.covariates(frame), *trained)
    errors.add(z, support, runs, extrapolated)
