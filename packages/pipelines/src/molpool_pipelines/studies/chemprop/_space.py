"""The space that `molpool-hpo chemprop` searches, and the training configuration of a trial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from molpool_common import InputError, validate_values
from sampling_core import PHASES, CurriculumConfig, resolve_phase_weights

from molpool_pipelines.fitting import TrainChempropConfig
from molpool_pipelines.studies._space import Space, value_at, with_values

Declared = dict[str, Any]

JOINT = "joint_sampling"
CURRICULUM = f"{JOINT}.curriculum"
PHASE_WEIGHTS = f"{CURRICULUM}.phase_weights"
AFFINITY = "task_affinity"
MAX_LR = "training.max_lr"
MOST_GROUPS = 8


def default_space(
    config: TrainChempropConfig,
    n_tasks: int,
    qualities: Sequence[str] | None,
    *,
    version: int = 2,
) -> Declared:
    """Return the default space, in the form of `space:`.

    Every point of it makes a valid configuration. Ranges of the learning rates do not overlap, so
    that warm-up rises and decay falls. Widths, batch sizes and the range of the highest learning
    rate are those of ``chemprop hpopt``, widths at a scale that two cores train.

    Parameters
    ----------
    config : TrainChempropConfig
        What is not tuned, and what tuning must agree with: a foundation, given groups.
    n_tasks : int
        Number of tasks; groups need two.
    qualities : sequence of str or None
        Quality labels, from best to worst; None where rows have none, and so no curriculum.
    version : int
        ``study.space_version``.
    """
    space = _architecture(config) | _optimiser(config) | _sampling(qualities)
    if n_tasks > 1 and config.groups is None:
        space |= _grouping(config, n_tasks, version)
    return space


def default_values(config: TrainChempropConfig, space: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration's own value of each parameter: what it comes to where it is None.

    Parameters
    ----------
    config : TrainChempropConfig
        Without any parameter set.
    space : mapping of str to Any
        Parameters by name.
    """
    training = config.training
    values = config.model_dump(mode="json")
    values["training"] |= {
        "max_lr": training.peak_lr,
        # A tenth of the peak, which training takes where none is given.
        "init_lr": training.init_lr or training.peak_lr / 10,
        "final_lr": training.final_lr or training.peak_lr / 10,
    }
    curriculum = config.joint_sampling.curriculum
    values[JOINT]["curriculum"]["phase_weights"] = phase_weights(curriculum)
    found = {}
    for name in space:
        try:
            found[name] = value_at(values, name)
        except KeyError:  # a task of task_weights that has none, say
            continue
    return found


def phase_weights(config: CurriculumConfig) -> dict[str, dict[str, float]]:
    """Return the weight of every label in every phase, defaults filled in."""
    return resolve_phase_weights(config.qualities, config.phase_weights)


def _architecture(config: TrainChempropConfig) -> Declared:
    space: Declared = {
        "model.message_passing.dropout": {"low": 0.0, "high": 0.4, "step": 0.05},
        "model.aggregation": {"choices": ["mean", "sum", "norm"]},
        "model.batch_norm": {"choices": [False, True]},
        "model.ffn.num_layers": {"low": 1, "high": 3},
        "model.ffn.hidden_size": {"low": 100, "high": 1000, "step": 50},
        "model.ffn.dropout": {"low": 0.0, "high": 0.4, "step": 0.05},
    }
    if config.model.from_foundation is None:  # whose weights fit one architecture alone
        space["model.message_passing.depth"] = {"low": 2, "high": 6}
        space["model.message_passing.hidden_size"] = {"low": 100, "high": 1000, "step": 50}
    return space


def _optimiser(config: TrainChempropConfig) -> Declared:
    space: Declared = {
        MAX_LR: {"low": 1e-4, "high": 1e-2, "log": True},
        "training.init_lr": {"low": 1e-6, "high": 1e-4, "log": True},
        "training.final_lr": {"low": 1e-6, "high": 1e-4, "log": True},
        "training.batch_size": {"choices": [16, 32, 64, 128, 256]},
    }
    if (most := min(5, config.training.epochs - 1)) > 0:
        space["training.warmup_epochs"] = {"low": 0, "high": most}
    return space


