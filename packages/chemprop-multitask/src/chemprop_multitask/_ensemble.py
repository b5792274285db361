"""Several models: one per group of tasks (`SeparateModels`), one per seed and fold (`Ensemble`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from molpool_common import FloatArray, Structure, listed

from chemprop_multitask._checkpoint import Limits, model_files
from chemprop_multitask._config import ChempropConfig, EnsembleConfig
from chemprop_multitask._data import MoleculeData
from chemprop_multitask._errors import ChempropError
from chemprop_multitask._losses import CLASSIFICATION_LOSSES, REGRESSION_LOSSES
from chemprop_multitask._model import ChempropModel
from chemprop_multitask._tasks import TaskGroup, TaskType, resolve_task_types
from chemprop_multitask._training import EpochRecord


def build_model(
    config: ChempropConfig,
    task_names: Sequence[str],
    task_types: Sequence[TaskType],
    group: TaskGroup | None = None,
    *,
    seed: int,
    n_descriptors: int = 0,
    n_graph_features: tuple[int, int] = (0, 0),
    descriptors: Mapping[str, Any] | None = None,
) -> ChempropModel:
    """Return an untrained model of all tasks or of a group.

    Parameters
    ----------
    config : ChempropConfig
        Of all tasks.
    task_names : sequence of str
        All tasks.
    task_types : sequence of {"regression", "classification"}
        Their kinds.
    group : TaskGroup, optional
        The tasks that the model is of; by default all.
    seed : int
        Seed of its weights.
    n_descriptors : int
        Number of descriptors that it takes beside molecules.
    n_graph_features : (int, int)
        Number of features of an atom and of a bond that it takes beyond Chemprop's own.
    descriptors : mapping, optional
        What the descriptors are; see `ChempropModel`.

    Raises
    ------
    ChempropError
        If architecture, loss, groups or foundation do not fit.
    """
    taken: dict[str, Any] = {
        "n_descriptors": n_descriptors,
        "n_graph_features": n_graph_features,
        "descriptors": descriptors,
    }
    if group is None:
        return ChempropModel.from_config(
            config, task_names=task_names, task_types=task_types, seed=seed, **taken
        )
    own = [task_types[t] for t in group.columns]
    return ChempropModel.from_config(
        _config_of(config, group.names(task_names), own),
        task_names=group.names(task_names),
        task_types=own,
        serves={task_names[t]: t for t in group.served},
        seed=seed,
        **taken,
    )


def _config_of(
    config: ChempropConfig, tasks: Sequence[str], kinds: Sequence[TaskType]
) -> ChempropConfig:
    """Return the configuration of a group's model: what is of other tasks is left out."""
    training = config.training
    changes: dict[str, Any] = {}
    if training.task_weights is not None:
        own = {name: w for name, w in training.task_weights.items() if name in tasks}
        changes["task_weights"] = own
    # In a run of both kinds a named loss is that of its own kind; a group may be of the other.
    known = {"regression": REGRESSION_LOSSES, "classification": CLASSIFICATION_LOSSES}
    if not any(training.loss in known[kind] for kind in kinds):
        changes["loss"] = "auto"
    update = {"groups": None, "group_assignment": None}
    return config.model_copy(update={**update, "training": training.model_copy(update=changes)})


