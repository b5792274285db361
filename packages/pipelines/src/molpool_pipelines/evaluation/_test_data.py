"""A table of measured values as a test set: predicted by saved models, compared with training."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl
from molpool_common import (
    InputError,
    ReadConfig,
    TaskType,
    cache_folder,
    read_table,
    require_columns,
    validate_values,
)

from molpool_pipelines.models import (
    ApplicabilityConfig,
    PredictConfig,
    predict_table,
    run_section,
)
from molpool_pipelines.runs import ColumnsConfig
from molpool_pipelines.scores import (
    Predictions,
    read_predictions,
    training_molecules,
)
from molpool_pipelines.tables import DataConfig, exact_labels, identify, load_molecules


def predict_test_data(
    model: Path,
    test_data: str | Path,
    *,
    columns: ColumnsConfig,
    task_types: Mapping[str, TaskType],
    id_column: str | None = None,
    smiles_column: str | None = None,
    on_bad_smiles: Literal["error", "drop"] = "error",
    read: ReadConfig | None = None,
) -> Predictions:
    """Predict a test table with one model.

    Parameters
    ----------
    model : Path
        Saved model.
    test_data : str or Path
        Table with SMILES and the truth.
    columns : ColumnsConfig
        How columns are called.
    task_types : mapping of str to {"regression", "classification"}
        Kind of single tasks.
    id_column, smiles_column : str, optional
        Of the table; by default those of the run.
    on_bad_smiles : {"error", "drop"}
        What to do with rows whose SMILES do not parse.
    read : ReadConfig, optional
        What is known of the file.

    Returns
    -------
    Predictions
        By the table's ids, or by row numbers where it has none.

    Raises
    ------
    InputError, ChempropError, MILError
        If model or table are wrong, or a molecule with a label has no prediction.
    """
    # By way of files: the predictor reads tables in chunks, and is the same that the user's command
    # runs.
    with tempfile.TemporaryDirectory(prefix="molpool-") as folder:
        predicted, truth = Path(folder) / "predictions.parquet", Path(folder) / "test.parquet"
        table = _truth(
            model, Path(test_data), columns.tasks, id_column, smiles_column, on_bad_smiles, read
        )
        table.write_parquet(truth)
        predict_table(
            PredictConfig(
                model_dir=str(model),
                data_path=str(truth),
                output=str(predicted),
                smiles_column=smiles_column,
                id_column="id",
                # Not asked for here, and a search of all training molecules.
                applicability=ApplicabilityConfig(enabled=False),
            )
        )
        by_id = columns.model_copy(update={"id": "id"})
        return read_predictions(predicted, columns=by_id, truth=truth, task_types=task_types)


def _truth(
    model: Path,
    path: Path,
    tasks: Sequence[str],
    id_column: str | None,
    smiles_column: str | None,
    on_bad_smiles: Literal["error", "drop"],
    read: ReadConfig | None,
) -> pl.DataFrame:
    """Return the table with ids in a column ``id`` and the truth in the run's units."""
    table = read_table(path, read, key="test_data")
    section = run_section(model, "data")
    name = id_column or section.get("id_column")
    if id_column is not None:
        require_columns(table, [id_column], key="--id-column", where=path.name)
    if table.height == 0:
        raise InputError("test_data", expected="rows", found="none", where=path.name)
    # The run's conversions apply to the test table too: predictions are in the units of training.
    if section.get("target_columns"):
        data = _data_config(section, tasks, name if name in table.columns else None, smiles_column)
        return _as_trained(data, path, on_bad_smiles, read)
    if name in table.columns:
        ids = table[name].cast(pl.String)
    elif "id" in table.columns:
        return table
    else:
        ids = pl.Series(range(1, table.height + 1)).cast(pl.String)
    return table.drop("id", strict=False).with_columns(ids.alias("id"))


def _data_config(
    section: Mapping[str, Any], tasks: Sequence[str], name: str | None, smiles_column: str | None
) -> DataConfig:
    """Return the run's own section, for some of its tasks and another table."""
    tasks = tasks or section["target_columns"]
    of_tasks = {
        key: {t: v for t, v in (section.get(key) or {}).items() if t in tasks}
        for key in ("transforms", "modifier_columns")
    }
    return validate_values(
        DataConfig,
        {
            "smiles_column": smiles_column or section.get("smiles_column") or "SMILES",
            "target_columns": list(tasks),
            "id_column": name,
            "modifier_suffix": section.get("modifier_suffix"),
            "cache_dir": section.get("cache_dir") or "auto",
            **of_tasks,
        },
    )


def _as_trained(
    data: DataConfig,
    path: Path,
    on_bad_smiles: Literal["error", "drop"],
    read_as: ReadConfig | None,
) -> pl.DataFrame:
    """Return the truth as the run read its own: converted, bounds left out."""
    read = load_molecules(data, str(path), on_bad_smiles=on_bad_smiles, min_labels=0, read=read_as)
    exact = exact_labels(read.targets, read.censoring)
    ids = read.origin["id" if data.id_column is not None else "row"].cast(pl.String)
    truth = pl.DataFrame(exact, schema=list(read.task_names)).fill_nan(None)
    return truth.with_columns(ids.alias("id"), pl.Series(data.smiles_column, read.smiles))


def overlap_notes(
    models: Sequence[Path], tested: Sequence[Predictions], names: Sequence[str]
) -> list[str]:
    """Say which models were trained on molecules that they are tested on.

    Parameters
    ----------
    models : sequence of Path
        Saved models; a run folder names its training molecules, others do not.
    tested : sequence of Predictions
        Of each, with SMILES.
    names : sequence of str
        What they are called.

    Returns
    -------
    list of str
        A note per model; stereoisomers count as one molecule, as in splits.
    """
    notes = []
    for path, found, name in zip(models, tested, names, strict=True):
        known = training_molecules(path) if path.is_dir() else None
        if known is None or found.smiles is None:
            continue
        cache = cache_folder(run_section(path, "data").get("cache_dir"))
        # By connectivity, as for splits: the SMILES of two tables need not be written alike.
        trained = set(identify(known.smiles, cache).blocks.tolist()) - {""}
        n = sum(b in trained for b in identify(found.smiles.tolist(), cache).blocks.tolist())
        if n:
            notes.append(
                f"{name} was trained on {n} of the {len(found)} test molecules: it looks better "
                "than it is."
            )
    return notes
