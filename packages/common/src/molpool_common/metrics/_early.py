"""Early recognition: how many actives stand at the top of a ranking, where molecules are bought.

Each function takes R resamples of one truth and score, and returns R values; rows of one score
share their places, so that their order in the table does not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from molpool_common._arrays import FloatArray
from molpool_common.metrics._drawn import Drawn

Formula = Callable[[Drawn], FloatArray]

ALPHA = 20.0
"""Of BEDROC: 80 % of it rest on the first 8 % of the ranking (Truchon and Bayly 2007)."""

LEAST_RATE = 1e-3
"""False positive rate at which LogAUC begins (Mysinger and Shoichet 2010)."""

RANDOM = (1 - LEAST_RATE) / np.log(10) / -np.log10(LEAST_RATE)
"""Area of a random ranking, 0.1446, which LogAUC is given less of."""


def enrichment(drawn: Drawn, *, share: float) -> FloatArray:
    """Return the share of actives among the first rows over that among all.

    Parameters
    ----------
    drawn : Drawn
        Classes, scores and resamples.
    share : float
        Of the rows that count as first, rounded up.
    """
    rank, n = drawn.ranked, drawn.size
    # Less what rounding adds: 7 of 700, not 8.
    first = np.ceil(share * n - 1e-9)
    before, tied = _places(drawn)
    within = np.clip((first[:, None] - before) / tied, 0, 1)
    hits = np.einsum("rk,rk->r", within, rank.own)
    return np.asarray(hits / first / (drawn.positives / n))


def bedroc_score(drawn: Drawn) -> FloatArray:
    """Return the Boltzmann-enhanced discrimination of ROC, 0 to 1.

    References
    ----------
    Truchon and Bayly, "Evaluating Virtual Screening Methods: Good and Bad Metrics for the 'Early
    Recognition' Problem", J. Chem. Inf. Model. 47 (2007) 488-508, equations 18 and 36.
    """
    n = drawn.size
    step = ALPHA / n[:, None]
    before, tied = _places(drawn)
    # Mean of exp(-alpha rank / n) over the places that tied rows share: a geometric series.
    weight = np.exp(-step * (before + 1)) * np.expm1(-step * tied) / np.expm1(-step) / tied
    total = np.einsum("rk,rk->r", weight, drawn.ranked.own)
    share = drawn.positives / n
    found = total / (share * -np.expm1(-ALPHA) / np.expm1(ALPHA / n))
    best = -np.expm1(-ALPHA * share) / (share * -np.expm1(-ALPHA))
    worst = np.expm1(ALPHA * share) / (share * np.expm1(ALPHA))
    return np.asarray((found - worst) / (best - worst))


def log_roc_area(drawn: Drawn) -> FloatArray:
    """Return the area under the ROC curve over the logarithm of its rate, less that of chance.

    From a false positive rate of 0.001 to 1; 0 is a random ranking, 0.855 the best.

    References
    ----------
    Mysinger and Shoichet, "Rapid Context-Dependent Ligand Desolvation in Molecular Docking", J.
    Chem. Inf. Model. 50 (2010) 1561-1573 (adjusted LogAUC).
    """
    rank = drawn.ranked
    # The curve bends where positives stand; between them it is one straight piece.
    ends = np.unique(np.concatenate([rank.first, rank.after, [0, len(drawn.y)]]))[::-1]
    own = rank.positives_before(ends)
    others = np.take(drawn.running, ends, axis=1) - own
    true = 1 - own / drawn.positives[:, None]
    false = 1 - others / (drawn.size - drawn.positives)[:, None]
    low, high = (np.maximum(end, LEAST_RATE) for end in (false[:, :-1], false[:, 1:]))
    run = np.diff(false, axis=1)
    slope = np.divide(np.diff(true, axis=1), run, out=np.zeros_like(run), where=run > 0)
    height = true[:, :-1] - slope * false[:, :-1]
    # A straight piece of the curve over log10 of its rate, in closed form.
    area = height * np.log10(high / low) + slope * (high - low) / np.log(10)
    return np.asarray(area.sum(axis=1) / -np.log10(LEAST_RATE) - RANDOM)


def _places(drawn: Drawn) -> tuple[FloatArray, FloatArray]:
    """Return rows of higher score than each positive, and those that share its place, [R, K]."""
    rank = drawn.ranked
    return drawn.size[:, None] - rank.upto, np.maximum(rank.upto - rank.before, 1)


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
    return np.array([formula(Drawn(a, b, once))[0] for a, b in zip(y, p, strict=True)])