class SeparateModels:
    """Models of groups of tasks; each task is predicted by the model that serves it.

    Groups may overlap: a task then helps to train several models and is predicted by one.

    Parameters
    ----------
    parts : sequence of ChempropModel
        Models whose `serves` together name the columns 0 to T - 1, each once.

    Raises
    ------
    ChempropError
        If a column is served by no model or by several.
    """

    def __init__(self, parts: Sequence[ChempropModel]) -> None:
        self.parts = list(parts)
        served = [(column, name) for part in parts for name, column in _served(part).items()]
        columns = sorted(column for column, _ in served)
        if not served or columns != list(range(len(served))):
            names = listed([name for _, name in sorted(served)])
            raise ChempropError(
                "parts: expected models that serve each task once, in columns from 0; found "
                f"{names or 'none'} in columns {columns}"
            )
        self.task_names: tuple[str, ...] = tuple(name for _, name in sorted(served))

    @property
    def structure(self) -> Structure:
        """What the models see of SMILES."""
        return self.parts[0].structure

    @property
    def limits(self) -> dict[str, Limits]:
        """Limits of the tasks' assays, each as the model that serves it has them."""
        return {
            t: own for part in self.parts for t, own in part.limits.items() if t in _served(part)
        }

    @property
    def task_types(self) -> tuple[TaskType, ...]:
        """Kind of each task."""
        kinds = {
            name: part.task_types[part.task_names.index(name)]
            for part in self.parts
            for name in _served(part)
        }
        return tuple(kinds[name] for name in self.task_names)

    def predict(
        self, molecules: MoleculeData | Sequence[str], *, batch_size: int | None = None
    ) -> FloatArray:
        """Predict every task of every molecule.

        Parameters
        ----------
        molecules : MoleculeData or sequence of str
            N molecules or SMILES.
        batch_size : int, optional
            Molecules predicted at a time, by default as in training.

        Returns
        -------
        ndarray [N, T]
            Values in the unit of the training targets, or probabilities of class 1.
        """
        data = MoleculeData.seen_as(molecules, self.structure)
        predicted = np.empty((len(data), len(self.task_names)))
        for part in self.parts:
            own = part.predict(data, batch_size=batch_size)
            for name, column in _served(part).items():
                predicted[:, column] = own[:, part.task_names.index(name)]
        return predicted


def _served(part: ChempropModel) -> Mapping[str, int]:
    """Return the columns of the tasks that a model serves; all of its own if it does not say."""
    if part.serves is not None:
        return part.serves
    return {name: column for column, name in enumerate(part.task_names)}


GROUP = "-group-"
"""Stands in the file names of a member's models of some tasks each."""

Fold = tuple[MoleculeData, MoleculeData | None]


@dataclass(frozen=True)
class Member:
    """One member of an ensemble before it is trained.

    Parameters
    ----------
    number, seed_number, fold : int
        Which member, which of the seeds and which fold, each from 0.
    seed : int
        Seed of its weights, shuffling and dropout.
    """

    number: int
    seed_number: int
    fold: int
    seed: int


def plan_members(n_seeds: int, n_folds: int, seed: int) -> list[Member]:
    """Return every seed on every fold, the folds of the first seed first.

    Parameters
    ----------
    n_seeds, n_folds : int
        How many.
    seed : int
        Seed of the seeds: those of one seed number and fold are equal however many there are.
    """
    return [
        Member(s * n_folds + f, s, f, _member_seed(seed, s, f))
        for s in range(n_seeds)
        for f in range(n_folds)
    ]


def _member_seed(seed: int, seed_number: int, fold: int) -> int:
    # Spawn keys give independent streams; by seed + number, runs of seeds 0 and 1 would share
    # members.
    return int(np.random.SeedSequence(seed, spawn_key=(seed_number, fold)).generate_state(1)[0])


