"""Conformal quantiles that crepes does not have: under covariate shift, over folds, over groups.

The plain and the Mondrian quantile are those of crepes.
"""

from __future__ import annotations

import numpy as np

from molpool_common._arrays import BoolArray, FloatArray, IntArray
from molpool_common._errors import InputError

_CELLS = 1 << 24
"""Numbers of a block of predictions by calibration rows, 128 MiB."""

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


def jackknife_plus(
    residuals: FloatArray, predictions: FloatArray, unseen: BoolArray, level: float
) -> tuple[FloatArray, FloatArray]:
    """Return intervals from models each of which has not seen some of the rows.

    Parameters
    ----------
    residuals : ndarray [n]
        ``|y - mean|``, the mean of the models that have not seen the row.
    predictions : ndarray [M, K]
        Of the new rows by the K models.
    unseen : ndarray of bool [n, K]
        Whether a model has not seen a row: one model per row is CV+, several are the jackknife+
        after bootstrap.
    level : float
        Share of new rows to cover; at least ``2 level - 1`` is proved of it, and about `level` is
        seen.

    Returns
    -------
    lower, upper : ndarray [M]
        Infinite where n is too small for the level.

    Raises
    ------
    InputError
        If a row has been seen by every model.

    References
    ----------
    Barber, Candès, Ramdas and Tibshirani, "Predictive inference with the jackknife+", Annals of
    Statistics 49 (2021) 486; Kim, Xu and Barber, "Predictive inference is free with the
    jackknife+-after-bootstrap" (NeurIPS 2020).
    """
    check_level(level)
    seen_by_all = np.flatnonzero(~unseen.any(axis=1))
    if seen_by_all.size:
        raise InputError(
            "unseen",
            expected="a model that has not seen it, for every calibration row",
            found=f"none for row {seen_by_all[0]}",
        )
    n, m = len(residuals), len(predictions)
    rank = int(np.ceil((level - ROUNDING) * (n + 1)))
    if rank > n:
        return np.full(m, -np.inf), np.full(m, np.inf)
    share = unseen / unseen.sum(axis=1, keepdims=True)
    lower, upper = np.empty(m), np.empty(m)
    step = max(1, _CELLS // n)
    for start in range(0, m, step):
        rows = slice(start, start + step)
        # [rows, n]: what the models that have not seen row i say of each new row.
        means = predictions[rows] @ share.T
        upper[rows] = np.partition(means + residuals, rank - 1, axis=1)[:, rank - 1]
        lower[rows] = np.partition(means - residuals, n - rank, axis=1)[:, n - rank]
    return lower, upper
