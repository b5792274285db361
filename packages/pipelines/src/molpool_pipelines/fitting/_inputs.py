"""Tables of a run, read, checked and split before anything heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from chemprop_multitask import with_listed_groups
from molpool_common import (
    InputError,
    RunFolder,
    Structure,
    listed,
    parse_smiles,
    read_table,
    require_columns,
    smiles_column_of,
    structures_of,
    table_metadata,
    text_column,
    write_table,
)

from molpool_pipelines.demo import DEMO_NOTICE
from molpool_pipelines.fitting._config import TrainChempropConfig, TrainTabularConfig
from molpool_pipelines.models import (
    Descriptors,
    FeatureFiles,
    PredictConfig,
    predict_table,
)
from molpool_pipelines.runs import (
    TableRows,
    predictions_of_table,
    rejected_beside,
    rejected_note,
    rejected_rows,
)
from molpool_pipelines.tables import (
    DEMO,
    MoleculeTable,
    SplitTables,
    TaskType,
    assay_limits,
    constant_notes,
    describe_signs,
    few_labels,
    find_task_types,
    fold_tables,
    has_names,
    is_unused,
    limits_in_words,
    load_molecules,
    merge_duplicates,
    raise_bad_smiles,
    roles_note,
    split_table,
)

if TYPE_CHECKING:
    from chemprop_multitask import GraphStore
    from multitask_models import AssayLimits

KEY = "data.predict_path"

TrainConfig = TrainChempropConfig | TrainTabularConfig


@dataclass(frozen=True)
class Unseen:
    """A table to predict.

    Parameters
    ----------
    name : str
        Stem of its file, by which the predictions are named.
    frame : DataFrame [N]
        ``row`` (from 1), ``id`` where the table has the column, ``SMILES``, and ``error``: why a
        SMILES does not parse, null where it does.
    smiles : list of str
        The M <= N molecules that parse.
    rejected : DataFrame
        The rows that do not parse, whether they stand in `frame` or were dropped.
    structure : {"given", "parent", "tautomer"}
        What models see of a molecule.
    """

    name: str
    frame: pl.DataFrame
    smiles: list[str]
    rejected: pl.DataFrame
    structure: Structure = "given"

    @property
    def modelled(self) -> list[str]:
        """What models see of the molecules."""
        return structures_of(self.smiles, self.structure)

    @property
    def note(self) -> str | None:
        """What the user should know, where SMILES do not parse."""
        rows = self.rejected["row"].to_list()
        if not rows:
            return None
        n = len(self.smiles) + len(rows)
        return (
            f"{self.name}: {len(rows)} of {n} rows get no prediction, their SMILES do not parse "
            f"(rows {listed(rows)})."
        )


@dataclass(frozen=True)
class Inputs:
    """A checked table and its splits.

    Parameters
    ----------
    table : MoleculeTable
        All rows.
    tables : SplitTables
        Train, val and test.
    folds : list of SplitTables
        What each fold of an ensemble trains and validates on; `tables` alone for a single fold.
    task_types : tuple of {"regression", "classification"}
        Kind of each task.
    notes : list of str
        What the user should know before trusting the result.
    rows : TableRows
        Digests of the table as read.
    unseen : Unseen or None
        Other molecules, to be predicted after training.
    graphs : GraphStore or None
        Featurised molecules, once there are such.
    descriptors : Descriptors or None
        What the predictor takes beside them.
    limits : AssayLimits or None
        Floors and ceilings of the tasks, on the scale that is learnt; None for none.
    """

    table: MoleculeTable
    tables: SplitTables
    folds: list[SplitTables]
    task_types: tuple[TaskType, ...]
    notes: list[str]
    rows: TableRows
    unseen: Unseen | None = None
    graphs: GraphStore | None = None
    descriptors: Descriptors | None = None
    limits: AssayLimits | None = None

    @property
    def untested(self) -> MoleculeTable:
        """The rows of molecules that are not tested."""
        tested = set(self.tables.test.groups)
        kept = [group not in tested for group in self.table.groups]
        return self.table.take(np.flatnonzero(kept))

    @property
    def rejected(self) -> pl.DataFrame:
        """Rows of all tables whose SMILES do not parse."""
        own = self.table.dropped
        return own if self.unseen is None else pl.concat([own, self.unseen.rejected])


def find_descriptors(config: TrainChempropConfig) -> Descriptors | None:
    """Return where the descriptors of a run's molecules come from; None where it takes none.

    Raises
    ------
    InputError, FeatureError
        If there is no such file or featuriser.
    """
    if config.features is None and not config.files:
        return None
    found = Descriptors(config.features, FeatureFiles.read(config), config.data.cache_dir)
    # A name that there is not is said before anything is featurised.
    found.signature  # noqa: B018
    return found


def read_inputs(config: TrainConfig, n_folds: int = 1) -> Inputs:
    """Read, check and split the tables.

    Parameters
    ----------
    config : TrainChempropConfig or TrainTabularConfig
        The run.
    n_folds : int
        Folds of an ensemble.

    Raises
    ------
    InputError
        If anything is wrong in them.
    """
    unseen = read_unseen(config)  # the smaller one: what is wrong with it is said first
    read = _load(config)
    # Before the split: repeats of one molecule must not fall into two splits.
    table = merge_duplicates(read, config.duplicates)
    task_types = find_task_types(config, table)
    data = config.data
    if isinstance(config, TrainTabularConfig):
        # Rows out of fold validate: all that are not tested train.
        data = data.model_copy(update={"train_on_val": True})
    tables = split_table(table, data, config.seed)
    folds = fold_tables(table, tables, data, n_folds, config.seed)
    notes = _notes(config, table, tables)
    notes += constant_notes(
        tables.train.targets, table.task_names, task_types, tables.train.censoring
    )
    if len(table) < len(read):
        notes.append(
            f"{len(read)} rows merged into {len(table)} by the {config.duplicates} of each "
            "molecule's repeats; stereoisomers count as one molecule, as do a salt and its base."
        )
    if len(folds) > 1:
        notes += [f"Fold {n}: {note}" for n, fold in enumerate(folds) for note in fold.notes]
    if few := _few_labels(tables, folds):
        names = [table.task_names[t] for t in few]
        notes.append(f"Left out for want of two training labels: {listed(names)}.")
        left = [t for t in range(len(table.task_names)) if t not in few]
        table, tables = table.of_tasks(left), tables.of_tasks(left)
        folds = [tables] if len(folds) == 1 else [fold.of_tasks(left) for fold in folds]
        task_types = tuple(task_types[t] for t in left)
    if unseen is not None and unseen.note:
        notes.append(unseen.note)
    rows = _rows(config, read)
    return _with_limits(config, Inputs(table, tables, folds, task_types, notes, rows, unseen))


def _with_limits(config: TrainConfig, inputs: Inputs) -> Inputs:
    """Return the inputs with the limits of their assays, which they also say."""
    known, kinds = inputs.untested, inputs.task_types
    limits = assay_limits(config.limits, known, kinds)
    said = limits_in_words(limits, known, kinds)
    if said:
        inputs.notes.append(f"Limits of assays, learnt as bounds, where predictions end: {said}.")
    return replace(inputs, limits=limits)


def _few_labels(tables: SplitTables, folds: list[SplitTables]) -> list[int]:
    """Return the tasks that some model could not be trained on."""
    few = sorted({t for each in (tables, *folds) for t in few_labels(each.train)})
    if len(few) == len(tables.train.task_names):
        raise InputError(
            "data.target_columns",
            expected="a task with two labels in the training part",
            found="none",
            hint="Another split_type or split_seed.",
        )
    return few


def read_rows(config: TrainConfig) -> TableRows:
    """Return the digests of the table that a configuration names."""
    return _rows(config, _load(config))


def _rows(config: TrainConfig, read: MoleculeTable) -> TableRows:
    return TableRows.of_molecules(read, named=has_names(config.data))


def with_groups(config: TrainChempropConfig) -> TrainChempropConfig:
    """Return the configuration with groups as lists, checked against the tasks.

    Parameters
    ----------
    config : TrainChempropConfig
        `groups` may name a JSON file: a list of lists of tasks, or an object with such a list as
        ``groups`` and, for overlapping groups, ``assignment``: the group, from 0, that serves a
        task. `group_assignment` of the configuration goes before that of the file.

    Raises
    ------
    InputError
        If the file is missing or holds something else, or groups are given and to be measured too,
        or are needed and neither.
    ChempropError
        If a group names an unknown task, or a task is in none, or in several without an assignment.
    """
    _check_origin(config)
    return with_listed_groups(config, config.data.target_columns)


def _check_origin(config: TrainChempropConfig) -> None:
    given, measured = config.groups is not None, config.task_affinity.enabled
    if given and measured:
        raise InputError(
            "groups",
            expected="none where task_affinity.enabled, which makes them",
            found="both",
            hint="Leave groups out, or --task-affinity.enabled false.",
        )
    if config.sharing == "separate" and not given and not measured:
        raise InputError(
            "sharing",
            # Without groups 'separate' would train one model of all tasks, silently.
            expected="groups or task_affinity.enabled with 'separate', a model for each group",
            found="neither",
        )
    # Columns are not known yet where the table's own are taken; then grouping itself checks the
    # number.
    tasks = len(config.data.target_columns)
    n_groups = config.task_affinity.n_groups_of(tasks)
    if measured and tasks and n_groups != "auto" and n_groups > tasks:
        raise InputError(
            "task_affinity.n_groups",
            expected=f"1 to {tasks}, the number of tasks, or auto",
            found=str(n_groups),
        )


def _load(config: TrainConfig) -> MoleculeTable:
    joint = config.joint_sampling
    return load_molecules(
        config.data,
        config.data_path,
        # A quality column that nothing uses may be absent or hold other labels.
        quality_column=joint.curriculum.quality_col if joint.needs_quality else None,
        qualities=joint.curriculum.qualities,
        on_bad_smiles=config.on_bad_smiles,
        min_labels=config.data.least_labels,
        read=config.read,
        strata_column=config.strata_column,
    )


def _notes(config: TrainConfig, table: MoleculeTable, tables: SplitTables) -> list[str]:
    notes = list(table.notes)
    if config.data.dataset == DEMO or any(s.dataset == DEMO for s in config.data.sources):
        notes.append(DEMO_NOTICE)
    notes.append(roles_note(config, table.columns))
    unused = is_unused(table.dropped)
    notes += rejected_note(table.dropped.filter(~unused))
    if unused.any():
        notes.append(f"{unused.sum()} rows left out: the given split does not name them.")
    if table.n_as_given:
        notes.append(
            f"{table.n_as_given} molecules are compared as given: too large to standardise, or "
            "refused by RDKit."
        )
    if table.model_smiles is not None:
        pairs = zip(table.smiles, table.model_smiles, strict=True)
        notes.append(
            f"Models see the {config.data.structure} of each molecule, as one SMILES however it "
            f"is written: {sum(a != b for a, b in pairs):,} of {len(table):,} rows have another."
        )
    notes += tables.notes
    if tables.n_left_out:
        notes.append(
            f"{tables.n_left_out} rows of training-only sources left out: their molecules are "
            "held out."
        )
    if table.censoring is not None and (bounds := _bounds(table)):
        notes.append(
            f"Labels that are bounds: {bounds}. They are trained as bounds and left out of all "
            "metrics, which are of exact labels only."
        )
    return notes


def _bounds(table: MoleculeTable) -> str:
    assert table.censoring is not None
    return describe_signs(table.targets, table.censoring, table.task_names)


def read_unseen(config: TrainConfig) -> Unseen | None:
    """Read the table that `data.predict_path` names, if it names one.

    Raises
    ------
    InputError
        If the table is missing or no table, has no column of SMILES, a SMILES does not parse (with
        `on_bad_smiles: error`) or none does.
    """
    if config.data.predict_path is None:
        return None
    path = Path(config.data.predict_path)
    frame = read_table(path, config.read, key=KEY)
    given = config.data.is_given("smiles_column")
    column = smiles_column_of(frame.columns, config.data.smiles_column, given=given)
    require_columns(frame, [column], key="data.smiles_column", where=path.name)
    smiles = text_column(frame, column, where=path.name)
    parsed = parse_smiles(smiles.to_list())
    errors: list[str | None] = [None] * frame.height
    for row, _, reason in parsed.bad:
        errors[row] = reason
    # A table of which nothing parses has the wrong column: that is refused even with 'drop'.
    if parsed.bad and (config.on_bad_smiles == "error" or len(parsed.bad) == frame.height):
        raise_bad_smiles(parsed.bad, frame.height, column, path.name)
    named = config.data.id_column
    ids = frame[named].cast(pl.String) if named in frame.columns else None
    rejected = rejected_rows(
        (row + 1, str(row + 1) if ids is None else ids[row], path.name, text, reason)
        for row, text, reason in parsed.bad
    )
    columns = {
        # Rows as a spreadsheet or editor counts data lines; indices of splits and folds are from 0.
        "row": pl.Series(range(1, frame.height + 1)),
        **({} if ids is None else {"id": ids}),
        "SMILES": smiles,
        "error": pl.Series(errors, dtype=pl.String),
    }
    table = pl.DataFrame(columns)
    good = table.filter(pl.col("error").is_null())
    shown = good if config.on_bad_smiles == "drop" else table
    name, texts = path.name.partition(".")[0], good["SMILES"].to_list()
    return Unseen(name, shown, texts, rejected, config.data.structure)


def write_unseen(run: RunFolder, config: TrainConfig, unseen: Unseen, level: float) -> list[Path]:
    """Write ``predictions_NAME.parquet`` and ``.csv``, as `molpool-evaluate predict` does.

    Parameters
    ----------
    run : RunFolder
        With its model and calibration.
    config : TrainConfig
        Names the table.
    unseen : Unseen
        What is known of it.
    level : float
        Of the intervals.

    Returns
    -------
    list of Path
    """
    output = run.path / predictions_of_table(unseen.name)
    predict_table(
        PredictConfig(
            model_dir=str(run.path),
            data_path=config.data.predict_path,
            output=str(output),
            overwrite=True,
            on_bad_smiles=config.on_bad_smiles,
            level=[level],
            read=config.read,
        )
    )
    # The rows are in the run's own list.
    rejected_beside(output).unlink(missing_ok=True)
    text = run.path / predictions_of_table(unseen.name, ".csv")
    write_table(text, pl.read_parquet(output), metadata=table_metadata(output))
    return [output, text]
