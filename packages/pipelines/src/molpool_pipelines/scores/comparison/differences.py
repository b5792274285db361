"""Paired bootstrap over molecules: how far a difference of two models could move."""

from __future__ import annotations

from dataclasses import dataclass

from molpool_common import FloatArray, percentile_interval


@dataclass(frozen=True)
class Difference:
    """A difference of two models, and what resampled molecules make of it.

    Parameters
    ----------
    low, high : float
        Percentile interval, of this pair alone.
    p : float
        Two-sided level at which that interval would just reach 0, of this pair alone.
    n : int
        Resamples on which it was defined.
    dropped : int
        Resamples on which it was not.
    """

    low: float
    high: float
    p: float
    n: int
    dropped: int


def summarise(differences: FloatArray, level: float) -> Difference | None:
    """Return interval and p-value of resampled differences [R], or None if none is defined.

    The p-value is twice the smaller share of resamples on either side of 0, each share with one
    resample added, so that it is never 0 (Davison and Hinkley, "Bootstrap Methods and their
    Application" (1997), sections 4.2 and 5.3; Efron and Tibshirani (1993), section 15.4).
    """
    interval = percentile_interval(differences, level)
    if interval is None:
        return None
    rarer = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    p = min(1.0, 2 * (rarer + 1) / (interval.n + 1))
    return Difference(interval.low, interval.high, p, interval.n, interval.dropped)
