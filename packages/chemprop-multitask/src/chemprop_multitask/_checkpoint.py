"""Files: models in Chemprop's own format, with our configuration beside it; foundations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from molpool_common import DamagedFileError, Structure, UnsafeFileError, load_torch_file
from pydantic import ValidationError
from torch import Tensor
from torch.nn import Module

from chemprop_multitask._chemprop import nn
from chemprop_multitask._config import (
    ChempropConfig,
    FFNConfig,
    MessagePassingConfig,
    ModelConfig,
)
from chemprop_multitask._data import OWN
from chemprop_multitask._errors import ChempropError
from chemprop_multitask._losses import LOG_SCALE, MultiTaskLoss
from chemprop_multitask._message_passing import FastBondMessagePassing
from chemprop_multitask._network import AGGREGATION, MultiTaskMPNN
from chemprop_multitask._tasks import TaskType

ConfigT = TypeVar("ConfigT", bound=ChempropConfig)

Limits = tuple[float, float, float, float]
"""Floor and ceiling of an assay, infinite where it has none, and what it reports at each."""

_KEY = "chemprop_multitask"
_PREFIX = "message_passing."
_FIRST = "W_i.weight"

OTHER_FEATURES = "It is of another featuriser: atoms and bonds have another number of features."
"""What the width of the first weights, which multiply the features, says."""

_FOREIGN: dict[type, TaskType] = {
    nn.RegressionFFN: "regression",
    nn.BinaryClassificationFFN: "classification",
}


@dataclass(frozen=True)
class SavedModel:
    """What a model file holds."""

    config: ChempropConfig
    task_names: tuple[str, ...]
    task_types: tuple[TaskType, ...]
    network: MultiTaskMPNN
    serves: dict[str, int] | None = None
    descriptors: dict[str, Any] | None = None
    structure: Structure = "given"
    limits: dict[str, Limits] | None = None


def write_model(
    path: str | Path,
    config: ChempropConfig,
    task_names: Sequence[str],
    task_types: Sequence[TaskType],
    network: MultiTaskMPNN,
    *,
    serves: Mapping[str, int] | None = None,
    descriptors: Mapping[str, Any] | None = None,
    structure: Structure = "given",
    limits: Mapping[str, Limits] | None = None,
) -> None:
    """Write a model so that `chemprop predict` opens it."""
    ours: dict[str, Any] = {
        "config": _plain(config),
        "task_types": list(task_types),
        "structure": structure,
    }
    if serves is not None:
        ours["serves"] = dict(serves)
    if descriptors is not None:
        ours["descriptors"] = dict(descriptors)
    if limits:
        ours["limits"] = {task: list(said) for task, said in limits.items()}
    if any(network.n_graph_features):
        ours["graph_features"] = list(network.n_graph_features)
    if network.units is not None:
        # As plain floats: Chemprop's transform, which stands in the state, is in single precision.
        ours["label_mean"], ours["label_scale"] = (part.tolist() for part in network.units)
    torch.save(
        {
            "hyper_parameters": network.hparams,
            # Chemprop's own losses have no learnt scale, and its reader refuses what is too much.
            "state_dict": {k: v for k, v in network.state_dict().items() if LOG_SCALE not in k},
            "output_columns": list(task_names),
            _KEY: ours,
        },
        path,
    )


def read_model(path: str | Path) -> SavedModel:
    """Read a model of ours, or of `chemprop train`.

    Raises
    ------
    ChempropError
        If the file is missing, damaged, of another program, or of a model that takes other atom or
        bond features.
    """
    content = read_torch_file(path, "model")
    missing = [key for key in ("hyper_parameters", "state_dict") if key not in content]
    if missing or "message_passing" not in content["hyper_parameters"]:
        what = repr(missing[0]) if missing else "message passing"
        raise ChempropError(f"model: expected a Chemprop model; {path} has no {what}")
    hparams = content["hyper_parameters"]
    own_part = content.get(_KEY, {})
    _check_features(path, hparams, own_part.get("graph_features", (0, 0)))
    config, kinds = _ours(path, content) if _KEY in content else _foreign(path, hparams)
    own = {}
    if config.model.message_passing.fast:
        sizes = {k: v for k, v in hparams["message_passing"].items() if k != "cls"}
        own["message_passing"] = FastBondMessagePassing(**sizes)
    network = MultiTaskMPNN.load_from_file(path, map_location="cpu", **own)
    names = content.get("output_columns") or [f"task {t + 1}" for t in range(network.n_tasks)]
    kinds = kinds if len(kinds) == network.n_tasks else kinds * network.n_tasks
    network.use_loss(MultiTaskLoss.from_config(config.training, names, kinds), tuple(names))
    if "label_mean" in own_part:
        network.use_units(np.array(own_part["label_mean"]), np.array(own_part["label_scale"]))
    serves, descriptors = own_part.get("serves"), own_part.get("descriptors")
    # Models of before there was a choice saw what was given.
    structure = own_part.get("structure", "given")
    limits = {task: tuple(said) for task, said in own_part.get("limits", {}).items()}
    return SavedModel(config, tuple(names), kinds, network, serves, descriptors, structure, limits)


def model_files(path: str | Path) -> list[Path]:
    """Return the model files at a path.

    Parameters
    ----------
    path : str or Path
        A model file (given back as it is, there or not); a folder with ``member-*.pt``; or a run
        folder, whose models are ``model.pt`` or ``models/member-*.pt``.

    Raises
    ------
    ChempropError
        If a folder holds no model.
    """
    path = Path(path)
    if not path.is_dir():
        return [path]
    for pattern in ("member-*.pt", "models/member-*.pt", "model.pt"):
        if files := sorted(path.glob(pattern)):
            return files
    raise ChempropError(
        f"model: expected model.pt or member-*.pt in {path}; found none. A run writes its model "
        "when it ends."
    )


def check_resumable(path: str | Path, network: MultiTaskMPNN) -> Path:
    """Return the path of a training checkpoint that fits a network.

    Raises
    ------
    ChempropError
        If the file is missing, damaged, no training checkpoint, or of another architecture.
    """
    content = read_torch_file(path, "resume_from")
    if "loops" not in content or "state_dict" not in content:
        raise ChempropError(
            f"resume_from: expected a training checkpoint such as last.ckpt; {path} is none"
        )
    found = {name: tuple(value.shape) for name, value in content["state_dict"].items()}
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    for name in wanted | found:
        if found.get(name) != wanted.get(name):
            first = name == "message_passing.W_i.weight" and name in found
            features = first and found[name][1] != wanted[name][1]
            raise ChempropError(
                f"resume_from: expected parameter {name!r} of shape {wanted.get(name)}; "
                f"found {found.get(name)} in {path}, a checkpoint of another model"
                + (f". {OTHER_FEATURES}" if features else "")
            )
    return Path(path)


def _plain(config: ChempropConfig) -> dict[str, Any]:
    """Return our part of a configuration that may be an application's, with more in it."""
    dumped = config.model_dump(mode="json")
    return {key: dumped[key] for key in ChempropConfig.model_fields}


