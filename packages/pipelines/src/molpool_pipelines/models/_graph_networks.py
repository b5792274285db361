"""Chemprop networks as a model beside those on features: a network for each group of tasks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np
from chemprop_multitask import (
    ChempropConfig,
    ChempropModel,
    Ensemble,
    EpochRecord,
    GraphStore,
    MoleculeData,
    SeparateModels,
    TaskGroup,
    build_model,
    plan_members,
    training_seconds,
)
from molpool_common import (
    BoolArray,
    Float32Array,
    FloatArray,
    InputError,
    IntArray,
    SignArray,
    TaskType,
    cache_folder,
    tell,
    write_text,
)
from multitask_models import AssayLimits, Labels

DESCRIBED = "networks.json"
"""What stands beside the networks in their folder."""


class GraphNetworks:
    """Chemprop networks of groups of tasks, learnt from sparse labels and assay limits.

    Tasks in no group are predicted NaN: other models of a blend predict them.

    Parameters
    ----------
    config : ChempropConfig
        Architecture and training of each network.
    task_names, task_types : sequence of str, length T
        The tasks and what they are.
    groups : sequence of sequences of str
        The tasks of each network; a task stands in one at most.
    n_networks : int
        Networks for each group, which differ by seed and whose mean predicts.
    val_share : float
        Share of the molecules by which the best epochs are chosen, as ``training.best_epoch`` has
        it; 0: all train, to the last epoch.
    with_features : bool
        Whether the head takes the molecules' features beside the learned fingerprint.
    limits : None, "auto" or array_like [T, 2]
        Floors and ceilings of the assays, at which labels are learnt as bounds; "auto" finds them.
    seed : int
        Of weights and order of the rows.
    cache : str
        Folder of cached graphs, ``auto`` for the user's.
    """

    def __init__(
        self,
        config: ChempropConfig,
        task_names: Sequence[str],
        task_types: Sequence[TaskType],
        groups: Sequence[Sequence[str]],
        *,
        n_networks: int = 1,
        val_share: float = 0.0,
        with_features: bool = False,
        limits: Literal["auto"] | FloatArray | None = "auto",
        seed: int = 0,
        cache: str = "auto",
    ) -> None:
        self.config = config
        self.task_names = tuple(task_names)
        self.task_types = tuple(task_types)
        self.groups = [tuple(group) for group in groups]
        self.n_networks = n_networks
        self.val_share = val_share
        self.with_features = with_features
        self._limits = limits
        self._seed = seed
        self._store = GraphStore(cache_folder(cache))

    def fit(
        self,
        smiles: Sequence[str],
        y: FloatArray,
        *,
        features: Float32Array | None = None,
        censoring: SignArray | None = None,
    ) -> Self:
        """Fit to molecules and labels.

        Parameters
        ----------
        smiles : sequence of str
            N molecules.
        y : ndarray [N, T]
            Labels; NaN where there is none.
        features : ndarray of float32 [N, F], optional
            Features of the molecules.
        censoring : ndarray of int8 [N, T], optional
            -1 where a label is an upper bound, +1 where it is a lower one.

        Raises
        ------
        ChempropError
            If a network cannot be built or its loss is not finite.
        """
        labels = self._learnt(y, censoring)
        parts: dict[int, list[ChempropModel]] = {}
        for number, group, seed in self._plan():
            rows, val_rows = self._rows(group, labels, smiles)
            data = self._data(group, rows, labels, smiles, features)
            val = self._data(group, val_rows, labels, smiles, features) if len(val_rows) else None
            model = self._network(group, seed, data)
            stage = f"Network of group {group.number} ({len(self.groups)} in all)"
            model.fit(data, val, on_epoch=_telling(stage, model.config), seed=seed)
            tell(stage, 1, 1)  # it may have stopped early
            parts.setdefault(number, []).extend(model.by_task())
        self.ensemble_ = _ensemble(list(parts.values()))
        return self

    def _learnt(self, y: FloatArray, censoring: SignArray | None) -> Labels:
        """Return labels as they are learnt; set what is known of tasks before any network."""
        labels = Labels.checked(y, censoring, None, list(self.task_types))
        self.limits_ = AssayLimits.of(self._limits, labels)
        labels = self.limits_.censor(labels)
        self.single_values_ = labels.single_values()
        grouped = {name for group in self.groups for name in group}
        varying = np.isnan(self.single_values_) & (labels.n_labels > 0)
        self.columns_ = [
            t for t, name in enumerate(self.task_names) if name in grouped and varying[t]
        ]
        return labels

    def _plan(self) -> Iterator[tuple[int, TaskGroup, int]]:
        """Yield network, group and seed: the groups of the first seed first."""
        for plan in plan_members(self.n_networks, 1, self._seed):
            for g, names in enumerate(self.groups):
                columns = tuple(t for t in self.columns_ if self.task_names[t] in names)
                if columns:
                    yield plan.number, TaskGroup(g, columns, columns), plan.seed

    def _rows(
        self, group: TaskGroup, labels: Labels, smiles: Sequence[str]
    ) -> tuple[IntArray, IntArray]:
        """Return the rows with a label of a group that train its network, and that validate."""
        present = labels.present[:, np.array(group.columns)]
        rows = np.flatnonzero(present.any(axis=1))
        texts = [smiles[row] for row in rows.tolist()]
        distinct = sorted(set(texts))
        # Of the run's seed alone: networks of one group differ by their weights, not their rows.
        drawn = np.random.default_rng(self._seed).permutation(len(distinct)).tolist()
        held_out = {distinct[i] for i in drawn[: round(self.val_share * len(distinct))]}
        of_val: BoolArray = np.array([text in held_out for text in texts], dtype=np.bool_)
        if not present[rows[~of_val]].any(axis=0).all():
            of_val[:] = False  # a task would lose all it has
        return rows[~of_val], rows[of_val]

    def _data(
        self,
        group: TaskGroup,
        rows: IntArray,
        labels: Labels,
        smiles: Sequence[str],
        features: Float32Array | None,
    ) -> MoleculeData:
        """Return rows with their labels of a group."""
        cells = np.ix_(rows, np.array(group.columns))
        return MoleculeData(
            [smiles[row] for row in rows.tolist()],
            labels.values[cells],
            task_names=group.names(self.task_names),
            censoring=labels.signs[cells],
            descriptors=features[rows] if self.with_features and features is not None else None,
            cache=self._store,
        )

    def _network(self, group: TaskGroup, seed: int, data: MoleculeData) -> ChempropModel:
        """Return the untrained network of a group."""
        model = build_model(
            self.config,
            self.task_names,
            self.task_types,
            group,
            seed=seed,
            n_descriptors=data.n_descriptors,
        )
        # Columns count among the tasks that any network predicts, as `SeparateModels` has them.
        model.serves = {self.task_names[t]: self.columns_.index(t) for t in group.columns}
        return model

    def expected_seconds(
        self,
        smiles: Sequence[str],
        y: FloatArray,
        *,
        features: Float32Array | None = None,
        censoring: SignArray | None = None,
    ) -> float:
        """Return the seconds that `fit` would take, told from a few steps of each network."""
        labels = self._learnt(y, censoring)
        seconds = 0.0
        for _, group, seed in self._plan():
            rows, _ = self._rows(group, labels, smiles)
            data = self._data(group, rows, labels, smiles, features)
            seconds += training_seconds(self._network(group, seed, data), data)
        return seconds

    def predict(
        self,
        smiles: Sequence[str],
        features: Float32Array | None = None,
        *,
        latent: bool = False,
    ) -> tuple[FloatArray, FloatArray]:
        """Predict molecules.

        Parameters
        ----------
        smiles : sequence of str
            N molecules.
        features : ndarray of float32 [N, F], optional
            Their features, where the networks take them.
        latent : bool
            Predict the value behind the assay, which may lie beyond its limits.

        Returns
        -------
        mean, sd : ndarray [N, T]
            What the assays would report, and the spread over networks, NaN where there is but one.
        """
        shape = (len(smiles), len(self.task_names))
        mean, sd = np.full(shape, np.nan), np.full(shape, np.nan)
        grouped = [name in {n for g in self.groups for n in g} for name in self.task_names]
        mean[:, grouped] = self.single_values_[grouped]
        if self.ensemble_ is not None:
            taken = features if self.with_features else None
            data = MoleculeData(smiles, descriptors=taken, cache=self._store)
            mean[:, self.columns_], sd[:, self.columns_] = self.ensemble_.predict(data)
        return mean if latent else self.limits_.report(mean), sd

    def save(self, path: Path) -> None:
        """Write the networks into a folder, as files that ``chemprop predict`` reads."""
        path.mkdir(parents=True)
        if self.ensemble_ is not None:
            self.ensemble_.save(path)
        limits = {name: getattr(self.limits_, name).tolist() for name in _LIMITS}
        described = {
            "task_names": self.task_names,
            "task_types": self.task_types,
            "groups": self.groups,
            "with_features": self.with_features,
            "columns": self.columns_,
            "single_values": self.single_values_.tolist(),
            "limits": limits,
        }
        write_text(path / DESCRIBED, json.dumps(described, indent=1))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote, only from a trusted source.

        Raises
        ------
        InputError, ChempropError
            If a file is missing or damaged.
        """
        try:
            described = json.loads((path / DESCRIBED).read_text(encoding="utf-8"))
            limits = {name: np.array(described["limits"][name]) for name in _LIMITS}
            columns, single = described["columns"], np.array(described["single_values"])
            named = [described[key] for key in ("task_names", "task_types", "groups")]
            with_features = bool(described["with_features"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                "model_dir",
                expected="Chemprop networks",
                found=f"{type(error).__name__}: {error}",
                where=str(path),
            ) from None
        ensemble = Ensemble.load(path) if columns else None
        config = _config_of(ensemble)
        networks = cls(config, *named, with_features=with_features)
        networks.limits_, networks.single_values_ = AssayLimits(**limits), single
        networks.columns_, networks.ensemble_ = columns, ensemble
        return networks


_LIMITS = ("floor", "ceiling", "at_floor", "at_ceiling")


def _ensemble(networks: list[list[ChempropModel]]) -> Ensemble | None:
    return Ensemble([SeparateModels(parts) for parts in networks]) if networks else None


def _config_of(ensemble: Ensemble | None) -> ChempropConfig:
    if ensemble is None:
        return ChempropConfig()
    first = ensemble.members[0]
    return (first.parts[0] if isinstance(first, SeparateModels) else first).config


def _telling(stage: str, config: ChempropConfig) -> Callable[[EpochRecord], None]:
    total = config.training.epochs
    return lambda record: tell(stage, record.epoch + 1, total, "epochs")
