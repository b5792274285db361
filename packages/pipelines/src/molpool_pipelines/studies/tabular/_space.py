"""The space that `molpool-hpo tabular` searches, and the training configuration of a trial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from molpool_common import InputError, validate_values

from molpool_pipelines.fitting import FEATURES, TrainTabularConfig
from molpool_pipelines.models import check_members
from molpool_pipelines.studies._space import Space, read_space, value_at, with_values
from molpool_pipelines.studies.tabular._config import HPOTabularConfig

Declared = dict[str, Any]

_NETWORKS = [["mlp"], ["mlp", "gp"], ["mlp", "lightgbm"]]
_OTHERS = [["gp"], ["lightgbm"]]
_FEATURES = (FEATURES, "rdkit2d+morgan_count+minimol", "rdkit2d+morgan_count")
_SAMPLING = "joint_sampling.enabled"


def default_space(config: HPOTabularConfig) -> Declared:
    """Return the default space, in the form of `space:`.

    The configuration's own models and features are among the choices, and every point of it makes
    a valid configuration.
    """
    models: list[list[str]] = []
    own: list[str] = [*config.model]
    for names in (own, *_NETWORKS, *_OTHERS):
        models += [] if names in models else [names]
    on = {"model": [m for m in models if "mlp" in m]}
    return {
        "model": {"choices": models},
        "features": {"choices": list(dict.fromkeys((config.features, *_FEATURES)))},
        "mlp.hidden": {"low": 128, "high": 1024, "step": 128, "when": on},
        "mlp.epochs": {"low": 15, "high": 80, "when": on},
        "mlp.dropout": {"low": 0.0, "high": 0.6, "step": 0.05, "when": on},
        "mlp.learning_rate": {"low": 3e-4, "high": 1e-2, "log": True, "when": on},
        "mlp.weight_decay": {"low": 1e-4, "high": 0.3, "log": True, "when": on},
        "mlp.task_power": {"low": 0.0, "high": 1.0, "when": on},
        _SAMPLING: {"choices": [False, True], "when": on},
        "joint_sampling.task_oversampling.alpha": {
            "low": 0.0,
            "high": 1.0,
            "when": {**on, _SAMPLING: True},
        },
    }


def tabular_space(config: HPOTabularConfig) -> Space:
    """Return what is sampled: the ``space`` section over the default.

    Raises
    ------
    InputError, FeatureError
        If a name is unknown, or a value is none that training takes.
    """
    default = default_space(config) if config.study.default_space else {}
    space = read_space(config.space, default, type(config))
    for name, parameter in space.parameters.items():
        for value in parameter.extremes():
            try:
                trial_config(config, {name: value})
            except InputError as error:
                raise InputError(
                    f"space.{name}",
                    expected=f"values that {error.parameter} takes: {error.expected}",
                    found=repr(value),
                    hint=error.hint,
                ) from None
    models = space.parameters.get("model")
    for names in models.extremes() if models else (config.model,):
        if "chemprop" in names:
            raise InputError(
                "space.model" if models else "model",
                expected="models on features",
                found=str(names),
                hint="molpool-hpo chemprop tunes Chemprop.",
            )
        check_members(names, (), config.options)
    features = space.parameters.get("features")
    _check_features(features.extremes() if features else (config.features,))
    return space


def _check_features(names: tuple[Any, ...]) -> None:
    from molecule_features import FeatureSet

    for name in names:
        # Before a trial would find that a featuriser is unknown or not installed.
        FeatureSet.named(str(name))


def own_values(config: HPOTabularConfig, space: Space) -> dict[str, Any]:
    """Return the configuration's own value of each parameter: the first trial."""
    values = config.model_dump(mode="json")
    conditions = [name for parameter in space.parameters.values() for name in parameter.when]
    return {
        name: value_at(values, name) for name in dict.fromkeys([*space.parameters, *conditions])
    }


def trial_config(config: HPOTabularConfig, params: Mapping[str, Any]) -> TrainTabularConfig:
    """Return the configuration that a trial trains, which `molpool-train tabular` takes too.

    Rows are not drawn where no network draws them.
    """
    values = with_values(config.model_dump(mode="json", exclude={"study", "space"}), params)
    if "mlp" not in values["model"]:
        values["joint_sampling"]["enabled"] = False
    return validate_values(TrainTabularConfig, values)
