"""The curriculum: its phases, the weight of each quality label in them, and when it moves on.

Imports neither torch nor lightning, so that a command's help needs milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

from molpool_common import ConfigModel, did_you_mean, listed
from pydantic import Field, model_validator

from sampling_core._errors import SamplingError, is_finite_number, require_keys, whole_number

PHASES = ("warmup", "expand", "robust", "polish")
"""Phases in their order; training stays in the last one."""

DEFAULT_QUALITIES = ("high", "medium", "low")

DEFAULT_WEIGHTS: Mapping[str, tuple[float, float, float]] = {
    "warmup": (0.90, 0.10, 0.00),
    "expand": (0.60, 0.30, 0.10),
    "robust": (0.50, 0.35, 0.15),
    "polish": (0.70, 0.20, 0.10),
}
"""Weights of high, medium and low, by phase."""

PhaseWeights = dict[str, dict[str, float]]
CurriculumStrategy = Literal["sampled", "weighted"]


def check_qualities(qualities: Sequence[str]) -> tuple[str, ...]:
    """Return the quality labels as a tuple.

    Raises
    ------
    SamplingError
        If there are none, if one is no text, is empty or stands twice.
    """
    if isinstance(qualities, str) or not qualities:
        raise SamplingError(f"qualities: expected a list of labels, found {qualities!r}")
    for label in qualities:
        if not isinstance(label, str) or not label:
            raise SamplingError(f"qualities: expected labels of text, found {label!r}")
    twice = [q for i, q in enumerate(qualities) if q in qualities[:i]]
    if twice:
        raise SamplingError(f"qualities: expected each label once, found again {listed(twice)}")
    return tuple(qualities)


def resolve_phase_weights(
    qualities: Sequence[str],
    phase_weights: Mapping[str, Mapping[str, float]] | None = None,
) -> PhaseWeights:
    """Return the weight of every label in every phase.

    Parameters
    ----------
    qualities : sequence of str
        The quality labels.
    phase_weights : mapping of phase to mapping of label to weight, or None
        Weights >= 0; a phase that is left out keeps its default weights.

    Returns
    -------
    dict of str to dict of str to float
        Phases in their order, labels in the order of `qualities`.

    Raises
    ------
    SamplingError
        If a phase or label is unknown, a label is left out of a given phase, a weight is negative
        or not finite, the weights of a phase sum to 0, or there is no default to fall back to.

    Notes
    -----
    The defaults are those of high, medium and low by name. Up to three other labels take them by
    position, from best to worst, renormalised to sum to 1.
    """
    labels = check_qualities(qualities)
    given = {} if phase_weights is None else _check_mapping(phase_weights, "phase_weights")
    for phase in given:
        if phase not in PHASES:
            raise SamplingError(
                f"phase_weights: unknown phase {phase!r}. {did_you_mean(phase, PHASES)}"
            )
    return {
        phase: _check_phase(phase, given[phase], labels)
        if phase in given
        else _default_phase(phase, labels)
        for phase in PHASES
    }


def _check_phase(phase: str, weights: object, labels: tuple[str, ...]) -> dict[str, float]:
    name = f"phase_weights[{phase!r}]"
    mapping = _check_mapping(weights, name)
    for label in mapping:
        if label not in labels:
            raise SamplingError(
                f"{name}: unknown label {label!r}. {did_you_mean(str(label), labels)}"
            )
    left_out = [label for label in labels if label not in mapping]
    if left_out:
        raise SamplingError(f"{name}: no weight for {listed([repr(q) for q in left_out])}")
    checked = {label: _check_weight(mapping[label], f"{name}[{label!r}]") for label in labels}
    if not math.fsum(checked.values()) > 0.0:
        raise SamplingError(f"{name}: expected a weight above 0, found {checked}")
    return checked


def _check_mapping(value: object, name: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise SamplingError(f"{name}: expected a mapping, found {value!r}")
    return value


def _check_weight(weight: object, name: str) -> float:
    if not is_finite_number(weight) or weight < 0:
        raise SamplingError(f"{name}: expected a finite weight >= 0, found {weight!r}")
    return float(weight)


def _default_phase(phase: str, labels: tuple[str, ...]) -> dict[str, float]:
    defaults = DEFAULT_WEIGHTS[phase]
    if set(labels) == set(DEFAULT_QUALITIES):
        by_name = dict(zip(DEFAULT_QUALITIES, defaults, strict=True))
        return {label: by_name[label] for label in labels}
    if len(labels) > len(defaults):
        raise SamplingError(
            f"phase_weights: the {len(labels)} qualities {listed([repr(q) for q in labels])} have"
            f" no default weights in phase {phase!r}; give them"
        )
    total = math.fsum(defaults[: len(labels)])
    # Fewer labels leave the worst ones out: renormalising keeps the ratios between those that
    # remain.
    return {label: w / total for label, w in zip(labels, defaults, strict=False)}


def check_phase_epochs(given: int | Sequence[int] | None) -> tuple[int, ...] | None:
    """Return the epochs of each phase but the last, in which training stays; None stays None.

    Parameters
    ----------
    given : int, sequence of int or None
        One number for all phases, or one for each; that of the last may be left out.

    Raises
    ------
    SamplingError
        If a number is below 1, or there are not as many as phases.
    """
    if given is None:
        return None
    numbers = [given] * len(PHASES) if isinstance(given, int) else list(given)
    if len(numbers) not in (len(PHASES) - 1, len(PHASES)):
        raise SamplingError(
            f"phase_epochs: expected one number, or one for each of {listed(PHASES)};"
            f" found {len(numbers)}"
        )
    checked = [whole_number("phase_epochs", number, least=1) for number in numbers]
    return tuple(checked[: len(PHASES) - 1])


_CURRICULUM_KEYS = ("phase", "best", "stale", "updates", "history")


class NullIsAbsent(ConfigModel):
    """A section in which null stands for the default, as in the configurations of before."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        fields = cls.model_fields
        return {
            key: value
            for key, value in data.items()
            # Where the default is null itself it may stand; `seed: null` has a meaning of its own.
            if value is not None or key not in fields or key in cls._null_has_a_meaning
        }

    _null_has_a_meaning: ClassVar[frozenset[str]] = frozenset()


