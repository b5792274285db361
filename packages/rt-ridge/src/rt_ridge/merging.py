"""What statistics must share before they are merged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rt_ridge.errors import RTRidgeError
from rt_ridge.parents import GroupParents

if TYPE_CHECKING:
    from rt_ridge.statistics import SufficientStatistics


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
