"""From tables to one validated set of molecules with targets, quality and times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from molpool_common import InputError, MoleculeTable, did_you_mean, stack

from molpool_pipelines.tables.config import ColumnSource, DataConfig, SourceConfig
from molpool_pipelines.tables.source import OnBadSmiles, load_source


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
    if not config.target_columns:
        raise InputError("data.target_columns", expected="at least one column", found="none")
    _check_one_origin(config, data_path)
    sources = config.sources or [_single_source(config, data_path)]
    table = stack([load_source(s, config, quality_column, on_bad_smiles) for s in sources])
    _check_tasks(table, min_labels)
    if quality_column is not None:
        _check_quality(table, quality_column, qualities)
    return table


def _check_one_origin(config: DataConfig, data_path: str | None) -> None:
    given = {
        "data_path": data_path is not None,
        "data.dataset": config.dataset is not None,
        "data.sources": bool(config.sources),
    }
    found = [name for name, there in given.items() if there]
    if config.sources and (config.modifier_columns or config.modifier_suffix is not None):
        raise InputError(
            "data.modifier_columns",
            expected="modifiers where the columns are named: columns.TARGET.modifier, or "
            "modifier_suffix, of each of data.sources",
            found="them beside data.sources",
        )
    if len(found) != 1:
        raise InputError(
            "data_path",
            expected="one of data_path (--data-path FILE), data.dataset and data.sources",
            found=" and ".join(found) or "none of them",
        )


def _single_source(config: DataConfig, data_path: str | None) -> SourceConfig:
    columns: dict[str, str | ColumnSource] = {
        t: ColumnSource(
            column=t,
            transform=config.transforms.get(t, []),
            modifier=config.modifier_columns.get(t),
        )
        for t in config.target_columns
    }
    return SourceConfig(
        path=data_path,
        dataset=config.dataset,
        file=config.file,
        smiles_column=config.smiles_column,
        id_column=config.id_column,
        columns=columns,
        modifier_suffix=config.modifier_suffix,
    )


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
