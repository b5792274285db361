"""From products of gradients to one batch's affinities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def cosines(products: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return cosines of gradients from their products; 0 for a gradient of zero.

    Parameters
    ----------
    products : ndarray [T, T]
        Products of all gradients with all, symmetric.

    Returns
    -------
    ndarray [T, T]
    """
    norms = np.sqrt(np.diag(products))
    units = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    ratios = np.clip(products * units * units[:, None], -1.0, 1.0)
    np.fill_diagonal(ratios, norms > 0)
    return ratios
