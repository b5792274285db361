"""Intervals from conformal quantiles of the errors on held-out runs.

Every fold of runs is predicted by a fit to the others, and the absolute errors over their standard
deviation are kept by training rows of the pair: cross-conformal intervals whose exchangeable units
are runs, not rows (Barber et al. 2021, doi:10.1214/20-AOS1965). Where runs drift they are not
exchangeable, and later runs are predicted by fits to earlier ones. One pass over the rows sums up
each fold, one predicts: statistics and fits of all folds are in memory, never the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

import numpy as np
import polars as pl
from molpool_common import FloatArray, InputError, IntArray, told
from rt_ridge import (
    HeldOutErrors,
    RTRidgeError,
    RunCalibration,
    Stage1CoeffSummaries,
    StoredRows,
    SufficientStatistics,
    outside_range,
    reweighted,
)
from scipy.stats import norm

from molpool_pipelines.retention._batches import Artefact, BatchReader
from molpool_pipelines.retention._covariates import run_names
from molpool_pipelines.retention._training import RunFolds, Training, statistics_roles

CHANCE = 0.01
"""Of runs that do not follow one another being said to drift."""

FEWEST = 8
"""Runs from which on their order is looked at."""

FAR_OFF = 5.0
"""In median absolute deviations, some 3.4 standard deviations."""

WORTH_SAYING = 0.2
"""Share of runs in the variance of errors from which on later runs are covered less."""

BLOCKS = 6
"""Of the order of runs that drift."""

LATER = tuple(
    split
    for first in (2, 3, 4)
    for split in (
        (tuple(range(first)), tuple(range(first, BLOCKS))),
        (tuple(range(BLOCKS - first, BLOCKS)), tuple(range(BLOCKS - first))),
    )
)
"""Blocks that are fitted, and later ones that are predicted; the same backwards, for twice as many:
a third of the runs says what as many as two thirds further on are like."""

GROWN = 1.6
"""Variance of a walk that all N runs are fitted without, up to 2/3 N runs further on, over that of
these splits: N/3 + h steps, h runs on from the mean of N, are .67 N on average, and .42 N there."""

Sums = dict[int, SufficientStatistics]
"""Of the rows of each fold."""

Fit = Callable[[SufficientStatistics, SufficientStatistics | None], Stage1CoeffSummaries]
Split = tuple[Sequence[int], Sequence[int]]
"""Folds that are fitted, and folds that are held out of them."""

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
    drift : float or None
        Share of the variance of errors that whole runs have, where neighbours have it in common.
    later : bool
        Whether runs were predicted by fits to earlier ones, as where they drift, not by all others.
    """

    calibration: RunCalibration
    n_runs: int
    n_folds: int
    drift: float | None = None
    later: bool = False

    @property
    def n_rows(self) -> int:
        """Held-out rows with a prediction."""
        return self.calibration.n_rows

    def metrics(self) -> dict[str, float]:
        """Return what metrics.json holds of it."""
        highest = self.calibration.highest_level
        counts = {"rows": self.n_rows, "runs": self.n_runs, "folds": self.n_folds}
        drift = {} if self.drift is None else {"drift": self.drift, "later": self.later}
        levels = {"highest_level": highest, "highest_level_of_runs": self.of_runs}
        return {**counts, **levels, **drift}

    @property
    def of_runs(self) -> float:
        """Level up to which the intervals hold even if runs are off as a whole: K of K + 1 runs."""
        return self.n_runs / (self.n_runs + 1)

    def notes(self) -> list[str]:
        """Return what the user should know of the runs that were held out."""
        if self.drift is None:
            return []
        hold = "Intervals hold for runs between those of the training, not for later ones"
        if self.later:
            hold = (
                "Intervals are of errors on later runs by fits to earlier ones, as far on as two"
                " thirds of the runs"
            )
        return [
            f"Whole runs are off together, and alike from one to the next: {100 * self.drift:.0f} %"
            " of the variance of errors on runs held out is a drift that the covariates do not"
            f" show. {hold}: add standards that show it, refit as runs come in, or predict rows of"
            " runs that are in the training by --run-effects random_walk."
        ]

    def sentence(self) -> str:
        """Return on what intervals rest, and what level they support."""
        what, how = ("errors on", "splits of their order") if self.later else ("rows of", "folds")
        return (
            f"Intervals are calibrated on {self.n_rows:,} {what} {self.n_runs:,} held-out runs in"
            f" {self.n_folds} {how}, up to {100 * self.calibration.highest_level:.4g} %; above"
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
        From the statistics of some rows, as they are weighted and, where the fit to all needs them,
        at equal weights, to a fit.
    of_all : Stage1CoeffSummaries
        The fit to all rows: its weights of those that are fitted, and its effects of runs, stand.

    Raises
    ------
    InputError, RTRidgeError
        If a fold cannot be fitted, or too few rows have a prediction.
    """
    every = range(folds.n_folds)
    splits: Sequence[Split] = [([k for k in every if k != out], [out]) for out in every]
    errors, of_runs, trained = _held_out(training, folds, splits, fit, of_all)
    # Extrapolation is flagged later against what the final fit saw: the range of all runs.
    found = Calibrated(errors.calibration(trained), len(folds.order), len(splits))
    in_order = _in_order(training, folds)
    drift = _drift(of_runs[:, in_order])
    if drift is None:
        return found
    found = replace(found, drift=drift)
    try:
        in_time = _in_time(folds, in_order)
        stretch = float(np.sqrt(1 + (GROWN - 1) * drift))
        errors = _held_out(training, in_time, LATER, fit, of_all, stretch)[0]
        ahead = errors.calibration(trained)
    except (InputError, RTRidgeError):
        # A third of the runs may be too few to fit.
        return found
    return replace(found, calibration=ahead, n_folds=len(LATER), later=True)


def _held_out(
    training: Training,
    folds: RunFolds,
    splits: Sequence[Split],
    fit: Fit,
    of_all: Stage1CoeffSummaries,
    stretch: float = 1.0,
) -> tuple[HeldOutErrors, FloatArray, Range]:
    """Return the errors of each split, sums of them by run as for `_drift`, and range of all.

    Errors are multiplied by `stretch`.
    """
    sums, equal, ranges = _sums_by_fold(training, folds, of_all)
    pairs = training.stats.keys
    # All fits are held at once, so that the second pass over the rows serves all splits.
    fits = []
    for i, split in enumerate(told(splits, "Fits without held-out runs", len(splits))):
        beside = None if equal is None else _joined(split, equal, pairs)
        fits.append(Artefact(f"split {i}", Path(), fit(_joined(split, sums, pairs), beside)))
    reader = BatchReader(
        training.table.table,
        fits,
        training.config,
        with_target=True,
        extra=[folds.column],
        descriptors=training.descriptors,
        absent=training.config.absent_covariates,
    )
    errors, of_runs = HeldOutErrors(), np.zeros((3, 1 + max(folds.order.values())))
    for batch in reader.batches(training.config.max_train_rows):
        for fold, rows in folds.split(batch.raw):
            # From the raw frame: a run is a name, which `batch.frame` does not carry.
            runs = folds.positions(batch.raw)[rows]
            held_out = batch.frame.filter(rows)
            for (train, out), artefact in zip(splits, fits, strict=True):
                if fold in out:
                    known = (pairs, _joint(ranges, train), stretch)
                    _add_errors(errors, reader, artefact, held_out, runs, known, of_runs)
    return errors, of_runs, _joint(ranges, list(ranges))


def _in_time(folds: RunFolds, in_order: IntArray) -> RunFolds:
    """Return the same runs in blocks of their order, each at a position of its own."""
    runs = dict.fromkeys(in_order.tolist())
    place = {at: i * BLOCKS // len(runs) + BLOCKS * i for i, at in enumerate(runs)}
    return replace(folds, order={n: place[at] for n, at in folds.order.items()}, n_folds=BLOCKS)


def _in_order(training: Training, folds: RunFolds) -> IntArray:
    """Return positions of the runs in acquisition order; none where it is not known."""
    runs = None if training.left_out is None else training.left_out.runs
    if runs is None or not runs.ordered or not set(folds.order) <= set(runs.place):
        return np.zeros(0, dtype=np.int64)
    position = {runs.place[name]: at for name, at in folds.order.items()}
    return np.array([position[place] for place in sorted(position)], dtype=np.int64)


def _drift(of_runs: FloatArray) -> float | None:
    """Return the share of whole runs in the variance of errors, None where none follow each other.

    Parameters
    ----------
    of_runs : ndarray, [3, R]
        Rows, sum and sum of squares of the errors on each run, in acquisition order, each over its
        standard deviation.

    Notes
    -----
    Differences of neighbours are held against the spread of all (von Neumann 1941,
    doi:10.1214/aoms/1177731677): runs that do not follow one another give a ratio of about 2. A
    run that is far off counts as one less far, lest it decide alone where it is the first or last.
    """
    rows, total, squares = of_runs[:, of_runs[0] > 0]
    n, mean = len(rows), total / rows
    if n < FEWEST or not np.ptp(mean) > 0:
        return None
    centre = np.median(mean)
    most = FAR_OFF * np.median(np.abs(mean - centre)) or np.inf
    near = np.clip(mean, centre - most, centre + most)
    ratio = float((np.diff(near) ** 2).sum() / ((near - near.mean()) ** 2).sum())
    if norm.cdf((ratio - 2) / np.sqrt(4 * (n - 2) / (n**2 - 1))) > CHANCE:
        return None
    within = (squares - rows * mean**2).sum() / max((rows - 1).sum(), 1)
    between = max(float(mean.var(ddof=1) - within * (1 / rows).mean()), 0.0)
    share = between / (between + within) if between else 0.0
    return float(share) if share > WORTH_SAYING else None


def _sums_by_fold(
    training: Training, folds: RunFolds, of_all: Stage1CoeffSummaries
) -> tuple[Sums, Sums | None, dict[int, Range]]:
    """Return sums as rows are weighted, at equal weights where lines go by them, and ranges."""
    columns, most = training.columns, training.config.max_train_rows
    roles = statistics_roles(columns, training.features)
    sums: Sums = {}
    equal: Sums | None = None if of_all.normal is None else {}
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
            if equal is not None:
                _merge(equal, fold, stats)
            if of_all.weighs_rows:
                stored = StoredRows.of_frame(part, columns)
                stats = reweighted(stats, stored, of_all).statistics()
            _merge(sums, fold, stats)
            x = np.empty((part.height, len(columns.covariates)))
            for place, name in enumerate(columns.covariates):
                x[:, place] = part[name].cast(pl.Float64).to_numpy()
            range_ = (x.min(axis=0), x.max(axis=0))
            ranges[fold] = _wider(ranges[fold], range_) if fold in ranges else range_
    return sums, equal, ranges


def _merge(sums: Sums, fold: int, stats: SufficientStatistics) -> None:
    sums[fold] = sums[fold].merge(stats) if fold in sums else stats


def _wider(a: Range, b: Range) -> Range:
    return np.minimum(a[0], b[0]), np.maximum(a[1], b[1])


def _joint(ranges: dict[int, Range], folds: Sequence[int]) -> Range:
    """Return the range of the readings of some folds."""
    return reduce(_wider, (ranges[fold] for fold in folds if fold in ranges))


def _joined(split: Split, sums: Sums, pairs: IntArray) -> SufficientStatistics:
    """Return the statistics of the folds that are fitted."""
    train, out = split
    first, *others = (sums[fold] for fold in train if fold in sums)
    rest = first.merge(*others)
    # With `max_groups` only some pairs are fitted; the others would widen the intervals of pairs
    # that the artefact does not hold.
    rest = rest.subset(np.isin(rest.keys, pairs))
    if rest.n_rows < 2:
        raise InputError(
            "calibrate.n_folds",
            expected="two rows or more of the pairs that are fitted, whatever fold is held out",
            found=f"{rest.n_rows} without fold {out[0]} of 0 to {len(train) + len(out) - 1}",
        )
    return rest


def _add_errors(
    errors: HeldOutErrors,
    reader: BatchReader,
    fit: Artefact,
    frame: pl.DataFrame,
    runs: IntArray,
    known: tuple[IntArray, Range, float],
    of_runs: FloatArray,
) -> None:
    """Count the errors of a fit on held-out rows; those of runs as for `_drift`.

    `known` are the pairs that are fitted, the range of the fit's rows, and what errors are
    multiplied by.
    """
    pairs, trained, stretch = known
    support, keys = reader.support(fit, frame)
    # Leaves out pairs that `max_groups` dropped. One whose rows are all in this fold stays, with
    # support 0: it calibrates pairs never seen.
    fitted = np.isin(keys, pairs)
    frame, support, runs = frame.filter(fitted), support[fitted], runs[fitted]
    prediction = reader.predict(fit, frame)
    # Scaled by the predictive sd before pooling, so that quiet and noisy groups share one quantile.
    error = frame[reader.config.target_col].to_numpy() - prediction.mean
    z = stretch * error / prediction.std
    extrapolated = outside_range(fit.summaries.features.covariates(frame), *trained)
    errors.add(z, support, runs, extrapolated)
    there = np.isfinite(z)
    for sums, of_row in zip(
        of_runs, (np.ones_like(z[there]), z[there], z[there] ** 2), strict=True
    ):
        np.add.at(sums, runs[there], of_row)
