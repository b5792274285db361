"""Rows of a run on features, with what the models take of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from molpool_common import (
    InputError,
    IntArray,
    doing,
    listed,
    read_table,
    require_columns,
    smiles_column_of,
    text_column,
)
from rich.console import Console

from molpool_pipelines.fitting._budget import Budget
from molpool_pipelines.fitting._config import TrainTabularConfig
from molpool_pipelines.fitting._graph_groups import (
    Groups,
    check_served,
    groups_by_affinity,
    read_groups,
)
from molpool_pipelines.fitting._inputs import Inputs
from molpool_pipelines.fitting._related import RelatedTable, read_related, with_columns
from molpool_pipelines.fitting._related_use import Plan
from molpool_pipelines.models import MemberSettings, Molecules
from molpool_pipelines.tables import MoleculeTable, assay_limits, fold_rows, identify

if TYPE_CHECKING:
    from molecule_features import Features
    from multitask_models import AssayLimits

_ROLLING_FROM = 0.5
"""By time, origins are in this last share of the rows: models of fewer know too little to weigh
those that know all."""

_HORIZON = 0.25
"""Without test rows, how far ahead each origin predicts, as a share of the rows."""


@dataclass(frozen=True)
class TrainingRows:
    """Rows that are not tested, with their features and folds.

    Parameters
    ----------
    table : MoleculeTable [N]
        Training and validation rows.
    molecules : Molecules [N]
        The same as models take them, with their features.
    features : Features
        Of all molecules, for their blocks.
    folds : list of (ndarray, ndarray)
        Rows to train on and rows to predict.
    tested : Molecules [M]
        The test rows.
    farther : list of ndarray
        By time, further rows that each fold's models predict; else none.
    groups : list of tuple of str
        Tasks of each Chemprop network, where the run has such.
    related : list of RelatedTable
        Tables of other assays, with features.
    unlabelled : Molecules [U]
        Those that a distilled network learns too.
    notes : list of str
        What the user should know of them and of the features.
    limits : AssayLimits
        Floors and ceilings of the tasks.
    """

    table: MoleculeTable
    molecules: Molecules
    features: Features
    folds: list[tuple[IntArray, IntArray]]
    tested: Molecules
    farther: list[IntArray]
    groups: Groups
    related: list[RelatedTable]
    unlabelled: Molecules
    notes: list[str]
    limits: AssayLimits

    @classmethod
    def of(
        cls, console: Console, config: TrainTabularConfig, inputs: Inputs, budget: Budget
    ) -> TrainingRows:
        """Return the rows of checked tables."""
        tested = set(inputs.tables.test.groups)
        rest = inputs.untested
        folds = _folds(config, rest)
        groups = _groups(console, config, inputs, rest, folds)
        related, notes = read_related(config.related, config.read, config.data, tested)
        notes += [_shared(one, rest) for one in related]
        more, said = read_unlabelled(config, tested)
        parts = [rest.modelled, inputs.tables.test.modelled, more]
        parts += [one.table.modelled for one in related]
        every = [smiles for part in parts for smiles in part]
        names, left_out = _affordable(config, every, budget)
        from molecule_features import featurize

        features = featurize(every, names, cache=config.data.cache_dir)
        ends = np.cumsum([len(part) for part in parts])[:-1]
        each = np.split(features.values, ends)
        known, of_test, extra, *others = map(Molecules, parts, each)
        related = [one.with_features(m.X) for one, m in zip(related, others, strict=True)]
        notes = [
            *_constant(rest),
            *notes,
            *said,
            *left_out,
            *_seen(features, rest.task_names),
        ]
        farther = [np.empty(0, dtype=np.int64) for _ in folds]
        if config.data.split_type == "time":
            farther = farther_rows(folds, len(inputs.tables.test) or _HORIZON * len(rest))
        limits = inputs.limits
        assert limits is not None
        return cls(
            rest, known, features, folds, of_test, farther, groups, related, extra, notes, limits
        )

    def settings(
        self, config: TrainTabularConfig, kinds: Sequence[Any], plan: Plan
    ) -> MemberSettings:
        """Return what a model is told."""
        options = config.options(plan.name)
        if plan.name == "chemprop":
            options = {
                "config": config.chemprop.network,
                "groups": self.groups,
                "n_networks": config.chemprop.networks,
                "val_share": config.chemprop.val_share,
                "with_features": config.chemprop.with_features,
                "cache": config.data.cache_dir,
            }
        blocks, width = self.features.blocks, self.molecules.X.shape[1]
        for i in plan.surrogates:
            blocks = with_columns(blocks, self.related[i], width)
            width = blocks[-1].stop
        # Heads of related assays come after those of the tasks.
        auto = ["none" if "none" in config.limits else "auto"]
        heads = [self.related[i] for i in plan.heads]
        each = [self.limits, *(assay_limits(auto, one.table, one.kinds) for one in heads)]
        limits = np.concatenate([one.bounds for one in each])
        names = self.table.task_names
        return MemberSettings(blocks, tuple(kinds), config.seed, limits, options, names)


def _folds(config: TrainTabularConfig, rest: MoleculeTable) -> list[tuple[IntArray, IntArray]]:
    """Return `folds` of the split's kind; by time as many origins in the later part of the rows."""
    kind, n_folds = config.data.split_type, config.folds
    if kind == "time":
        blocks = round(n_folds / (1 - _ROLLING_FROM))
        n_folds = min(blocks, max(len(set(rest.times or ())), 3)) - 1
    found = fold_rows(rest, kind, n_folds, seed=config.seed, config=config.data)
    return found[-config.folds :]


