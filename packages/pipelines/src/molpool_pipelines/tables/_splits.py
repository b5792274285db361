"""Split a molecule table whose sources may be for training only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from molpool_common import InputError, IntArray, MoleculeTable, kfold, listed, parse_times, split

from molpool_pipelines.tables._given_split import given_parts
from molpool_pipelines.tables._table_config import DataConfig


@dataclass(frozen=True)
class SplitTables:
    """The three splits of a table.

    Parameters
    ----------
    train, val, test : MoleculeTable
        Disjoint in molecules. `val` and `test` hold rows of sources with ``hold_out`` only.
    n_left_out : int
        Rows of training-only sources left out because their molecule is held out.
    notes : list of str
        What the user should know before training: molecules that a given split has on two sides,
        tasks without a validation label.
    """

    train: MoleculeTable
    val: MoleculeTable
    test: MoleculeTable
    n_left_out: int
    notes: list[str] = field(default_factory=list)

    def of_tasks(self, columns: Sequence[int]) -> SplitTables:
        """Return these columns of the targets, and the rows that have a label in one of them."""
        train, val, test = (part.of_tasks(columns) for part in (self.train, self.val, self.test))
        return replace(self, train=train, val=val, test=test)


def split_table(table: MoleculeTable, config: DataConfig, seed: int) -> SplitTables:
    """Split the rows of sources with ``hold_out``; the other sources train.

    Parameters
    ----------
    table : MoleculeTable
        All sources, stacked.
    config : DataConfig
        Split type and ratios.
    seed : int
        Seed of the split where the configuration gives none.

    Returns
    -------
    SplitTables

    Raises
    ------
    InputError
        If no source may be held out, a split stays empty that should not, or a task has fewer than
        two training labels.
    """
    # Only rows that may be held out are divided, and extras are added after: which molecules are
    # held out does not depend on the other sources.
    rows = np.flatnonzero(table.hold_out)
    if not rows.size:
        raise InputError(
            "data.sources", expected="a source with hold_out: true", found="none of them"
        )
    train, val, test, notes = _divided(table, config, rows, seed)
    if config.train_on_val:
        # After splitting, so that the test split is the same as without train_on_val.
        train, val = np.sort(np.concatenate([train, val])), val[:0]
    test_table = table.take(test)
    train = _with_training_only(table, train, val, test_table.units)
    tables = _assembled(table, train, val, test_table, config)
    return replace(tables, notes=[*notes, *tables.notes])


def _divided(
    table: MoleculeTable, config: DataConfig, rows: IntArray, seed: int
) -> tuple[IntArray, IntArray, IntArray, list[str]]:
    """Return the rows to train on, validate on and test on, of those that may be held out."""
    notes: list[str] = []
    if table.given is None:
        train, val, test = _parts(table, config, rows, config.split_ratios, seed)
        return train, val, test, notes
    (train, val, test), notes = given_parts(table, config, rows)
    if not train.size:
        raise InputError("data.split_column", expected="rows that train", found="none")
    keep, held, _ = config.split_ratios
    if not val.size and held > 0 and not config.train_on_val:
        shares = (keep / (keep + held), held / (keep + held), 0.0)
        train, val, _ = _parts(table, config, train, shares, seed)
        notes.append(
            f"The given split has no validation rows: {len(val)} of its training rows validate, by "
            f"split_type {config.split_type}."
        )
    if not test.size:
        notes.append("The given split has no test rows: scores are of rows that validate.")
    return train, val, test, notes


def _parts(
    table: MoleculeTable,
    config: DataConfig,
    rows: IntArray,
    shares: tuple[float, float, float],
    seed: int,
) -> tuple[IntArray, IntArray, IntArray]:
    held = table.take(rows)
    made = split(
        config.split_type,
        shares,
        seed=config.split_seed if config.split_seed is not None else seed,
        **split_inputs(held, config),
    )
    return rows[made.train], rows[made.val], rows[made.test]


def split_inputs(table: MoleculeTable, config: DataConfig | None = None) -> dict[str, Any]:
    """Return what `molpool_common.split` and `kfold` take of a table, and of how to cluster it."""
    clusters = {} if config is None else {"clusters": config.cluster_method}
    distance = {} if config is None else {"distance": config.cluster_distance}
    return {
        **clusters,
        **distance,
        "groups": table.units,
        "smiles": table.compared,
        "targets": table.targets,
        "times": table.times,
        "structures": None if table.series is None else table.groups,
    }


def fold_tables(
    table: MoleculeTable, tables: SplitTables, config: DataConfig, n_folds: int, seed: int
) -> list[SplitTables]:
    """Divide what is not tested into folds, each of which validates once.

    Parameters
    ----------
    table : MoleculeTable
        All sources, stacked.
    tables : SplitTables
        Its split; the test split stays as it is.
    config : DataConfig
        Split type: folds keep scaffolds or clusters together as the split does. Those of a time
        split are spans of time, each validated by members trained on all others: on the earliest
        rows alone a member would be a weak one, and among random molecules a row has its own
        series on either side.
    n_folds : int
        One gives back `tables`.
    seed : int
        Seed of the folds where the configuration gives none.

    Returns
    -------
    list of SplitTables
        Training-only sources train in each, less the molecules that are held out there.

    Raises
    ------
    InputError
        If there are fewer molecules (scaffolds, clusters) than folds, or a fold leaves a task with
        fewer than two training labels.
    """
    if n_folds == 1:
        return [tables]
    # By molecule: an extra row of a test molecule would train what is tested.
    tested = set(tables.test.units)
    rest = table.take(np.flatnonzero([unit not in tested for unit in table.units]))
    folds = fold_rows(
        rest,
        config.split_type,
        n_folds,
        seed=config.split_seed if config.split_seed is not None else seed,
        names=_spans_of_time(rest, n_folds) if config.split_type == "time" else None,
        config=config,
    )
    return [_assembled(rest, train, val, tables.test, config) for train, val in folds]


def _spans_of_time(table: MoleculeTable, n: int) -> dict[str, str]:
    """Return in which of `n` spans of about as many rows each molecule was first measured."""
    held = table.take(np.flatnonzero(table.hold_out))
    first: dict[str, float] = {}
    for group, when in zip(held.groups, parse_times(held.times or []).tolist(), strict=True):
        first[group] = min(when, first.get(group, np.inf))
    _, moment = np.unique([first[group] for group in held.groups], return_inverse=True)
    rows = np.bincount(moment)
    span = ((np.cumsum(rows) - rows) * n // len(held))[moment]
    if len(np.unique(span)) < n:
        raise InputError(
            "ensemble.n_folds",
            expected=f"at most as many folds as there are spans of time, {len(np.unique(span))}",
            found=str(n),
        )
    return dict(zip(held.groups, (f"{number:06d}" for number in span.tolist()), strict=True))


def fold_rows(
    table: MoleculeTable,
    method: str,
    n_folds: int,
    *,
    seed: int,
    names: Mapping[str, str] | None = None,
    config: DataConfig | None = None,
) -> list[tuple[IntArray, IntArray]]:
    """Divide the rows of a table into folds: what an ensemble and a study alike train and validate.

    Parameters
    ----------
    table : MoleculeTable
        All rows that may be seen: none of the test split.
    method : str
        As `molpool_common.kfold` knows it. Folds of ``time`` chain forward: each validates the
        molecules after those that it trains on, and the earliest validate in none.
    n_folds : int
        How many.
    seed : int
        Of the folds.
    names : mapping of str to str, optional
        Fold of each molecule that may be held out, by its group: then each name validates once, in
        order, and method, number and seed do not count.
    config : DataConfig, optional
        How molecules are clustered.

    Returns
    -------
    list of (ndarray, ndarray)
        Rows to train on and rows to validate on. Sources for training only train in each fold, less
        the molecules that validate there.

    Raises
    ------
    InputError
        As `molpool_common.kfold`; or for fewer than two names.
    """
    rows = np.flatnonzero(table.hold_out)
    held = table.take(rows)
    if names is None:
        made = kfold(
            method,
            n_folds,
            # A fold's own test part is what validates here.
            val_ratio=0,
            seed=seed,
            **split_inputs(held, config),
        )
        parts = [(fold.train, fold.test) for fold in made]
    else:
        named = np.array([names[group] for group in held.groups])
        distinct = np.unique(named)
        if len(distinct) < 2:
            raise InputError(
                "names",
                expected="two folds or more outside the test split",
                found=f"{len(distinct)}: {listed(distinct.tolist())}",
            )
        parts = [(np.flatnonzero(named != n), np.flatnonzero(named == n)) for n in distinct]
    return [(_with_training_only(table, rows[train], rows[val]), rows[val]) for train, val in parts]


def _with_training_only(
    table: MoleculeTable, train: IntArray, val: IntArray, tested: Iterable[str] = ()
) -> IntArray:
    """Add the rows of training-only sources whose molecule is not held out."""
    held_out = {table.units[i] for i in val}.union(tested)
    extra = np.flatnonzero(~table.hold_out)
    # Per split: an extra row is left out only where its molecule is held out.
    free = [i for i in extra.tolist() if table.units[i] not in held_out]
    return np.concatenate([train, np.array(free, dtype=np.int64)])


def _assembled(
    table: MoleculeTable,
    train: IntArray,
    val: IntArray,
    test: MoleculeTable,
    config: DataConfig,
) -> SplitTables:
    tables = SplitTables(
        train=table.take(train),
        val=table.take(val),
        test=test,
        n_left_out=int((~table.hold_out).sum() - (~table.hold_out[train]).sum()),
    )
    if config.unlabelled_tasks == "error":
        _check_training_labels(tables.train)
    return replace(tables, notes=_validation_notes(tables))


def few_labels(train: MoleculeTable) -> list[int]:
    """Return the columns of tasks with fewer than two training labels."""
    # One label has no variance to standardise by.
    return np.flatnonzero(np.isfinite(train.targets).sum(axis=0) < 2).tolist()


def _check_training_labels(train: MoleculeTable) -> None:
    labels = np.isfinite(train.targets).sum(axis=0)
    for t in few_labels(train):
        raise InputError(
            f"task {train.task_names[t]!r}",
            expected="at least two labels in the training part",
            found="one" if labels[t] == 1 else "none",
            hint="Another split_type or split_seed, or leave the task out: "
            "--data.unlabelled-tasks drop.",
        )


def _validation_notes(tables: SplitTables) -> list[str]:
    """Say which tasks have no validation label, and refuse where none has one."""
    val = tables.val
    if not len(val):
        return []
    trained = [t for t in range(len(val.task_names)) if t not in few_labels(tables.train)]
    watched = [t for t in trained if np.isfinite(val.targets[:, t]).any()]
    if not watched:
        raise InputError(
            "data.split_type",
            expected="a validation label of some task",
            found=f"none in {len(val)} validation rows",
            hint="Another split_type or split_seed; or --data.train-on-val true, which trains all "
            "epochs without validation.",
        )
    silent = [val.task_names[t] for t in trained if t not in watched]
    if not silent:
        return []
    return [
        f"No validation label of {listed(silent)}: the validation loss, which chooses the epoch, "
        f"is that of {listed([val.task_names[t] for t in watched])}."
    ]
