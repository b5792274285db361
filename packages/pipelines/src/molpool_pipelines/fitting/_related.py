"""Tables of other assays of which the tasks may learn, joined by structure.

A related assay is used in three ways. As features: a network learns it first, and its predictions
are columns for the models of the tasks. As heads: the network of the tasks learns it too, as
further tasks of small weight. As pretraining: that network learns it first, and then the tasks.
Either way a prediction needs a SMILES alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from molpool_common import (
    Float32Array,
    FloatArray,
    InputError,
    IntArray,
    ReadConfig,
    TaskType,
    did_you_mean,
    listed,
    read_table,
)

from molpool_pipelines.fitting._config import RelatedConfig
from molpool_pipelines.models import MemberName, MemberSettings, build_member, surrogate_block
from molpool_pipelines.tables import (
    Columns,
    DataConfig,
    MoleculeTable,
    TableConfig,
    choose_columns,
    find_task_types,
    load_molecules,
    merge_duplicates,
)

if TYPE_CHECKING:
    from molecule_features import Block
    from multitask_models import MultitaskModel

KEY = "related.tables"

LEAST_LABELS = 20
"""Labels from which a column of a related table is learnt."""

SURROGATE: Mapping[str, Any] = {"members": 1, "epochs": 30}
"""The network that learns a related table alone: quicker than that of the tasks."""

_FOLDS = 4
"""Parts of the molecules that are in no fold of the run's, each predicted by a network of the
others."""


@dataclass(frozen=True, eq=False)
class RelatedTable:
    """A table of other assays, a row per molecule.

    Parameters
    ----------
    name : str
        Of its file.
    table : MoleculeTable [M]
        Its R columns.
    kinds : tuple of {"regression", "classification"}, length R
        What they are.
    X : ndarray of float32 [M, F] or None
        Features, once they are computed.
    """

    name: str
    table: MoleculeTable
    kinds: tuple[TaskType, ...]
    X: Float32Array | None = None

    def with_features(self, X: Float32Array) -> RelatedTable:
        """Return the table with the features of its rows."""
        return replace(self, X=X)

    def without(self, molecules: Collection[str]) -> RelatedTable:
        """Return the table without the molecules of these keys."""
        gone = set(molecules)
        kept = np.flatnonzero([group not in gone for group in self.table.groups])
        X = None if self.X is None else self.X[kept]
        return replace(self, table=self.table.take(kept), X=X)


def check_use(config: RelatedConfig, models: Sequence[str], *, drawn: bool) -> None:
    """Refuse what wants a network where there is none, or one that draws rows of the tasks alone.

    Raises
    ------
    InputError
        Then.
    """
    if not config.tables or config.use not in ("heads", "pretraining"):
        return
    if "mlp" not in models:
        raise InputError(
            "related.use",
            expected=f"mlp among model, which learns related tables as {config.use}",
            found=listed(models),
        )
    if drawn and config.use == "heads":
        raise InputError(
            "related.use",
            expected="features with joint_sampling.enabled, which draws rows of the tasks alone",
            found="heads",
        )


def read_related(
    config: RelatedConfig, read: ReadConfig, data: DataConfig, tested: set[str]
) -> tuple[list[RelatedTable], list[str]]:
    """Read the related tables, without labels of test molecules unless these are allowed.

    Parameters
    ----------
    config : RelatedConfig
        Which tables and columns.
    read : ReadConfig
        How text is read.
    data : DataConfig
        Of the run: by which structure molecules are compared, and the cache.
    tested : set of str
        Keys of the test molecules.

    Returns
    -------
    tables : list of RelatedTable
        Those of which something can be learnt.
    notes : list of str
        What was joined, dropped and left out.

    Raises
    ------
    InputError
        If a table cannot be read, or a column is in none of them.
    """
    tables, notes = [], []
    paths = [Path(path) for path in config.tables]
    _check_columns(config, {path: read_table(path, read, key=KEY).columns for path in paths})
    for path in paths:
        found, said = _read(path, config, read, data)
        notes += said
        overlap = len(tested & set(found.table.groups))
        if overlap and config.test_labels == "drop":
            found = found.without(tested)
            notes.append(f"{found.name}: labels of {overlap} test molecules dropped.")
        elif overlap:
            notes.append(
                f"{found.name}: labels of {overlap} test molecules are learnt, as "
                "related.test_labels keep allows: test scores are those of molecules that the "
                "related assay has measured."
            )
        left, said = _of_enough(found)
        notes += said
        if left is not None:
            tables.append(left)
    return tables, notes


def _check_columns(config: RelatedConfig, columns: Mapping[Path, Sequence[str]]) -> None:
    there = [name for names in columns.values() for name in names]
    for key, named in (
        ("related.assays", config.assays),
        ("related.by", [config.by] if config.by else []),
        ("related.smiles", [config.smiles] if config.smiles else []),
    ):
        for name in named:
            if name not in there:
                raise InputError(
                    key,
                    expected="columns of a related table",
                    found=repr(name),
                    where=listed([path.name for path in columns]),
                    hint=did_you_mean(name, there),
                )


def _read(
    path: Path, config: RelatedConfig, read: ReadConfig, data: DataConfig
) -> tuple[RelatedTable, list[str]]:
    """Return a table with a row per molecule, the mean of its repeats."""
    frame = read_table(path, read, key=KEY)
    own = tuple(name for name in config.assays if name in frame.columns)
    smiles = config.smiles if config.smiles in frame.columns else None
    columns = _columns(frame, Columns(smiles=smiles, targets=own), path.name)
    section = DataConfig(
        smiles_column=columns.smiles,
        target_columns=list(columns.targets),
        standardize=data.standardize,
        structure=data.structure,
        cache_dir=data.cache_dir,
    )
    table = load_molecules(section, str(path), on_bad_smiles="drop", min_labels=0, read=read)
    notes = []
    if len(table.dropped):
        notes.append(f"{path.name}: {len(table.dropped)} rows left out, no SMILES that parses.")
    if config.by in frame.columns:
        values = frame[config.by].cast(str).fill_null("").to_list()
        table = _spread(table, [values[row - 1] for row in table.origin["row"]])
    name = path.name.partition(".")[0]
    return RelatedTable(name, merge_duplicates(table, "mean"), _kinds(table)), notes


_KEYS = {"--target-columns": "related.assays", "--smiles-column": "related.smiles"}
"""Where the columns of a related table are named, by where those of the table itself are."""


def _columns(frame: pl.DataFrame, named: Columns, where: str) -> Columns:
    try:
        return choose_columns(frame, named, where)[0]
    except InputError as error:
        raise InputError(
            _KEYS.get(error.parameter, error.parameter),
            expected=error.expected,
            found=error.found,
            where=error.where,
            hint=error.hint,
        ) from None


def _kinds(table: MoleculeTable) -> tuple[TaskType, ...]:
    return find_task_types(TableConfig(), table)


def _spread(table: MoleculeTable, by: Sequence[str]) -> MoleculeTable:
    """Return a table with a task for each task and value of another column."""
    values = sorted(set(by) - {""})
    targets = np.full((len(table), len(values) * len(table.task_names)), np.nan)
    rows_of = {value: np.flatnonzero([one == value for one in by]) for value in values}
    names: list[str] = []
    units: list[str | None] = []
    for t, task in enumerate(table.task_names):
        for value in values:
            targets[rows_of[value], len(names)] = table.targets[rows_of[value], t]
            names.append(f"{task} at {value}")
            units += table.units_of_tasks[t : t + 1]
    # Bounds of text cells are rare here, and would have to be spread alike.
    return replace(
        table,
        targets=targets,
        task_names=tuple(names),
        units_of_tasks=tuple(units),
        censoring=None,
    )


def _of_enough(found: RelatedTable) -> tuple[RelatedTable | None, list[str]]:
    """Return the table with the columns of which something can be learnt."""
    targets = found.table.targets
    labels = np.isfinite(targets).sum(axis=0)
    spread = np.array([len(np.unique(column[np.isfinite(column)])) > 1 for column in targets.T])
    kept = np.flatnonzero((labels >= LEAST_LABELS) & spread)
    few = [name for t, name in enumerate(found.table.task_names) if t not in kept]
    notes = []
    if few:
        notes.append(
            f"{found.name}: not learnt, of fewer than {LEAST_LABELS} labels or all equal: "
            f"{listed(few)}."
        )
    if not len(kept):
        notes.append(f"{found.name}: nothing left to learn from; the table is not used.")
        return None, notes
    table = found.table.of_tasks(kept.tolist())
    kinds = tuple(found.kinds[t] for t in kept)
    return RelatedTable(found.name, table, kinds), notes


def fit_surrogate(
    related: RelatedTable, blocks: Sequence[Block], *, seed: int, member: MemberName = "mlp"
) -> MultitaskModel:
    """Return a model on features, by default a network, that has learnt a related table."""
    # torch takes seconds to import.
    from multitask_models import MultitaskModel

    options = SURROGATE if member == "mlp" else {}
    settings = MemberSettings(tuple(blocks), related.kinds, seed, options=options)
    model = build_member(member, settings)
    assert isinstance(model, MultitaskModel)
    assert related.X is not None
    return model.fit(related.X, related.table.targets, censoring=related.table.censoring)


def seconds_to_learn(
    related: RelatedTable, molecules: Sequence[str], part: IntArray, blocks: Sequence[Block]
) -> float:
    """Return about how long `surrogate_columns` takes, by a fit of an eighth of the rows."""
    n = len(related.table)
    some = np.arange(0, n, 8)
    there = set(related.table.groups)
    shared = [number for molecule, number in zip(molecules, part, strict=True) if molecule in there]
    start = perf_counter()
    X = None if related.X is None else related.X[some]
    fit_surrogate(replace(related, table=related.table.take(some), X=X), blocks, seed=0)
    return (perf_counter() - start) * n / len(some) * (1 + len(set(shared)))


def surrogate_columns(
    related: RelatedTable,
    molecules: Sequence[str],
    X: Float32Array,
    part: IntArray,
    blocks: Sequence[Block],
    *,
    seed: int,
    member: MemberName = "mlp",
) -> tuple[Float32Array, MultitaskModel]:
    """Return what models of a related table say of rows whose own labels they have not seen.

    Parameters
    ----------
    related : RelatedTable
        With features.
    molecules : sequence of str, length N
        Keys of the rows' molecules.
    X : ndarray of float32 [N, F]
        Their features.
    part : ndarray of int [N]
        Which rows are predicted together: rows of one molecule have the same.
    blocks : sequence of Block
        Of the features.
    seed : int
        Of the models.
    member : str
        What kind they are, one on features.

    Returns
    -------
    columns : ndarray of float32 [N, R]
        Rows of molecules that the table has, part by part, from a model without these; others
        from `model`.
    model : MultitaskModel
        Fitted to all of the table.
    """
    model = fit_surrogate(related, blocks, seed=seed, member=member)
    columns = np.asarray(model.predict(X), dtype=np.float32)
    there = set(related.table.groups)
    shared = np.array([molecule in there for molecule in molecules], dtype=bool)
    for number in np.unique(part[shared]).tolist():
        rows = np.flatnonzero(shared & (part == number))
        rest = related.without({molecules[row] for row in rows.tolist()})
        if len(rest.table):
            other = fit_surrogate(rest, blocks, seed=seed, member=member)
            columns[rows] = other.predict(X[rows])
    return columns, model


def parts_of(
    molecules: Sequence[str], folds: Sequence[tuple[IntArray, IntArray]], *, seed: int
) -> IntArray:
    """Return which rows surrogates predict together: the run's folds, then parts at random.

    Parameters
    ----------
    molecules : sequence of str, length N
        Keys of the rows' molecules.
    folds : sequence of (ndarray, ndarray)
        Rows that train and rows that validate.
    seed : int
        Of the parts of molecules that no fold validates.
    """
    keys, row_of = np.unique(np.array(molecules), return_inverse=True)
    part = np.random.default_rng(seed).integers(0, _FOLDS, len(keys)) + len(folds)
    for number, (_, val) in enumerate(folds):
        part[row_of[val]] = number
    return np.asarray(part[row_of])


@dataclass(frozen=True)
class Labelled:
    """Rows to fit, those of related tables among them.

    Parameters
    ----------
    X : ndarray of float32 [N, F]
        Features.
    y : ndarray [N, T]
        Labels.
    censoring : ndarray of int8 [N, T] or None
        Their signs.
    weights : ndarray [N] or None
        Of the rows.
    kinds : tuple of {"regression", "classification"}, length T
        Of the tasks.
    """

    X: Float32Array
    y: FloatArray
    censoring: Any
    weights: FloatArray | None
    kinds: tuple[TaskType, ...]


def with_heads(
    X: Float32Array,
    table: MoleculeTable,
    kinds: Sequence[TaskType],
    related: Sequence[RelatedTable],
    weight: float,
) -> Labelled:
    """Return rows of a table with those of related tables below, as tasks of their own.

    Parameters
    ----------
    X : ndarray of float32 [N, F]
        Features of the table.
    table : MoleculeTable [N]
        Its T tasks come first.
    kinds : sequence of {"regression", "classification"}, length T
        What they are.
    related : sequence of RelatedTable
        With features.
    weight : float
        Of a related row, beside 1 of a row of the table.
    """
    width = len(kinds) + sum(len(one.kinds) for one in related)
    start = len(kinds)
    targets = [_padded(table.targets, 0, width)]
    signs = [_padded(_signs(table), 0, width, 0)]
    for one in related:
        targets.append(_padded(one.table.targets, start, width))
        signs.append(_padded(_signs(one.table), start, width, 0))
        start += len(one.kinds)
    sizes = [len(table), *(len(one.table) for one in related)]
    return Labelled(
        np.concatenate([X, *(one.X for one in related if one.X is not None)]),
        np.concatenate(targets),
        np.concatenate(signs),
        np.repeat([1.0] + [weight] * len(related), sizes),
        (*kinds, *(kind for one in related for kind in one.kinds)),
    )


def _signs(table: MoleculeTable) -> Any:
    return np.zeros(table.targets.shape) if table.censoring is None else table.censoring


def _padded(values: Any, start: int, width: int, fill: float = np.nan) -> FloatArray:
    """Return columns that stand at `start` of `width`."""
    padded = np.full((len(values), width), fill)
    padded[:, start : start + values.shape[1]] = values
    return padded


def with_columns(blocks: Sequence[Block], related: RelatedTable, start: int) -> tuple[Block, ...]:
    """Return blocks with that of a related table's predictions after them."""
    return (*blocks, surrogate_block(related.name, start, len(related.kinds)))
