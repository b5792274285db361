"""What has a role is no feature, bags have one value of it, and ids are one however padded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from mil_attn import BagData, MILError, MILRunConfig, read_bags
from mil_attn.training._folds import bag_folds
from molpool_common import TableError, validate_values

N = 6
ROLES: dict[str, Any] = {
    "tasks": ["easy"],
    "task_kind": "regression",
    "aux": {"lab": {"columns": ["logd"]}},
    "split": {"split_type": "stored", "fold_column": "part", "plate_column": "p"},
}


def instances(ids: str, **columns: Any) -> pl.DataFrame:
    """Return two rows for each of six bags, with every kind of column that is no feature."""
    bag = np.repeat(np.arange(N), 2)
    frame = pl.DataFrame(
        {
            ids: bag + 100,
            "x": np.arange(2.0 * N),
            "easy": bag * 1.0,
            "logd": bag * 2.0,
            "part": bag % 3,
            "p": bag % 2,
            "w": 1.0 + bag,
            "fold": bag % 3,
            "Plate": bag % 2,
            "mol_id": bag,
            "quality": bag % 2,
            "y": np.arange(2.0 * N) ** 2,
        }
    )
    return frame.with_columns(**{k: pl.Series(v) for k, v in columns.items()})


def read(path: Path, frame: pl.DataFrame, *, labelled: bool = True, **changes: Any) -> BagData:
    """Read bags of a table, or of a table of molecules and the same columns as features."""
    kind = changes.pop("kind", "bags")
    data: dict[str, Any] = {"kind": kind, "weight_columns": ["w"], "cache_dir": "none", **changes}
    frame.write_csv(path / "instances.csv")
    table = path / "instances.csv"
    if kind == "features":
        one = frame.unique("id", maintain_order=True)
        one.select("id", "easy", "logd", "w", "part").write_csv(path / "molecules.csv")
        one.write_csv(path / "flat.csv")
        data |= {"features_3d": str(table), "features_2d": str(path / "flat.csv")}
        table = path / "molecules.csv"
    config = validate_values(MILRunConfig, {**ROLES, "data_path": str(table), "data": data})
    return read_bags(table, config.data, config, labelled=labelled)


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("kind", ["bags", "features"])
def test_what_has_a_role_is_no_feature(tmp_path, kind, labelled):
    data = read(tmp_path, instances("bag_id" if kind == "bags" else "id"), kind=kind,
                labelled=labelled)  # fmt: skip
    assert data.feature_names_3d == ("x", "y")
    assert data.feature_names_2d == (() if kind == "bags" else ("x", "y"))


@pytest.mark.parametrize("kind", ["bags", "features"])
@pytest.mark.parametrize("column", ["easy", "logd", "part", "w", "p", "fold"])
def test_permuting_what_has_a_role_changes_no_feature(tmp_path, kind, column):
    frame = instances("bag_id" if kind == "bags" else "id")
    other = frame.with_columns(frame[column].reverse())
    one, two = (read(tmp_path, f, kind=kind) for f in (frame, other))
    np.testing.assert_array_equal(one.instances, two.instances)
    if kind == "features":
        np.testing.assert_array_equal(one.x2d, two.x2d)


def test_a_target_cannot_be_named_as_a_feature(tmp_path):
    with pytest.raises(MILError, match=r"no targets, weights, folds or names; found 'easy'"):
        read(tmp_path, instances("bag_id"), feature_columns=["x", "easy"])
    # What a name only suggests may be.
    assert read(tmp_path, instances("bag_id"), feature_columns=["x", "fold"]).instances is not None


@pytest.mark.parametrize(("column", "error"), [("easy", MILError), ("w", TableError),
                                               ("logd", TableError)])  # fmt: skip
def test_what_differs_within_a_bag_is_refused(tmp_path, column, error):
    frame = instances("bag_id")
    torn = frame.with_columns(
        frame[column].cast(pl.Float64).set(pl.int_range(12, eager=True) == 3, 9.5)
    )
    with pytest.raises(
        error, match=rf"column '{column}'.*9.5.*'101'|column '{column}'.*'101'.*9.5"
    ):
        read(tmp_path, torn)


def test_folds_that_differ_within_a_bag_are_refused(tmp_path):
    frame = instances("bag_id")
    torn = frame.with_columns(frame["part"].set(pl.int_range(12, eager=True) == 3, 2))
    data = read(tmp_path, torn)
    table = tmp_path / "instances.csv"
    config = validate_values(
        MILRunConfig, {**ROLES, "data_path": str(table), "data": {"kind": "bags"}}
    )
    with pytest.raises(
        TableError, match=r"column 'part': .*found 1, 2 in bag '101' in 2 rows: 3, 4"
    ):
        bag_folds(data, config)


def test_ids_with_padding_are_one_bag_and_said():
    table = pl.DataFrame(
        {"bag_id": ["a", " a", "é", "e\N{COMBINING ACUTE ACCENT} "], "f1": [1.0, 2, 3, 4]}
    )
    data = BagData.from_bag_table(table, label_columns=())
    assert data.ids == ("a", "é")
    assert data.sizes.tolist() == [2, 2]
    assert data.notes[0].startswith("column 'bag_id': 2 ids stand with and without blanks")


def test_ids_of_mixed_types_and_none_are_told():
    table = pl.DataFrame({"bag_id": ["7", "7.0", "8"], "f1": [1.0, 2, 3]})
    with pytest.raises(TableError, match=r"ids written one way, 7 or 7.0; found '7.0' in row 2"):
        BagData.from_bag_table(table, label_columns=())
    table = pl.DataFrame({"bag_id": ["7", None, " "], "f1": [1.0, 2, 3]})
    with pytest.raises(MILError, match=r"expected a name; found none in rows 2, 3"):
        BagData.from_bag_table(table, label_columns=())


def test_ids_of_two_tables_are_one_whether_floats_or_integers():
    molecules = pl.DataFrame({"id": [7, 8], "y": [0, 1]})
    features = pl.DataFrame({"id": [7.0, 7.0, 8.0], "f1": [1.0, 2, 3]})
    data = BagData.from_features(molecules, features_3d=features, label_columns=["y"])
    assert data.ids == ("7", "8")
    assert data.sizes.tolist() == [2, 1]


@pytest.mark.parametrize("kind", ["bags", "features"])
def test_bags_without_features_are_listed_where_they_are_to_be_predicted(tmp_path, kind):
    name = "bag_id" if kind == "bags" else "id"
    frame = instances(name)
    holes = frame.with_columns(frame["x"].set(pl.int_range(12, eager=True) == 4, None))
    with pytest.raises(MILError, match="expected finite numbers"):
        read(tmp_path, holes, kind=kind)
    data = read(tmp_path, holes, kind=kind, labelled=False)
    assert data.ids == ("100", "101", "103", "104", "105")
    (failure,) = data.failures
    assert (failure.id, failure.row) == ("102", 2)
    assert failure.reason.startswith("no value of 'x' in row")


def test_a_molecule_that_a_table_of_features_lacks_is_listed(tmp_path):
    molecules = pl.DataFrame({"id": ["a", "b", "c"], "smiles": ["C", "N", "O"]})
    features = pl.DataFrame({"id": ["c", "a"], "f1": [1.0, 2.0]})
    with pytest.raises(MILError, match="expected rows of every molecule; found none of 'b'"):
        BagData.from_features(molecules, features_3d=features)
    data = BagData.from_features(
        molecules, features_3d=features, smiles_column="smiles", leave_out=True
    )
    assert data.ids == ("a", "c")
    assert [tuple(f) for f in data.failures] == [
        ("b", 1, "N", "no row in features_3d (features_3d)")
    ]
    with pytest.raises(MILError, match=r"expected a bag with features; found none of 1"):
        BagData.from_features(molecules[1:2], features_3d=features, leave_out=True)
