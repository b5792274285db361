"""Whether stated uncertainty is as large as the errors are."""

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
        |RMV - RMSE| / RMV. None with fewer than `BIN_ROWS` rows.
    rank_correlation : float or None
        Spearman correlation of |error| and uncertainty; None where one of them is constant.
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
        ence=float(np.mean([abs(v - e) / v for v, e, _ in bins])) if len(z) >= BIN_ROWS else None,
        rank_correlation=_rank_correlation(np.abs(error), scale),
        coverage_95=float((np.abs(z) <= 1.959963984540054).mean()),
        spread=float(np.sqrt(np.mean(z**2))),
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
    ends = norm.ppf((1 + levels[1:-1]) / 2)
    inside = np.searchsorted(np.sort(np.abs(z)), ends, side="right") / len(z)
    return levels, np.concatenate([[0.0], inside, [1.0]])


def _bins(error: FloatArray, sd: FloatArray) -> tuple[tuple[float, float, int], ...]:
    order = np.argsort(sd, kind="stable")
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
