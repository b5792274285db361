"""Random split: molecules in random order, cut by rows."""

from __future__ import annotations

import numpy as np

from molpool_common.splits._fill import cut
from molpool_common.splits._rows import Assign, Rows, Shares
from molpool_common.splits._split import Indices


def prepare_random(rows: Rows) -> Assign:
    """Return the assignment of molecules by a shuffle."""

    def assign(members: Indices, shares: Shares, rng: np.random.Generator) -> Indices:
        order = rng.permutation(len(members))
        split = np.empty(len(members), dtype=np.int64)
        split[order] = cut(rows.size[members[order]], shares)
        return split

    return assign
