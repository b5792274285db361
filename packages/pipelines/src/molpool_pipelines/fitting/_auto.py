"""What `molpool-train auto` chooses for a table of which the user said little."""

from __future__ import annotations

from pathlib import Path

from molpool_common import listed, read_table

from molpool_pipelines.demo import DEMO_TASKS
from molpool_pipelines.fitting._config import TrainAutoConfig
from molpool_pipelines.tables import DEMO, Columns, choose_columns


def choose(config: TrainAutoConfig) -> tuple[TrainAutoConfig, list[str]]:
    """Return the configuration with columns and split, and what was chosen.

    Parameters
    ----------
    config : TrainAutoConfig
        What is named there stays.

    Returns
    -------
    config : TrainAutoConfig
    notes : list of str
        A sentence per choice.

    Raises
    ------
    InputError
        If the table has no column of SMILES, or none of numbers.
    """
    data = config.data
    notes: list[str] = []
    if data.dataset == DEMO and not data.target_columns:
        data = data.model_copy(update={"target_columns": list(DEMO_TASKS)})
    elif config.data_path is not None and not data.target_columns:
        path = Path(config.data_path)
        named = None if data.smiles_column == "SMILES" else data.smiles_column
        columns, notes = choose_columns(
            read_table(path, config.read), Columns(named, data.id_column), path.name
        )
        data = data.model_copy(
            update={"smiles_column": columns.smiles, "target_columns": list(columns.targets)}
        )
        notes.append(f"Tasks: {listed(data.target_columns, 20)}.")
    if config.choose_split and data.split_type == "random":
        split = "scaffold" if data.time_column is None else "time"
        data = data.model_copy(update={"split_type": split})
        notes.append(
            f"Split by {split}: the test molecules are "
            + ("later than" if split == "time" else "of other scaffolds than")
            + " those that train."
        )
    return config.model_copy(update={"data": data}), notes
