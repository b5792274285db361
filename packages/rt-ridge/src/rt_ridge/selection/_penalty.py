"""A penalty of pair-wise regressions chosen by the errors of runs left out, from sums alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from molpool_common import FloatArray

from rt_ridge.selection._held_out import HeldOut
from rt_ridge.selection._judge import leading
from rt_ridge.statistics._sufficient import SufficientStatistics, standardised, without

Slopes = Callable[[SufficientStatistics, float], FloatArray]
"""From statistics and a penalty to the slopes of every pair, [G, P]."""


def chosen_penalty(
    stats: SufficientStatistics,
    held_out: Sequence[HeldOut],
    slopes: Slopes,
    penalties: Sequence[float],
) -> float:
    """Return the penalty under which runs left out are predicted best.

    Parameters
    ----------
    stats : SufficientStatistics
        Of all rows, in the unit in which the penalty counts.
    held_out : sequence of HeldOut
        Folds of these runs, in that unit; those without any: the middle penalty is returned.
    slopes : callable
        The regression.
    penalties : sequence of float
        Tried, ascending; of equal ones the largest is taken.
    """
    if not held_out:
        return penalties[len(penalties) // 2]
    squared = np.zeros(len(penalties))
    for fold in held_out:
        part = leading(fold.stats, fold.n_regressors, stats.covariates)
        others = without(stats, part)
        at = np.searchsorted(stats.keys, part.keys)
        known = others.n[at] > 0
        for place, penalty in enumerate(penalties):
            w = slopes(others, penalty)
            b = others.mean_y - np.einsum("gp,gp->g", others.mean_x, w)
            squared[place] += _squared_errors(part, b[at], w[at])[known].sum()
    # Of equal errors, as where no covariate says anything, the one that shrinks most.
    return penalties[int(np.flatnonzero(squared <= squared.min() * (1 + 1e-9))[-1])]


def scaled(held_out: Sequence[HeldOut], scale: FloatArray) -> list[HeldOut]:
    """Return folds of regressors over their scale, [P]."""
    return [HeldOut(f.name, standardised(f.stats, np.tile(scale, 2))) for f in held_out]


def _squared_errors(part: SufficientStatistics, b: FloatArray, w: FloatArray) -> FloatArray:
    """Return the sum of squared errors of a line over the rows of each cell, [K]."""
    off = part.mean_y - b - np.einsum("gp,gp->g", part.mean_x, w)
    within = part.syy - 2 * np.einsum("gp,gp->g", w, part.sxy)
    within += np.einsum("gp,gpq,gq->g", w, part.sxx, w)
    # Rounding may take the scatter about a perfect line below 0.
    return np.asarray(np.maximum(within, 0.0) + part.n * off**2)
