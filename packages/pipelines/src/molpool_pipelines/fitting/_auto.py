"""What `molpool-train auto` chooses for a table of which the user said little."""

from __future__ import annotations

from pathlib import Path

from molpool_common import listed, murcko_scaffolds, parse_smiles, read_table

from molpool_pipelines.demo import DEMO_TASKS
from molpool_pipelines.fitting._config import TrainAutoConfig
from molpool_pipelines.tables import (
    DEMO,
    Columns,
    DataConfig,
    SplitType,
    choose_columns,
)

_LEAST_SCAFFOLDS = 30
"""Scaffolds from which a table is split by them."""

_WORDS = {
    "time": "by time: the test molecules are later than those that train",
    "scaffold": "by scaffold: the test molecules are of other scaffolds than those that train",
    "random": f"at random, as fewer than {_LEAST_SCAFFOLDS} scaffolds cannot be divided",
}

_LOOKED_AT = 2_000
"""Rows whose scaffolds are counted."""


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
    given = data.split_column or data.split_file or data.test_path
    if config.choose_split and not given:
        if data.split_type == "random":
            data = data.model_copy(update={"split_type": _split(config, data)})
        # Also of a run that is resumed, which was told the split that it had chosen.
        if data.split_type in _WORDS:
            notes.append(f"Split {_WORDS[data.split_type]}.")
    return config.model_copy(update={"data": data}), notes


def _split(config: TrainAutoConfig, data: DataConfig) -> SplitType:
    """Return the split that is nearest to how new molecules come."""
    if data.time_column is not None:
        return "time"
    if config.data_path is None:
        return "scaffold"
    frame = read_table(Path(config.data_path), config.read).head(_LOOKED_AT)
    if data.smiles_column not in frame.columns:
        return "scaffold"  # what reads the table says that the column is missing
    smiles = frame[data.smiles_column].cast(str).to_list()
    mols = [mol for mol in parse_smiles(smiles).mols if mol is not None]
    distinct = len(set(murcko_scaffolds(mols)))
    # A series on a few scaffolds cannot be divided by them.
    return "scaffold" if distinct >= _LEAST_SCAFFOLDS else "random"
