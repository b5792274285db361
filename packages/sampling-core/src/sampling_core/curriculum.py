"""Where the curriculum stands, and when it moves on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from sampling_core.errors import SamplingError, did_you_mean, listed
from sampling_core.phases import DEFAULT_QUALITIES, PHASES, resolve_phase_weights

if TYPE_CHECKING:
    from sampling_core.config import CurriculumConfig

_STATE_KEYS = ("phase", "best", "stale", "updates", "history")


class CurriculumState:
    """Phase of a curriculum over data of different quality.

    The phases are passed in the order warmup, expand, robust, polish. The state moves on when the
    validation loss has not improved on its best for `patience` updates in a row, and never back.

    Parameters
    ----------
    qualities : sequence of str
        Quality labels, from best to worst.
    patience : int
        Updates without improvement after which the phase changes, at least 1.
    phase_weights : mapping of phase to mapping of label to weight, or None
        Weights >= 0 that replace the defaults; needed for more than three labels of your own.
    min_delta : float
        The loss must fall by more than this below the best one to count as improved.
    count_normalize : bool
        Read the weights as target shares of the draws: samplers then divide each weight by the
        number of rows of that quality.

    Attributes
    ----------
    best : float
        Lowest finite validation loss so far, infinity before the first.
    history : list of tuple of (int, str)
        Each change: the update at which it came, counted from 1, and the phase entered.

    Raises
    ------
    SamplingError
        If labels, weights, patience or min_delta are not as described.
    """

    def __init__(
        self,
        qualities: Sequence[str] = DEFAULT_QUALITIES,
        patience: int = 5,
        phase_weights: Mapping[str, Mapping[str, float]] | None = None,
        *,
        min_delta: float = 0.0,
        count_normalize: bool = False,
    ) -> None:
        if isinstance(patience, bool) or not isinstance(patience, int) or patience < 1:
            raise SamplingError(f"patience: expected a whole number >= 1, found {patience!r}")
        if not (math.isfinite(min_delta) and min_delta >= 0):
            raise SamplingError(f"min_delta: expected a finite number >= 0, found {min_delta!r}")
        self._weights = resolve_phase_weights(qualities, phase_weights)
        self.qualities = tuple(qualities)
        self.patience = patience
        self.min_delta = min_delta
        self.count_normalize = count_normalize
        self.best = math.inf
        self.history: list[tuple[int, str]] = []
        self._phase_index = 0
        self._stale = 0
        self._updates = 0

    @classmethod
    def from_config(cls, config: CurriculumConfig) -> Self:
        """Build the state that a configuration describes, in its first phase."""
        return cls(
            config.qualities,
            config.patience,
            config.phase_weights,
            min_delta=config.min_delta,
            count_normalize=config.count_normalize,
        )

    @property
    def phase(self) -> str:
        """Name of the current phase."""
        return PHASES[self._phase_index]

    @property
    def phase_index(self) -> int:
        """Number of the current phase, from 0."""
        return self._phase_index

    def weights(self, phase: str) -> dict[str, float]:
        """Return the weight of each label in a phase, as configured.

        Raises
        ------
        SamplingError
            If there is no such phase.
        """
        if phase not in self._weights:
            raise SamplingError(f"phase: unknown {phase!r}; {did_you_mean(phase, PHASES)}")
        return dict(self._weights[phase])

    def sampling_probs(self) -> dict[str, float]:
        """Return the weights of the current phase, scaled to sum to 1."""
        weights = self._weights[self.phase]
        total = math.fsum(weights.values())
        return {label: weight / total for label, weight in weights.items()}

    def update(self, val_loss: float) -> bool:
        """Take in one validation loss; return True when it moved the curriculum on.

        A loss that is not finite counts as no improvement.
        """
        loss = float(val_loss)
        self._updates += 1
        if math.isfinite(loss) and loss < self.best - self.min_delta:
            self.best = loss
            self._stale = 0
            return False
        self._stale += 1
        if self._stale < self.patience or self._phase_index == len(PHASES) - 1:
            return False
        self._phase_index += 1
        self._stale = 0
        self.history.append((self._updates, self.phase))
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return what changes during training as a plain dict that JSON can hold."""
        return {
            "phase": self.phase,
            "best": self.best if math.isfinite(self.best) else None,
            "stale": self._stale,
            "updates": self._updates,
            "history": [list(change) for change in self.history],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises
        ------
        SamplingError
            If a key is missing or the phase is unknown; the state is then as before.
        """
        missing = [key for key in _STATE_KEYS if key not in state]
        if missing:
            raise SamplingError(f"state of the curriculum: no {listed(map(repr, missing))}")
        self.weights(state["phase"])
        try:
            best = math.inf if state["best"] is None else float(state["best"])
            stale, updates = int(state["stale"]), int(state["updates"])
            history = [(int(update), str(phase)) for update, phase in state["history"]]
        except (TypeError, ValueError) as error:
            raise SamplingError(
                f"state of the curriculum: expected a number as best, stale and updates, pairs as"
                f" history; {error}"
            ) from error
        self._phase_index = PHASES.index(state["phase"])
        self.best, self.history = best, history
        self._stale, self._updates = stale, updates
