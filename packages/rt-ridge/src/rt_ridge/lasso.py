"""Coordinate descent for the lasso of many groups at once."""

from __future__ import annotations

import warnings

import numpy as np
from molpool_common import FloatArray


def groupwise_lasso(
    sxx: FloatArray,
    sxy: FloatArray,
    penalty: FloatArray,
    *,
    max_iter: int = 10_000,
    tol: float = 1e-9,
) -> FloatArray:
    """Minimise ½ w·S_xx w - w·S_xy + penalty |w|₁ of each group.

    Parameters
    ----------
    sxx : ndarray, [G, P, P]
        Centred cross products of the covariates.
    sxy : ndarray, [G, P]
        Those of covariates and target.
    penalty : ndarray, [G]
        Weight of the sum of absolute slopes.
    max_iter : int
        Sweeps over the covariates.
    tol : float
        A group is done when its optimality conditions hold to `tol` times its largest |S_xy|.
        Slopes of collinear covariates may wander on; what they predict does not.

    Returns
    -------
    ndarray, [G, P]
        Slopes; 0 for a constant covariate.

    Warns
    -----
    UserWarning
        If groups are left after `max_iter` sweeps.

    Notes
    -----
    The sweeps of Friedman et al. (2010, doi:10.18637/jss.v033.i01), over groups side by side, and
    after each a step to the optimum for the signs at hand, as in the feature-sign search of Lee
    et al. (2006, NIPS 19), which ends the crawl that collinear covariates would cause.
    """
    slopes = np.zeros_like(sxy)
    open_groups = np.arange(len(sxy))
    for _ in range(max_iter):
        if not len(open_groups):
            return slopes
        w, part = slopes[open_groups], (sxx[open_groups], sxy[open_groups], penalty[open_groups])
        _sweep(w, *part)
        w = _along_signs(w, *part)
        slopes[open_groups] = w
        largest = np.abs(part[1]).max(axis=1, initial=0.0)
        open_groups = open_groups[_violation(w, *part) > tol * largest]
    if len(open_groups):
        warnings.warn(
            f"lasso: {len(open_groups)} of {len(sxy)} groups are not done after {max_iter} sweeps",
            UserWarning,
            stacklevel=2,
        )
    return slopes


def _sweep(w: FloatArray, sxx: FloatArray, sxy: FloatArray, penalty: FloatArray) -> None:
    """Minimise over every slope once, in place."""
    diagonal = np.einsum("gpp->gp", sxx)
    for j in range(w.shape[1]):
        gradient = sxy[:, j] - np.einsum("gp,gp->g", sxx[:, j], w) + diagonal[:, j] * w[:, j]
        shrunk = np.sign(gradient) * np.maximum(np.abs(gradient) - penalty, 0.0)
        w[:, j] = np.divide(shrunk, diagonal[:, j], out=np.zeros(len(w)), where=diagonal[:, j] > 0)


def _along_signs(
    w: FloatArray, sxx: FloatArray, sxy: FloatArray, penalty: FloatArray
) -> FloatArray:
    """Go to the optimum for the signs at hand, or as far as to the first slope that reaches 0."""
    active = w != 0
    system = sxx * (active[:, :, None] & active[:, None, :])
    diagonal = np.einsum("gpp->gp", system)
    # A hair of ridge: with more slopes than rows the penalty alone says where to go, and far.
    diagonal += np.where(active, 1e-12 * diagonal, 1.0)
    right = np.where(active, sxy - np.sign(w) * penalty[:, None], 0.0)
    solved = np.linalg.solve(system, right[..., None])[..., 0] if w.size else w
    crosses = active & (np.sign(solved) != np.sign(w))
    step = np.divide(w, w - solved, out=np.ones_like(w), where=crosses)
    shortest = step.min(axis=1, keepdims=True, initial=1.0)
    moved = w + shortest * (solved - w)
    return np.where(crosses & (step == shortest), 0.0, moved)


def _violation(w: FloatArray, sxx: FloatArray, sxy: FloatArray, penalty: FloatArray) -> FloatArray:
    """Return how far each group is from |gradient| <= penalty, with = and the sign where w ≠ 0."""
    gradient = sxy - np.einsum("gpq,gq->gp", sxx, w)
    bound = penalty[:, None]
    off = np.where(w != 0, np.abs(gradient - np.sign(w) * bound), np.abs(gradient) - bound)
    return np.asarray(np.maximum(off, 0.0).max(axis=1, initial=0.0))
