"""What `molpool-train auto` chooses for a table of which the user said little."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import polars as pl
from molpool_common import (
    SCALE_WORDS,
    InputError,
    ScaleName,
    listed,
    measured_column,
    murcko_scaffolds,
    parse_smiles,
    read_table,
    smiles_column_of,
    text_column,
)

from molpool_pipelines.fitting._config import TrainAutoConfig
from molpool_pipelines.tables import (
    DataConfig,
    SplitType,
    suggested_scale,
    with_tasks,
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
    """Return the configuration with columns, split and scales of tasks, and what was chosen.

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
    config, notes = with_tasks(config)
    data = config.data

    @cache
    def table() -> pl.DataFrame:
        assert config.data_path is not None
        return read_table(Path(config.data_path), config.read)

    given = data.split_column or data.split_file or data.test_path
    if config.choose_split and not given:
        if data.split_type == "random":
            data = data.model_copy(update={"split_type": _split(config, data, table)})
        # Also of a run that is resumed, which was told the split that it had chosen.
        if data.split_type in _WORDS:
            notes.append(f"Split {_WORDS[data.split_type]}.")
    if config.choose_scale and config.data_path is not None and not data.transform:
        data = data.model_copy(update={"transform": _scales(data, table())})
        for scale in dict.fromkeys(data.transform.values()):
            tasks = [task for task, own in data.transform.items() if own == scale]
            notes.append(
                f"Learnt as {SCALE_WORDS[scale]}, as few values are many times the others: "
                f"{listed(tasks)}. Predictions are in the table's unit."
            )
    return config.model_copy(update={"data": data}), notes


def _scales(data: DataConfig, frame: pl.DataFrame) -> dict[str, ScaleName]:
    """Return the scales of the tasks whose labels are far from symmetric."""
    found: dict[str, ScaleName] = {}
    for task in data.target_columns:
        if task in data.transforms:
            continue
        try:
            values = measured_column(frame, task, where="").values
        except (InputError, pl.exceptions.ColumnNotFoundError):
            continue  # what reads the table says what is wrong
        scale = suggested_scale(values.cast(pl.Float64).to_numpy())
        if scale != "none":
            found[task] = scale
    return found


def _split(
    config: TrainAutoConfig, data: DataConfig, table: Callable[[], pl.DataFrame]
) -> SplitType:
    """Return the split that is nearest to how new molecules come."""
    if data.time_column is not None:
        return "time"
    if config.data_path is None:
        return "scaffold"
    frame = table().head(_LOOKED_AT)
    given = data.is_given("smiles_column")
    column = smiles_column_of(frame.columns, data.smiles_column, given=given)
    if column not in frame.columns:
        return "scaffold"  # what reads the table says that the column is missing
    smiles = text_column(frame, column, where=Path(config.data_path).name).to_list()
    mols = [mol for mol in parse_smiles(smiles).mols if mol is not None]
    distinct = len(set(murcko_scaffolds(mols)))
    # A series on a few scaffolds cannot be divided by them.
    return "scaffold" if distinct >= _LEAST_SCAFFOLDS else "random"
