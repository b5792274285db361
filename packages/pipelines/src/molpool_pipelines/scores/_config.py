"""What scoring and comparing can be asked: keys of `molpool-evaluate score` and `compare`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

import tyro
from molpool_common import PATH, TRUST, ConfigModel, ReadConfig, Seed, short_flag
from pydantic import Field, model_validator

from molpool_pipelines.runs import ACCEPT_CHANGED_TABLE, ColumnsConfig
from molpool_pipelines.tables import ON_BAD_SMILES, OnBadSmiles

Join = Literal["auto", "id", "structure", "row"]
"""What tells rows of two tables."""


class ScoreConfig(ConfigModel):
    """Score predictions against the truth."""

    earlier_keys: ClassVar[Mapping[str, str]] = {"side": "split"}

    predictions: Annotated[str | None, PATH, tyro.conf.arg(metavar="DIR|FILE")] = Field(
        None, description="run folder, or table of predictions: Parquet, CSV or TSV"
    )
    model_dir: Annotated[str | None, PATH, short_flag("--run")] = Field(
        None, description="instead of predictions: a saved model, which predicts data_path first"
    )
    trust_checkpoint: bool = Field(False, description=TRUST)
    data_path: Annotated[str | None, PATH] = Field(
        None,
        description="table with the truth, in the units of the predictions; by default it stands "
        "beside the predictions. Tasks of which it has no column are not scored",
    )
    join: Join = Field(
        "auto",
        description="what tells the rows of data_path: id, structure (equal SMILES, however "
        "written) or row, their order; auto: ids where both tables have them, else structures",
    )
    standardize: Literal["none", "parent", "tautomer"] = Field(
        "parent",
        description="structure by which rows of data_path are joined that have no prediction of "
        "their own structure: none; the parent, as of a salt and its base; or its tautomer",
    )
    on_bad_smiles: OnBadSmiles = Field("error", description=ON_BAD_SMILES)
    accept_changed_table: bool = Field(False, description=ACCEPT_CHANGED_TABLE)
    save_dir: Annotated[str | None, PATH] = Field(
        None, description="folder to write to; by default scores/NAME-TIME of the predictions"
    )
    output: Annotated[str | None, PATH] = Field(
        None,
        description="table of the scored rows, measured and predicted: .parquet, .csv, .tsv, .xlsx "
        "or .sdf",
    )
    overwrite: bool = Field(
        False, description="replace the scores in save_dir, and the output that is there"
    )
    split: str | None = Field(
        None,
        description="split to score: train, val, test or all; by default test where rows have a "
        "split, or val where none is test",
    )
    train_path: Annotated[str | None, PATH] = Field(
        None,
        description="table or run folder whose molecules count as known, for novelty; by default "
        "the training rows of the predictions",
    )
    n_bootstrap: int = Field(1000, ge=0, description="bootstrap resamples; 0: no intervals")
    level: float = Field(0.95, gt=0, lt=1, description="coverage of the intervals")
    seed: Seed = Field(0, description="seed of the resamples")
    min_rows: int = Field(10, ge=2, description="fewest labels of a stratum that is scored")
    similarity_bins: list[float] = Field(
        default_factory=lambda: [0.3, 0.5, 0.7],
        description="ends of the bins of similarity to the nearest training molecule",
    )
    label_bins: list[int] = Field(
        default_factory=lambda: [100, 1000],
        description="ends of the bins of tasks by their number of training labels",
    )
    task_types: dict[str, Literal["regression", "classification"]] = Field(
        default_factory=dict,
        description="kind of single tasks; by default as the model says, or of a table that no "
        "model comes with, classification where all truth is 0 or 1",
    )
    read: ReadConfig = Field(default_factory=ReadConfig)
    columns: ColumnsConfig = Field(default_factory=ColumnsConfig)


DEFAULT_METRICS = ("ma_rae", "mae", "rmse", "r2", "spearman", "average_precision", "roc_auc")
"""Metrics that are compared unless others are asked for."""


class CompareConfig(ConfigModel):
    """Compare models on the same rows."""

    earlier_keys: ClassVar[Mapping[str, str]] = {"side": "split"}

    model_dirs: Annotated[list[str], PATH, tyro.conf.arg(metavar="[DIR ...]")] = Field(
        default_factory=list,
        description="saved models; they predict test_data, or bring what they predicted when they "
        "were trained",
    )
    test_data: Annotated[str | None, PATH] = Field(
        None, description="table with the truth, which all model_dirs predict"
    )
    trust_checkpoint: bool = Field(False, description=TRUST)
    predictions: Annotated[list[str], PATH, tyro.conf.arg(metavar="[DIR|FILE ...]")] = Field(
        default_factory=list,
        description="run folders or tables of predictions: Parquet, CSV or TSV; with columns "
        "repeat and fold, of repeated folds",
    )
    result_files: Annotated[list[str], PATH, tyro.conf.arg(metavar="[FILE ...]")] = Field(
        default_factory=list,
        description="metrics as JSON, of molpool-evaluate score or of runs; of values alone "
        "no difference is significant, so that they are compared by the predictions they name",
    )
    names: list[str] = Field(
        default_factory=list,
        description="what to call the models, in the order of model_dirs, predictions and "
        "result_files; by default their folders' or files' names",
    )
    output: Annotated[str, PATH] = Field(
        "comparison/comparison.csv",
        description="table to write: .csv, .tsv, .parquet or .xlsx; beside it go the same name "
        ".json, .html, .png and .svg",
    )
    overwrite: bool = Field(False, description="replace the comparison that is there")
    metrics: list[str] = Field(
        list(DEFAULT_METRICS),
        description="what to compare by, each on the tasks of its kind; figures show the first",
    )
    split: str | None = Field(
        None,
        description="split to compare: train, val, test or all; by default test where rows have a "
        "split, or val where none is test",
    )
    design: Literal["auto", "test_set", "folds"] = Field(
        "auto",
        description="over the molecules of one test set (paired bootstrap) or over folds (Tukey); "
        "auto: folds where rows have them",
    )
    join: Join = Field(
        "auto",
        description="what tells the rows of the models: id, structure (equal SMILES, however "
        "written) or row, their order; auto: ids, or structures where ids are of other molecules",
    )
    common_rows: bool = Field(
        False, description="leave out rows that not all models predict, instead of refusing"
    )
    min_labels: int = Field(
        20,
        ge=2,
        description="fewest labels of a task in a test set on which differences are tested; "
        "tasks with fewer are not in the mean over tasks",
    )
    level: float = Field(
        0.95, gt=0, lt=1, description="coverage of intervals; families of tests err at 1 - level"
    )
    n_bootstrap: int = Field(
        5000,
        ge=100,
        description="resamples of the molecules for the differences; values have the interval of "
        "the first 1000, as everywhere",
    )
    seed: Seed = Field(0, description="seed of the resamples")
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
    on_bad_smiles: OnBadSmiles = Field("error", description=ON_BAD_SMILES)
    task_types: dict[str, Literal["regression", "classification"]] = Field(
        default_factory=dict,
        description="kind of single tasks; by default as the model says, or of a table that no "
        "model comes with, classification where all truth is 0 or 1",
    )
    read: ReadConfig = Field(default_factory=ReadConfig)
    columns: ColumnsConfig = Field(default_factory=ColumnsConfig)

    @model_validator(mode="after")
    def _without_strata(self) -> Self:
        if self.columns.strata:
            raise ValueError(
                "columns.strata: expected none, as models are compared on all rows together; found "
                f"{', '.join(self.columns.strata)}. molpool-evaluate score shows each stratum."
            )
        return self