def _ours(
    path: str | Path, content: Mapping[str, Any]
) -> tuple[ChempropConfig, tuple[TaskType, ...]]:
    extra = content[_KEY]
    try:
        return ChempropConfig.model_validate(extra["config"]), tuple(extra["task_types"])
    except (KeyError, ValidationError) as error:
        raise ChempropError(
            f"model: expected a file that this version of chemprop-multitask can read; {path}: "
            f"{error}"
        ) from error


def _foreign(
    path: str | Path, hparams: Mapping[str, Any]
) -> tuple[ChempropConfig, tuple[TaskType, ...]]:
    """Return configuration and kind of a model that `chemprop train` wrote."""
    predictor = hparams["predictor"]
    kind = _FOREIGN.get(predictor["cls"])
    if kind is None:
        raise ChempropError(
            "model: expected RegressionFFN or BinaryClassificationFFN as predictor; "
            f"found {predictor['cls'].__name__} in {path}"
        )
    try:
        model = _architecture(hparams)
    except ValidationError as error:
        raise ChempropError(
            f"model: expected an architecture that this package has; {path}: {error}"
        ) from error
    return ChempropConfig(model=model), (kind,)


def _architecture(hparams: Mapping[str, Any]) -> ModelConfig:
    mp, agg, ffn = (hparams[part] for part in ("message_passing", "agg", "predictor"))
    names = {cls: name for name, cls in AGGREGATION.items()}
    widths = ffn["hidden_dim"]  # one, or one per layer
    if not isinstance(widths, int) and len(set(widths)) == 1:
        ffn = {**ffn, "n_layers": len(widths), "hidden_dim": widths[0]}
    message_passing = MessagePassingConfig(
        depth=mp["depth"],
        hidden_size=mp["d_h"],
        dropout=mp["dropout"],
        activation=_activation(mp["activation"]),
        bias=mp["bias"],
        undirected=mp["undirected"],
    )
    return ModelConfig(
        message_passing=message_passing,
        aggregation=names.get(agg["cls"], agg["cls"].__name__),
        batch_norm=hparams["batch_norm"],
        ffn=FFNConfig(
            num_layers=ffn["n_layers"], hidden_size=ffn["hidden_dim"], dropout=ffn["dropout"]
        ),
    )


