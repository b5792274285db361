"""From the parameters of a trial to a training configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from molpool_common import InputError, validate_values

from molpool_pipelines.studies.chemprop.config import ChempropRunConfig
from molpool_pipelines.studies.chemprop.space import JOINT, MAX_LR, PHASE_WEIGHTS, phase_weights
from molpool_pipelines.studies.entries import Choice, Entry, Fixed
from molpool_pipelines.studies.paths import with_values
from molpool_pipelines.studies.space import Space

ALPHA = f"{JOINT}.task_oversampling.alpha"
TASKS = f"{JOINT}.task_oversampling.enabled"
LEARNING_RATE = "training.learning_rate"


def trial_config(config: ChempropRunConfig, params: Mapping[str, Any]) -> ChempropRunConfig:
    """Return the configuration that a trial trains, which `molpool-train chemprop` takes too.

    What a parameter makes meaningless follows it: an α that is drawn is also used, the hierarchical
    mode without tasks becomes the multiplicative one, sampling by nothing becomes shuffling, and
    models of groups become one model where there are no groups.

    Parameters
    ----------
    config : ChempropRunConfig
        What no parameter sets.
    params : mapping of str to Any
        Values by dotted key.

    Raises
    ------
    InputError
        If the values make no valid configuration.
    """
    values = config.model_dump(mode="json", include=set(ChempropRunConfig.model_fields))
    if any(name.startswith(f"{PHASE_WEIGHTS}.") for name in params):
        whole = phase_weights(config.joint_sampling.curriculum)
        values[JOINT]["curriculum"]["phase_weights"] = whole
    values = with_values(values, params)
    if LEARNING_RATE in params and MAX_LR not in params:  # which would go before it
        values["training"]["max_lr"] = None
    if ALPHA in params and TASKS not in params:
        values[JOINT]["task_oversampling"]["enabled"] = True
    _drop_empty_sampling(values[JOINT])
    if values["groups"] is None and not values["task_affinity"]["enabled"]:
        values["sharing"] = "heads"
    return validate_values(ChempropRunConfig, values)


def _drop_empty_sampling(joint: dict[str, Any]) -> None:
    if not joint["enabled"] or joint["task_oversampling"]["enabled"]:
        return
    joint["composition_mode"] = "multiplicative"
    joint["enabled"] = joint["curriculum"]["enabled"]


def check_values(config: ChempropRunConfig, space: Space) -> None:
    """Build the configuration of each end of each range and of each choice.

    Parameters
    ----------
    config : ChempropRunConfig
        What no parameter sets.
    space : Space
        What is drawn.

    Raises
    ------
    InputError
        Naming the parameter whose value the model refuses, and why.
    """
    for name, entry in space.entries.items():
        for value in _ends(entry):
            try:
                trial_config(config, {**_conditions(space, name), name: value})
            except InputError as error:
                raise InputError(
                    f"space.{name}",
                    expected=f"values that {error.parameter} takes: {error.expected}",
                    found=repr(value),
                    hint=error.hint,
                ) from None


def _ends(entry: Entry) -> tuple[Any, ...]:
    if isinstance(entry, Fixed):
        return (entry.value,)
    return entry.choices if isinstance(entry, Choice) else (entry.low, entry.high)


def _conditions(space: Space, name: str) -> dict[str, Any]:
    """Return values under which a parameter is drawn, those of its conditions' own too."""
    return dict(_wanted(space, name))


def _wanted(space: Space, name: str) -> Iterator[tuple[str, Any]]:
    for other, values in space.entries[name].when.items():
        if other in space.entries:
            yield from _wanted(space, other)
        yield other, values[0]
