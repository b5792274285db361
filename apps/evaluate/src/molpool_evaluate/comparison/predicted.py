"""What saved models say of one test table, beside its truth."""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl
from molpool_common.errors import InputError
from molpool_common.table import read_table, require_columns

from molpool_evaluate.comparison.config import CompareConfig
from molpool_evaluate.config import ApplicabilityConfig, PredictConfig
from molpool_evaluate.models import run_section
from molpool_evaluate.prediction_table import Predictions
from molpool_evaluate.predicting import predict_table
from molpool_evaluate.predictions import read_predictions


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
            )
        )
        columns = config.columns.model_copy(update={"id": "id"})
        return read_predictions(
            predicted, columns=columns, truth=truth, task_types=config.task_types
        )


def _truth(config: CompareConfig, model: Path) -> pl.DataFrame:
    """Return the table with ids in a column ``id``."""
    path = Path(config.test_data or "")
    table = read_table(path)
    name = config.id_column or run_section(model, "data").get("id_column")
    if config.id_column is not None:
        require_columns(table, [config.id_column], key="--id-column", where=path.name)
    if name in table.columns:
        ids = table[name].cast(pl.String)
    elif "id" in table.columns:
        return table
    else:
        ids = pl.Series(range(1, table.height + 1)).cast(pl.String)
    if table.height == 0:
        raise InputError("test_data", expected="rows", found="none", where=path.name)
    return table.drop("id", strict=False).with_columns(ids.alias("id"))