def _check_features(path: str | Path, hparams: Mapping[str, Any], more: Sequence[int]) -> None:
    mp = hparams["message_passing"]
    if not issubclass(mp["cls"], nn.BondMessagePassing):
        raise ChempropError(
            f"model: expected BondMessagePassing; found {mp['cls'].__name__} in {path}"
        )
    ours = tuple(own + n for own, n in zip(OWN, more, strict=True))
    if (mp["d_v"], mp["d_e"]) != ours:
        raise ChempropError(
            f"model: expected atom and bond features of the default featuriser, {ours[0]} and "
            f"{ours[1]} wide; {path} is of a featuriser with {mp['d_v']} and {mp['d_e']}"
        )
    if mp.get("d_vd"):
        raise ChempropError(
            f"model: expected a model of molecules; {path} takes descriptors of atoms too"
        )


def as_foundation(config: ConfigT) -> ConfigT:
    """Return a configuration with the message passing of the foundation that it names.

    Only where `model.message_passing` is left at its defaults: what a user gives is checked against
    the file when its weights are read.

    Raises
    ------
    ChempropError
        If the file is missing or damaged.
    """
    model = config.model
    mp = model.message_passing
    if mp != type(mp)():
        return config
    update = {"message_passing": mp.model_copy(update=_of_foundation(model))}
    return config.model_copy(update={"model": model.model_copy(update=update)})


def check_foundation(model: ModelConfig) -> None:
    """Raise `ChempropError` where a key of message passing was given and the foundation differs.

    A default that is given can only be told from one that is not by the configuration as a user
    gave it, before it is copied.
    """
    mp = model.message_passing
    for key, own in _of_foundation(model).items():
        if mp.is_given(key) and getattr(mp, key) != own:
            raise ChempropError(
                f"model.message_passing.{key}: expected {own}, as in {model.from_foundation}; "
                f"found {getattr(mp, key)}"
            )


