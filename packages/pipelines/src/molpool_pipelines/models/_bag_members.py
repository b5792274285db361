"""Models of bags that a run can name beside one another, and their blend.

Adding one is its name in `_bag_names` and an entry of `_KERNELS`: a kernel between bags, or a
model on statistics of bags, which may be any of those on features of molecules.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, cast

import numpy as np
from mil_attn import (
    BagData,
    BagKernelModel,
    BagKernelName,
    HeadName,
    MILModule,
    StatisticName,
    bag_statistics,
    encode,
    predict,
)
from molecule_features import Block
from molpool_common import (
    Float32Array,
    FloatArray,
    InputError,
    TaskType,
    atomic_path,
    checked,
)

from molpool_pipelines.models._bag_names import BAG_MEMBERS, BagMemberName, bag_member_words
from molpool_pipelines.models._files import BAG_BLEND, read_blend
from molpool_pipelines.models._members import (
    Member,
    MemberName,
    MemberSettings,
    Molecules,
    build_member,
    fit_member,
    load_member,
    predict_member,
)
from molpool_pipelines.models._tabular import mix
from molpool_pipelines.runs import BAGS_FOLDER, MODEL

_KERNELS: Mapping[str, BagKernelName] = {
    "minmax_kernel": "statistics",
    "set_kernel": "set",
    "boltzmann_kernel": "boltzmann",
    "mi_graph": "mi_graph",
    "mmd_kernel": "mean_map",
    "mean_min_kernel": "mean_min",
    "hausdorff_kernel": "hausdorff",
}

_STATISTICS: tuple[StatisticName, ...] = ("mean", "min", "max", "sd", "count")

FORMAT = 1
"""Version of the folder."""


class BagMember(Protocol):
    """A fitted model of bags.

    One that stands alone, as attention and blends can, has `task_names`, `is_classifier` and
    `thresholds` too (`BagModel`).
    """

    def predict_with_sd(self, data: BagData) -> tuple[FloatArray, FloatArray]:
        """Return predictions and their standard deviations [N, T], NaN where it has none."""

    def save(self, path: Path) -> None:
        """Write it to a file."""


class BagModel(Protocol):
    """A fitted model of bags with decision thresholds [T]."""

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks."""

    @property
    def is_classifier(self) -> bool:
        """Whether the tasks are classes."""

    @property
    def thresholds(self) -> Any:
        """Probabilities from which on class 1 is called."""

    def predict_with_sd(self, data: BagData) -> tuple[FloatArray, FloatArray]:
        """Return predictions and their standard deviations [N, T], NaN where it has none."""


