"""Weights of tasks by their label counts."""

from __future__ import annotations

import numpy as np

from sampling_core.cells import FloatArray
from sampling_core.targets import Counts

COUNT_OFFSET = 1e-6
"""Added to a count in the multiplicative weight, as its definition has it."""


def inverse_power(counts: Counts, alpha: float, offset: float = 0.0) -> FloatArray:
    """Return (counts + offset)^-α, scaled so that the largest is 1; exactly 0 for counts of 0.

    The scale cancels in every probability. In logarithms no α over- or underflows all of them.
    """
    weights = np.zeros(len(counts))
    labelled = counts > 0
    log = -alpha * np.log(counts[labelled] + offset)
    weights[labelled] = np.exp(log - log.max())
    return weights
