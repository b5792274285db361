"""Samplers and pruners of Optuna, by name, seeded so that a resumed study goes on as it would."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from molpool_common import InputError, did_you_mean

from molpool_pipelines.studies._config import StudyConfig
from molpool_pipelines.studies._parameters import Choice, Range
from molpool_pipelines.studies._space import Space

_NO_CHOICE = {"BaseSampler", "BaseGASampler", "PartialFixedSampler"}
_ONE_SEQUENCE = {"QMCSampler", "GridSampler"}
"""Samplers whose points are one sequence, which another seed would begin anew."""


class SamplerFactory:
    """Makes the sampler of each trial.

    A sampler of its own for each trial, seeded by its place, draws the same whichever process runs
    the trial and however often the study was interrupted before.

    Parameters
    ----------
    config : StudyConfig
        Name and options of the sampler.
    space : Space
        What it draws from.
    seed : int
        Of the study.

    Raises
    ------
    InputError
        For a name or option that Optuna does not have, or a sampler that cannot draw from the
        space.
    """

    def __init__(self, config: StudyConfig, space: Space, seed: int) -> None:
        names = [n for n in optuna.samplers.__all__ if n.endswith("Sampler")]
        valid = [n for n in names if n not in _NO_CHOICE]
        if config.sampler not in valid:
            raise InputError(
                "study.sampler",
                expected="a sampler of Optuna",
                found=repr(config.sampler),
                hint=did_you_mean(config.sampler, valid),
            )
        self._name, self._seed = config.sampler, seed
        self._class = getattr(optuna.samplers, config.sampler)
        self._options = {**_defaults(config.sampler, space), **config.sampler_options}
        _check_options("study.sampler_options", self._class, self._options)
        # Made once for its errors: a wrong option would otherwise stop the first trial, after the
        # data are read.
        self(0)

    def __call__(self, number: int) -> optuna.samplers.BaseSampler:
        """Return the sampler of a trial by its place in the queue."""
        seed = self._seed if self._name in _ONE_SEQUENCE else derived_seed(self._seed, number)
        # numpy's legacy generator, which some samplers use, takes 32 bits.
        options = {"seed": seed % 2**31, **self._options}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                sampler: optuna.samplers.BaseSampler = self._class(**options)
        except (TypeError, ValueError) as error:
            raise InputError(
                "study.sampler_options",
                expected=f"what {self._name} takes",
                found=f"{self._options}: {error}",
            ) from None
        except ImportError as error:
            raise InputError(
                "study.sampler",
                expected="a sampler whose package is installed",
                found=f"{self._name}: {error}",
            ) from None
        return sampler


def _defaults(name: str, space: Space) -> dict[str, Any]:
    if name == "TPESampler":
        # A conditional parameter is missing from some trials, which plain multivariate TPE would
        # leave to independent draws; a running trial counts as a bad one, so that workers spread.
        conditional = any(parameter.when for parameter in space.parameters.values())
        return {"multivariate": True, "constant_liar": True, "group": conditional}
    if name == "GridSampler":
        return {"search_space": {n: _grid(n, space.parameters[n]) for n in space.sampled}}
    return {}


def _grid(name: str, parameter: Any) -> list[Any]:
    if isinstance(parameter, Choice):
        return parameter.labels
    if isinstance(parameter, Range) and (parameter.type == "int" or parameter.step):
        step = parameter.step or 1
        n = int((parameter.high - parameter.low) / step + 1e-9) + 1
        return [parameter.clip(parameter.low + i * step) for i in range(n)]
    raise InputError(
        f"space.{name}",
        expected="choices, whole numbers or a step with sampler GridSampler",
        found=str(parameter.describe()),
    )


def make_pruner(config: StudyConfig, total_steps: int) -> optuna.pruners.BasePruner:
    """Return the pruner that the configuration names.

    Parameters
    ----------
    config : StudyConfig
        Name and options.
    total_steps : int
        Steps of a full trial: what hyperband divides.

    Raises
    ------
    InputError
        For an option that it does not have.
    """
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "median": (optuna.pruners.MedianPruner, {}),
        "percentile": (optuna.pruners.PercentilePruner, {"percentile": 25.0}),
        "hyperband": (optuna.pruners.HyperbandPruner, {"max_resource": total_steps}),
        "none": (optuna.pruners.NopPruner, {}),
    }
    kind, defaults = kinds[config.pruner]
    _check_options("study.pruner_options", kind, config.pruner_options)
    try:
        pruner: optuna.pruners.BasePruner = kind(**{**defaults, **config.pruner_options})
    except (TypeError, ValueError) as error:
        raise InputError(
            "study.pruner_options",
            expected=f"what the {config.pruner} pruner takes",
            found=f"{config.pruner_options}: {error}",
        ) from None
    return pruner


def _check_options(where: str, kind: Any, options: Mapping[str, Any]) -> None:
    # Checked here, where the nearest valid name is known: Optuna raises a bare TypeError.
    known = [n for n in inspect.signature(kind).parameters if n not in ("args", "kwargs")]
    for name in options:
        if name not in known:
            raise InputError(
                where,
                expected=f"an argument of {kind.__name__}",
                found=repr(name),
                hint=did_you_mean(name, known) if known else "It has none.",
            )


def derived_seed(seed: int, *place: int) -> int:
    """Return a seed for a place in the study, below 2^31."""
    sequence = np.random.SeedSequence(seed, spawn_key=place)
    # Hashed with its place as spawn key: trials and folds get independent streams, however many
    # there are.
    return int(sequence.generate_state(1, np.uint32)[0]) >> 1