class CurriculumConfig(NullIsAbsent):
    """Pass from clean data to all data, by the quality label of each row."""

    enabled: bool = Field(default=False, description="Weigh rows by their quality.")
    quality_col: str = Field(default="Quality", description="Column with the quality labels.")
    qualities: list[str] = Field(
        default=list(DEFAULT_QUALITIES),
        min_length=1,
        description="Quality labels, from best to worst.",
    )
    patience: int = Field(
        default=5, ge=1, description="Validations without improvement before the next phase."
    )
    phase_epochs: int | list[int] | None = Field(
        default=None,
        description="Fixed epochs of each phase, instead of patience: one number for all, or one"
        " per phase; the only way on without a validation split.",
    )
    strategy: CurriculumStrategy = Field(
        default="sampled",
        description="sampled: weights steer the draws; weighted: they multiply the row's loss.",
    )
    reset_early_stopping_on_phase_change: bool = Field(
        default=False, description="Give early stopping its full patience in each phase."
    )
    count_normalize: bool = Field(
        default=False, description="Weights are shares of the draws, not weights of a row."
    )
    phase_weights: dict[str, dict[str, float]] | None = Field(
        default=None, description="Weight of each label in each phase; default if left out."
    )
    monitor: str = Field(default="val_loss", description="Logged metric that falls as we improve.")
    min_delta: float = Field(
        default=0.0,
        ge=0,
        description="Fall of the metric below which it counts as no improvement.",
    )

    @model_validator(mode="after")
    def _weights_are_valid(self) -> Self:
        resolve_phase_weights(self.qualities, self.phase_weights)
        check_phase_epochs(self.phase_epochs)
        return self