class Ensemble:
    """Models that share tasks and differ by seed, data or both.

    Make one with `fit` or `load`.

    Parameters
    ----------
    members : sequence of ChempropModel or SeparateModels
        One or more models of the same tasks.

    Raises
    ------
    ChempropError
        If there is no member, or tasks differ.
    """

    def __init__(self, members: Sequence[ChempropModel | SeparateModels]) -> None:
        if not members:
            raise ChempropError("ensemble: expected one or more members; found none")
        first = members[0]
        for i, member in enumerate(members):
            if (member.task_names, member.task_types) != (first.task_names, first.task_types):
                raise ChempropError(
                    f"ensemble: expected members of tasks {list(first.task_names)}; "
                    f"member {i} has {list(member.task_names)}"
                )
            if member.structure != first.structure:
                raise ChempropError(
                    f"ensemble: expected members that see the structure {first.structure!r}; "
                    f"member {i} sees {member.structure!r}"
                )
        self.members = list(members)

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the T tasks."""
        return self.members[0].task_names

    @property
    def structure(self) -> Structure:
        """What the members see of SMILES."""
        return self.members[0].structure

    @property
    def limits(self) -> dict[str, Limits]:
        """Limits of the tasks' assays, which are those of the run that trained all members."""
        return self.members[0].limits

    @classmethod
    def fit(
        cls,
        config: EnsembleConfig,
        folds: Sequence[Fold] | Callable[[int], Fold],
        *,
        task_names: Sequence[str],
        task_types: TaskType | Sequence[TaskType] = "regression",
        seed: int = 42,
        on_epoch: Callable[[int, EpochRecord], None] | None = None,
    ) -> Ensemble:
        """Train a member for each seed on each fold, one after the other.

        Parameters
        ----------
        config : EnsembleConfig
            What a member is, and how many seeds and folds there are.
        folds : sequence of (MoleculeData, MoleculeData or None), or a function of the fold
            Training and validation data of each fold.
        task_names : sequence of str
            Names of the tasks.
        task_types : {"regression", "classification"} or a sequence of them
            Kind of all tasks, or of each.
        seed : int
            Seed of the seeds: member m of an ensemble is the same however many there are.
        on_epoch : callable, optional
            Called with the member, from 0, and the record of each of its epochs.

        Raises
        ------
        ChempropError
            If the number of folds is not that of the configuration, or a member cannot be trained.
        """
        if not callable(folds) and len(folds) != config.n_folds:
            raise ChempropError(
                f"folds: expected {config.n_folds}, as n_folds has it; found {len(folds)}"
            )
        kinds = resolve_task_types(task_names, task_types)
        members: list[ChempropModel | SeparateModels] = []
        for plan in plan_members(config.n_seeds, config.n_folds, seed):
            train, val = folds(plan.fold) if callable(folds) else folds[plan.fold]
            member = ChempropModel.from_config(
                config, task_names=task_names, task_types=kinds, seed=plan.seed
            )
            member.fit(train, val, seed=plan.seed, on_epoch=_numbered(on_epoch, plan.number))
            parts = member.by_task()
            members.append(member if len(parts) == 1 else SeparateModels(parts))
        return cls(members)

    def predict(
        self, molecules: MoleculeData | Sequence[str], *, batch_size: int | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Predict every task of every molecule, with the members' spread.

        Parameters
        ----------
        molecules : MoleculeData or sequence of str
            N molecules or SMILES.
        batch_size : int, optional
            Molecules predicted at a time, by default as in training.

        Returns
        -------
        mean : ndarray [N, T]
            Mean of the members' predictions.
        sd : ndarray [N, T]
            Their sample standard deviation; NaN for a single member, which has none.
        """
        data = MoleculeData.seen_as(molecules, self.structure)
        each = np.stack([m.predict(data, batch_size=batch_size) for m in self.members])
        if len(each) == 1:
            return each[0], np.full(each[0].shape, np.nan)
        # Probabilities are averaged, not logits, as `chemprop predict` averages files.
        return each.mean(axis=0), each.std(axis=0, ddof=1)

    def save(self, folder: str | Path) -> None:
        """Write ``member-000.pt`` and so on; `chemprop predict` averages such a folder.

        A `SeparateModels` is written as ``member-000-group-000.pt`` and so on, a file per group.

        Raises
        ------
        ChempropError
            If the folder holds model files already, which would become members.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if present := _member_files(folder):
            raise ChempropError(
                f"ensemble: expected a folder without model files; found {present[0]}"
            )
        for i, member in enumerate(self.members):
            if isinstance(member, ChempropModel):
                member.save(folder / f"member-{i:03d}.pt")
                continue
            for g, part in enumerate(member.parts):
                part.save(folder / f"member-{i:03d}{GROUP}{g:03d}.pt")

    @classmethod
    def load(cls, path: str | Path) -> Ensemble:
        """Read what `save` wrote, or whatever model there is, only from a trusted source.

        Parameters
        ----------
        path : str or Path
            A folder that `save` wrote, a run folder, or a model file; a single model makes an
            ensemble of one.

        Raises
        ------
        ChempropError
            If there is no model file, or one that cannot be read.
        """
        # groupby needs adjacent files of one member, which their sorted names are.
        of_member = groupby(model_files(path), key=lambda file: file.stem.partition(GROUP)[0])
        return cls([_together([ChempropModel.load(f) for f in files]) for _, files in of_member])


def _together(models: Sequence[ChempropModel]) -> ChempropModel | SeparateModels:
    return models[0] if len(models) == 1 else SeparateModels(models)


def _member_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("member-*.pt"))


def _numbered(
    report: Callable[[int, EpochRecord], None] | None, member: int
) -> Callable[[EpochRecord], None] | None:
    if report is None:
        return None
    return lambda record: report(member, record)
