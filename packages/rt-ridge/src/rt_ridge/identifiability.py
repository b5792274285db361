"""Whether the data tell the global slopes apart."""

from __future__ import annotations

import numpy as np

from rt_ridge.errors import RTRidgeError, listed
from rt_ridge.statistics import SufficientStatistics

SMALLEST = 1e-12
"""Eigenvalue of the covariates' correlation below which they are taken for dependent."""


def check_global_slopes(stats: SufficientStatistics, *, flat_intercepts: bool) -> None:
    """Raise `RTRidgeError`, naming covariates, if slopes with flat priors are not determined.

    Parameters
    ----------
    stats : SufficientStatistics
        Of the pairs.
    flat_intercepts : bool
        Whether only what varies within a pair counts.
    """
    scatter = stats.sxx.sum(axis=0)
    if not flat_intercepts:
        off = stats.mean_x - np.average(stats.mean_x, axis=0, weights=stats.n)
        scatter = scatter + (off * stats.n[:, None]).T @ off
    sd = np.sqrt(np.diagonal(scatter))
    size = np.sqrt((stats.n[:, None] * stats.mean_x**2).sum(axis=0)) + sd
    constant = sd <= 1e-10 * size
    if constant.any():
        names = [name for name, bad in zip(stats.covariates, constant, strict=True) if bad]
        what = f"found {listed(names)} constant{' within pairs' if flat_intercepts else ''}"
    else:
        values, vectors = np.linalg.eigh(scatter / np.outer(sd, sd))
        if values[0] > SMALLEST:
            return
        involved = np.abs(vectors[:, 0]) > 1e-3
        names = [name for name, bad in zip(stats.covariates, involved, strict=True) if bad]
        what = f"found {listed(names)} linearly dependent"
    raise RTRidgeError(
        f"slope head: expected covariates whose global slopes the data determine; {what}. "
        "Leave such covariates out, or use slope_head_mode none."
    )
