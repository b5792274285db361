"""The data section of a run: three kinds of tables, auxiliary targets, faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from mil_attn import (
    BagData,
    MILConfig,
    MILDataConfig,
    MILError,
    likeliest_classes,
    read_bags,
    with_features_of,
    witnesses_of,
)
from molpool_common import InputError, validate_values

QUICK = {
    "conformers": {"count": 2},
    "descriptors_3d": ["usrcat"],
    "descriptors_2d": {"descriptors": False, "morgan_bits": 16},
}


def read(path: Path, data: dict[str, Any], **values: Any) -> BagData:
    section = validate_values(MILDataConfig, {"cache_dir": "none", **data})
    return read_bags(path, section, validate_values(MILConfig, values))


@pytest.fixture
def molecules(tmp_path: Path) -> Path:
    path = tmp_path / "molecules.csv"
    path.write_text("ID,SMILES,y,z,t\n7,CCO,0,1,5.5\n9,xx,1,0,1\n11,CCCN,1,,\n")
    return path


def test_smiles_with_auxiliary_targets_of_the_same_table(molecules: Path) -> None:
    data = read(
        molecules,
        {"id_column": "ID", "features": QUICK},
        tasks=["y", "z"],
        aux={"abs": {"columns": ["t", "t"]}},
    )
    assert data.ids == ("7", "11")
    assert [f.id for f in data.failures] == ["9"]
    np.testing.assert_array_equal(data.labels, [[0, 1], [1, np.nan]])
    np.testing.assert_array_equal(data.aux["abs"], [[5.5, 5.5], [np.nan, np.nan]])
    assert data.aux_names["abs"] == ("t", "t")
    assert data.n_instances >= 2


def test_auxiliary_targets_of_another_table_by_name(molecules: Path, tmp_path: Path) -> None:
    other = tmp_path / "extended.csv"
    other.write_text("ID,plate,t340\n11,P1,70.5\n8,P1,1\n")
    data = read(
        molecules,
        {"id_column": "ID", "features": QUICK, "aux_path": str(other), "target_columns": ["y"]},
        aux={"abs": {"columns": ["t340"]}},
    )
    np.testing.assert_array_equal(data.aux["abs"], [[np.nan], [70.5]])


def test_weights_of_labels_for_all_tasks_or_by_task(molecules: Path, tmp_path: Path) -> None:
    table = tmp_path / "weighted.csv"
    table.write_text("id,y,z,w,v,f1\na,0,1,0.5,2,0\nb,1,,3,,0\n")
    given = {"kind": "features", "features_2d": str(table), "target_columns": ["y", "z"]}
    one = read(table, {**given, "weight_columns": ["w"]})
    np.testing.assert_array_equal(one.weights, [[0.5, 0.5], [3, 3]])
    two = read(table, {**given, "weight_columns": ["w", "v"]})
    np.testing.assert_array_equal(two.weights, [[0.5, 2], [3, 1]])
    assert read(table, given).weights is None
    with pytest.raises(MILError, match=r"weights: .* found nan in bag 'b', column 1"):
        read(table, {**given, "weight_columns": ["v"]})
    with pytest.raises(InputError, match=r"data\.weight_columns.*one for each of 2.*found 3"):
        read(table, {**given, "weight_columns": ["w", "v", "w"]})
    with pytest.raises(InputError, match=r"data\.weight_columns.*'W'"):
        read(table, {**given, "weight_columns": ["W"]})


def test_weights_are_no_features(tmp_path: Path) -> None:
    table = tmp_path / "bags.csv"
    table.write_text("bag_id,label,w,size,x\na,0,0.5,1,2\na,0,0.5,3,4\nb,1,2,5,6\n")
    data = read(table, {"kind": "bags", "weight_columns": ["w"]})
    assert data.feature_names_3d == ("size", "x")
    np.testing.assert_array_equal(data.weights, [[0.5], [2]])


def test_weights_of_the_bags_of_molecules_that_are_left(molecules: Path) -> None:
    weighted = {"id_column": "ID", "features": QUICK, "weight_columns": ["ID"]}
    data = read(molecules, {**weighted, "target_columns": ["y"]})
    np.testing.assert_array_equal(data.weights, [[7], [11]])


def test_bags_by_default_names(tmp_path: Path) -> None:
    path = tmp_path / "bags.csv"
    path.write_text("bag_id,label,conf,f1,f2\n1,1,a,1,2\n1,1,b,3,4\n2,0,c,5,6\n")
    data = read(path, {"kind": "bags", "instance_column": "conf"})
    assert (data.ids, data.task_names) == (("1", "2"), ("label",))
    assert data.instance_ids == ("a", "b", "c")
    section = MILDataConfig(kind="bags")
    unlabelled = tmp_path / "new.csv"
    unlabelled.write_text("bag_id,f1,f2\n3,1,2\n")
    assert read_bags(unlabelled, section, MILConfig(), labelled=False).labels is None


def test_features_by_name(molecules: Path, tmp_path: Path) -> None:
    table = tmp_path / "three.parquet"
    pl.DataFrame({"ID": [11, 7, 9, 7], "e": [0.0, 1, 0, 0], "p": [1.0, 2, 3, None]}).write_parquet(
        table
    )
    section = {
        "kind": "features",
        "id_column": "ID",
        "features_3d": str(table),
        "energy_column": "e",
        "target_columns": ["y"],
    }
    with pytest.raises(MILError, match="found nothing in row 4, column 'p'"):
        read(molecules, section)
    data = read(molecules, {**section, "allow_undefined": True})
    assert data.ids == ("7", "9", "11")
    np.testing.assert_array_equal(data.instances, [[2], [np.nan], [3], [1]])
    np.testing.assert_array_equal(data.energies, [1, 0, 0, 0])
    assert data.smiles == ("CCO", "xx", "CCCN")


@pytest.mark.parametrize(
    ("data", "values", "message"),
    [
        (
            {"smiles_column": "smile"},
            {"tasks": ["y"]},
            "data.smiles_column .*Did you mean 'SMILES'",
        ),
        ({"target_columns": ["x"]}, {}, "data.target_columns .*found 'x'"),
        ({}, {}, "data.target_columns: expected the columns to predict"),
        ({"id_column": "id"}, {"tasks": ["y"]}, "data.id_column .*Did you mean 'ID'"),
        ({"target_columns": ["ID"]}, {}, "task 'ID': expected 0, 1 or NaN .*found 7 in bag '1'"),
        (
            {"target_columns": ["y"]},
            {"aux": {"abs": {"columns": ["tt"]}}},
            r"aux\.abs\.columns .*found 'tt'",
        ),
        ({"target_columns": ["SMILES"]}, {}, "column 'SMILES' .*found 'CCO' in row 1"),
        ({"kind": "features"}, {}, "expected features_3d, features_2d or both"),
        ({"features_2d": "x.csv"}, {}, "features_2d: expected with kind features"),
        ({"aux_path": "x.csv"}, {}, "id_column: expected with aux_path"),
    ],
)
def test_refuses(
    molecules: Path, data: dict[str, Any], values: dict[str, Any], message: str
) -> None:
    with pytest.raises((InputError, MILError), match=message):
        read(molecules, data, **values)


def test_witnesses_are_those_of_the_instances_of_a_bag_wherever_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "bags.csv"
    path.write_text("bag_id,label,w,a\nx,1,0,1\ny,1,1,2\nx,1,1,3\nz,0,0,4\ny,1,0,5\nx,1,0,6\n")
    section = MILDataConfig(kind="bags", witness_column="w")
    data = read(path, {"kind": "bags", "witness_column": "w"})
    assert data.feature_names_3d == ("a",)
    found = witnesses_of(path, data.ids, section)
    assert data.instances is not None
    assert dict(zip(data.instances[:, 0].tolist(), found.tolist(), strict=True)) == {
        **dict.fromkeys((1.0, 4.0, 5.0, 6.0), False),
        **dict.fromkeys((2.0, 3.0), True),
    }
    assert witnesses_of(path, ["z", "y"], section).tolist() == [False, True, False]
    with_two = tmp_path / "two.csv"
    with_two.write_text("bag_id,label,w,a\nx,1,2,1\n")
    with pytest.raises(InputError, match=r"witness_column.*expected 0 or 1.*'?2'? in row 1"):
        witnesses_of(with_two, ["x"], section)
    with pytest.raises(InputError, match="expected every bag; found no 'q'"):
        witnesses_of(tmp_path / "bags.csv", ["q"], section)
    with pytest.raises(InputError, match="witness_column: expected with a table of instances"):
        validate_values(MILDataConfig, {"witness_column": "w"})


CLASSES = "bag_id,kind,grade,a\nx, red ,2.0,1\nx,red,2,2\ny,blue,10.0,3\nz,,1,4\nw,green,,5\n"


def test_each_class_is_a_task_against_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "bags.csv"
    path.write_text(CLASSES)
    asked = {"kind": "bags", "multiclass": True, "target_columns": ["kind", "grade"]}
    data = read(path, asked)
    # Numbers in their order, names in theirs.
    assert data.task_names == (
        *("kind=blue", "kind=green", "kind=red"),
        *("grade=1", "grade=2", "grade=10"),
    )
    nan = [np.nan] * 3
    np.testing.assert_array_equal(
        data.labels,
        [[0, 0, 1, 0, 1, 0], [1, 0, 0, 0, 0, 1], [*nan, 1, 0, 0], [0, 1, 0, *nan]],
    )
    assert data.feature_names_3d == ("a",)
    p = np.array([[0.1, 0.9, 0.3, 0.2, 0.1, 0.5], [0.4, 0.1, 0.3, 0.2, 0.1, 0.1]])
    assert likeliest_classes(data.task_names, p) == {
        "kind": ["green", "blue"],
        "grade": ["10", "1"],
    }
    # A second table may lack classes, and may not have others.
    section = with_features_of(MILDataConfig.model_validate(asked), data)
    path.write_text("bag_id,kind,grade,a\nx,red,1,1\n")
    again = read_bags(path, section, MILConfig())
    assert again.task_names == data.task_names
    np.testing.assert_array_equal(again.labels, [[0, 0, 1, 1, 0, 0]])
    path.write_text("bag_id,kind,grade,a\nx,pink,1,1\n")
    with pytest.raises(
        InputError, match=r"'kind'.*expected classes blue, green.*red; found .*'pink'"
    ):
        read_bags(path, section, MILConfig())


def test_what_is_no_class_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bags.csv"
    path.write_text(CLASSES)
    asked = {"kind": "bags", "multiclass": True, "target_columns": ["kind"]}
    with pytest.raises(InputError, match="multiclass: expected classification; found regression"):
        read(path, asked, task_kind="regression")
    path.write_text("bag_id,kind,a\n" + "".join(f"{b},{b / 7:.3f},1\n" for b in range(60)))
    with pytest.raises(InputError, match=r"'kind'.*expected 2 to 50 classes; found '0\.000'"):
        read(path, asked)
