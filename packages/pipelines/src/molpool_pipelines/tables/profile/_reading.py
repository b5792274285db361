"""The table to describe: its columns chosen, its molecules read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl
from molpool_common import (
    ConfigModel,
    InputError,
    MoleculeTable,
    ReadConfig,
    Standardize,
    listed,
    missing_words,
    open_table,
    read_yaml,
    table_reading,
    validate_config,
)
from pydantic import ConfigDict, Field
from sampling_core import JointSamplingConfig

from molpool_pipelines.datasets import locate, registry
from molpool_pipelines.demo import DEMO_NOTICE, DEMO_TASKS, build_demo
from molpool_pipelines.tables._cells import Wanted
from molpool_pipelines.tables._columns import Columns, LookedAt, chosen_columns
from molpool_pipelines.tables._molecules import DEMO, load_sources
from molpool_pipelines.tables._roles import roles_note
from molpool_pipelines.tables._table_config import DataConfig, OnBadSmiles, SourceConfig
from molpool_pipelines.tables._table_files import TableFiles
from molpool_pipelines.tables._training_check import TrainingCheck, check_training
from molpool_pipelines.tables._values import describe_signs


@dataclass(frozen=True)
class Described:
    """A table to describe.

    Parameters
    ----------
    name : str
        What the page calls it.
    table : MoleculeTable
        Rows whose SMILES parse.
    notes : list of str
        What was chosen for the user.
    training : TrainingCheck or None
        What training would say of it.
    facts : dict of str to str
        Format, encoding and marks of the file, and how it writes missing values.
    """

    name: str
    table: MoleculeTable
    notes: list[str]
    training: TrainingCheck | None = None
    facts: dict[str, str] = field(default_factory=dict)


class _RunFile(ConfigModel):
    """What of a training configuration concerns its table."""

    model_config = ConfigDict(extra="ignore")

    data_path: str | None = None
    read: ReadConfig = Field(default_factory=ReadConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    joint_sampling: JointSamplingConfig = Field(default_factory=JointSamplingConfig)


def read_configured(
    config: Path,
    quality: str | None,
    on_bad_smiles: OnBadSmiles = "drop",
    standardize: Standardize | None = None,
) -> Described:
    """Read the tables of the ``data`` section of a training configuration.

    Parameters
    ----------
    config : Path
        The YAML file; keys other than ``data_path``, ``data`` and ``joint_sampling`` are not looked
        at.
    quality : str or None
        Column of quality labels for sources that do not give one label for all their rows; by
        default that of the curriculum, where it is on.
    on_bad_smiles : {"error", "drop", "keep"}
        What becomes of rows whose SMILES do not parse.
    standardize : {"none", "parent", "tautomer"}, optional
        By which structure rows are one molecule; by default that of the section.

    Raises
    ------
    InputError
        For anything wrong in the section or in the tables.
    """
    run = validate_config(_RunFile, read_yaml(config))
    data = run.data
    sources = data.tables(run.data_path)
    curriculum = run.joint_sampling.curriculum
    # Quality is read only where it is used: a table without the column is described too.
    tiered = all(source.quality is not None for source in sources)
    if quality is None and (tiered or (run.joint_sampling.enabled and curriculum.enabled)):
        quality = curriculum.quality_col
    # Times are for splitting, which nothing here does.
    compared = {"standardize": standardize or data.standardize}
    unsplit = data.model_copy(update={"split_type": "random", **compared})
    # The loader of training, so that a profile counts what would be trained on.
    command = ["molpool-train", "chemprop", "--config", str(config)]
    wanted = Wanted(unsplit, quality, on_bad_smiles=on_bad_smiles, read=run.read, counted=True)
    table, training = _checked(sources, wanted, command)
    notes = [f"The data section of {config.name}, units converted.", *table.notes]
    notes.append(roles_note(run, table.columns))
    if table.censoring is not None:
        bounds = describe_signs(table.targets, table.censoring, table.task_names)
        notes.append(f"Labels that are bounds, and count as labels here: {bounds or 'none'}.")
    if any(source.dataset == DEMO for source in sources):
        notes.append(DEMO_NOTICE)
    return Described(config.name, table, notes, training)


def read_named(
    table: str,
    file: str | None,
    columns: Columns,
    on_bad_smiles: OnBadSmiles = "drop",
    read: ReadConfig | None = None,
    standardize: Standardize = "parent",
) -> Described:
    """Read a file, a data set of the registry, or the demo.

    Parameters
    ----------
    table : str
        A file, or a name where there is no such file.
    file : str or None
        Which file of the data set.
    columns : Columns
        What is in it.
    on_bad_smiles : {"error", "drop", "keep"}
        What becomes of rows whose SMILES do not parse.
    read : ReadConfig, optional
        What is known of the file.
    standardize : {"none", "parent", "tautomer"}
        By which structure rows are one molecule.

    Raises
    ------
    InputError
        For anything wrong in the table, a column that is not there, or no column of numbers.
    """
    source_name, where, looked_at = _open(table, file, read)
    if source_name == DEMO:
        columns = replace(columns, targets=columns.targets or DEMO_TASKS)
    chosen, notes = chosen_columns(looked_at, columns, where)
    if source_name == DEMO:
        notes.append(DEMO_NOTICE)
    source = SourceConfig(
        path=None if source_name == DEMO else source_name,
        dataset=DEMO if source_name == DEMO else None,
        smiles_column=chosen.smiles or "",
        id_column=chosen.identity,
        columns={name: name for name in chosen.targets},
    )
    data = DataConfig(target_columns=list(chosen.targets), standardize=standardize)
    place = ["--data.dataset", source_name] if source_name == DEMO else ["--data-path", source_name]
    command = ["molpool-train", "chemprop", *place]
    for flag, name, default in (
        ("--smiles-column", chosen.smiles, "SMILES"),
        ("--data.id-column", chosen.identity, None),
    ):
        command += [flag, name] if name is not None and name != default else []
    command += [] if read is None else read.flags()
    wanted = Wanted(
        data,
        chosen.quality,
        on_bad_smiles=on_bad_smiles,
        target_key="--target-columns",
        read=read,
        counted=True,
    )
    facts = {} if source_name == DEMO else _facts(source_name, looked_at, chosen, read)
    loaded, training = _checked([source], wanted, command)
    return Described(where, loaded, [*loaded.notes, *notes], training, facts)


def _checked(
    sources: Sequence[SourceConfig], wanted: Wanted, command: Sequence[str]
) -> tuple[MoleculeTable, TrainingCheck]:
    """Return the table, and what training would say of it; raises all that it says."""
    try:
        table = load_sources(sources, wanted)
    except InputError as error:
        raise check_training(sources, wanted, command).refuse(error) from None
    return table, check_training(sources, wanted, command, table)


def _open(table: str, file: str | None, read: ReadConfig | None) -> tuple[str, str, LookedAt]:
    """Return the path of the table, what messages call it, and its columns (of the demo, a few)."""
    # A file takes precedence over a data set of the same name; an unknown name is a file that is
    # missing.
    if os.path.lexists(table) or (table != DEMO and table not in registry()):
        if file is not None:
            raise InputError(
                "--file", expected="a data set of several files beside it", found=f"{table!r}"
            )
        key = "TABLE"
        names = TableFiles.find([table], key, read=read).columns
        return table, Path(table).name, LookedAt(names, _reads(table, read, key))
    if table == DEMO:
        # Only its columns are looked at here, and all of it takes seconds to build.
        return DEMO, DEMO, LookedAt.of(build_demo(n=100))
    path = locate(table, file)
    names = TableFiles.find([path], read=read).columns
    return str(path), path.name, LookedAt(names, _reads(path, read, "data_path"))


def _reads(
    path: str | Path, read: ReadConfig | None, key: str
) -> Callable[[Sequence[str]], pl.DataFrame]:
    return lambda names: open_table(path, read, key=key, names=names)[0]


def _facts(
    source: str, table: LookedAt, columns: Columns, read: ReadConfig | None
) -> dict[str, str]:
    """Return how a table is read; how often columns that are used have no value, and its words."""
    named = (columns.smiles, columns.quality, *columns.targets)
    used = [name for name in table.names if name in named]
    files = TableFiles.find([source], read=read)
    gaps: Counter[str] = Counter()
    for chunk in files.chunks(used):
        gaps.update({name: chunk.frame[name].null_count() for name in used})
    facts = table_reading(files.files[0], read).facts()
    gaps = +gaps
    if not gaps:
        return facts
    words: dict[str, Counter[str]] = {name: Counter() for name in gaps}
    for file in files.files:
        for name, counts in missing_words(file, list(gaps), read).items():
            words[name].update(counts)
    parts = []
    for name, n in gaps.items():
        written = words[name]
        empty = n - sum(written.values())
        said = [f"{count:,} {word!r}" for word, count in written.items()]
        parts.append(f"{name}: " + ", ".join([*said, *([f"{empty:,} empty"] if empty else [])]))
    return {**facts, "Missing values": listed(parts)}