@dataclass(frozen=True)
class AttentionMember:
    """A network of attention over instances, as a member or alone."""

    module: MILModule

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks."""
        return tuple(self.module.task_names)

    @property
    def is_classifier(self) -> bool:
        """Whether the tasks are classes."""
        return self.module.is_classifier

    @property
    def thresholds(self) -> FloatArray:
        """Probabilities from which on class 1 is called."""
        return self.module.thresholds

    def predict_with_sd(self, data: BagData) -> tuple[FloatArray, FloatArray]:
        """Return predictions [N, T], and NaN."""
        mean = predict(self.module, data)
        return mean, np.full(mean.shape, np.nan)

    def encode(self, data: BagData) -> Float32Array:
        """Return the embeddings of bags [N, H]."""
        return encode(self.module, data)

    def save(self, path: Path) -> None:
        """Write the network to a file."""
        self.module.save(path)


@dataclass(frozen=True)
class StatisticsMember:
    """A model on features, of statistics of bags."""

    model: Member

    @classmethod
    def fit(
        cls, name: MemberName, train: BagData, seed: int, limits: FloatArray | None = None
    ) -> Self:
        """Fit a model on the statistics of labelled bags, of assays with limits [T, 2] or none."""
        X, _ = bag_statistics(train, _STATISTICS)
        assert train.labels is not None
        kinds: tuple[TaskType, ...] = (train.task_kind,) * len(train.task_names)
        blocks = (Block("statistics", 0, X.shape[1], "descriptor"),)
        model = build_member(name, MemberSettings(blocks, kinds, seed, limits))
        weights = None if train.weights is None else train.weights.mean(axis=1)
        molecules = Molecules([""] * len(train), X)
        return cls(
            fit_member(model, molecules, train.labels, censoring=None, sample_weight=weights)
        )

    def predict_with_sd(self, data: BagData) -> tuple[FloatArray, FloatArray]:
        """Return predictions and their standard deviations [N, T], NaN where it has none."""
        X, _ = bag_statistics(data, _STATISTICS)
        return predict_member(self.model, Molecules([""] * len(data), X))

    def encode(self, data: BagData) -> Float32Array | None:
        """Return the last hidden units [N, H] of a network, None of another model."""
        # torch takes seconds to import.
        from multitask_models import MultitaskMLP

        if not isinstance(self.model, MultitaskMLP):
            return None
        return self.model.encode(bag_statistics(data, _STATISTICS)[0])

    def save(self, path: Path) -> None:
        """Write the model to a file."""
        self.model.save(path)


def fit_bag_member(
    name: BagMemberName,
    train: BagData,
    *,
    head: HeadName = "ridge",
    seed: int = 0,
    limits: FloatArray | None = None,
) -> BagMember:
    """Fit a model of bags that is no network of attention.

    Parameters
    ----------
    name : str
        Which.
    train : BagData
        Labelled, not scaled.
    head : {"ridge", "svm"}
        What learns on a kernel.
    seed : int
        Of trees, weights, folds and draws.
    limits : ndarray [T, 2] or None
        Floors and ceilings of the assays, for models on statistics; a kernel learns labels there
        as values.

    Raises
    ------
    MILError, ModelError
        If a task has no label, or the kernel by energy has no energies.
    """
    if name in _KERNELS:
        return BagKernelModel(_KERNELS[name], head=head, seed=seed).fit(train)
    return StatisticsMember.fit(cast("MemberName", name), train, seed, limits)


def _load(name: BagMemberName, path: Path) -> BagMember:
    if name == "attention":
        return AttentionMember(MILModule.load(path))
    if name in _KERNELS:
        return BagKernelModel.load(path)
    return StatisticsMember(load_member(cast("MemberName", name), path))


@dataclass(frozen=True)
class BagBlend:
    """Models of the same bags, mixed by task.

    Parameters
    ----------
    names : tuple of str, length M
        Of the members.
    members : tuple of BagMember, length M
        Fitted.
    weights : ndarray [M, T]
        Of each member in each task; columns sum to 1.
    thresholds : tuple of float, length T
        From which on class 1 is called.
    task_names : tuple of str, length T
        The tasks.
    task_kind : {"regression", "classification"}
        What all of them are.
    feature_names_3d, feature_names_2d : tuple of str
        Features of instances and of bags.
    """

    names: tuple[BagMemberName, ...]
    members: tuple[BagMember, ...]
    weights: FloatArray
    thresholds: tuple[float, ...]
    task_names: tuple[str, ...]
    task_kind: TaskType
    feature_names_3d: tuple[str, ...]
    feature_names_2d: tuple[str, ...]

    @property
    def is_classifier(self) -> bool:
        """Whether the tasks are classes."""
        return self.task_kind == "classification"

    def predict_with_sd(self, data: BagData) -> tuple[FloatArray, FloatArray]:
        """Return predictions and their standard deviations, [N, T] each."""
        each = [member.predict_with_sd(data) for member in self.members]
        return mix(np.stack([m for m, _ in each]), np.stack([s for _, s in each]), self.weights)

    def encode(self, data: BagData) -> Float32Array:
        """Return the embeddings [N, H] of the members that are networks, side by side.

        Raises
        ------
        InputError
            If none is one.
        """
        members = (m for m in self.members if isinstance(m, AttentionMember | StatisticsMember))
        found = [part for member in members if (part := member.encode(data)) is not None]
        if not found:
            raise InputError(
                "model",
                expected="a network (attention, mlp), whose hidden units are the embedding",
                found=", ".join(self.names),
                hint="Kernels and trees have none: mil_attn.bag_statistics gives what trees read.",
            )
        return np.hstack(found)

    def save(self, run: Path) -> Path:
        """Write all members but attention, which the run keeps, and what they are."""
        folder = run / BAGS_FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        entries = []
        for name, member, weights in zip(self.names, self.members, self.weights, strict=True):
            file = MODEL if name == "attention" else f"{BAGS_FOLDER}/{name}.npz"
            if name != "attention":
                member.save(run / file)
            of_tasks = dict(zip(self.task_names, weights.tolist(), strict=True))
            entries.append({"name": name, "file": file, "weights": of_tasks})
        described: dict[str, Any] = {
            "format": FORMAT,
            "task_names": self.task_names,
            "task_kind": self.task_kind,
            "thresholds": self.thresholds,
            "feature_names_3d": self.feature_names_3d,
            "feature_names_2d": self.feature_names_2d,
            "members": entries,
        }
        path = folder / BAG_BLEND
        # Last: a folder without it holds no model.
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(described, indent=1), encoding="utf-8")
        return path

    @classmethod
    def load(cls, run: Path) -> Self:
        """Read what `save` wrote into a run folder.

        Raises
        ------
        InputError
            If it is damaged, or of a later version.
        """
        found = read_blend(
            checked(run / BAGS_FOLDER) / BAG_BLEND,
            run,
            what="a model of bags",
            latest=FORMAT,
            known=BAG_MEMBERS,
            needs=("thresholds", "task_kind", "feature_names_3d", "feature_names_2d"),
        )
        names = cast("tuple[BagMemberName, ...]", found.names)
        return cls(
            names,
            tuple(_load(*pair) for pair in zip(names, found.files, strict=True)),
            np.array(found.weights),
            tuple(found.described["thresholds"]),
            found.tasks,
            found.described["task_kind"],
            tuple(found.described["feature_names_3d"]),
            tuple(found.described["feature_names_2d"]),
        )


def shares(names: Sequence[BagMemberName], weights: FloatArray) -> str:
    """Return each member's mean share in words."""
    means = weights.mean(axis=1)
    each = zip(names, means, strict=True)
    return ", ".join(f"{bag_member_words(name)} {share:.0%}" for name, share in each)
