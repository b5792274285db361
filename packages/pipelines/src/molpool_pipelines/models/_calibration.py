"""What turns a model's predictions into statements about error: intervals and probabilities.

A run leaves it beside its model, fitted on rows that did not train what predicted them: the
validation split, or all rows out of fold. It is the same for every kind of model, and of bags.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import numpy as np
from molpool_common import (
    ClassCalibration,
    FloatArray,
    InputError,
    IntArray,
    IntervalCalibration,
    SignArray,
    TaskType,
    coverage_range,
    listed,
    needed_points,
    read_npz,
)

from molpool_pipelines.models._config import LEAST_OF_STRATUM, LEVEL
from molpool_pipelines.models._limit_odds import LimitOdds
from molpool_pipelines.models._protocol import Predicted
from molpool_pipelines.models._recentring import BiasPrior, Recentring
from molpool_pipelines.models._shift import Shift
from molpool_pipelines.runs import LOWER, UPPER

if TYPE_CHECKING:
    from multitask_models import AssayLimits

FORMAT = 2
"""Version of the file. Those of version 1 know neither what they rest on nor their rows."""

Basis = Literal[
    "validation", "later validation", "folds", "random folds", "spans of time", "rolling origin"
]
"""What the calibration rows are to the models that predict them; runs of 2026 have random folds."""

_BASIS_WORDS: dict[Basis, str] = {
    "validation": "of the validation split",
    "later validation": "of the validation split, which is later than what trained",
    "folds": "out of fold",
    "random folds": "out of random folds, though the split is by time: later ones may do worse",
    "spans of time": "out of fold, folds being spans of time",
    "rolling origin": "each predicted by models of earlier ones",
}

NEAR = 0.2
"""Added to distances: a molecule that was trained on is predicted with the assay's error, not 0."""

LEAST_OF_CLASS = 50
"""Calibration rows of each class from which probabilities are calibrated: fewer leave only some
steps of the isotonic fit, and molecules that the model tells apart become equal."""


_MANY = 50
"""Calibration rows of a task from which on it is not said how far its coverage may be off."""

_ORDER = 1e-6
"""Weight of the model's own probability beside the calibrated one."""


