"""Conformal quantiles that crepes does not have: under covariate shift and over groups.

The plain and the Mondrian quantile are those of crepes.
"""

from __future__ import annotations

import numpy as np

from molpool_common._arrays import FloatArray, IntArray
from molpool_common._errors import InputError

ROUNDING = 1e-12
"""What a level is lowered by, so that 1 - 0.9 of ten rows is one row and not 0.9999999999999998."""


def check_level(level: float) -> None:
    """Raise `InputError` unless a level lies between 0 and 1."""
    if not 0 < level < 1:
        raise InputError("level", expected="a share between 0 and 1", found=repr(level))


def weighted_quantile(
    scores: FloatArray, weights: FloatArray, new_weights: FloatArray, level: float
) -> FloatArray:
    """Return the quantile of weighted scores for each new row, which counts as infinite itself.

    Parameters
    ----------
    scores, weights : ndarray [n]
        Scores of the calibration rows, and their density ratio p(new) / p(calibration).
    new_weights : ndarray [M]
        Density ratio of the new rows.
    level : float
        Share of new rows to cover.

    Returns
    -------
    ndarray [M]
        Infinite where the calibration rows weigh too little. With equal weights it is the
        ceil((n + 1) level)-th smallest score.

    References
    ----------
    Tibshirani, Foygel Barber, Candès and Ramdas, "Conformal prediction under covariate shift"
    (NeurIPS 2019), section 2.
    """
    check_level(level)
    order = np.argsort(scores)
    total = np.cumsum(weights[order])
    mass = total[-1] if len(total) else 0.0
    reach = (level - ROUNDING) * (mass + new_weights)
    place = np.searchsorted(total, reach, side="left")
    return np.append(scores[order], np.inf)[place]


def scores_of_new_groups(scores: FloatArray, groups: IntArray | FloatArray) -> FloatArray:
    """Return scores whose quantiles cover rows of groups that are not among them.

    Rows of a group (a run, a plate, a laboratory) err together, so that quantiles of all rows are
    too narrow for a new group. Each score is put in the place among all rows that it has among the
    rows of other groups: a k-th smallest of the result covers as many rows, each held against
    groups other than its own, as a k-th smallest should.

    Parameters
    ----------
    scores : ndarray [n]
        Not negative.
    groups : ndarray [n]
        Number of the group of each row.

    Returns
    -------
    ndarray [n]
        Ascending, nowhere below the scores in order; equal to them where each row is a group of its
        own, or all rows are one.

    Notes
    -----
    The leave-one-out calibration of Barber et al. 2021, doi:10.1214/20-AOS1965, with groups for
    points. What is exchangeable are the groups: of K groups, levels above K / (K + 1) presume that
    no new group is off as a whole by more than those at hand.
    """
    ordered, n = np.sort(scores), len(scores)
    by_group = np.lexsort((scores, groups))
    cuts = np.flatnonzero(np.diff(groups[by_group])) + 1
    if not len(cuts):
        return ordered
    parts = []
    for own in np.split(scores[by_group], cuts):
        below = np.searchsorted(ordered, own) - np.searchsorted(own, own)
        # Rounded up, in whole numbers: a rank between two rows is the higher one.
        parts.append(-(-below * (n - 1) // (n - len(own))))
    place = np.minimum(np.sort(np.concatenate(parts)), n - 1)
    return np.asarray(np.maximum(ordered[place], ordered))
