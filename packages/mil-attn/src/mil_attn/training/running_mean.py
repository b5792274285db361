"""A mean over the batches of an epoch that a checkpoint within the epoch carries on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


class RunningMean:
    """Weighted mean of what was added since the last `reset`.

    Lightning's own mean over an epoch starts anew where the epoch is gone on with.
    """

    def __init__(self) -> None:
        self._sum: Tensor | float = 0.0
        self._weight = 0

    def add(self, value: Tensor, weight: int) -> None:
        """Add a value, a tensor without dimensions; it stays on its device."""
        self._sum = self._sum + value.detach() * weight
        self._weight += weight

    def mean(self) -> Tensor | float:
        """Return the mean."""
        return self._sum / self._weight

    def reset(self) -> None:
        """Forget all values."""
        self._sum, self._weight = 0.0, 0

    def state_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"sum": float(self._sum), "weight": self._weight}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from values that `state_dict` returned."""
        self._sum, self._weight = float(state["sum"]), int(state["weight"])
