"""Early recognition: how many actives stand at the top of a ranking, where molecules are bought.

Each function takes one truth and score [n] and R resamples of them as counts [R, n], and returns R
values; rows of one score share their places, so that their order in the table does not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from molpool_common._arrays import FloatArray
from molpool_common.metrics._order import Order

Formula = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]

ALPHA = 20.0
"""Of BEDROC: 80 % of it rest on the first 8 % of the ranking (Truchon and Bayly 2007)."""

LEAST_RATE = 1e-3
"""False positive rate at which LogAUC begins (Mysinger and Shoichet 2010)."""

RANDOM = (1 - LEAST_RATE) / np.log(10) / -np.log10(LEAST_RATE)
"""Area of a random ranking, 0.1446, which LogAUC is given less of."""


def enrichment(y: FloatArray, p: FloatArray, c: FloatArray, *, share: float) -> FloatArray:
    """Return the share of actives among the first rows over that among all.

    Parameters
    ----------
    y, p : ndarray [n]
        Classes and scores.
    c : ndarray [R, n]
        How often each resample holds each row.
    share : float
        Of the rows that count as first, rounded up.
    """
    order = Order.of(-p)
    ordered = order.of_rows(c)
    before, upto = order.counted(ordered)
    n = c.sum(axis=1)
    # Less what rounding adds: 7 of 700, not 8.
    first = np.ceil(share * n - 1e-9)
    size = np.maximum(upto - before, 1)
    within = np.clip((first[:, None] - before) / size, 0, 1)
    hits = np.einsum("rn,rn,n->r", within, ordered, y[order.rows])
    return np.asarray(hits / first / (_positives(y, c) / n))


def bedroc_score(y: FloatArray, p: FloatArray, c: FloatArray) -> FloatArray:
    """Return the Boltzmann-enhanced discrimination of ROC, 0 to 1.

    References
    ----------
    Truchon and Bayly, "Evaluating Virtual Screening Methods: Good and Bad Metrics for the 'Early
    Recognition' Problem", J. Chem. Inf. Model. 47 (2007) 488-508, equations 18 and 36.
    """
    order = Order.of(-p)
    ordered = order.of_rows(c)
    before, upto = order.counted(ordered)
    n = c.sum(axis=1)
    step = ALPHA / n[:, None]
    size = np.maximum(upto - before, 1)
    # Mean of exp(-alpha rank / n) over the places that tied rows share: a geometric series.
    weight = np.exp(-step * (before + 1)) * np.expm1(-step * size) / np.expm1(-step) / size
    total = np.einsum("rn,rn,n->r", weight, ordered, y[order.rows])
    share = _positives(y, c) / n
    found = total / (share * -np.expm1(-ALPHA) / np.expm1(ALPHA / n))
    best = -np.expm1(-ALPHA * share) / (share * -np.expm1(-ALPHA))
    worst = np.expm1(ALPHA * share) / (share * np.expm1(ALPHA))
    return np.asarray((found - worst) / (best - worst))


def log_roc_area(y: FloatArray, p: FloatArray, c: FloatArray) -> FloatArray:
    """Return the area under the ROC curve over the logarithm of its rate, less that of chance.

    From a false positive rate of 0.001 to 1; 0 is a random ranking, 0.855 the best.

    References
    ----------
    Mysinger and Shoichet, "Rapid Context-Dependent Ligand Desolvation in Molecular Docking", J.
    Chem. Inf. Model. 50 (2010) 1561-1573 (adjusted LogAUC).
    """
    order = Order.of(-p)
    drawn = order.of_rows(c)
    actives = drawn * y[order.rows]
    true = order.counted(actives)[1] / _positives(y, c)[:, None]
    negatives = c.sum(axis=1) - _positives(y, c)
    false = order.counted(drawn - actives)[1] / negatives[:, None]
    true, false = (np.pad(of, ((0, 0), (1, 0))) for of in (true, false))
    low, high = (np.maximum(end, LEAST_RATE) for end in (false[:, :-1], false[:, 1:]))
    run = np.diff(false, axis=1)
    slope = np.divide(np.diff(true, axis=1), run, out=np.zeros_like(run), where=run > 0)
    height = true[:, :-1] - slope * false[:, :-1]
    # A straight piece of the curve over log10 of its rate, in closed form.
    area = height * np.log10(high / low) + slope * (high - low) / np.log(10)
    return np.asarray(area.sum(axis=1) / -np.log10(LEAST_RATE) - RANDOM)


def _positives(y: FloatArray, c: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("rn,n->r", c, y))


EARLY: dict[str, Formula] = {
    "ef_1": partial(enrichment, share=0.01),
    "ef_5": partial(enrichment, share=0.05),
    "ef_10": partial(enrichment, share=0.10),
    "bedroc": bedroc_score,
    "log_auc": log_roc_area,
}
"""By name of the metric."""


def of_batch(formula: Formula, y: FloatArray, p: FloatArray) -> FloatArray:
    """Return the values [R] of R sets of n rows each, every row once."""
    once = np.ones((1, y.shape[-1]))
    return np.array([formula(a, b, once)[0] for a, b in zip(y, p, strict=True)])
