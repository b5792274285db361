"""Everything `molpool-evaluate compare` can be told."""

from __future__ import annotations

from typing import Annotated, Literal

import tyro
from molpool_common import ConfigModel
from pydantic import Field

from molpool_pipelines.runs import ColumnsConfig

METRICS_SHOWN = ("ma_rae", "mae", "rmse", "r2", "spearman", "average_precision", "roc_auc")
"""Metrics that are compared unless others are asked for."""


class CompareConfig(ConfigModel):
    """Compare models on the same rows."""

    model_dirs: Annotated[list[str], tyro.conf.arg(metavar="[DIR ...]")] = Field(
        default_factory=list,
        description="saved models; they predict test_data, or bring what they predicted when they "
        "were trained",
    )
    test_data: str | None = Field(
        None, description="table with the truth, which all model_dirs predict"
    )
    predictions: Annotated[list[str], tyro.conf.arg(metavar="[DIR|FILE ...]")] = Field(
        default_factory=list,
        description="run folders or tables of predictions: Parquet, CSV or TSV; with columns "
        "repeat and fold, of repeated folds",
    )
    result_files: Annotated[list[str], tyro.conf.arg(metavar="[FILE ...]")] = Field(
        default_factory=list,
        description="metrics as JSON, of molpool-evaluate score or of runs; of values alone "
        "nothing can be told apart, so that they are compared by the predictions they name",
    )
    names: list[str] = Field(
        default_factory=list,
        description="what to call the models, in the order of model_dirs, predictions and "
        "result_files; by default their folders' or files' names",
    )
    output: str = Field(
        "comparison/comparison.csv",
        description="table to write; beside it go the same name .json, .html, .png and .svg",
    )
    overwrite: bool = Field(False, description="replace the comparison that is there")
    metrics: list[str] = Field(
        list(METRICS_SHOWN),
        description="what to compare by, each on the tasks of its kind; figures show the first",
    )
    side: str | None = Field(
        None,
        description="side to compare: train, val, test or all; by default test where rows have a "
        "side, or val where none is test",
    )
    design: Literal["auto", "test_set", "folds"] = Field(
        "auto",
        description="over the molecules of one test set (paired bootstrap) or over folds (Tukey); "
        "auto: folds where rows have them",
    )
    common_rows: bool = Field(
        False, description="leave out rows that not all models predict, instead of refusing"
    )
    min_labels: int = Field(
        20,
        ge=2,
        description="fewest labels of a task in a test set on which a difference can be told; "
        "tasks with fewer are not in the mean over tasks",
    )
    level: float = Field(
        0.95, gt=0, lt=1, description="coverage of intervals; families of tests err at 1 - level"
    )
    n_bootstrap: int = Field(5000, ge=100, description="resamples of the molecules")
    seed: int = Field(0, ge=0, description="seed of the resamples")
    practical: dict[str, float] = Field(
        default_factory=dict,
        description="smallest difference that matters, by metric: ma_rae 0.05",
    )
    guard: bool = Field(
        True,
        description="on folds, a win needs the corrected resampled t-test too, since folds share "
        "training rows",
    )
    id_column: str | None = Field(
        None, description="column of ids in test_data; by default that of the runs"
    )
    smiles_column: str | None = Field(
        None, description="column of SMILES in test_data; by default that of the runs"
    )
    on_bad_smiles: Literal["error", "drop"] = Field(
        "error", description="rows of test_data whose SMILES do not parse: stop, or leave them out"
    )
    task_types: dict[str, Literal["regression", "classification"]] = Field(
        default_factory=dict,
        description="kind of single tasks; by default classification where all truth is 0 or 1",
    )
    columns: ColumnsConfig = Field(default_factory=ColumnsConfig)