def _of_foundation(model: ModelConfig) -> dict[str, Any]:
    """Return the keys of message passing that a foundation has; none without one."""
    if model.from_foundation is None:
        return {}
    mp = model.message_passing
    content = read_torch_file(model.from_foundation, "model.from_foundation")
    hparams = content.get("hyper_parameters")
    if not isinstance(hparams, Mapping):
        return {}
    block = hparams.get("message_passing", hparams)  # of a model, or of an encoder alone
    if not isinstance(block, Mapping) or not {"d_h", "depth"} <= block.keys():
        return {}
    found = {
        "hidden_size": block["d_h"],
        "depth": block["depth"],
        "bias": block.get("bias", mp.bias),
        "undirected": block.get("undirected", mp.undirected),
    }
    if "activation" in block:
        found["activation"] = _activation(block["activation"])
    return found


def _activation(activation: Any) -> str:
    # Chemprop's command keeps a module or a member of its enumeration, its library a name.
    if isinstance(activation, torch.nn.Module):
        activation = type(activation).__name__
    return str(activation).rpartition(".")[2].lower()


def use_foundation(message_passing: Module, config: ModelConfig) -> None:
    """Start a message passing block from the foundation that a configuration names, if any.

    Raises
    ------
    ChempropError
        If the file is missing, damaged or of another architecture, or there is none to freeze.
    """
    if config.from_foundation is not None:
        load_foundation(message_passing, config.from_foundation)
    if config.freeze_encoder:
        if config.from_foundation is None:
            raise ChempropError(
                "model.freeze_encoder: expected model.from_foundation with it; found none, and "
                "random weights are not worth keeping"
            )
        message_passing.requires_grad_(False)


def load_foundation(message_passing: Module, path: str | Path) -> None:
    """Copy the weights of a pretrained encoder into a message passing block.

    Parameters
    ----------
    message_passing : torch.nn.Module
        Block of the same architecture; changed in place.
    path : str or Path
        A Chemprop model or checkpoint, or a file with ``hyper_parameters`` and ``state_dict`` of
        the block alone, as CheMeleon has it.

    Raises
    ------
    ChempropError
        If the file is missing or damaged, or a parameter is missing or of another shape.
    """
    state = read_torch_file(path, "model.from_foundation").get("state_dict")
    if not isinstance(state, Mapping):
        raise ChempropError(
            f"model.from_foundation: expected a Chemprop model or encoder; {path} has no state_dict"
        )
    inner = {k.removeprefix(_PREFIX): v for k, v in state.items() if k.startswith(_PREFIX)}
    found: Mapping[str, Tensor] = inner or state
    wanted = message_passing.state_dict()
    for name, tensor in wanted.items():
        if name not in found or found[name].shape != tensor.shape:
            shape = tuple(found[name].shape) if name in found else "none"
            advice = "Set model.message_passing as the foundation has it."
            if name == _FIRST and name in found and found[name].shape[1] != tensor.shape[1]:
                advice = OTHER_FEATURES
            raise ChempropError(
                f"model.from_foundation: expected parameter {name!r} of shape "
                f"{tuple(tensor.shape)}; found {shape} in {path}. {advice}"
            )
    # What the file holds beyond the block, such as the scaling of extra features, is not of it.
    message_passing.load_state_dict({name: found[name] for name in wanted})


def read_torch_file(path: str | Path, parameter: str) -> dict[str, Any]:
    """Return the dict that a torch file holds, on the CPU.

    Raises
    ------
    ChempropError
        If the file is missing, cut off, holds what could run code, or does not hold a dict.
    """
    path = Path(path)
    if not path.is_file():
        raise ChempropError(f"{parameter}: expected a model file; found no file {path}")
    try:
        content = load_torch_file(path)
    except DamagedFileError as error:
        raise ChempropError(f"{parameter}: {error}") from None
    except UnsafeFileError as error:
        raise ChempropError(f"{parameter}: {error}, in {path}") from None
    except Exception as error:  # torch raises half a dozen kinds for a damaged file
        raise ChempropError(
            f"{parameter}: expected a model file; {path} is cut off, damaged or of another "
            f"program ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})"
        ) from error
    if not isinstance(content, dict):
        raise ChempropError(
            f"{parameter}: expected a model file; {path} holds a {type(content).__name__}"
        )
    return content