@dataclass(frozen=True)
class Calibration:
    """Calibration of T tasks.

    Make one with `fit`; `save` and `load` keep it as plain arrays.

    Parameters
    ----------
    task_types : tuple of {"regression", "classification"}, length T
        What the tasks are.
    intervals : IntervalCalibration
        Of regression tasks; empty for the others.
    classes : ClassCalibration
        Of classification tasks; empty for the others.
    floor, ceiling : ndarray [T]
        What the assays can report; infinite where they have no limit.
    basis : Basis or None
        What the rows are; None of an earlier version.
    thresholds : ndarray [T]
        Calibrated probability from which class 1 is called; NaN for regression, and of tasks with
        too few calibration rows.
    prior : BiasPrior or None
        How far series of molecules are off as a whole; None of an earlier version.
    recentring : Recentring or None
        What newly measured molecules say.
    odds : LimitOdds
        How probable it is that an assay reports its limit; of an earlier version, of none.
    """

    task_types: tuple[TaskType, ...]
    intervals: IntervalCalibration
    classes: ClassCalibration
    floor: FloatArray
    ceiling: FloatArray
    basis: Basis | None = None
    thresholds: FloatArray = field(default_factory=lambda: np.empty(0))
    prior: BiasPrior | None = None
    recentring: Recentring | None = None
    odds: LimitOdds = field(default_factory=LimitOdds.none)

    def __post_init__(self) -> None:
        if not len(self.thresholds):
            object.__setattr__(self, "thresholds", np.full(len(self.task_types), np.nan))

    @classmethod
    def fit(
        cls,
        y: FloatArray,
        mean: FloatArray,
        task_types: Sequence[TaskType],
        *,
        sd: FloatArray | None = None,
        distance: FloatArray | None = None,
        censoring: SignArray | None = None,
        limits: tuple[FloatArray, FloatArray] | None = None,
        strata: Sequence[str] | None = None,
        rows: IntArray | None = None,
        basis: Basis | None = None,
        series: Sequence[str] | None = None,
        assays: AssayLimits | None = None,
    ) -> Self:
        """Calibrate by rows that the model has not seen.

        Parameters
        ----------
        y, mean : ndarray [N, T]
            Labels, NaN for none, and predictions.
        task_types : sequence of {"regression", "classification"}, length T
            What the tasks are.
        sd : ndarray [N, T], optional
            Uncertainty that the model states, on which widths may depend.
        distance : ndarray [N], optional
            1 - Tanimoto similarity to the nearest training molecule, likewise.
        censoring : ndarray of int8 [N, T], optional
            -1 for labels that are upper bounds, +1 for lower ones.
        limits : (ndarray [T], ndarray [T]), optional
            Where intervals end.
        strata : sequence of str, length N, optional
            Stratum of each row, within which intervals shall hold.
        rows : ndarray of int64 [N], optional
            Number of the molecule that each is a prediction of, where some have several.
        basis : Basis, optional
            What the rows are.
        series : sequence of str, length N, optional
            Scaffold or series of each row, by which bias is told from noise.
        assays : AssayLimits, optional
            Where labels stand at a limit.
        """
        regression = np.array([kind == "regression" for kind in task_types])
        signs = np.zeros(y.shape, dtype=np.int8) if censoring is None else censoring
        features = difficulty_features(mean.shape, sd, distance)
        n_tasks = y.shape[1]
        found = cls(
            tuple(task_types),
            IntervalCalibration.fit(
                np.where(regression, y, np.nan),
                mean,
                features=features.values,
                names=features.names,
                censoring=signs,
                strata=strata,
                least_rows=LEAST_OF_STRATUM,
                rows=rows,
            ),
            ClassCalibration.fit(np.where(regression | (signs != 0), np.nan, y), mean),
            np.full(n_tasks, -np.inf) if limits is None else limits[0],
            np.full(n_tasks, np.inf) if limits is None else limits[1],
            basis,
        )
        exact = np.where(regression & (signs == 0), y - mean, np.nan)
        return replace(
            found,
            thresholds=found._tuned(np.where(regression | (signs != 0), np.nan, y), mean),
            prior=None if series is None else BiasPrior.fit(exact, series),
            odds=LimitOdds.none() if assays is None else LimitOdds.fit(y, mean, signs, assays),
        )

    def _tuned(self, y: FloatArray, mean: FloatArray) -> FloatArray:
        """Return the threshold of each task of classes with enough rows."""
        p = self.probabilities(mean)
        return np.array(
            [
                best_threshold(y[:, t], p[:, t]) if enough else np.nan
                for t, enough in enumerate(self._enough)
            ]
        )

    @property
    def _enough(self) -> list[bool]:
        """Whether each task has enough rows of both classes."""
        return [
            min(int(c.sum()), len(c) - int(c.sum())) >= LEAST_OF_CLASS for c in self.classes.classes
        ]

    def ends(
        self,
        mean: FloatArray,
        level: float = LEVEL,
        *,
        sd: FloatArray | None = None,
        distance: FloatArray | None = None,
        strata: Sequence[str] | None = None,
        shift: Shift | None = None,
    ) -> tuple[FloatArray, FloatArray]:
        """Return lower and upper ends of the intervals; NaN for classes.

        Parameters
        ----------
        mean : ndarray [M, T]
            Predictions.
        level : float
            Share of new molecules to cover.
        sd, distance : ndarray, optional
            As in `fit`, where widths depend on them.
        strata : sequence of str, length M, optional
            As in `fit`, where the calibration has strata.
        shift : Shift, optional
            Density ratios, where the new molecules are others than those that calibrate.

        Returns
        -------
        lower, upper : ndarray [M, T]
            Infinite where too few rows calibrate for the level.
        """
        features = difficulty_features(mean.shape, sd, distance)
        intervals = self.intervals if shift is None else self.intervals.weighted(shift.known)
        lower, upper = intervals.intervals(
            mean,
            level,
            features=features.of(self.intervals.difficulty.names),
            strata=strata if self.has_strata else None,
            weights=None if shift is None else shift.new,
        )
        if self.recentring is not None:
            lower, upper = self.recentring.ends(lower, upper)
        lower = np.clip(lower, self.floor, self.ceiling)
        upper = np.clip(upper, self.floor, self.ceiling)
        regression = np.array([kind == "regression" for kind in self.task_types])
        return np.where(regression, lower, np.nan), np.where(regression, upper, np.nan)

    def probabilities(self, mean: FloatArray) -> FloatArray:
        """Return predictions [M, T], recentred where that is known, and probabilities calibrated.

        Those of classes with fewer than `LEAST_OF_CLASS` calibration rows stay the model's.
        """
        mean = self._moved(mean)
        # Isotonic fits are steps; within one the model's own order stands, and so does its ranking.
        calibrated = (1 - _ORDER) * self.classes.calibrated(mean) + _ORDER * mean
        return np.where(self._enough, calibrated, mean)

    def _moved(self, mean: FloatArray) -> FloatArray:
        """Return predictions recentred, where that is known, within what assays can report."""
        shift = 0.0 if self.recentring is None else self.recentring.shift
        return np.clip(mean + shift, self.floor, self.ceiling)

    def at_limits(self, mean: FloatArray) -> dict[int, dict[str, FloatArray]]:
        """Return the probability of standing at each limit, by task and ending of its column.

        Parameters
        ----------
        mean : ndarray [M, T]
            Predictions of what the assays report, before `probabilities`.
        """
        return self.odds.of(self._moved(mean))

    def called(self, p: FloatArray) -> FloatArray:
        """Return whether calibrated probabilities [M, T] reach the thresholds; NaN without one."""
        return np.where(np.isfinite(self.thresholds + p), p >= self.thresholds, np.nan)

    def described(self, tasks: Sequence[str]) -> dict[str, Any]:
        """Return how many rows calibrate each task, and what newly measured ones say."""
        counts = (
            n if kind == "regression" else len(c)
            for n, c, kind in zip(
                self.intervals.n_points, self.classes.classes, self.task_types, strict=True
            )
        )
        found: dict[str, Any] = {"rows": dict(zip(tasks, counts, strict=True))}
        if self.recentring is not None:
            found["recalibrated"] = self.recentring.described(tasks)
        return found

    @property
    def has_strata(self) -> bool:
        """Whether intervals hold within strata, which new rows must name."""
        return self.intervals.strata is not None

    @property
    def needs_distance(self) -> bool:
        """Whether widths depend on the distance to training molecules."""
        difficulty = self.intervals.difficulty
        powers = dict(zip(difficulty.names, difficulty.powers, strict=True))
        return powers.get("distance", 0.0) > 0

    def notes(
        self, tasks: Sequence[str], level: float = LEVEL, noun: str = "molecule"
    ) -> list[str]:
        """Return what the user should know of intervals at a level.

        Parameters
        ----------
        tasks : sequence of str, length T
            Names of the tasks.
        level : float
            Share of new molecules to cover.
        noun : str
            What a row is.
        """
        called = [
            f"{tasks[t]} {threshold:.2g}"
            for t, threshold in enumerate(self.thresholds)
            if np.isfinite(threshold)
        ]
        said = [
            "Class 1 is called from a calibrated probability on that has the highest MCC on the "
            f"rows that calibrate: {listed(called)}."
        ]
        regression = [t for t, kind in enumerate(self.task_types) if kind == "regression"]
        if not regression:
            return said if called else []
        points = self.intervals.n_points
        counts = [points[t] for t in regression]
        span = str(counts[0]) if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}"
        which = "" if self.basis is None else f", {_BASIS_WORDS[self.basis]}"
        words = [f"Intervals at {level:.0%} rest on {span} calibration {noun}s per task{which}."]
        needed = needed_points(level)
        few = min((points[t] for t in regression if points[t] >= needed), default=_MANY)
        if few < _MANY:
            low, high = coverage_range(few, level)
            words.append(
                f"Of {few} ({tasks[points.index(few)]}), what they cover in the long run is "
                f"between {low:.0%} and {high:.0%}."
            )
        thin = [tasks[t] for t in regression if points[t] < needed]
        if self.has_strata:
            words.append(
                f"They hold within strata; those with fewer than {LEAST_OF_STRATUM} calibration "
                f"{noun}s of a task are one."
            )
        if thin:
            words.append(
                f"Without intervals, as {level:.0%} needs {needed} calibration {noun}s: "
                f"{listed(thin)}."
            )
        return [*words, *said] if called else words

    def save(self, path: Path) -> None:
        """Write all of it to one npz file of plain arrays."""
        arrays: dict[str, Any] = {
            "format": np.array(FORMAT),
            "task_types": np.array(self.task_types, dtype=np.str_),
            "floor": self.floor,
            "ceiling": self.ceiling,
            "basis": np.array(self.basis or ""),
            "thresholds": self.thresholds,
            **({} if self.prior is None else self.prior.to_arrays()),
            **self.odds.to_arrays(),
            **{f"intervals.{k}": v for k, v in self.intervals.to_arrays().items()},
            **{f"classes.{k}": v for k, v in self.classes.to_arrays().items()},
        }
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            If the file is damaged or of a later version.
        """
        try:
            arrays = read_npz(path)
            if int(arrays["format"]) > FORMAT:
                raise InputError(
                    "calibration",
                    expected=f"format {FORMAT}",
                    found=str(int(arrays["format"])),
                    where=str(path),
                    hint="A later version of molpool wrote it.",
                )
            types: tuple[Any, ...] = tuple(str(kind) for kind in arrays["task_types"])
            floor, ceiling = arrays["floor"], arrays["ceiling"]
            basis = next((b for b in get_args(Basis) if b == str(arrays.get("basis", ""))), None)
            thresholds = arrays.get("thresholds", np.empty(0))
        except (OSError, ValueError, KeyError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                "calibration", expected="a file of ours", found=str(error), where=str(path)
            ) from None
        return cls(
            types,
            IntervalCalibration.from_arrays(_under("intervals.", arrays)),
            ClassCalibration.from_arrays(_under("classes.", arrays)),
            floor,
            ceiling,
            basis,
            thresholds,
            BiasPrior.from_arrays(arrays),
            odds=LimitOdds.from_arrays(arrays),
        )


def with_intervals(
    predicted: Predicted,
    calibration: Calibration | None,
    levels: Sequence[float],
    *,
    distance: FloatArray | None = None,
    strata: Sequence[str] | None = None,
    shift: Shift | None = None,
) -> Predicted:
    """Return predictions with intervals and calibrated probabilities, where a run left them.

    Parameters
    ----------
    predicted : Predicted
        Of M molecules or bags.
    calibration : Calibration or None
        None gives back the predictions.
    levels : sequence of float
        Of the intervals; of several, columns have the level in their name.
    distance, strata, shift
        As `Calibration.ends` takes them; where widths need the distance to training molecules and
        it is not known, there are no intervals.
    """
    if calibration is None or (calibration.needs_distance and distance is None):
        return predicted
    ends = {}
    for level in levels:
        both = calibration.ends(
            predicted.mean, level, sd=predicted.sd, distance=distance, strata=strata, shift=shift
        )
        percent = "" if len(levels) == 1 else f"_{100 * level:g}"
        for ending, values in zip((LOWER, UPPER), both, strict=True):
            ends[ending + percent] = values
    return replace(
        predicted,
        mean=calibration.probabilities(predicted.mean),
        ends=ends,
        at_limits=calibration.at_limits(predicted.mean),
    )


def best_threshold(y: FloatArray, p: FloatArray) -> float:
    """Return the probability from which calling class 1 has the highest MCC.

    Parameters
    ----------
    y : ndarray [N]
        Classes, NaN for none.
    p : ndarray [N]
        Probabilities of class 1.

    Returns
    -------
    float
        Halfway between two neighbouring probabilities; of equal maxima the one nearest to 1/2.

    References
    ----------
    Matthews, Biochim. Biophys. Acta 405 (1975) 442-451. Chosen for classes that are rare, of which
    accuracy finds none and balanced accuracy too many.
    """
    rows = np.isfinite(y) & np.isfinite(p)
    values, which = np.unique(p[rows], return_inverse=True)
    positives = np.bincount(which, weights=y[rows], minlength=len(values))
    counts = np.bincount(which, minlength=len(values))
    # Called from value k on: all that lie there or above.
    called = np.cumsum(counts[::-1])[::-1]
    hits = np.cumsum(positives[::-1])[::-1]
    n, total = counts.sum(), positives.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        mcc = (hits * n - called * total) / np.sqrt(called * (n - called) * total * (n - total))
    mcc = np.nan_to_num(mcc, nan=0.0)
    cuts = np.concatenate([[values[0] / 2], (values[1:] + values[:-1]) / 2])
    best = np.flatnonzero(mcc >= mcc.max() - 1e-12)
    return float(cuts[best[np.abs(cuts[best] - 0.5).argmin()]])


def _under(prefix: str, arrays: dict[str, Any]) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


@dataclass(frozen=True)
class DifficultyFeatures:
    """What widths may depend on: D features of N rows and T tasks, by name."""

    names: tuple[str, ...]
    values: FloatArray | None

    def of(self, names: Sequence[str]) -> FloatArray | None:
        """Return the features of these names [N, T, D'], None where one is not there."""
        if self.values is None or not set(names) <= set(self.names):
            return None
        return self.values[:, :, [self.names.index(name) for name in names]]


def difficulty_features(
    shape: tuple[int, ...], sd: FloatArray | None, distance: FloatArray | None
) -> DifficultyFeatures:
    """Return the features that are there; a row without one has the mean of the others."""
    found: dict[str, FloatArray] = {}
    # Of no rows, as where nothing of a request parses, they are what they are of others.
    if sd is not None and (not sd.size or np.isfinite(sd).any()):
        found["sd"] = sd
    if distance is not None:
        found["distance"] = np.broadcast_to(distance[:, None] + NEAR, shape)
    if not found:
        return DifficultyFeatures((), None)
    filled = [np.where(np.isfinite(v), v, np.nanmean(v)) if v.size else v for v in found.values()]
    return DifficultyFeatures(tuple(found), np.stack(filled, axis=2))
