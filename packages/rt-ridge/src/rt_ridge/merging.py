"""Statistics as moments that merge, and what they must share to be merged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rt_ridge.errors import RTRidgeError
from rt_ridge.parents import GroupParents
from rt_ridge.scatter import Moments

if TYPE_CHECKING:
    from rt_ridge.statistics import SufficientStatistics


def split_moments(moments: Moments) -> dict[str, Any]:
    """Return moments of [x, y], y last, as the arrays of `SufficientStatistics`."""
    mean, scatter = moments.mean, moments.scatter
    parts = {
        "mean_x": mean[:, :-1],
        "mean_y": mean[:, -1],
        "sxx": scatter[:, :-1, :-1],
        "sxy": scatter[:, :-1, -1],
        "syy": scatter[:, -1, -1],
    }
    copies = {name: np.ascontiguousarray(part) for name, part in parts.items()}
    return {"keys": moments.keys, "n": moments.n, "mean_low": moments.low, **copies}


def joint_moments(stats: SufficientStatistics) -> Moments:
    """Return the moments of [x, y] that `split_moments` took apart, as arrays of their own."""
    moments = Moments.empty(stats.keys, stats.P + 1)
    moments.n[:] = stats.n
    moments.mean[:, :-1], moments.mean[:, -1] = stats.mean_x, stats.mean_y
    if stats.mean_low is not None:
        moments.low[:] = stats.mean_low
    moments.scatter[:, :-1, :-1], moments.scatter[:, -1, -1] = stats.sxx, stats.syy
    moments.scatter[:, :-1, -1] = moments.scatter[:, -1, :-1] = stats.sxy
    return moments


def check_alike(every: Sequence[SufficientStatistics]) -> None:
    """Raise `RTRidgeError` unless all have the first one's covariates, target and group column."""
    for name in ("covariates", "target", "group_col"):
        expected = getattr(every[0], name)
        for number, other in enumerate(every[1:], start=1):
            if getattr(other, name) != expected:
                raise RTRidgeError(
                    f"{name} (other {number}): expected {expected!r}; found"
                    f" {getattr(other, name)!r}"
                )


def merged_parents(every: Sequence[SufficientStatistics]) -> GroupParents | None:
    """Return the supercategories that all know together; they may not contradict each other."""
    known = [one.parents for one in every if one.parents is not None]
    if known and len(known) < len(every):
        raise RTRidgeError(
            f"parents: expected in all statistics or in none; found in {len(known)} of {len(every)}"
        )
    names = (every[0].group_col, "supercategory")
    return GroupParents.from_pairs([one.pairs for one in known], names) if known else None
