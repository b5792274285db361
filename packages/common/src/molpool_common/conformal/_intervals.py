"""Intervals of many tasks from errors on rows that did not train the model that predicted them.

The engine is crepes (Boström 2022): its regressors take scores, difficulties and Mondrian bins as
plain arrays, where MAPIE wraps and refits an estimator; MAPIE is the reference in the tests.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from molpool_common._arrays import BoolArray, FloatArray, IntArray, SignArray, StrArray
from molpool_common._errors import InputError
from molpool_common.conformal._difficulty import Difficulty
from molpool_common.conformal._quantiles import ROUNDING, check_level, weighted_quantile

OTHERS = "other strata"
"""Stratum of the rows whose own has too few of a task, and of new rows whose stratum has none."""


def needed_points(level: float) -> int:
    """Return the fewest calibration rows whose intervals at a level are finite: 1/α - 1."""
    check_level(level)
    return int(np.ceil((1 - ROUNDING) / (1 - level) - 1 - 1e-9))


def coverage_range(n: int, level: float) -> tuple[float, float]:
    """Return between what 95 of 100 calibration sets cover of new rows, as n rows make one.

    Parameters
    ----------
    n : int
        Calibration rows, at least `needed_points`.
    level : float
        Share of new rows to cover.

    References
    ----------
    Vovk, "Conditional validity of inductive conformal predictors" (ACML 2012), proposition 2: the
    share is of a beta distribution.
    """
    from scipy.stats import beta

    place = int(np.ceil((n + 1) * (level - ROUNDING)))
    low, high = np.asarray(beta.ppf([0.025, 0.975], place, n + 1 - place)).tolist()
    return low, high


def conformity_scores(
    y: FloatArray, mean: FloatArray, scale: FloatArray, censoring: SignArray | None = None
) -> FloatArray:
    """Return how far labels lie from predictions, over the scale.

    Parameters
    ----------
    y, mean, scale : ndarray [N, T]
        Labels (NaN for none), predictions and scales.
    censoring : ndarray of int8 [N, T], optional
        -1 where the true value is below the label, +1 where it is above. Such a label is off only
        by what its bound proves.

    Returns
    -------
    ndarray [N, T]
        NaN without label or prediction.
    """
    error = y - mean
    if censoring is not None:
        error = np.where(censoring > 0, np.maximum(error, 0), error)
        error = np.where(censoring < 0, np.minimum(error, 0), error)
    return np.asarray(np.abs(error) / scale)


@dataclass(frozen=True)
class IntervalCalibration:
    """Scores of T tasks, from which intervals of any level follow.

    Make one with `fit`; `to_arrays` and `from_arrays` store it without pickle.

    Parameters
    ----------
    scores : tuple of ndarray [n_t]
        Of each task.
    strata : tuple of ndarray of str [n_t], or None
        Stratum of each score; intervals then hold within each stratum.
    weights : tuple of ndarray [n_t], or None
        Density ratio of each score under covariate shift.
    difficulty : Difficulty
        The scale of the scores.
    rows : tuple of ndarray of int64 [n_t], or None
        Calibration row that each score is of, by which `weighted` gives them weights. Rows that
        several models predict have several scores, and count once all the same.
    """

    scores: tuple[FloatArray, ...]
    strata: tuple[StrArray, ...] | None = None
    weights: tuple[FloatArray, ...] | None = None
    difficulty: Difficulty = field(default_factory=Difficulty)
    rows: tuple[IntArray, ...] | None = None

    @classmethod
    def fit(
        cls,
        y: FloatArray,
        mean: FloatArray,
        *,
        features: FloatArray | None = None,
        names: Sequence[str] = (),
        difficulty: Difficulty | None = None,
        strata: Sequence[str] | None = None,
        least_rows: int = 0,
        rows: IntArray | None = None,
        weights: FloatArray | None = None,
        censoring: SignArray | None = None,
    ) -> Self:
        """Return the calibration by rows that the model has not seen.

        Parameters
        ----------
        y, mean : ndarray [N, T]
            Labels, NaN for none, and predictions.
        features : ndarray [N, T, D], optional
            What widths may depend on.
        names : sequence of str, length D
            Of the features.
        difficulty : Difficulty, optional
            Of the features; by default the powers that shorten the intervals.
        strata : sequence of str, length N, optional
            Stratum of each row (Mondrian).
        least_rows : int
            Strata with fewer rows of a task are one stratum in it, `OTHERS`.
        rows : ndarray of int64 [N], optional
            Number of what each is a prediction of, where some are predicted several times; by
            default each is one of its own.
        weights : ndarray [N], optional
            Density ratio p(new) / p(calibration) of each row.
        censoring : ndarray of int8 [N, T], optional
            As `conformity_scores` takes it.

        Raises
        ------
        InputError
            If shapes differ, or strata and weights are both given.
        """
        _check_shapes(y, mean, features, strata, weights)
        plain = conformity_scores(y, mean, np.ones(y.shape), censoring)
        if difficulty is None:
            difficulty = (
                Difficulty() if features is None else Difficulty.choose(plain, features, names)
            )
        scores = plain / difficulty.scale(features, _shape(y))
        there = np.isfinite(scores)
        each = [np.flatnonzero(there[:, t]) for t in range(y.shape[1])]
        numbers = np.arange(len(y), dtype=np.int64) if rows is None else rows
        kept = None if strata is None else np.array(strata, dtype=np.str_)
        return cls(
            tuple(scores[of, t] for t, of in enumerate(each)),
            None if kept is None else tuple(_with_others(kept[of], least_rows) for of in each),
            None if weights is None else tuple(weights[of] for of in each),
            difficulty,
            tuple(numbers[of] for of in each),
        )

    def weighted(self, weights: FloatArray) -> Self:
        """Return the same scores with density ratios [N] of the calibration rows.

        Raises
        ------
        InputError
            If the calibration has strata, or does not know of which rows its scores are.
        """
        if self.rows is None or self.strata is not None:
            raise InputError(
                "weights",
                expected="a calibration by rows without strata",
                found="strata" if self.strata is not None else "one of an earlier version",
            )
        if max((int(of.max(initial=-1)) for of in self.rows), default=-1) >= len(weights):
            raise InputError(
                "weights",
                expected="of all rows that calibrate",
                found=f"of {len(weights)}: others are of earlier origins, where --shift is none",
                hint="Train with the same --shift.",
            )
        return replace(self, weights=tuple(weights[of] for of in self.rows))

    @property
    def n_points(self) -> tuple[int, ...]:
        """Calibration rows of each task."""
        return tuple(self._n_points(t) for t in range(len(self.scores)))

    def _n_points(self, t: int) -> int:
        return len(self.scores[t]) if self.rows is None else len(np.unique(self.rows[t]))

    def highest_level(self, t: int) -> float:
        """Return the highest level at which task `t` has finite intervals, of all its rows."""
        n = self._n_points(t)
        return n / (n + 1)

    def half_widths(
        self,
        shape: tuple[int, int],
        level: float,
        *,
        features: FloatArray | None = None,
        strata: Sequence[str] | None = None,
        weights: FloatArray | None = None,
    ) -> FloatArray:
        """Return half the width of each interval.

        Parameters
        ----------
        shape : (int, int)
            New rows M and tasks T.
        level : float
            Share of new rows to cover.
        features : ndarray [M, T, D], optional
            As in `fit`.
        strata : sequence of str, length M, optional
            As in `fit`; one that calibrated nothing counts as `OTHERS`, and has infinite intervals
            where that has none either.
        weights : ndarray [M], optional
            Density ratios, where the calibration has them.

        Returns
        -------
        ndarray [M, T]
            Infinite where too few rows calibrate for the level.

        Raises
        ------
        InputError
            If features, strata or weights are needed and not given.
        """
        check_level(level)
        if (strata is None) != (self.strata is None):
            raise InputError(
                "strata",
                expected="a stratum for each row" if self.strata else "none, as in calibration",
                found="none" if strata is None else "some",
            )
        if (weights is None) != (self.weights is None):
            raise InputError(
                "weights",
                expected="a weight for each row" if self.weights else "none, as in calibration",
                found="none" if weights is None else "some",
            )
        scale = self.difficulty.scale(features, shape)
        new = None if strata is None else np.array(strata, dtype=np.str_)
        quantiles = [self._quantiles(t, shape[0], level, new, weights) for t in range(shape[1])]
        with np.errstate(invalid="ignore"):
            return np.asarray(np.stack(quantiles, axis=1) * scale)

    def intervals(
        self,
        mean: FloatArray,
        level: float,
        *,
        features: FloatArray | None = None,
        strata: Sequence[str] | None = None,
        weights: FloatArray | None = None,
        limits: tuple[FloatArray, FloatArray] | None = None,
    ) -> tuple[FloatArray, FloatArray]:
        """Return the ends of the interval of each prediction.

        Parameters
        ----------
        mean : ndarray [M, T]
            Predictions.
        level, features, strata, weights
            As `half_widths` takes them.
        limits : (ndarray [T], ndarray [T]), optional
            What an assay can report at least and at most (infinite where it has no limit):
            intervals end there.

        Returns
        -------
        lower, upper : ndarray [M, T]
        """
        half = self.half_widths(
            _shape(mean), level, features=features, strata=strata, weights=weights
        )
        lower, upper = mean - half, mean + half
        if limits is None:
            return lower, upper
        return np.clip(lower, *limits), np.clip(upper, *limits)

    def _quantiles(
        self,
        t: int,
        m: int,
        level: float,
        strata: StrArray | None,
        weights: FloatArray | None,
    ) -> FloatArray:
        from molpool_common.conformal._crepes import ConformalRegressor

        scores = self.scores[t]
        several = self.n_points[t] < len(scores)
        if several or (self.weights is not None and weights is not None):
            return self._weighted_quantiles(t, m, level, strata, weights)
        known: BoolArray = np.full(m, bool(len(scores)))
        bins = None
        if self.strata is not None and strata is not None:
            bins = self.strata[t]
            strata = np.where(np.isin(strata, bins), strata, OTHERS)
            # crepes gives a bin that it has not seen an interval of width 0.
            known = np.isin(strata, bins)
        result = np.full(m, np.inf)
        if known.any():
            regressor = ConformalRegressor().fit(scores, bins=bins)
            with warnings.catch_warnings():
                # Infinite widths are the answer here, and the callers say so.
                warnings.filterwarnings("ignore", message="the no. of calibration examples")
                ends = regressor.predict_int(
                    np.zeros(int(known.sum())),
                    bins=None if strata is None else strata[known],
                    confidence=level - ROUNDING,
                )
            result[known] = ends[:, 1]
        return result

    def _weighted_quantiles(
        self,
        t: int,
        m: int,
        level: float,
        strata: StrArray | None,
        weights: FloatArray | None,
    ) -> FloatArray:
        """Return quantiles of scores that do not all count the same, or not as one row each."""
        scores = self.scores[t]
        own = np.ones(len(scores)) if self.weights is None else self.weights[t]
        new = np.ones(m) if weights is None else weights
        if strata is None or self.strata is None:
            return weighted_quantile(scores, own * self._share(t, slice(None)), new, level)
        result = np.full(m, np.inf)
        strata = np.where(np.isin(strata, self.strata[t]), strata, OTHERS)
        for name in np.unique(strata):
            of, here = self.strata[t] == name, strata == name
            if of.any():
                share = self._share(t, of)
                result[here] = weighted_quantile(scores[of], own[of] * share, new[here], level)
        return result

    def _share(self, t: int, which: Any) -> float:
        """Return the rows behind some scores over the number of these."""
        if self.rows is None:
            return 1.0
        rows = self.rows[t][which]
        return len(np.unique(rows)) / len(rows) if len(rows) else 1.0

    def to_arrays(self) -> dict[str, Any]:
        """Return arrays that hold all of it, for an npz file without pickle."""
        lengths = np.array([len(scores) for scores in self.scores], dtype=np.int64)
        arrays: dict[str, Any] = {
            "lengths": lengths,
            "scores": np.concatenate([*self.scores, np.empty(0)]),
            "difficulty_names": np.array(self.difficulty.names, dtype=np.str_),
            "difficulty_powers": np.array(self.difficulty.powers, dtype=np.float64),
            "difficulty_floors": np.array(self.difficulty.floors, dtype=np.float64),
        }
        if self.strata is not None:
            arrays["strata"] = np.concatenate([*self.strata, np.empty(0, dtype=np.str_)])
        if self.weights is not None:
            arrays["weights"] = np.concatenate([*self.weights, np.empty(0)])
        if self.rows is not None:
            arrays["rows"] = np.concatenate([*self.rows, np.empty(0, dtype=np.int64)])
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Return what `to_arrays` stored.

        Raises
        ------
        InputError
            If an array is missing, of another length, or not finite.
        """
        try:
            lengths = np.asarray(arrays["lengths"], dtype=np.int64)
            scores = np.asarray(arrays["scores"], dtype=np.float64)
            difficulty = Difficulty(
                tuple(str(name) for name in arrays["difficulty_names"]),
                tuple(float(p) for p in arrays["difficulty_powers"]),
                tuple(float(f) for f in arrays["difficulty_floors"]),
            )
        except KeyError as error:
            raise InputError(
                "calibration", expected=f"an array {error}", found="none of this name"
            ) from None
        whole = int(lengths.sum()) == len(scores) and bool((lengths >= 0).all())
        if not whole or not np.isfinite(scores).all() or (scores < 0).any():
            raise InputError(
                "calibration",
                expected=f"{int(lengths.sum())} finite scores that are not negative",
                found=f"{len(scores)} numbers",
            )
        cuts = np.cumsum(lengths)[:-1]

        def parts(name: str) -> tuple[Any, ...] | None:
            return tuple(np.split(np.asarray(arrays[name]), cuts)) if name in arrays else None

        return cls(
            tuple(np.split(scores, cuts)),
            parts("strata"),
            parts("weights"),
            difficulty,
            parts("rows"),
        )


def _with_others(strata: StrArray, least_rows: int) -> StrArray:
    names, place, counts = np.unique(strata, return_inverse=True, return_counts=True)
    return np.where(counts[place] < least_rows, OTHERS, names[place])


def _shape(values: FloatArray) -> tuple[int, int]:
    return values.shape[0], values.shape[1]


def _check_shapes(
    y: FloatArray,
    mean: FloatArray,
    features: FloatArray | None,
    strata: Sequence[str] | None,
    weights: FloatArray | None,
) -> None:
    if y.ndim != 2 or y.shape != mean.shape:
        raise InputError("mean", expected=f"predictions of shape {y.shape}", found=f"{mean.shape}")
    if features is not None and features.shape[:2] != y.shape:
        raise InputError(
            "features", expected=f"shape {y.shape} and one more", found=f"{features.shape}"
        )
    for name, values in (("strata", strata), ("weights", weights)):
        if values is not None and len(values) != len(y):
            raise InputError(name, expected=f"{len(y)} values", found=str(len(values)))
    if strata is not None and weights is not None:
        raise InputError("weights", expected="none beside strata", found="both")