def farther_rows(folds: Sequence[tuple[IntArray, IntArray]], horizon: float) -> list[IntArray]:
    """Return the rows that each origin predicts beyond its own, as far ahead as new ones will be.

    Rows just after an origin are easier than those later on: intervals calibrated on them alone
    would cover 78 % where 80 is said.

    Parameters
    ----------
    folds : sequence of (ndarray, ndarray)
        Rows to train on and the next ones, in the order of time.
    horizon : float
        Rows that new molecules reach ahead.
    """
    found = []
    for k, (_, own) in enumerate(folds):
        ahead: list[IntArray] = []
        reached = len(own)
        for _, block in folds[k + 1 :]:
            if reached + len(block) / 2 > horizon:
                break
            ahead.append(block)
            reached += len(block)
        found.append(np.concatenate([*ahead, np.empty(0, dtype=np.int64)]).astype(np.int64))
    return found


def _groups(
    console: Console,
    config: TrainTabularConfig,
    inputs: Inputs,
    table: MoleculeTable,
    folds: list[tuple[IntArray, IntArray]],
) -> Groups:
    """Return the tasks of each Chemprop network; none where the run has no such."""
    if "chemprop" not in config.model:
        return []
    groups = read_groups(config.chemprop.groups, table.task_names)
    check_served(groups, config.model, table.task_names)
    if groups is None:
        # On what trains the first fold: no row that weighs the networks has a say in their groups.
        train = table.take(folds[0][0])
        with doing("Measuring task affinity"):
            groups = groups_by_affinity(
                train, inputs.task_types, config.data.cache_dir, config.seed
            )
    shown = "; ".join(" + ".join(group) for group in groups)
    console.print(f"Chemprop networks: {shown}.", highlight=False, markup=False)
    return groups


def _shared(related: RelatedTable, table: MoleculeTable) -> str:
    """Return a sentence of how many molecules a related table shares with the rows of the run."""
    both = len(set(related.table.groups) & set(table.groups))
    return f"{related.name}: of its {len(related.table)} molecules {both} train here too."


def _constant(table: MoleculeTable) -> list[str]:
    """Return a sentence of tasks that every model predicts alike, as their labels are all equal."""
    known = [column[np.isfinite(column)] for column in table.targets.T]
    same = [t for t, labels in enumerate(known) if len(np.unique(labels)) == 1]
    if not same:
        return []
    named = [f"{table.task_names[t]} ({known[t][0]:g})" for t in same]
    return [f"All training labels are equal, and so is every prediction: {listed(named)}."]


def read_unlabelled(config: TrainTabularConfig, hidden: set[str]) -> tuple[list[str], list[str]]:
    """Return the molecules of `distill_path`, and what the user should know of them.

    Parameters
    ----------
    config : TrainTabularConfig
        Names the table, if there is one.
    hidden : set of str
        Keys of test molecules, which are left out: a network that has seen them would be scored
        too well.

    Raises
    ------
    InputError
        If the table is missing, or has no column of SMILES, or none that parses.
    """
    if config.distill_path is None:
        return [], []
    path = Path(config.distill_path)
    frame = read_table(path, config.read, key="distill_path")
    given = config.data.is_given("smiles_column")
    column = smiles_column_of(frame.columns, config.data.smiles_column, given=given)
    require_columns(frame, [column], key="data.smiles_column", where=path.name)
    smiles = text_column(frame, column, where=path.name).to_list()
    found = identify(smiles, how=config.data.standardize)
    blocks = found.blocks.tolist()
    seen = smiles if config.data.structure == "given" else found.structures
    kept = [s for s, block in zip(seen, blocks, strict=True) if block and block not in hidden]
    if not any(blocks):
        raise InputError(
            "distill_path", expected="SMILES", found="no row that parses", where=path.name
        )
    bad, tested = blocks.count(""), sum(block in hidden for block in blocks)
    words = [f"{bad} without a SMILES that parses"] if bad else []
    words += [f"{tested} of test molecules"] if tested else []
    return kept, [f"{path.name}: left out {' and '.join(words)}."] if words else []


def _affordable(
    config: TrainTabularConfig, smiles: Sequence[str], budget: Budget
) -> tuple[str, list[str]]:
    """Return the featurisers that the time budget allows, and what it does not."""
    from molecule_features import featurize

    def compute(name: str, some: list[str]) -> None:
        # Not through the cache: a few molecules of it, left by an earlier run, tell nothing of all.
        featurize(some, name, cache="none", workers=1)

    names, notes = budget.affordable(config.features.split("+"), smiles, compute)
    return "+".join(names), notes


def _seen(features: Features, tasks: Sequence[str]) -> list[str]:
    """Return a sentence per block of features whose network may know the answers."""
    return [
        f"{block} comes of networks that learned public values of {listed(seen)}: a test on public "
        "molecules flatters; --features without it does not."
        for block, seen in features.seen(tasks).items()
    ]
