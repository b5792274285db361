"""From tables to one validated set of molecules with targets, quality, times and bounds.

Which columns are read is said once, by `DataConfig.tables`; training and the profile of a table
(`molpool-data describe`) both come through `load_sources`, and so agree. Each source is read,
checked before minutes of parsing, parsed, and converted to the units of the targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from molpool_common import (
    BoolArray,
    FloatArray,
    InputError,
    SignArray,
    cache_folder,
    did_you_mean,
    listed,
    number_column,
    read_table,
    require_columns,
    stack,
)
from molpool_common import MoleculeTable as MoleculeTable

from molpool_pipelines.datasets import locate
from molpool_pipelines.tables._given_split import (
    series_cells,
    split_cells,
    with_given_split,
)
from molpool_pipelines.tables._identity import Identities, identify
from molpool_pipelines.tables._table_config import (
    ColumnSource,
    DataConfig,
    SourceConfig,
    TableConfig,
    TaskType,
)
from molpool_pipelines.tables._values import read_signs, reverses_order, transform

DEMO = "demo"
"""Name by which the embedded synthetic table is asked for, like a data set of the registry."""

OnBadSmiles = Literal["error", "drop"]


def load_molecules(
    config: DataConfig,
    data_path: str | None,
    *,
    quality_column: str | None = None,
    qualities: Sequence[str] = (),
    on_bad_smiles: OnBadSmiles = "error",
    min_labels: int = 2,
) -> MoleculeTable:
    """Read, check, convert and stack the tables that a configuration names.

    Parameters
    ----------
    config : DataConfig
        Columns and sources.
    data_path : str or None
        The table, where `config.sources` is empty.
    quality_column : str or None
        Column of quality labels of a single table; None if they are not needed.
    qualities : sequence of str
        The labels that may stand there.
    on_bad_smiles : {"error", "drop"}
        What to do about rows whose SMILES do not parse.
    min_labels : int
        Fewest labels that a task may have.

    Returns
    -------
    MoleculeTable

    Raises
    ------
    InputError
        For anything wrong in the tables, naming file, column and rows.
    """
    sources = config.tables(data_path)
    table = load_sources(sources, config, quality_column, on_bad_smiles)
    _check_tasks(table, min_labels)
    if quality_column is not None:
        _check_quality(table, quality_column, qualities)
    return table


def load_sources(
    sources: Sequence[SourceConfig],
    config: DataConfig,
    quality_column: str | None,
    on_bad: OnBadSmiles,
) -> MoleculeTable:
    """Read, check and convert tables, and stack their rows; see `load_source`."""
    parts = [load_source(source, config, quality_column, on_bad) for source in sources]
    return with_given_split(stack(parts), config)


def load_source(
    source: SourceConfig, config: DataConfig, quality_column: str | None, on_bad: OnBadSmiles
) -> MoleculeTable:
    """Read, check and convert the table of one source.

    Parameters
    ----------
    source : SourceConfig
        The table and its columns.
    config : DataConfig
        Targets, and the split that may want times.
    quality_column : str or None
        Column of quality labels, where the source does not give one label for all its rows; None
        if they are not needed.
    on_bad : {"error", "drop"}
        What to do about rows whose SMILES do not parse.

    Raises
    ------
    InputError
        For anything wrong in the table, naming file, column and rows (from 1 below the header).
    """
    frame, where = _read_source(source)
    columns = [source.column_for(target) for target in config.target_columns]
    names = [c.column for c in columns if c is not None]
    # Before minutes of parsing: a mistyped name is the most common fault.
    require_columns(frame, [source.smiles_column], key="data.smiles_column", where=where)
    require_columns(frame, names, key="data.target_columns", where=where)
    # Also before parsing; the signs themselves are read from the rows that are left.
    modifiers = _modifiers(frame, source, columns, where)
    given = split_cells(frame, source, config, where)
    series = series_cells(frame, source, config, where)
    cache = cache_folder(config.cache_dir)
    found = identify(_smiles(frame, source), cache, how=config.standardize)
    _check_smiles(found, source.smiles_column, where, on_bad)
    parsed = np.flatnonzero(found.blocks != "")
    rows, frame = pl.Series(parsed + 1), frame[parsed]  # the first row below the header is 1
    molar_mass = found.masses[parsed]
    targets = np.full((len(parsed), len(config.target_columns)), np.nan)
    for t, column in enumerate(columns):
        if column is not None:
            targets[:, t] = _target(frame, column, molar_mass, where, rows)
    return MoleculeTable(
        task_names=tuple(config.target_columns),
        smiles=_smiles(frame, source),
        groups=found.blocks[parsed].tolist(),
        targets=targets,
        quality=_quality(frame, source, quality_column, where, rows),
        times=_times(frame, source, config, where),
        hold_out=np.full(len(parsed), source.hold_out),
        origin=_origin(frame, source, where, rows),
        dropped=_dropped(found, where),
        censoring=_censoring(frame, columns, modifiers, where, rows),
        structures=[found.structures[i] for i in parsed.tolist()],
        series=None if series is None else [series[i] for i in parsed.tolist()],
        given=None if given is None else [given[i] for i in parsed.tolist()],
        n_as_given=len(found.as_given),
    )


def _modifiers(
    frame: pl.DataFrame,
    source: SourceConfig,
    columns: Sequence[ColumnSource | None],
    where: str,
) -> list[str | None]:
    """Return the column of signs of each target, None where there is none."""
    named = [c.modifier for c in columns if c is not None and c.modifier is not None]
    require_columns(frame, named, key="data.modifier_columns", where=where)
    # Only some targets need have a column of signs; none at all means that the ending is mistyped.
    suffix = source.modifier_suffix
    guesses = [None if c is None or suffix is None else c.column + suffix for c in columns]
    if suffix is not None and not any(guess in frame.columns for guess in guesses):
        wanted = next(guess for guess in guesses if guess is not None)
        raise InputError(
            "data.modifier_suffix",
            expected="an ending of columns of the table",
            found=f"{suffix!r}, and no column {wanted!r}",
            where=where,
            hint=did_you_mean(wanted, frame.columns),
        )
    return [
        c.modifier if c is not None and c.modifier else guess if guess in frame.columns else None
        for c, guess in zip(columns, guesses, strict=True)
    ]


def _censoring(
    frame: pl.DataFrame,
    columns: Sequence[ColumnSource | None],
    modifiers: Sequence[str | None],
    where: str,
    rows: pl.Series,
) -> SignArray | None:
    if not any(modifiers):
        return None
    censoring = np.zeros((frame.height, len(columns)), dtype=np.int8)
    for t, (column, modifier) in enumerate(zip(columns, modifiers, strict=True)):
        if column is not None and modifier is not None:
            signs = read_signs(frame, modifier, where=where, rows=rows)
            # A conversion that falls turns an upper bound into a lower one.
            censoring[:, t] = -signs if reverses_order(column.transform) else signs
    return censoring


def _smiles(frame: pl.DataFrame, source: SourceConfig) -> list[str]:
    return frame[source.smiles_column].cast(pl.String).to_list()


def _check_smiles(found: Identities, column: str, where: str, on_bad: OnBadSmiles) -> None:
    if found.bad and on_bad == "error":
        row, text, reason = found.bad[0]
        raise InputError(
            f"column {column!r}",
            expected="SMILES that RDKit parses",
            found=f"{'nothing' if text is None else repr(text)} in row {row + 1} ({reason})",
            where=where,
            hint=f"Rows: {listed([bad.row + 1 for bad in found.bad])} "
            f"({len(found.bad)} of {len(found.blocks)}). --on-bad-smiles drop leaves them out.",
        )
    if len(found.bad) == len(found.blocks):
        raise InputError(
            f"column {column!r}", expected="SMILES", found="no row that parses", where=where
        )


def _dropped(found: Identities, where: str) -> pl.DataFrame:
    return pl.DataFrame(
        [(where, row + 1, text, reason) for row, text, reason in found.bad],
        schema={"source": pl.String, "row": pl.Int64, "smiles": pl.String, "reason": pl.String},
        orient="row",
    )


def _target(
    frame: pl.DataFrame,
    column: ColumnSource,
    molar_mass: FloatArray,
    where: str,
    rows: pl.Series,
) -> FloatArray:
    numbers = number_column(frame, column.column, where=where, rows=rows)
    return transform(
        numbers.fill_null(np.nan).to_numpy().astype(np.float64),
        column.transform,
        molar_mass=molar_mass,
        name=column.column,
        where=where,
        rows=rows,
    )


def _quality(
    frame: pl.DataFrame, source: SourceConfig, column: str | None, where: str, rows: pl.Series
) -> list[str] | None:
    if column is None:
        return None
    if source.quality is not None:
        # A label of the source takes precedence: stacked tables often lack the column.
        return [source.quality] * frame.height
    require_columns(frame, [column], key="joint_sampling.curriculum.quality_col", where=where)
    labels = frame[column].cast(pl.String)
    missing = labels.is_null().arg_true()
    if len(missing):
        rows = rows.gather(missing)
        raise InputError(
            f"column {column!r}",
            expected="a quality label in every row",
            found=f"none in row {rows[0]}",
            where=where,
            hint=f"Rows: {listed(rows.to_list())}." if len(rows) > 1 else None,
        )
    return labels.to_list()


def _times(
    frame: pl.DataFrame, source: SourceConfig, config: DataConfig, where: str
) -> list[Any] | None:
    if config.split_type != "time" or config.time_column is None:
        return None
    # Rows for training only need no time, as they are never split.
    if not source.hold_out:
        return [None] * frame.height
    require_columns(frame, [config.time_column], key="data.time_column", where=where)
    return frame[config.time_column].to_list()


def _origin(frame: pl.DataFrame, source: SourceConfig, where: str, rows: pl.Series) -> pl.DataFrame:
    if source.id_column is not None:
        require_columns(frame, [source.id_column], key="data.id_column", where=where)
        names = frame[source.id_column].cast(pl.String)
    else:
        names = rows.cast(pl.String)
    return pl.DataFrame(
        {
            "id": names,
            "source": pl.repeat(where, frame.height, eager=True, dtype=pl.String),
            "row": rows.cast(pl.Int64),
        }
    )


def _read_source(source: SourceConfig) -> tuple[pl.DataFrame, str]:
    """Return the table of a source and the name by which messages call it."""
    if source.dataset == DEMO:
        from molpool_pipelines.demo import build_demo

        return build_demo(), DEMO
    path = Path(source.path) if source.path else locate(source.dataset or "", source.file)
    return read_table(path), path.name


def _check_tasks(table: MoleculeTable, min_labels: int) -> None:
    labels = np.isfinite(table.targets).sum(axis=0)
    for name, n in zip(table.task_names, labels, strict=True):
        if n < min_labels:
            raise InputError(
                f"task {name!r}",
                expected=f"at least {'two' if min_labels == 2 else min_labels} labels",
                found="no label at all" if n == 0 else "one label" if n == 1 else f"{n} labels",
                hint="Leave it out of data.target_columns.",
            )


def _check_quality(table: MoleculeTable, column: str, qualities: Sequence[str]) -> None:
    for i, label in enumerate(table.quality or []):
        if label not in qualities:
            source, row = table.origin["source"][i], table.origin["row"][i]
            raise InputError(
                f"column {column!r}",
                expected="a label of joint_sampling.curriculum.qualities",
                found=f"{label!r} in row {row}",
                where=source,
                hint=did_you_mean(label, qualities),
            )


def find_task_types(config: TableConfig, table: MoleculeTable) -> tuple[TaskType, ...]:
    """Return the kind of each task of a table.

    Parameters
    ----------
    config : TableConfig
        ``task_types`` by name, before ``task_type`` for all.
    table : MoleculeTable
        With T tasks; one whose labels are all 0 or 1 is classification, where nothing is said.

    Raises
    ------
    InputError
        If a task is unknown, or one of classes has another value or a bound, naming the row.
    """
    for name in config.task_types:
        if name not in table.task_names:
            raise InputError(
                "task_types",
                expected="tasks of data.target_columns",
                found=repr(name),
                hint=did_you_mean(name, table.task_names),
            )
    # Labels that are bounds count here: "< 1" of a class makes no sense either.
    other = np.isfinite(table.targets) & ~np.isin(table.targets, (0.0, 1.0))
    kinds = tuple(
        _kind(config, name, bool(other[:, t].any())) for t, name in enumerate(table.task_names)
    )
    is_class = np.array([kind == "classification" for kind in kinds])
    _refuse_cells(table, other & is_class, "classes 0 and 1 for task_type classification")
    if table.censoring is not None:
        bounds = (table.censoring != 0) & np.isfinite(table.targets)
        _refuse_cells(table, bounds & is_class, "classes without a modifier < or >")
    return kinds


def _kind(config: TableConfig, name: str, has_other: bool) -> TaskType:
    if name in config.task_types:
        return config.task_types[name]
    if config.task_type != "auto":
        return config.task_type
    return "regression" if has_other else "classification"


def _refuse_cells(table: MoleculeTable, bad: BoolArray, expected: str) -> None:
    if bad.any():
        row, task = np.argwhere(bad)[0]
        raise InputError(
            f"task {table.task_names[task]!r}",
            expected=expected,
            found=f"{table.targets[row, task]:g} in row {table.origin['row'][int(row)]}",
            where=table.origin["source"][int(row)],
        )
