"""What saved models say of one test table, beside its truth."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import polars as pl
from molpool_common import InputError, read_table, require_columns, validate_values
from rich.console import Console

from molpool_pipelines.models import predict_table, run_section
from molpool_pipelines.scores.comparison.config import CompareConfig
from molpool_pipelines.scores.config import ApplicabilityConfig, PredictConfig
from molpool_pipelines.scores.prediction_table import Predictions
from molpool_pipelines.scores.predictions import read_predictions
from molpool_pipelines.tables import DataConfig, exact_labels, load_molecules


def predict_test_data(config: CompareConfig, model: Path) -> Predictions:
    """Predict the test table with one model.

    Parameters
    ----------
    config : CompareConfig
        Names the table and its columns.
    model : Path
        Saved model.

    Returns
    -------
    Predictions
        By the table's ids, or by row numbers where it has none.

    Raises
    ------
    InputError, ChempropError, MILError
        If model or table are wrong, or a molecule with a label has no prediction.
    """
    assert config.test_data is not None
    with tempfile.TemporaryDirectory(prefix="molpool-") as folder:
        predicted, truth = Path(folder) / "predictions.parquet", Path(folder) / "test.parquet"
        _truth(config, model).write_parquet(truth)
        predict_table(
            PredictConfig(
                model_dir=str(model),
                data_path=str(truth),
                output=str(predicted),
                smiles_column=config.smiles_column,
                id_column="id",
                applicability=ApplicabilityConfig(enabled=False),
            ),
            console=Console(quiet=True),
        )
        columns = config.columns.model_copy(update={"id": "id"})
        return read_predictions(
            predicted, columns=columns, truth=truth, task_types=config.task_types
        )


def _truth(config: CompareConfig, model: Path) -> pl.DataFrame:
    """Return the table with ids in a column ``id`` and the truth in the run's units."""
    path = Path(config.test_data or "")
    table = read_table(path)
    section = run_section(model, "data")
    name = config.id_column or section.get("id_column")
    if config.id_column is not None:
        require_columns(table, [config.id_column], key="--id-column", where=path.name)
    if table.height == 0:
        raise InputError("test_data", expected="rows", found="none", where=path.name)
    if section.get("target_columns"):
        return _as_trained(config, section, path, name if name in table.columns else None)
    if name in table.columns:
        ids = table[name].cast(pl.String)
    elif "id" in table.columns:
        return table
    else:
        ids = pl.Series(range(1, table.height + 1)).cast(pl.String)
    return table.drop("id", strict=False).with_columns(ids.alias("id"))


def _as_trained(
    config: CompareConfig, section: dict[str, Any], path: Path, name: str | None
) -> pl.DataFrame:
    """Return the truth as the run read its own: converted, bounds left out."""
    tasks = config.columns.tasks or section["target_columns"]
    kept = {
        key: {t: v for t, v in (section.get(key) or {}).items() if t in tasks}
        for key in ("transforms", "modifier_columns")
    }
    data = validate_values(
        DataConfig,
        {
            "smiles_column": config.smiles_column or section.get("smiles_column") or "SMILES",
            "target_columns": list(tasks),
            "id_column": name,
            "modifier_suffix": section.get("modifier_suffix"),
            "cache_dir": section.get("cache_dir") or "auto",
            **kept,
        },
    )
    read = load_molecules(data, str(path), on_bad_smiles=config.on_bad_smiles, min_labels=0)
    exact = exact_labels(read.targets, read.censoring)
    ids = read.origin["id"] if name is not None else read.origin["row"].cast(pl.String)
    truth = pl.DataFrame(exact, schema=list(read.task_names)).fill_nan(None)
    return truth.with_columns(
        ids.cast(pl.String).alias("id"), pl.Series(data.smiles_column, read.smiles)
    )