def _sampling(qualities: Sequence[str] | None) -> Declared:
    on = {f"{JOINT}.enabled": True}
    space: Declared = {
        f"{JOINT}.enabled": {"choices": [False, True]},
        f"{JOINT}.task_oversampling.alpha": {"low": 0.0, "high": 1.0, "when": on},
        f"{JOINT}.composition_mode": {"choices": ["multiplicative", "hierarchical"], "when": on},
    }
    if qualities is None or any("." in label for label in qualities):  # a dot parts dotted keys
        return space
    moving = {**on, f"{CURRICULUM}.enabled": True}
    space[f"{CURRICULUM}.enabled"] = {"choices": [False, True], "when": on}
    space[f"{CURRICULUM}.patience"] = {"low": 1, "high": 10, "when": moving}
    for phase in PHASES:
        for rank, label in enumerate(qualities):
            # The best label never vanishes, so that no phase sums to nothing.
            low = 0.05 if rank == 0 else 0.0
            space[f"{PHASE_WEIGHTS}.{phase}.{label}"] = {"low": low, "high": 1.0, "when": moving}
    return space


def _grouping(config: TrainChempropConfig, n_tasks: int, version: int) -> Declared:
    section = config.task_affinity
    on = {f"{AFFINITY}.enabled": True}
    # At unit length a dot product is a cosine: a trial of each would be the same trial twice.
    same = section.normalize_gradients and version > 1
    kinds = ["cosine"] if same else ["cosine", "dot_product"]
    if section.estimator != "probe" and section.clustering_method != "spectral":
        kinds.append("lookahead")  # no product of gradients, and not symmetric
    return {
        f"{AFFINITY}.enabled": {"choices": [False, True]},
        f"{AFFINITY}.n_groups": {"low": 2, "high": min(n_tasks, MOST_GROUPS), "when": on},
        f"{AFFINITY}.affinity_type": {"choices": kinds, "when": on},
    }


ALPHA = f"{JOINT}.task_oversampling.alpha"
TASKS = f"{JOINT}.task_oversampling.enabled"
LEARNING_RATE = "training.learning_rate"


def trial_config(config: TrainChempropConfig, params: Mapping[str, Any]) -> TrainChempropConfig:
    """Return the configuration that a trial trains, which `molpool-train chemprop` takes too.

    What a parameter makes meaningless follows it: an α that is sampled is also used, the
    hierarchical mode without tasks becomes the multiplicative one, sampling by nothing becomes
    shuffling, and models of groups become one model where there are no groups.

    Parameters
    ----------
    config : TrainChempropConfig
        What no parameter sets.
    params : mapping of str to Any
        Values by dotted key.

    Raises
    ------
    InputError
        If the values make no valid configuration.
    """
    values = config.model_dump(mode="json", include=set(TrainChempropConfig.model_fields))
    if any(name.startswith(f"{PHASE_WEIGHTS}.") for name in params):
        weights = phase_weights(config.joint_sampling.curriculum)
        values[JOINT]["curriculum"]["phase_weights"] = weights
    values = with_values(values, params)
    if LEARNING_RATE in params and MAX_LR not in params:  # which would go before it
        values["training"]["max_lr"] = None
    if ALPHA in params and TASKS not in params:
        values[JOINT]["task_oversampling"]["enabled"] = True
    # A trial must not fail for a combination that the space itself can draw.
    _drop_empty_sampling(values[JOINT])
    if values["groups"] is None and not values["task_affinity"]["enabled"]:
        values["sharing"] = "heads"
    return validate_values(TrainChempropConfig, values)


def _drop_empty_sampling(joint: dict[str, Any]) -> None:
    if not joint["enabled"] or joint["task_oversampling"]["enabled"]:
        return
    joint["composition_mode"] = "multiplicative"
    joint["enabled"] = joint["curriculum"]["enabled"]


def check_values(config: TrainChempropConfig, space: Space) -> None:
    """Build the configuration of each end of each range and of each choice.

    Parameters
    ----------
    config : TrainChempropConfig
        What no parameter sets.
    space : Space
        The search space.

    Raises
    ------
    InputError
        Naming the parameter whose value the model refuses, and why.
    """
    for name, parameter in space.parameters.items():
        for value in parameter.extremes():
            try:
                trial_config(config, {**_conditions(space, name), name: value})
            except InputError as error:
                raise InputError(
                    f"space.{name}",
                    expected=f"values that {error.parameter} takes: {error.expected}",
                    found=repr(value),
                    hint=error.hint,
                ) from None


def _conditions(space: Space, name: str) -> dict[str, Any]:
    """Return values under which a parameter is sampled, those of its conditions' own too."""
    return dict(_wanted(space, name))


def _wanted(space: Space, name: str) -> Iterator[tuple[str, Any]]:
    for other, values in space.parameters[name].when.items():
        if other in space.parameters:
            # A condition of a condition has to hold too, and first.
            yield from _wanted(space, other)
        yield other, values[0]
