"""The ``data`` section: what a table of molecules or bags is, and which columns count."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from molpool_common import ConfigModel, short_flag
from pydantic import Field, model_validator

from mil_attn.data.config import MoleculeFeaturesConfig

Kind = Literal["smiles", "bags", "features"]


class MILDataConfig(ConfigModel):
    """Which tables, which columns, and what is computed of molecules."""

    kind: Kind = Field(
        "smiles",
        description="what data_path is: a row a molecule whose conformers are computed (smiles) or "
        "whose features are in other tables (features), or a row an instance (bags)",
    )
    id_column: str | None = Field(
        None,
        description="column of molecule or bag names, in all tables; by default row numbers "
        "(smiles), bag_id (bags) or id (features)",
    )
    smiles_column: Annotated[str, short_flag("--smiles-column")] = Field(
        "SMILES", description="column of SMILES; with kind features it need not be there"
    )
    target_columns: Annotated[list[str], short_flag("--target-columns")] = Field(
        default_factory=list, description="columns to predict; by default `tasks`, or label"
    )
    weight_columns: list[str] = Field(
        default_factory=list,
        description="columns of data_path with weights of the labels in the loss: one for all "
        "tasks, or one a task; by default all labels weigh 1",
    )
    feature_columns: list[str] = Field(
        default_factory=list,
        description="for kind bags: columns of features; by default f1, f2, ... or all others",
    )
    features_3d: str | None = Field(None, description="for kind features: a row a conformer")
    features_2d: str | None = Field(None, description="for kind features: a row a molecule")
    instance_column: str | None = Field(
        None, description="column of instance names: in data_path (bags) or features_3d (features)"
    )
    energy_column: str | None = Field(
        None, description="column of features_3d with energies, kcal/mol"
    )
    allow_undefined: bool = Field(
        False, description="take missing features of tables as the mean of the training bags"
    )
    aux_path: str | None = Field(
        None,
        description="table of auxiliary targets with the id column; by default data_path. What it "
        "lacks is missing",
    )
    features: MoleculeFeaturesConfig = Field(default_factory=MoleculeFeaturesConfig)
    workers: int = Field(1, ge=1, description="processes that compute conformers")
    predict_path: Annotated[str | None, short_flag("--predict-path")] = Field(
        None, description="table like data_path, without targets, to predict after training"
    )
    cache_dir: str = Field(
        "auto",
        description="folder that keeps what was computed of molecules for the next run; auto: "
        "$MOLPOOL_CACHE or molpool/molecules in the user's cache; none: keep nothing",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        tables = {"features_3d": self.features_3d, "features_2d": self.features_2d}
        given = [key for key, path in tables.items() if path]
        if self.kind == "features" and not given:
            raise ValueError("expected features_3d, features_2d or both with kind features")
        if self.kind != "features" and given:
            raise ValueError(f"{given[0]}: expected with kind features, found with {self.kind}")
        if self.aux_path and self.kind == "smiles" and self.id_column is None:
            raise ValueError("id_column: expected with aux_path, whose rows it names; found none")
        return self

    @property
    def names(self) -> str | None:
        """Column of names; None where rows are numbered."""
        return self.id_column or {"bags": "bag_id", "features": "id"}.get(self.kind)
