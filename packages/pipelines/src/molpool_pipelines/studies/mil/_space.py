"""What a study of bags samples: `mil_attn.search_space`, narrowed, fixed or added to in YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from mil_attn import MILConfig, MILRunConfig, search_space, task_columns
from molpool_common import InputError

from molpool_pipelines.studies._parameters import Fixed, Parameter
from molpool_pipelines.studies._space import Space, read_space
from molpool_pipelines.studies.mil._config import HPOMILConfig

SECTIONS = ("model", "training", "loss", "sampling")
BY_TASK = ("posw_clip", "gamma", "lam")
_AUX = "lambda_aux_"
_OF_2D = ("mol_hidden", "mol_layers", "mol_dropout")
_OF_3D = ("inst_hidden", "inst_layers", "inst_dropout", "attn_heads", "attn_dropout")
_OF_CLASSES = ("rare_oversample_mult", "rare_prev_thr", "sample_weight_cap", "min_w")
_OF_TASKS = ("lam_floor", "lam_ceil", "min_w")

Declared = dict[str, Any]


class _Declarations:
    """Stands in for a trial, and records what `search_space` asks of it."""

    def __init__(self) -> None:
        self.parameters: Declared = {}

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        self.parameters[name] = {"low": low, "high": high, "type": "float", "log": log}
        return low

    def suggest_int(self, name: str, low: int, high: int) -> int:
        self.parameters[name] = {"low": low, "high": high, "type": "int"}
        return low

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        self.parameters[name] = {"choices": list(choices)} if len(choices) > 1 else choices[0]
        return choices[0]


def default_space(config: HPOMILConfig) -> Declared:
    """Return the search space of the literature, as ``space:`` would declare it.

    Every range, choice and scale of `mil_attn.search_space`; less what has no effect here: the
    encoder of a branch that is not used, imbalance of classes for regression, and weights of tasks
    where there is one. Each auxiliary group has a ``lambda_aux_GROUP`` of the same range.

    Parameters
    ----------
    config : HPOMILConfig
        Tasks, branches and auxiliary groups.
    """
    n_tasks = len(task_columns(config.data, config))
    trial = _Declarations()
    # Asked rather than copied: the ranges stand once, in the package.
    search_space(trial, n_tasks=n_tasks)
    parameters = {n: e for n, e in trial.parameters.items() if not n.startswith(_AUX)}
    parameters |= {f"{_AUX}{group}": trial.parameters[f"{_AUX}abs"] for group in config.aux}
    left_out = set(without_effect(config, n_tasks))
    return {name: parameter for name, parameter in parameters.items() if name not in left_out}


def without_effect(config: HPOMILConfig, n_tasks: int) -> list[str]:
    """Return the parameters of the literature's space that change nothing here."""
    names: list[str] = []
    data = config.data
    without_2d = data.kind == "bags" or (data.kind == "features" and data.features_2d is None)
    names += () if config.model.use_2d and not without_2d else _OF_2D
    names += () if config.model.use_3d else _OF_3D
    if config.task_kind == "regression":
        names += _OF_CLASSES
        names += [f"{key}_t{t}" for key in ("posw_clip", "gamma") for t in range(n_tasks)]
    if n_tasks == 1:
        names += [*_OF_TASKS, "lam_t0"]
    return list(dict.fromkeys(names))


def mil_space(config: HPOMILConfig) -> Space:
    """Return what is sampled: the ``space`` section over the default.

    Parameters
    ----------
    config : HPOMILConfig
        Names are those of `mil_attn.search_space` (``lr``, ``gamma_t0``, ``lambda_aux_abs``), of
        any key of model, training, loss and sampling, or dotted paths of these.

    Raises
    ------
    InputError, MILError
        If a name is unknown, a value is out of its key's range, or two parameters do not go
        together: every ``attn_heads`` divides every ``inst_hidden``, ``lam_floor`` is never above
        ``lam_ceil``.
    """
    declared = {flat_name(name): _flat_conditions(e) for name, e in config.space.items()}
    default = default_space(config) if config.study.default_space else {}
    for key in BY_TASK:
        if key in declared:  # one for all tasks
            # The parameters of single tasks would override the common one.
            default = {n: e for n, e in default.items() if not n.startswith(f"{key}_t")}
    space = read_space(declared, default)
    base = config.run
    for name, parameter in space.parameters.items():
        for value in parameter.extremes():
            _check_alone(base, name, value, space)
    # Widths and heads are sampled independently: every pair of them has to divide.
    _check_together(space.parameters, config)
    return space


def flat_name(name: str) -> str:
    """Return the name of the literature's search for a dotted path, others as they are."""
    section, _, key = name.partition(".")
    if section in SECTIONS and key:
        return key
    if section == "aux" and key.endswith(".weight"):
        return _AUX + key.removesuffix(".weight")
    return name


def _flat_conditions(parameter: Any) -> Any:
    if isinstance(parameter, Mapping) and isinstance(parameter.get("when"), Mapping):
        return {**parameter, "when": {flat_name(k): v for k, v in parameter["when"].items()}}
    return parameter


def _check_alone(base: MILRunConfig, name: str, value: Any, space: Space) -> None:
    """Raise unless the configuration takes a value; pairs that must fit are looked at later."""
    # Beside it whatever surely fits, so that the message is about this parameter.
    fitting: dict[str, Any] = {
        "inst_hidden": {"attn_heads": 1},
        "attn_heads": {"inst_hidden": value},
        "lam_floor": {"lam_ceil": value},
        "lam_ceil": {"lam_floor": value},
    }.get(name, {})
    key, _, task = name.rpartition("_t")
    if key in BY_TASK and task.isdigit():
        fitting = {n: value for n in space.parameters if n.rpartition("_t")[0] == key}
    with_params(base, {**fitting, name: value})


def _check_together(parameters: Mapping[str, Parameter], config: HPOMILConfig) -> None:
    hidden = parameters.get("inst_hidden") or Fixed(config.model.inst_hidden)
    heads = parameters.get("attn_heads") or Fixed(config.model.attn_heads)
    if config.model.use_3d:
        for width, n in product(hidden.extremes(), heads.extremes()):
            if width % n:
                raise InputError(
                    "space.attn_heads",
                    expected=f"divisors of every inst_hidden, {width} among them",
                    found=str(n),
                )
    floor = parameters.get("lam_floor") or Fixed(config.loss.lam_floor)
    ceiling = parameters.get("lam_ceil") or Fixed(config.loss.lam_ceil)
    floors, ceilings = floor.extremes(), ceiling.extremes()
    if max(floors) > min(ceilings):
        raise InputError(
            "space.lam_floor",
            expected=f"at most the least lam_ceil, {min(ceilings):g}",
            found=f"{max(floors):g}",
        )


def with_params(config: MILConfig, params: Mapping[str, Any]) -> Any:
    """Return a configuration with the parameters of a trial."""
    return config.with_params({flat_name(name): value for name, value in params.items()})


def own_values(config: HPOMILConfig, names: Sequence[str]) -> dict[str, Any]:
    """Return the configuration's own value of each parameter: the first trial."""
    values: dict[str, Any] = {}
    sections = [getattr(config, section).model_dump() for section in SECTIONS]
    for name in names:
        key, _, task = name.rpartition("_t")
        if key in BY_TASK and task.isdigit():
            given = getattr(config.loss, key)
            values[name] = given[int(task)] if isinstance(given, list) else given
        elif name.startswith(_AUX):
            values[name] = config.aux[name.removeprefix(_AUX)].weight
        else:
            values[name] = next(section[name] for section in sections if name in section)
    return values