class CurriculumState:
    """Phase of a curriculum over data of different quality.

    The phases are passed in the order warmup, expand, robust, polish. The state moves on when the
    validation loss has not improved on its best for `patience` updates in a row, or after a fixed
    number of epochs, and never back.

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
    phase_epochs : int, sequence of int or None
        Epochs of each phase, one number for all or one for each; the validation loss then moves
        nothing.

    Attributes
    ----------
    best : float
        Lowest finite validation loss so far, infinity before the first.
    history : list of tuple of (int, str)
        Each change: the update (of a fixed schedule: the epoch) at which it came, counted from 1,
        and the phase entered.

    Raises
    ------
    SamplingError
        If labels, weights, patience, min_delta or phase_epochs are not as described.
    """

    def __init__(
        self,
        qualities: Sequence[str] = DEFAULT_QUALITIES,
        patience: int = 5,
        phase_weights: Mapping[str, Mapping[str, float]] | None = None,
        *,
        min_delta: float = 0.0,
        count_normalize: bool = False,
        phase_epochs: int | Sequence[int] | None = None,
    ) -> None:
        if not (math.isfinite(min_delta) and min_delta >= 0):
            raise SamplingError(f"min_delta: expected a finite number >= 0, found {min_delta!r}")
        self._weights = resolve_phase_weights(qualities, phase_weights)
        self.qualities = tuple(qualities)
        self.patience = whole_number("patience", patience, least=1)
        self.min_delta = min_delta
        self.count_normalize = count_normalize
        self.phase_epochs = check_phase_epochs(phase_epochs)
        self.best = math.inf
        self.history: list[tuple[int, str]] = []
        self._phase_index = 0
        self._stale = 0
        self._updates = 0
        self._epochs = 0
        self._epochs_of_phase = 0

    @classmethod
    def from_config(cls, config: CurriculumConfig) -> Self:
        """Build the state that a configuration describes, in its first phase."""
        return cls(
            config.qualities,
            config.patience,
            config.phase_weights,
            min_delta=config.min_delta,
            count_normalize=config.count_normalize,
            phase_epochs=config.phase_epochs,
        )

    @property
    def phase(self) -> str:
        """Name of the current phase."""
        return PHASES[self._phase_index]

    @property
    def phase_index(self) -> int:
        """Number of the current phase, from 0."""
        return self._phase_index

    @property
    def is_last(self) -> bool:
        """Whether the current phase is the one that training stays in."""
        return self._phase_index == len(PHASES) - 1

    def weights(self, phase: str) -> dict[str, float]:
        """Return the weight of each label in a phase, as configured.

        Raises
        ------
        SamplingError
            If there is no such phase.
        """
        if phase not in self._weights:
            raise SamplingError(f"phase: unknown {phase!r}. {did_you_mean(phase, PHASES)}")
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
        # A loss that is not finite must not become the best one, since nothing would then improve
        # on it.
        if math.isfinite(loss) and loss < self.best - self.min_delta:
            self.best = loss
            self._stale = 0
            return False
        self._stale += 1
        if self.phase_epochs is not None or self._stale < self.patience or self.is_last:
            return False
        self._stale = 0
        self._move_on(self._updates)
        return True

    def end_epoch(self) -> bool:
        """Take in the end of an epoch; return True when a fixed schedule moved on."""
        self._epochs += 1
        self._epochs_of_phase += 1
        if self.phase_epochs is None or self.is_last:
            return False
        if self._epochs_of_phase < self.phase_epochs[self._phase_index]:
            return False
        self._move_on(self._epochs)
        return True

    def _move_on(self, at: int) -> None:
        self._phase_index += 1
        self._epochs_of_phase = 0
        self.history.append((at, self.phase))

    def state_dict(self) -> dict[str, Any]:
        """Return what changes during training as a plain dict that JSON can hold."""
        return {
            "phase": self.phase,
            # JSON has no infinity.
            "best": self.best if math.isfinite(self.best) else None,
            "stale": self._stale,
            "updates": self._updates,
            "epochs": self._epochs,
            "epochs_of_phase": self._epochs_of_phase,
            "history": [list(change) for change in self.history],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises
        ------
        SamplingError
            If a key is missing or the phase is unknown; the state is then as before.
        """
        require_keys(state, _CURRICULUM_KEYS, "state of the curriculum")
        # Everything is checked before anything is assigned, so that a failed load changes nothing.
        self.weights(state["phase"])
        try:
            best = math.inf if state["best"] is None else float(state["best"])
            stale, updates = int(state["stale"]), int(state["updates"])
            # Absent from what was saved before there were fixed schedules.
            epochs, of_phase = (int(state.get(k, 0)) for k in ("epochs", "epochs_of_phase"))
            history = [(int(update), str(phase)) for update, phase in state["history"]]
        except (TypeError, ValueError) as error:
            raise SamplingError(
                f"state of the curriculum: expected a number as best, stale and updates, pairs as"
                f" history; {error}"
            ) from error
        self._phase_index = PHASES.index(state["phase"])
        self.best, self.history = best, history
        self._stale, self._updates = stale, updates
        self._epochs, self._epochs_of_phase = epochs, of_phase


def foreseen_end(
    state: CurriculumState, *, epochs: int | None, validated: bool, stop_after: int | None = None
) -> str | None:
    """Return why a curriculum cannot come to its last phase, with the cure; None where it can.

    Parameters
    ----------
    state : CurriculumState
        At the start of training.
    epochs : int or None
        Most epochs of training; None: no limit.
    validated : bool
        Whether there is a validation loss.
    stop_after : int or None
        Patience of early stopping.
    """
    last = PHASES[-1]
    if state.phase_epochs is not None:
        needed = sum(state.phase_epochs)
        if epochs is None or epochs > needed:
            return None
        begun = sum(sum(state.phase_epochs[: i + 1]) < epochs for i in range(len(PHASES) - 1))
        return (
            f"curriculum: {epochs} epochs end in phase {PHASES[begun]!r}; {last!r} would begin"
            f" after {needed} (phase_epochs). Train longer, or lower phase_epochs."
        )
    if not validated:
        return (
            f"curriculum: without a validation split it stays in phase {state.phase!r} for all of"
            " training. Set phase_epochs, the fixed epochs of each phase, or validate."
        )
    if stop_after is not None and stop_after <= state.patience:
        return (
            f"curriculum: early stopping after {stop_after} epochs without improvement ends"
            f" training in phase {state.phase!r}, which is left after {state.patience}. Lower"
            " curriculum.patience, raise that of early stopping, or set phase_epochs."
        )
    # The first validation always improves on none.
    needed = 1 + state.patience * (len(PHASES) - 1)
    if epochs is not None and epochs <= needed:
        return (
            f"curriculum: {epochs} epochs are too few for phase {last!r}, which begins after"
            f" {needed} at the earliest. Train longer, lower curriculum.patience, or set"
            " phase_epochs."
        )
    return None
