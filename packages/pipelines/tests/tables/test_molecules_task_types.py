"""The kind of a task, said or seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from molpool_common import InputError, MoleculeTable, validate_values
from molpool_pipelines.tables._molecules import find_task_types, load_molecules
from molpool_pipelines.tables._table_config import TableConfig

CSV = "SMILES,a,b,c,sign\nCCO,1,0.5,0,=\nCCN,0,2,,<\nCCC,,1,1,=\n"


def load(tmp_path: Path, **values: Any) -> tuple[TableConfig, MoleculeTable]:
    path = tmp_path / "t.csv"
    path.write_text(CSV)
    data = {"target_columns": ["a", "b", "c"]} | values.pop("data", {})
    config = validate_values(TableConfig, {"data": data, **values})
    return config, load_molecules(config.data, str(path))


@pytest.mark.parametrize(
    ("values", "kinds"),
    [
        ({}, "crc"),
        ({"task_type": "regression"}, "rrr"),
        ({"task_types": {"a": "regression"}}, "rrc"),
        ({"task_type": "regression", "task_types": {"c": "classification"}}, "rrc"),
    ],
)
def test_names_go_before_the_rest(tmp_path: Path, values: Any, kinds: str) -> None:
    full = {"c": "classification", "r": "regression"}
    assert find_task_types(*load(tmp_path, **values)) == tuple(full[k] for k in kinds)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"task_types": {"d": "regression"}}, "task_types: .* found 'd'"),
        ({"task_type": "classification"}, r"task 'b' \(t\.csv\): .*found 0\.5 in row 1"),
        (
            {"data": {"modifier_columns": {"a": "sign"}}},
            r"task 'a' \(t\.csv\): expected classes without a modifier .*found 0 in row 2",
        ),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, values: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_task_types(*load(tmp_path, **values))


def test_columns_of_some_tasks_keep_their_rows(tmp_path: Path) -> None:
    _, table = load(tmp_path, data={"modifier_columns": {"b": "sign"}})
    part = table.of_tasks([2, 1])
    assert part.task_names == ("c", "b")
    np.testing.assert_array_equal(part.targets, [[0, 0.5], [np.nan, 2], [1, 1]])
    assert part.censoring is not None
    np.testing.assert_array_equal(part.censoring[:, 1], [0, -1, 0])
    alone = table.of_tasks([2])
    assert alone.smiles == ["CCO", "CCC"]
    assert alone.origin["row"].to_list() == [1, 3]
