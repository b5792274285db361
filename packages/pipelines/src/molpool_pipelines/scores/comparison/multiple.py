"""Multiple testing: p-values that hold for all comparisons of a family together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def holm(p: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Holm's step-down adjusted p-values.

    Rejecting where they are at most α keeps the chance of any false rejection in the family at α
    or below, however the tests depend on one another.

    Parameters
    ----------
    p : sequence of float [m]
        NaN where a test has no result; such a test is not of the family.

    Returns
    -------
    ndarray [m]
        NaN where `p` is.

    References
    ----------
    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6 (1979) 65-70.
    """
    raw = np.asarray(p, dtype=np.float64)
    adjusted = np.full(raw.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(raw))
    order = tested[np.argsort(raw[tested], kind="stable")]
    steps = np.arange(len(order), 0, -1) * raw[order]
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
