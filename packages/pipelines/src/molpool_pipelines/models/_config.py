"""What `predict_table` can be asked: keys of `molpool-evaluate predict`."""

from __future__ import annotations

from typing import Annotated, Literal

import tyro
from molpool_common import PATH, TRUST, ConfigModel, ReadConfig, short_flag
from pydantic import Field, field_validator

from molpool_pipelines.tables import ON_BAD_SMILES, OnBadSmiles


class ApplicabilityConfig(ConfigModel):
    """How near each molecule is to what the model was trained on."""

    enabled: bool = Field(
        True,
        description="add the highest Tanimoto similarity to a training molecule, and its id; needs "
        "a run folder, whose predictions name the training molecules",
    )
    threshold: float = Field(
        0.3,
        ge=0,
        le=1,
        description="similarity below which a molecule counts as outside the model's domain",
    )
    radius: int = Field(2, ge=0, le=6, description="radius of the Morgan fingerprint, in bonds")
    n_bits: int = Field(2048, ge=64, multiple_of=64, description="length of the fingerprint")


LEVEL = 0.9
"""Share of new molecules that intervals cover unless another level is asked for."""


LEAST_OF_STRATUM = 19
"""Calibration rows of a task from which a stratum has its own intervals, as many as 95 % needs."""

ShiftKind = Literal["none", "similarity", "structure"]
"""By what calibration rows are weighted toward the new molecules."""

SHIFT = (
    "weigh the molecules that calibrate by how much more often their like is among the new ones: "
    "by their similarity to training molecules, or by that and their structure; widths then "
    "answer to a shift of the molecules, at the price of fewer that count"
)

Combination = Literal["mean", "blend", "none"]
"""What becomes of the predictions of several models."""


class FeatureFilesConfig(ConfigModel):
    """Files of features that Chemprop models take beside their own, a row for each of the table."""

    descriptors_path: Annotated[str | None, PATH] = Field(
        None,
        description="for Chemprop: .npz or .npy with a row of descriptors, which the predictor "
        "takes beside the learned fingerprint, for each row of the table",
    )
    atom_features_path: Annotated[str | None, PATH] = Field(
        None,
        description="for Chemprop: .npz with an array for each row of the table (arr_0, arr_1, "
        "...), whose rows are features of the molecule's atoms in the order of its SMILES; the "
        "message passing takes them beside its own",
    )
    bond_features_path: Annotated[str | None, PATH] = Field(
        None, description="likewise, of the molecule's bonds in RDKit's order"
    )

    @property
    def files(self) -> list[str]:
        """Keys of the files that are named."""
        return [key for key in FeatureFilesConfig.model_fields if getattr(self, key) is not None]


class PredictConfig(FeatureFilesConfig):
    """Predict the molecules of a table with a saved model, or several."""

    model_dir: Annotated[str | None, PATH, short_flag("--run")] = Field(
        None,
        description="run folder of molpool-train chemprop or mil, folder of an ensemble, or model "
        "file",
    )
    models: Annotated[list[str], PATH, tyro.conf.arg(metavar="[DIR ...]")] = Field(
        default_factory=list, description="several of them, instead of model_dir"
    )
    trust_checkpoint: bool = Field(False, description=TRUST)
    combine: Combination = Field(
        "mean",
        description="of several models: their mean; a blend by how well they predicted the "
        "validation rows that they share; or none, columns for each: TASK (MODEL)",
    )
    data_path: Annotated[str | None, PATH] = Field(
        None,
        description="table of molecules: text, Parquet, Excel, SDF or SMILES, or - for standard "
        "input; for a model over bags of kind bags, a row per instance",
    )
    output: Annotated[str | None, PATH] = Field(
        None,
        description="file to write: .parquet, .csv, .tsv, .xlsx or .sdf; by default "
        "DATA_predictions.parquet in the working folder",
    )
    overwrite: bool = Field(False, description="replace the output that is there")
    smiles_column: str | None = Field(
        None, description="column of SMILES; by default that of the run's configuration, or SMILES"
    )
    id_column: str | None = Field(
        None,
        description="column of ids; by default that of the run's configuration, where there is one",
    )
    features_3d: Annotated[str | None, PATH] = Field(
        None,
        description="for models over bags of kind features: table with a row per conformer; by "
        "default that of the run",
    )
    features_2d: Annotated[str | None, PATH] = Field(
        None, description="likewise: table with a row per molecule; by default that of the run"
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
    on_bad_smiles: OnBadSmiles = Field("keep", description=ON_BAD_SMILES)
    level: list[float] = Field(
        default_factory=lambda: [LEVEL],
        description="share of new molecules that intervals shall cover, for runs that left a "
        "calibration; several give columns TASK_lower_80, TASK_upper_80 and so on",
    )
    latent: bool = Field(
        False,
        description="predict the values behind the assays, which may lie beyond the floors and "
        "ceilings that the run learnt, and intervals likewise; not for models over bags",
    )
    strata_column: str | None = Field(
        None, description="column of strata, for runs that have them; by default that of the run"
    )
    shift: ShiftKind | None = Field(None, description=f"{SHIFT}; by default as in the run")
    recalibrate: Annotated[str | None, PATH] = Field(
        None,
        description="table of newly measured molecules of the same series, with columns as in "
        "training: predictions are moved by what they show, the more the more they are",
    )
    read: ReadConfig = Field(default_factory=ReadConfig)
    applicability: ApplicabilityConfig = Field(default_factory=ApplicabilityConfig)

    @field_validator("level")
    @classmethod
    def _between(cls, levels: list[float]) -> list[float]:
        if any(not 0 < level < 1 for level in levels) or len(set(levels)) < len(levels):
            raise ValueError(f"expected different shares between 0 and 1, found {levels}")
        return levels
