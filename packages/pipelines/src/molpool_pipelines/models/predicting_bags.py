"""Predict bags whose features stand in tables; these fit into memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from molpool_common import InputError

from molpool_pipelines.models.predicted_columns import prediction_columns
from molpool_pipelines.models.saved import run_section
from molpool_pipelines.scores import PredictConfig


def has_tables(path: Path) -> bool:
    """Return whether a model over bags takes features from tables, not from SMILES."""
    return str(run_section(path, "data").get("kind", "smiles")) != "smiles"


def predict_bags(config: PredictConfig, path: Path) -> pl.DataFrame:
    """Return the predictions of a table's bags.

    Parameters
    ----------
    config : PredictConfig
        Names the table and, for kind ``features``, those of features.
    path : Path
        Run folder of a model over bags, or folder of an ensemble of them.

    Returns
    -------
    DataFrame
        ``row`` (of the bag, from 1), ``id``, ``SMILES`` where the table has them; of each task
        ``TASK predicted``, ``TASK_sd`` and ``TASK decision`` where the model has these;
        ``instances``, how many a bag has; ``error``, always null: a bag that cannot be
        predicted stops all.

    Raises
    ------
    InputError, MILError
        If the tables do not fit the model.
    """
    from mil_attn import MILConfig, read_bags

    from molpool_pipelines.models.saved_mil import MILSaved

    model = MILSaved.load(path)
    assert config.data_path is not None
    section = model.data.model_copy(update=_tables(config, model))
    tasks = MILConfig(task_kind=model.task_types[0])
    bags = read_bags(config.data_path, section, tasks, labelled=False)
    found = model.predict_bags(bags, config.batch_size)
    columns = [
        pl.Series("row", range(1, len(bags) + 1), dtype=pl.Int64),
        pl.Series("id", bags.ids, dtype=pl.String),
    ]
    if bags.smiles is not None:
        columns.append(pl.Series("SMILES", bags.smiles, dtype=pl.String))
    columns += prediction_columns(model.task_names, found, np.arange(len(bags)), len(bags))
    columns.append(pl.Series("instances", bags.sizes, dtype=pl.Int64))
    columns.append(pl.Series("error", [None] * len(bags), dtype=pl.String))
    return pl.DataFrame(columns)


def _tables(config: PredictConfig, model: Any) -> Mapping[str, Any]:
    """Return what the ``data`` section of the run says otherwise for this table."""
    update: dict[str, Any] = {}
    if config.id_column is not None:
        update["id_column"] = config.id_column
    if config.smiles_column is not None:
        update["smiles_column"] = config.smiles_column
    scaler = model.module.scaler
    if model.data.kind == "bags" and scaler is not None and scaler.instances is not None:
        # Else all columns but ids would be features, the labels of a table that has them too.
        update["feature_columns"] = list(scaler.instances.names)
    for key in ("features_3d", "features_2d"):
        given, trained = getattr(config, key), getattr(model.data, key)
        if given is not None and trained is None:
            raise InputError(
                f"--{key.replace('_', '-')}",
                expected=f"none: the model has no {key}",
                found=repr(given),
            )
        if given is not None:
            update[key] = given
    return update
