"""Every key that names a column gives it a role, and no column with a role is a feature."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from molpool_common import ConfigModel
from molpool_pipelines.affinity import AffinityCommandConfig
from molpool_pipelines.fitting import (
    TrainBlendCommand,
    TrainChempropCommand,
    TrainMILCommand,
    TrainTabularCommand,
)
from molpool_pipelines.studies import HPOChempropConfig, HPOMILConfig
from molpool_pipelines.tables._roles import (
    KEY_ROLES,
    ColumnRole,
    roles,
    roles_note,
)
from molpool_pipelines.tables._table_config import TableConfig
from pydantic import BaseModel

COMMANDS = [
    TrainChempropCommand,
    TrainTabularCommand,
    TrainBlendCommand,
    TrainMILCommand,
    HPOChempropConfig,
    HPOMILConfig,
    AffinityCommandConfig,
]
NAMES_A_COLUMN = re.compile(r"(.*_)?(col|cols|column|columns)|modifier(_suffix)?|fold_where")


def models(of: Any, seen: set[type]) -> Iterator[type[BaseModel]]:
    """Every configuration model below an annotation."""
    if isinstance(of, type) and issubclass(of, BaseModel) and of not in seen:
        seen.add(of)
        yield of
        for field in of.model_fields.values():
            yield from models(field.annotation, seen)
    for inner in get_args(of):
        yield from models(inner, seen)


def keys(command: type[BaseModel]) -> set[str]:
    found = (m.model_fields for m in models(command, set()))
    return {key for fields in found for key in fields if NAMES_A_COLUMN.fullmatch(key)}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.__name__)
def test_every_key_that_names_a_column_has_a_role(command: type[BaseModel]) -> None:
    found = keys(command)
    assert found, "the walk finds none"
    assert found <= KEY_ROLES.keys()


MOLECULES: dict[str, Any] = {
    "data_path": "t.csv",
    "data": {
        "smiles_column": "A",
        "target_columns": ["B", "C"],
        "id_column": "D",
        "modifier_columns": {"B": "E"},
        "modifier_suffix": "_op",
        "split_column": "F",
        "group_column": "G",
        "time_column": "H",
    },
    "joint_sampling": {"curriculum": {"quality_col": "I"}},
}
EXPECTED = {
    "A": "structure", "B": "target", "C": "target", "D": "id", "E": "bound", "C_op": "bound",
    "F": "split", "G": "series", "H": "time", "I": "quality",
}  # fmt: skip


@pytest.mark.parametrize("command", [TrainChempropCommand, TrainTabularCommand, HPOChempropConfig])
def test_roles_of_molecules(command: type[ConfigModel]) -> None:
    config = command.model_validate(MOLECULES)
    found = roles(config, [*EXPECTED, "Z"])
    assert {name: of.role for name, of in found.items()} == EXPECTED | {"Z": "not used"}
    assert found["F"] == ColumnRole("split", "data.split_column")


def test_roles_of_sources() -> None:
    source = {
        "path": "t.csv", "smiles_column": "A", "id_column": "D", "modifier_suffix": "_op",
        "columns": {"y": "B", "z": {"column": "C", "modifier": "E"}},
    }  # fmt: skip
    config = TableConfig.model_validate(
        {"data": {"target_columns": ["y", "z"], "sources": [source]}}
    )
    found = {name: of.role for name, of in roles(config, ["A", "B", "C", "D", "E", "B_op"]).items()}
    assert found == {
        "A": "structure", "B": "target", "C": "target", "D": "id", "E": "bound", "B_op": "bound",
    }  # fmt: skip


def test_roles_of_bags() -> None:
    config = TrainMILCommand.model_validate(
        {
            "aux": {"abs": {"columns": ["x1", "x2"]}},
            "data": {
                "kind": "bags", "target_columns": ["t"], "weight_columns": ["w"],
                "instance_column": "i", "energy_column": "e", "feature_columns": ["f", "t"],
            },
            "split": {
                "plate_column": "p", "fold_column": "k", "fold_where": {"repeat": "0"},
                "split_column": "s", "group_column": "g",
            },
        }
    )  # fmt: skip
    expected = {
        "x1": "auxiliary target", "x2": "auxiliary target", "t": "target", "w": "weight",
        "i": "instance", "e": "energy", "f": "feature", "p": "plate", "k": "fold",
        "repeat": "fold", "s": "split", "g": "series",
    }  # fmt: skip
    found = roles(config, list(expected))
    assert {name: of.role for name, of in found.items()} == expected


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("fold", "fold"), ("CV_fold_3", "fold"), ("PlateId", "id"), ("plate", "plate"),
        ("Well", "plate"), ("batch", "plate"), ("row", "id"), ("Unnamed: 0", "id"),
        ("sample_weight", "weight"), ("Quality", "quality"), ("Split", "split"),
        ("assay date", "time"), ("Year", "time"), ("LogD_sd", "bound"), ("LogD (pH 6)", "bound"),
        ("Compound-ID", "id"),
        # Descriptors, however their names sound.
        ("MolWt", "not used"), ("molecular weight", "not used"), ("TPSA", "not used"),
        ("LogDegree", "not used"), ("NumRings", "not used"), ("fr_bicyclic", "not used"),
        ("qed", "not used"), ("halflife", "not used"),
    ],
)  # fmt: skip
def test_names_tell(name: str, role: str) -> None:
    config = TableConfig.model_validate({"data": {"target_columns": ["LogD"]}})
    assert roles(config, [name])[name].role == role


def test_the_note_names_columns_by_role() -> None:
    config = TrainChempropCommand.model_validate(MOLECULES)
    assert roles_note(config, ["A", "B", "C", "C_op", "F", "fold", "Z"]) == (
        "Columns: structure A; target B, C; bound C_op; split F; not used fold, Z."
    )
