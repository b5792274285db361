"""Everything `molpool-evaluate predict` and `score` can be told."""

from __future__ import annotations

from typing import Annotated, Literal

import tyro
from molpool_common import ConfigModel
from pydantic import Field

from molpool_pipelines.runs import ColumnsConfig


class ApplicabilityConfig(ConfigModel):
    """How near each molecule is to what the model was trained on."""

    enabled: bool = Field(
        True,
        description="add the highest Tanimoto similarity to a training molecule, and its id; needs "
        "a run folder, whose predictions name the training molecules",
    )
    radius: int = Field(2, ge=0, le=6, description="radius of the Morgan fingerprint, in bonds")
    n_bits: int = Field(2048, ge=64, multiple_of=64, description="length of the fingerprint")


class PredictConfig(ConfigModel):
    """Predict the molecules of a table with a saved model."""

    model_dir: str | None = Field(
        None,
        description="run folder of molpool-train chemprop or mil, folder of an ensemble, or model "
        "file",
    )
    data_path: str | None = Field(
        None,
        description="table of molecules: CSV or TSV, gzipped or not, or Parquet; for a model over "
        "bags of kind bags, a row an instance",
    )
    output: str | None = Field(
        None,
        description="file to write, .parquet or .csv; by default DATA_predictions.parquet in the "
        "working folder",
    )
    overwrite: bool = Field(False, description="replace the output that is there")
    smiles_column: str | None = Field(
        None, description="column of SMILES; by default that of the run's configuration, or SMILES"
    )
    id_column: str | None = Field(
        None,
        description="column of ids; by default that of the run's configuration, where there is one",
    )
    features_3d: str | None = Field(
        None,
        description="for models over bags of kind features: table with a row a conformer; by "
        "default that of the run",
    )
    features_2d: str | None = Field(
        None, description="likewise: table with a row a molecule; by default that of the run"
    )
    batch_size: int = Field(
        256, ge=1, description="molecules predicted at a time; no prediction depends on it"
    )
    chunk_rows: int = Field(
        2048, ge=1, description="rows held in memory at a time; no prediction depends on it"
    )
    threads: int | None = Field(
        None, ge=1, description="threads; by default as many as there are cores to run on"
    )
    on_bad_smiles: Literal["error", "null"] = Field(
        "null",
        description="SMILES that do not parse: stop, or keep the row without predictions",
    )
    applicability: ApplicabilityConfig = Field(default_factory=ApplicabilityConfig)


class ScoreConfig(ConfigModel):
    """Score predictions against the truth."""

    predictions: Annotated[str | None, tyro.conf.arg(metavar="DIR|FILE")] = Field(
        None, description="run folder, or table of predictions: Parquet, CSV or TSV"
    )
    model_dir: str | None = Field(
        None, description="instead of predictions: a saved model, which predicts data_path first"
    )
    data_path: str | None = Field(
        None,
        description="table with the truth, by id and in the units of the predictions; by default "
        "it stands beside the predictions",
    )
    save_dir: str | None = Field(
        None, description="folder to write to; by default scores/NAME-TIME of the predictions"
    )
    overwrite: bool = Field(False, description="replace the scores in save_dir")
    side: str | None = Field(
        None,
        description="side to score: train, val, test or all; by default test where rows have a "
        "side, or val where none is test",
    )
    train_path: str | None = Field(
        None,
        description="table or run folder whose molecules count as known, for novelty; by default "
        "the train side of the predictions",
    )
    n_bootstrap: int = Field(1000, ge=0, description="bootstrap resamples; 0: no intervals")
    level: float = Field(0.95, gt=0, lt=1, description="coverage of the intervals")
    seed: int = Field(0, ge=0, description="seed of the resamples")
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
        description="kind of single tasks; by default classification where all truth is 0 or 1",
    )
    columns: ColumnsConfig = Field(default_factory=ColumnsConfig)
