"""The phases of the curriculum and the weight that each gives to every quality label."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sampling_core.alpha import is_finite_number
from sampling_core.errors import SamplingError, did_you_mean, listed

PHASES = ("warmup", "expand", "robust", "polish")
"""Phases in the order in which they are passed; the last one is kept."""

DEFAULT_QUALITIES = ("high", "medium", "low")

DEFAULT_WEIGHTS: Mapping[str, tuple[float, float, float]] = {
    "warmup": (0.90, 0.10, 0.00),
    "expand": (0.60, 0.30, 0.10),
    "robust": (0.50, 0.35, 0.15),
    "polish": (0.70, 0.20, 0.10),
}
"""Weights of high, medium and low, by phase."""

PhaseWeights = dict[str, dict[str, float]]


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
                f"phase_weights: unknown phase {phase!r}; {did_you_mean(phase, PHASES)}"
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
            raise SamplingError(f"{name}: unknown label {label!r}; {did_you_mean(label, labels)}")
    left_out = [label for label in labels if label not in mapping]
    if left_out:
        raise SamplingError(f"{name}: no weight for {listed(map(repr, left_out))}")
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
            f"phase_weights: the {len(labels)} qualities {listed(map(repr, labels))} have no"
            f" default weights in phase {phase!r}; give them"
        )
    total = math.fsum(defaults[: len(labels)])
    return {label: w / total for label, w in zip(labels, defaults, strict=False)}
