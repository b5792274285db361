"""The models that a run can name beside one another, and how they are made.

All but Chemprop's networks, which see the graph, are on features. Adding one is a function here and
its name in `MemberName`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, get_args

import numpy as np
from molpool_common import (
    Float32Array,
    FloatArray,
    InputError,
    IntArray,
    SignArray,
    TaskType,
)

if TYPE_CHECKING:
    from molecule_features import Block
    from multitask_models import MultitaskModel, RowSampler

    from molpool_pipelines.models._graph_networks import GraphNetworks

MemberName = Literal[
    "mlp",
    "gp",
    "lightgbm",
    "forest",
    "extra_trees",
    "neighbours",
    "mean",
    "chemprop",
    "xgboost",
    "catboost",
    "tabicl",
]
MEMBERS: tuple[MemberName, ...] = get_args(MemberName)

_OPTIONAL: tuple[MemberName, ...] = ("xgboost", "catboost", "tabicl")
"""Whose packages, or weights, may be missing."""

Member: TypeAlias = "MultitaskModel | GraphNetworks"
"""What `build_member` gives."""

WORDS: Mapping[MemberName, str] = {
    "mlp": "multi-task network",
    "gp": "multi-task Gaussian process",
    "lightgbm": "LightGBM",
    "forest": "random forest",
    "extra_trees": "extra trees",
    "neighbours": "nearest neighbours",
    "mean": "mean of the task",
    "chemprop": "Chemprop",
    "xgboost": "XGBoost",
    "catboost": "CatBoost",
    "tabicl": "TabICL",
}
"""What pages call them."""


@dataclass(frozen=True)
class MemberSettings:
    """What a model is told beside its rows.

    Parameters
    ----------
    blocks : tuple of Block
        Of the features.
    task_types : tuple of {"regression", "classification"}, length T
        Of the tasks.
    seed : int
        Of weights, batches and trees.
    limits : None, "auto" or array_like [T, 2]
        Floors and ceilings of the assays, as models take them.
    options : mapping of str to value
        Parameters of the model that are not its defaults.
    task_names : tuple of str, length T
        Of the tasks; models on features do without.
    """

    blocks: tuple[Block, ...]
    task_types: tuple[TaskType, ...]
    seed: int = 0
    limits: Literal["auto"] | FloatArray | None = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)
    task_names: tuple[str, ...] = ()

    def common(self) -> dict[str, Any]:
        """Return the parameters that every model takes."""
        return {
            "task_kinds": list(self.task_types),
            "limits": self.limits,
            **self.options,
        }


def build_member(name: MemberName, settings: MemberSettings) -> Member:
    """Return a model that is not fitted."""
    if name == "chemprop":
        return _networks(settings)
    class_name, options = _BUILD[name]
    parameters = settings.common() | options(settings)
    model: MultitaskModel = _model_class(class_name)(**parameters)
    return model


def check_members(
    names: Sequence[MemberName],
    task_types: Sequence[TaskType],
    options: Callable[[MemberName], Mapping[str, Any]],
) -> None:
    """Refuse models that this machine lacks the packages or weights of.

    Parameters
    ----------
    names : sequence of str
        Of the models.
    task_types : sequence of {"regression", "classification"}
        Kinds that there will be tasks of; weights are asked for by kind.
    options : callable
        Gives the options of a model.

    Raises
    ------
    MissingPackageError, ModelError
        With what installs the package, or the weights that are not there.
    """
    for name in names:
        if name in _OPTIONAL:
            model: Any = build_member(name, MemberSettings((), (), options=options(name)))
            model.check(task_types)


def _networks(settings: MemberSettings) -> GraphNetworks:
    # Lightning and chemprop take seconds to import.
    from molpool_pipelines.models._graph_networks import GraphNetworks

    return GraphNetworks(
        task_names=settings.task_names,
        task_types=settings.task_types,
        limits=settings.limits,
        seed=settings.seed,
        **settings.options,
    )


def load_member(name: MemberName, path: Path) -> Member:
    """Read a fitted model of a kind."""
    if name == "chemprop":
        from molpool_pipelines.models._graph_networks import GraphNetworks

        return GraphNetworks.load(path)
    model: MultitaskModel = _model_class(_BUILD[name][0]).load(path)
    return model


def _model_class(name: str) -> Any:
    # Looked up by name: each kind imports its own framework, which takes seconds.
    import multitask_models

    return getattr(multitask_models, name)


@dataclass(frozen=True)
class Molecules:
    """Molecules as models take them.

    Parameters
    ----------
    smiles : sequence of str
        N of them.
    X : ndarray of float32 [N, F]
        Their features.
    """

    smiles: Sequence[str]
    X: Float32Array

    def take(self, rows: IntArray) -> Molecules:
        """Return the molecules at these positions."""
        if np.array_equal(rows, np.arange(len(self.smiles))):
            return self  # of all a copy would double the largest array of a run
        return Molecules([self.smiles[row] for row in rows], self.X[rows])

    def beside(self, columns: Sequence[Float32Array]) -> Molecules:
        """Return the molecules with further features [N, C] after their own."""
        return Molecules(self.smiles, np.hstack([self.X, *columns])) if columns else self


def fit_member(
    model: Member,
    molecules: Molecules,
    y: FloatArray,
    *,
    censoring: SignArray | None,
    sample_weight: FloatArray | None = None,
    sampler: RowSampler | None = None,
) -> Member:
    """Fit a model to molecules with labels [N, T], and return it.

    Parameters
    ----------
    model : MultitaskModel or GraphNetworks
        Not fitted.
    molecules : Molecules
        N of them.
    y : ndarray [N, T]
        Labels; NaN where there is none.
    censoring : ndarray of int8 [N, T] or None
        -1 where a label is an upper bound, +1 where it is a lower one.
    sample_weight : ndarray [N] or None
        Of the rows, for models on features.
    sampler : RowSampler or None
        Draws rows, for the network on features.
    """
    from multitask_models import MissingLabelWarning, MultitaskModel

    if isinstance(model, MultitaskModel):
        with warnings.catch_warnings():
            # By number, of a fold: runs count the labels that nothing predicts, and say so.
            warnings.simplefilter("ignore", MissingLabelWarning)
            return model.fit(
                molecules.X, y, censoring=censoring, sample_weight=sample_weight, sampler=sampler
            )
    networks = cast("GraphNetworks", model)
    return networks.fit(molecules.smiles, y, features=molecules.X, censoring=censoring)


def predict_member(
    model: Member, molecules: Molecules, *, with_sd: bool = True, latent: bool = False
) -> tuple[FloatArray, FloatArray]:
    """Return predictions and their standard deviations [N, T], NaN where the model has none.

    Parameters
    ----------
    model : MultitaskModel or GraphNetworks
        Fitted.
    molecules : Molecules
        N of them.
    with_sd : bool
        Whether standard deviations are asked for.
    latent : bool
        Whether values may lie beyond the limits of the assay.
    """
    from multitask_models import ModelError, MultitaskModel

    if not isinstance(model, MultitaskModel):
        return cast("GraphNetworks", model).predict(molecules.smiles, molecules.X, latent=latent)
    if with_sd:
        try:
            mean, sd = model.predict(molecules.X, return_std=True, latent=latent)
            return mean, sd
        except ModelError:
            pass  # a model that has none
    mean = model.predict(molecules.X, latent=latent)
    return mean, np.full(mean.shape, np.nan)


def surrogate_block(name: str, start: int, width: int) -> Block:
    """Return the columns that hold what a model of related assays predicts."""
    from molecule_features import Block

    return Block(f"related {name}", start, start + width, "descriptor")


def asks_sd(name: MemberName, names: Sequence[MemberName]) -> bool:
    """Return whether a model of a run is asked for standard deviations.

    Those of a Gaussian process cost many times its means, and are not asked for beside a model that
    says how unsure it is for nothing.
    """
    return name != "gp" or not set(names) & {"mlp", "forest", "extra_trees"}


def _blocks(settings: MemberSettings) -> dict[str, Any]:
    widths = [block.width for block in settings.blocks]
    return {"blocks": widths, "random_state": settings.seed}


def _seed(settings: MemberSettings) -> dict[str, Any]:
    return {"random_state": settings.seed}


def _counts(settings: MemberSettings) -> dict[str, Any]:
    """Return the columns of the first fingerprint, by which molecules are similar.

    Raises
    ------
    InputError
        If no featuriser gives counts or bits.
    """
    block = next((b for b in settings.blocks if b.kind in ("count", "bit")), None)
    if block is None:
        raise InputError(
            "features",
            expected="a fingerprint, by which neighbours are found",
            found="+".join(block.name for block in settings.blocks),
            hint="Add morgan_count.",
        )
    return {"columns": (block.start, block.stop)}


def _extra(settings: MemberSettings) -> dict[str, Any]:
    return {"kind": "extra", **_seed(settings)}


def _random(settings: MemberSettings) -> dict[str, Any]:
    return {"kind": "random", **_seed(settings)}


def _xgboost(settings: MemberSettings) -> dict[str, Any]:
    return {"library": "xgboost", **_seed(settings)}


def _catboost(settings: MemberSettings) -> dict[str, Any]:
    return {"library": "catboost", **_seed(settings)}


def _nothing(_: MemberSettings) -> dict[str, Any]:
    return {}


_BUILD: dict[str, tuple[str, Callable[[MemberSettings], dict[str, Any]]]] = {
    "mlp": ("MultitaskMLP", _blocks),
    "gp": ("MultitaskGP", _blocks),
    "lightgbm": ("MultitaskLightGBM", _seed),
    "forest": ("MultitaskForest", _random),
    "extra_trees": ("MultitaskForest", _extra),
    "neighbours": ("TanimotoNeighbours", _counts),
    "mean": ("TaskMean", _nothing),
    "xgboost": ("MultitaskBoosting", _xgboost),
    "catboost": ("MultitaskBoosting", _catboost),
    "tabicl": ("MultitaskTabICL", _seed),
}
