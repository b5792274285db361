"""Whether stated uncertainty is as large as the errors are.

Curves and decisions of a classification task.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from molpool_common import FloatArray, UndefinedMetricError, spearman

N_LEVELS = 100
"""Steps of the calibration curve."""

MOST_BINS = 10
BIN_ROWS = 10
"""Bins of the error against the stated uncertainty: at most ten, of ten rows at least."""


@dataclass(frozen=True)
class Uncertainty:
    """Calibration of one regression task's standard deviations, taken as normal.

    Parameters
    ----------
    n : int
        Rows with truth, prediction and uncertainty.
    n_zero : int
        Further rows whose uncertainty is 0, which have no calibration.
    levels, observed : ndarray [L]
        Nominal coverage of central intervals, and the share of the truth inside.
    miscalibration_area : float
        Area between the curve of `observed` over `levels` and the diagonal, 0 to 0.5.
    ence : float or None
        Expected normalised calibration error: over bins of equal size by uncertainty, the mean of
        ``|RMV - RMSE| / RMV``. None with fewer than `BIN_ROWS` rows.
    rank_correlation : float or None
        Spearman correlation of ``|error|`` and uncertainty; None where one of them is constant.
    coverage_95 : float
        Share of the truth within 1.96 standard deviations.
    spread : float
        Standard deviation of error / uncertainty: 1 is calibrated, above it overconfident.
    nll : float
        Mean negative log likelihood of the truth, in nats.
    bins : tuple of (float, float, int)
        Root mean variance, root mean squared error and rows of each bin.

    References
    ----------
    Kuleshov, Fenner and Ermon, "Accurate Uncertainties for Deep Learning Using Calibrated
    Regression" (ICML 2018); Tran et al., "Methods for comparing uncertainty quantifications for
    material property predictions", Mach. Learn.: Sci. Technol. 1 (2020) 025006 (miscalibration
    area); Levi et al., "Evaluating and Calibrating Uncertainty Prediction in Regression Tasks",
    Sensors 22 (2022) 5540 (ENCE).
    """

    n: int
    n_zero: int
    levels: FloatArray
    observed: FloatArray
    miscalibration_area: float
    ence: float | None
    rank_correlation: float | None
    coverage_95: float
    spread: float
    nll: float
    bins: tuple[tuple[float, float, int], ...]

    def numbers(self) -> dict[str, float | None]:
        """Return the single numbers by name."""
        return {
            "miscalibration_area": self.miscalibration_area,
            "ence": self.ence,
            "error_sd_spearman": self.rank_correlation,
            "coverage_95": self.coverage_95,
            "z_sd": self.spread,
            "nll": self.nll,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "n": self.n,
            "n_zero_sd": self.n_zero,
            **self.numbers(),
            "calibration": {
                "level": self.levels.tolist(),
                "observed": self.observed.tolist(),
            },
            "bins": [{"rmv": v, "rmse": e, "n": n} for v, e, n in self.bins],
        }


def score_uncertainty(y_true: FloatArray, y_pred: FloatArray, sd: FloatArray) -> Uncertainty | None:
    """Score the uncertainty of one task.

    Parameters
    ----------
    y_true, y_pred, sd : ndarray [N]
        NaN where there is none.

    Returns
    -------
    Uncertainty or None
        None where no row has all three, with an uncertainty above 0.
    """
    there = np.isfinite(y_true) & np.isfinite(y_pred) & np.isfinite(sd)
    used = there & (sd > 0)
    if not used.any():
        return None
    error, scale = (y_pred - y_true)[used], sd[used]
    z = error / scale
    levels, observed = calibration_curve(z)
    bins = _bins(error, scale)
    return Uncertainty(
        n=int(used.sum()),
        n_zero=int((there & ~used).sum()),
        levels=levels,
        observed=observed,
        miscalibration_area=float(np.trapezoid(np.abs(observed - levels), levels)),
        # Undefined below one full bin, whose RMSE would be that of a few rows.
        ence=float(np.mean([abs(v - e) / v for v, e, _ in bins])) if len(z) >= BIN_ROWS else None,
        rank_correlation=_rank_correlation(np.abs(error), scale),
        # The 97.5 % quantile of the standard normal distribution.
        coverage_95=float((np.abs(z) <= 1.959963984540054).mean()),
        # About 0, not about their mean: a bias is an error that the stated sd has to cover too.
        spread=float(np.sqrt(np.mean(z**2))),
        # Of the normal density; a constant less than some papers' would change comparisons with
        # them.
        nll=float(np.mean(0.5 * np.log(2 * np.pi * scale**2) + 0.5 * z**2)),
        bins=bins,
    )


def calibration_curve(z: FloatArray, n_levels: int = N_LEVELS) -> tuple[FloatArray, FloatArray]:
    """Return nominal and observed coverage of central normal intervals.

    Parameters
    ----------
    z : ndarray [N]
        Errors over standard deviations.
    n_levels : int
        Steps from 0 to 1.

    Returns
    -------
    levels, observed : ndarray [n_levels + 1]
    """
    from scipy.stats import norm

    levels = np.linspace(0, 1, n_levels + 1)
    # The outermost levels are 0 and 1 by definition, where the quantile is 0 or infinite.
    ends = norm.ppf((1 + levels[1:-1]) / 2)
    # side="right" counts |z| equal to the end as inside; sorting once makes it O(n log n) for all
    # levels.
    inside = np.searchsorted(np.sort(np.abs(z)), ends, side="right") / len(z)
    return levels, np.concatenate([[0.0], inside, [1.0]])


def _bins(error: FloatArray, sd: FloatArray) -> tuple[tuple[float, float, int], ...]:
    order = np.argsort(sd, kind="stable")
    # Bins of equal count rather than width: stated sds are skewed, and a bin of two rows has no
    # RMSE to speak of.
    parts = np.array_split(order, max(1, min(MOST_BINS, len(sd) // BIN_ROWS)))
    return tuple(
        (
            float(np.sqrt(np.mean(sd[rows] ** 2))),
            float(np.sqrt(np.mean(error[rows] ** 2))),
            len(rows),
        )
        for rows in parts
    )


def _rank_correlation(error: FloatArray, sd: FloatArray) -> float | None:
    try:
        return spearman(error, sd)
    except UndefinedMetricError:
        return None


N_BINS = 10
MOST_POINTS = 400
"""Points of a stored curve: more than a figure resolves."""


@dataclass(frozen=True)
class Curve:
    """Points of a curve.

    Parameters
    ----------
    x, y : ndarray [K]
        False and true positive rate (ROC), or recall and precision (PR).
    """

    x: FloatArray
    y: FloatArray


@dataclass(frozen=True)
class ClassScores:
    """One classification task: probabilities against classes, and decisions.

    Parameters
    ----------
    n, positives : int
        Labels, and those that are 1.
    roc, precision_recall : Curve or None
        None where only one class is there.
    bins : tuple of (float, float, int)
        Mean probability, share of positives and rows, by tenths of the probability.
    ece : float
        Expected calibration error: mean of ``|probability - share|`` over the bins, weighted by
        rows.
    brier : float
        Mean squared difference of probability and class.
    threshold : float or None
        Probability from which class 1 is called; None where decisions were stored instead.
    table : tuple of int
        True positives, false positives, false negatives, true negatives.

    References
    ----------
    Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning"
    (AAAI 2015); Matthews, Biochim. Biophys. Acta 405 (1975) 442–451.
    """

    n: int
    positives: int
    roc: Curve | None
    precision_recall: Curve | None
    bins: tuple[tuple[float, float, int], ...]
    ece: float | None
    brier: float | None
    threshold: float | None
    table: tuple[int, int, int, int]

    @property
    def mcc(self) -> float | None:
        """Matthews correlation of decisions and classes; None where either is constant."""
        tp, fp, fn, tn = self.table
        # Roots factor by factor: their product as one integer may pass 2^64, which numpy's sqrt
        # refuses.
        below = np.sqrt(float(tp + fp)) * np.sqrt(float(tp + fn))
        below *= np.sqrt(float(tn + fp)) * np.sqrt(float(tn + fn))
        return float((tp * tn - fp * fn) / below) if below else None

    def numbers(self) -> dict[str, float | None]:
        """Return the single numbers by name."""
        tp, fp, fn, tn = self.table
        recall, specificity = _share(tp, fn), _share(tn, fp)
        both = recall is not None and specificity is not None
        return {
            "mcc": self.mcc,
            "precision": _share(tp, fp),
            "recall": recall,
            "specificity": specificity,
            "balanced_accuracy": (recall + specificity) / 2 if both else None,  # type: ignore[operator]
            "f1": _share(2 * tp, fp + fn),
            "brier": self.brier,
            "ece": self.ece,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "n": self.n,
            "positives": self.positives,
            "threshold": self.threshold,
            **self.numbers(),
            **dict(zip(("tp", "fp", "fn", "tn"), self.table, strict=True)),
            "calibration": [{"probability": p, "share": s, "n": n} for p, s, n in self.bins],
            "roc": _points(self.roc, "false_positive_rate", "true_positive_rate"),
            "precision_recall": _points(self.precision_recall, "recall", "precision"),
        }


def score_classes(
    y_true: FloatArray, p: FloatArray, decisions: FloatArray | None = None, threshold: float = 0.5
) -> ClassScores | None:
    """Score the probabilities of one task.

    Parameters
    ----------
    y_true, p : ndarray [N]
        0 or 1, and probability of 1; NaN where there is none.
    decisions : ndarray [N], optional
        1 where class 1 was called; by default from `threshold` on.
    threshold : float
        Where there are no decisions.

    Returns
    -------
    ClassScores or None
        None without labels.
    """
    there = np.isfinite(y_true) & np.isfinite(p)
    if not there.any():
        return None
    y, p = y_true[there], p[there]
    stored = None if decisions is None else decisions[there]
    # A table with some decisions missing is treated as having none: mixed thresholds make no
    # confusion matrix.
    own = stored is None or not np.isfinite(stored).all()
    called = p >= threshold if stored is None or own else stored == 1
    # Curves need both classes; decisions and calibration do not.
    both = 0 < y.sum() < len(y)
    # A ranking score outside 0 to 1 is no probability: it has curves and no calibration.
    probabilities = bool(((p >= 0) & (p <= 1)).all())
    bins = _reliability(y, p) if probabilities else ()
    return ClassScores(
        n=len(y),
        positives=int(y.sum()),
        roc=_roc(y, p) if both else None,
        precision_recall=_precision_recall(y, p) if both else None,
        bins=bins,
        ece=sum(n * abs(mean - share) for mean, share, n in bins) / len(y) if bins else None,
        brier=float(np.mean((p - y) ** 2)) if probabilities else None,
        threshold=threshold if own else None,
        table=(
            int((called & (y == 1)).sum()),
            int((called & (y == 0)).sum()),
            int((~called & (y == 1)).sum()),
            int((~called & (y == 0)).sum()),
        ),
    )


def _reliability(y: FloatArray, p: FloatArray) -> tuple[tuple[float, float, int], ...]:
    # p = 1 belongs to the last bin.
    place = np.minimum((p * N_BINS).astype(np.int64), N_BINS - 1)
    chosen = [place == b for b in range(N_BINS)]
    return tuple(
        (float(p[rows].mean()), float(y[rows].mean()), int(rows.sum()))
        for rows in chosen
        if rows.any()
    )


def _roc(y: FloatArray, p: FloatArray) -> Curve:
    from sklearn.metrics import roc_curve

    x, up, _ = roc_curve(y, p)
    return _thinned(x, up)


def _precision_recall(y: FloatArray, p: FloatArray) -> Curve:
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(y, p)
    # scikit-learn's recall falls along the curve; figures want x to rise.
    return _thinned(recall[::-1], precision[::-1])


def _thinned(x: FloatArray, y: FloatArray) -> Curve:
    # Evenly by position, ends included: the curve of a large set keeps its shape at 400 points.
    rows = np.unique(np.linspace(0, len(x) - 1, min(len(x), MOST_POINTS)).round().astype(np.int64))
    return Curve(x[rows], y[rows])


def _points(curve: Curve | None, x: str, y: str) -> dict[str, list[float]] | None:
    return None if curve is None else {x: curve.x.tolist(), y: curve.y.tolist()}


def _share(part: int, rest: int) -> float | None:
    return part / (part + rest) if part + rest else None
