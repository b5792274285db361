"""Other tables read as a run of a model read its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from molpool_common import InputError, MoleculeTable, ScaleName, table_header, validate_values

from molpool_pipelines.models._config import PredictConfig
from molpool_pipelines.models._files import run_section
from molpool_pipelines.tables import DataConfig, load_molecules


def data_as_run(
    section: Mapping[str, Any],
    tasks: Sequence[str],
    id_column: str | None,
    smiles_column: str | None,
    transform: Mapping[str, ScaleName] | None = None,
) -> DataConfig:
    """Return a run's own section ``data``, for some of its tasks and another table.

    Parameters
    ----------
    section : mapping
        Of the run.
    tasks : sequence of str
        What to read.
    id_column : str or None
        Of the other table.
    smiles_column : str or None
        Likewise; by default that of the run.
    transform : mapping of str to str, optional
        Scales; by default values are read in the units of the table.
    """
    of_tasks = {
        key: {t: v for t, v in (section.get(key) or {}).items() if t in tasks}
        for key in ("transforms", "modifier_columns")
    }
    own = smiles_column or section.get("smiles_column")
    return validate_values(
        DataConfig,
        {
            # Of the default another table may have another spelling.
            **({"smiles_column": own} if smiles_column or own not in (None, "SMILES") else {}),
            "target_columns": list(tasks),
            "id_column": id_column,
            "modifier_suffix": section.get("modifier_suffix"),
            "cache_dir": section.get("cache_dir") or "auto",
            "transform": dict(transform or {}),
            **of_tasks,
        },
    )


def measured_again(
    config: PredictConfig, path: Path, tasks: Sequence[str], scales: Sequence[ScaleName]
) -> MoleculeTable:
    """Return newly measured molecules, on the scales of a model.

    Parameters
    ----------
    config : PredictConfig
        Names their table.
    path : Path
        The model.
    tasks, scales : sequence of str, length T
        Its tasks and their scales.

    Raises
    ------
    InputError
        If the table has no column of any task.
    """
    table = Path(config.recalibrate or "")
    header = table_header(table, "recalibrate", config.read)
    there = [task for task in tasks if task in header]
    if not there:
        raise InputError(
            "--recalibrate",
            expected=f"columns of measured values, of {', '.join(tasks)}",
            found=f"columns {', '.join(header)}",
            where=table.name,
        )
    transform = dict(zip(tasks, scales, strict=True))
    data = data_as_run(
        run_section(path, "data"),
        there,
        None,
        config.smiles_column,
        {task: transform[task] for task in there},
    )
    read = load_molecules(data, str(table), on_bad_smiles="drop", min_labels=0, read=config.read)
    return _all_tasks(read, there, tasks)


def _all_tasks(table: MoleculeTable, there: Sequence[str], tasks: Sequence[str]) -> MoleculeTable:
    """Return the rows with a column of each task, empty where the table has none."""
    places = [tasks.index(task) for task in there]
    targets = np.full((len(table), len(tasks)), np.nan)
    targets[:, places] = table.targets
    signs = None
    if table.censoring is not None:
        signs = np.zeros(targets.shape, dtype=np.int8)
        signs[:, places] = table.censoring
    return replace(table, task_names=tuple(tasks), targets=targets, censoring=signs, scales=())
