"""What a run trains: a job for each ensemble member and group of tasks, planned in one place.

A member is trained on its fold with its seed; with a model for each group of tasks it has as many
jobs as there are groups, whose models together predict all tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from chemprop_multitask import (
    ChempropModel,
    GraphStore,
    Member,
    MoleculeData,
    RowWeights,
    SeparateModels,
    TaskGroup,
    build_model,
    plan_members,
    separate_groups,
)
from molpool_common import cache_folder
from rich.console import Console
from sampling_core import JointSamplingConfig, Sampling, sampling_from_config

from molpool_pipelines.fitting._config import TrainChempropConfig
from molpool_pipelines.fitting._inputs import Inputs, find_descriptors
from molpool_pipelines.fitting._loop import SamplingLog
from molpool_pipelines.runs import CHECKPOINTS, LAST_CHECKPOINT
from molpool_pipelines.tables import MoleculeTable, SplitTables, as_bounds


def with_graphs(console: Console, config: TrainChempropConfig, inputs: Inputs) -> Inputs:
    """Return the inputs with the graphs of all their molecules, and where descriptors come from.

    Parameters
    ----------
    console : Console
        Where the cache's share is printed.
    config : TrainChempropConfig
        ``data.cache_dir``.
    inputs : Inputs
        Molecules of the table and, where there are such, of the table to predict.
    """
    extra = find_descriptors(config)
    store = GraphStore(cache_folder(config.data.cache_dir))
    unseen = [] if inputs.unseen is None else inputs.unseen.modelled
    smiles = [*inputs.table.modelled, *unseen]
    # All molecules at once, before any job: members and groups share the graphs.
    store.graphs(smiles)
    console.print(
        f"Graphs: {store.hits} from the cache, {store.misses} featurised.", highlight=False
    )
    return replace(inputs, graphs=store, descriptors=extra)


@dataclass(frozen=True)
class TrainingJob:
    """A model before training, with what it trains on.

    Parameters
    ----------
    member : Member or None
        Its place in the ensemble; None where there is none.
    group : TaskGroup or None
        The tasks that it is of; None for all.
    seed : int
        Seed of weights, shuffling and dropout.
    tables : SplitTables
        Rows of its fold; of a group's model those with a label of its tasks.
    train, val : MoleculeData
        The same, featurised; members of one fold and group share them.
    sampling : Sampling
        How training rows are drawn.
    log : SamplingLog or None
        What is drawn or weighted, where rows are not all alike.
    model : ChempropModel
        Untrained.
    """

    member: Member | None
    group: TaskGroup | None
    seed: int
    tables: SplitTables
    train: MoleculeData
    val: MoleculeData
    sampling: Sampling
    log: SamplingLog | None
    model: ChempropModel

    @property
    def fold(self) -> int:
        """Number of its fold, from 0."""
        return self.member.fold if self.member else 0

    @property
    def name(self) -> str | None:
        """Name of its files, as the package numbers them; None for a single model."""
        if self.member is None and self.group is None:
            return None
        member = f"member-{self.member.number if self.member else 0:03d}"
        return member if self.group is None else f"{member}-group-{self.group.number:03d}"

    def checkpoints(self, run: Path) -> Path:
        """Return the folder of its checkpoints in a run folder."""
        return run / CHECKPOINTS / (self.name or "")

    def last_checkpoint(self, run: Path) -> Path | None:
        """Return what to go on from; a model stopped in its first steps has nothing."""
        last = self.checkpoints(run) / LAST_CHECKPOINT
        return last if last.is_file() else None


def build_jobs(config: TrainChempropConfig, inputs: Inputs) -> list[TrainingJob]:
    """Build every model and sampler, so that nothing is written where one cannot be built.

    Parameters
    ----------
    config : TrainChempropConfig
        The run, its groups as lists.
    inputs : Inputs
        Checked tables.

    Raises
    ------
    SamplingError, ChempropError
        If sampling, architecture, loss, groups or foundation do not fit.
    """
    # A single model has no member, and so no suffix in its file names and no column in its log:
    # runs before ensembles looked like that and are resumed.
    members: list[Member | None] = [None]
    if config.ensemble.n_members > 1:
        ensemble = config.ensemble
        members = [*plan_members(ensemble.n_seeds, ensemble.n_folds, config.seed)]
    groups: list[TaskGroup | None] = [*separate_groups(config, inputs.table.task_names)]
    jobs: list[TrainingJob] = []
    for member in members:
        for group in groups or [None]:
            fold = member.fold if member else 0
            # Members of one fold differ by seed alone; sharing their molecules keeps memory from
            # growing with the number of seeds.
            twin = next((t for t in jobs if (t.fold, t.group) == (fold, group)), None)
            jobs.append(_build(config, inputs, member, group, twin))
    return jobs


def check_checkpoints(jobs: list[TrainingJob], run: Path) -> None:
    """Refuse checkpoints that a resumed run could not go on from, before anything is written.

    Raises
    ------
    ChempropError
        If one is damaged, or of another model or featuriser.
    """
    for job in jobs:
        if (last := job.last_checkpoint(run)) is not None:
            job.model.check_checkpoint(last)


def _build(
    config: TrainChempropConfig,
    inputs: Inputs,
    member: Member | None,
    group: TaskGroup | None,
    twin: TrainingJob | None,
) -> TrainingJob:
    """Return a job, with the molecules of one of the same fold and group, if there is one."""
    tables, bounded = inputs.folds[member.fold if member else 0], inputs.limits
    if group is not None:
        tables = tables_of(tables, group)
        bounded = None if bounded is None else bounded.of_tasks(group.columns)
    seed = member.seed if member else config.seed
    draws = _own_draws(config.joint_sampling, member)
    sampling = sampling_from_config(draws, tables.train.targets, tables.train.quality)
    extra, one = inputs.descriptors, data_of(tables.train.take(np.arange(1)), inputs)
    model = build_model(
        config,
        inputs.table.task_names,
        inputs.task_types,
        group,
        seed=seed,
        n_descriptors=one.n_descriptors,
        n_graph_features=one.n_graph_features,
        descriptors=None if extra is None else extra.signature,
    )
    model.structure = config.data.structure
    model.limits = {} if bounded is None else bounded.by_name(tables.train.task_names)
    log = _sampling_log(sampling, tables.train)
    # Row weights are part of the data, and members have their own draws of a curriculum.
    if twin is not None and sampling.weights is None:
        return replace(twin, member=member, seed=seed, sampling=sampling, log=log, model=model)
    learnt = [tables.train, tables.val]
    if bounded is not None:
        learnt = [as_bounds(table, model.task_types, bounded) for table in learnt]
    train = data_of(learnt[0], inputs, weights=sampling.weights)
    val = data_of(learnt[1], inputs)
    return TrainingJob(member, group, seed, tables, train, val, sampling, log, model)


def data_of(
    table: MoleculeTable, inputs: Inputs, *, weights: RowWeights | None = None
) -> MoleculeData:
    """Return a table's molecules as networks take them, with the run's extra features."""
    features = {} if inputs.descriptors is None else inputs.descriptors.of(table)
    return MoleculeData.from_table(table, weights=weights, cache=inputs.graphs, **features)


def _sampling_log(sampling: Sampling, train: MoleculeTable) -> SamplingLog | None:
    if sampling.sampler is None and sampling.weights is None:
        return None
    return SamplingLog(
        sampling.sampler,
        train.targets,
        train.task_names,
        state=sampling.state,
        quality=train.quality,
        weights=sampling.weights,
    )


def _own_draws(config: JointSamplingConfig, member: Member | None) -> JointSamplingConfig:
    """Return the sampling of a member: members that drew the same rows would be too much alike."""
    if member is None or config.seed is None:
        return config
    # Hashing both keeps streams of neighbouring seeds independent, which a sum would not: 1 + 2 is
    # 2 + 1.
    mixed = np.random.SeedSequence([config.seed, member.seed]).generate_state(1)[0]
    return config.model_copy(update={"seed": int(mixed)})


@dataclass(frozen=True)
class EnsembleMember:
    """What predicts all tasks: a model, or the models of one member's groups.

    Parameters
    ----------
    fold : int
        The fold that it is of, from 0.
    model : ChempropModel or SeparateModels
        Of all tasks.
    """

    fold: int
    model: ChempropModel | SeparateModels


def ensemble_members(jobs: Sequence[TrainingJob]) -> list[EnsembleMember]:
    """Return what predicts all tasks, one for each member, in their order."""
    # Jobs are ordered by member and then group, and the files of `models/` follow this order.
    of_member: dict[int, list[TrainingJob]] = {}
    for job in jobs:
        number = job.member.number if job.member else 0
        of_member.setdefault(number, []).append(job)
    return [EnsembleMember(parts[0].fold, _together(parts)) for parts in of_member.values()]


def _together(jobs: Sequence[TrainingJob]) -> ChempropModel | SeparateModels:
    """Return what the models of one member's groups, or of its tasks' best epochs, make."""
    models = [model for job in jobs for model in job.model.by_task()]
    alone = len(models) == 1 and jobs[0].group is None
    return models[0] if alone else SeparateModels(models)


def tables_of(tables: SplitTables, group: TaskGroup) -> SplitTables:
    """Return the columns of a group's tasks and the training and validation rows that have any."""
    return replace(
        tables,
        train=tables.train.of_tasks(group.columns),
        val=tables.val.of_tasks(group.columns),
    )
