"""Bags from tables: what is read, and what is refused by name, row and column."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mil_attn import BagData, MILError
from molpool_common import InputError

NEAR = (p / "shared" / "data" for p in Path(__file__).resolve().parents)
DATA = Path(os.environ.get("MOLPOOL_DATA") or next(filter(Path.is_dir, NEAR), "")) / "mil"


def table(**changes: Any) -> pl.DataFrame:
    columns: dict[str, Any] = {
        "bag_id": ["b", "a", "b", "a"],
        "label": [1, 0, 1, 0],
        "name": ["b1", "a1", "b2", "a2"],
        "f1": [1.0, 2, 3, 4],
        "f2": [5.0, 6, 7, 8],
    }
    return pl.DataFrame({**columns, **changes})


def test_rows_of_a_bag_may_stand_anywhere() -> None:
    data = BagData.from_bag_table(table(), instance_column="name")
    assert list(data.ids) == ["b", "a"]
    assert data.instances is not None
    assert data.instances.tolist() == [[1, 5], [3, 7], [2, 6], [4, 8]]
    assert data.offsets is not None
    assert data.offsets.tolist() == [0, 2, 4]
    assert data.labels is not None
    assert data.labels.tolist() == [[1], [0]]
    assert data.instance_ids == ("b1", "b2", "a1", "a2")
    assert data.feature_names_3d == ("f1", "f2")


@given(order=st.permutations(range(12)))
def test_order_of_rows_between_bags_does_not_count(order: list[int]) -> None:
    frame = pl.DataFrame({"bag_id": [i % 4 for i in range(12)], "label": [0] * 12, "f1": range(12)})
    data = BagData.from_bag_table(frame[order])
    for b, name in enumerate(data.ids):
        part = data.batch([b]).instances
        assert part is not None
        assert sorted(part[:, 0].tolist()) == [int(name) + 4 * k for k in range(3)]


def test_features_without_numbers_in_their_names_are_all_other_columns() -> None:
    frame = table().rename({"f1": "logp", "f2": "tpsa"}).drop("name")
    assert BagData.from_bag_table(frame).feature_names_3d == ("logp", "tpsa")
    chosen = BagData.from_bag_table(table(), feature_columns=["f2"])
    assert chosen.feature_names_3d == ("f2",)


def test_missing_labels_stay_missing() -> None:
    data = BagData.from_bag_table(table(label=[None, 0, None, 0]))
    assert data.labels is not None
    assert np.isnan(data.labels[0, 0])
    assert data.labels[1, 0] == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"f2": [5.0, np.nan, 7, 8]}, r"found nan in row 2, column 'f2' \(1 such"),
        ({"f2": [5.0, 6, None, 8]}, "found nothing in row 3, column 'f2'"),
        ({"f1": [1.0, 2, 3, np.inf]}, "found inf in row 4, column 'f1'"),
        ({"f1": [1.0, 2, 3, 1e39]}, "found 1e.39 in row 4, column 'f1'"),
        ({"f1": ["1", "x", "3", "4"]}, "expected numbers; found 'x' in row 2, column 'f1'"),
        ({"bag_id": ["b", None, "b", "a"]}, "column 'bag_id' .*found none in rows 2"),
        ({"label": [1, 0, 0, 0]}, "one label in all rows of bag 'b'; found 1 and, in row 3, 0"),
        ({"label": [2, 0, 2, 0]}, "task 'label': expected 0, 1 or NaN .*found 2 in bag 'b'"),
    ],
)
def test_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(MILError, match=message):
        BagData.from_bag_table(table(**changes), instance_column="name")


def test_names_the_nearest_column() -> None:
    with pytest.raises(InputError, match=r"found 'bag'.*Did you mean 'bag_id'"):
        BagData.from_bag_table(table(), id_column="bag")


def features(folder: Path, **changes: Any) -> tuple[pl.DataFrame, Path, Path]:
    """Molecules b and a; features of a, b and another one, in files."""
    molecules = pl.DataFrame(
        {
            "ID": ["b", "a"],
            "y": [1, None],
            "t340": [70.0, None],
            "t450": [1.0, 2],
            "smi": ["C", "O"],
        }
    )
    three_d = pl.DataFrame(
        {
            "ID": ["a", "x", "b", "a"],
            "conformer": ["a-1", "x-1", "b-1", "a-0"],
            "energy": [1.5, 0, 0, 0],
            "p": [1.0, 2, 3, 4],
            **changes,
        }
    )
    two_d = pl.DataFrame({"ID": ["x", "a", "b"], "q": [1.0, 2, 3], "r": [4.0, 5, 6]})
    three_d.write_parquet(folder / "three.parquet")
    two_d.write_parquet(folder / "two.parquet")
    return molecules, folder / "three.parquet", folder / "two.parquet"


def test_joins_features_by_name(tmp_path: Path) -> None:
    molecules, three_d, two_d = features(tmp_path)
    data = BagData.from_features(
        molecules,
        features_3d=three_d,
        features_2d=two_d,
        id_column="ID",
        label_columns=["y"],
        aux_columns={"abs": ["t340", "t450"]},
        smiles_column="smi",
        conformer_column="conformer",
        energy_column="energy",
    )
    assert data.ids == ("b", "a")
    assert data.instances is not None
    assert data.instances[:, 0].tolist() == [3, 1, 4]
    assert data.instance_ids == ("b-1", "a-1", "a-0")
    assert data.energies is not None
    assert data.energies.tolist() == [0, 1.5, 0]
    assert data.x2d is not None
    assert data.x2d.tolist() == [[3, 6], [2, 5]]
    assert (data.feature_names_3d, data.feature_names_2d) == (("p",), ("q", "r"))
    np.testing.assert_array_equal(data.aux["abs"], [[70, 1], [np.nan, 2]])
    assert data.aux_names["abs"] == ("t340", "t450")
    assert data.smiles == ("C", "O")


def test_names_molecules_that_a_table_of_features_lacks(tmp_path: Path) -> None:
    molecules, three_d, two_d = features(tmp_path, ID=["a", "x", "c", "a"])
    with pytest.raises(MILError, match=r"features_3d \(three.parquet\): .*none of 'b'\.$"):
        BagData.from_features(molecules, features_3d=three_d, features_2d=two_d, id_column="ID")
    with pytest.raises(MILError, match=r"features_2d \(three.parquet\): .*one row .*of 'a'\.$"):
        BagData.from_features(
            pl.DataFrame({"ID": ["a"]}), features_2d=three_d, id_column="ID", columns_2d=["p"]
        )
    with pytest.raises(MILError, match="found 'a-1' in row 1, column 'conformer'"):
        BagData.from_features(pl.DataFrame({"ID": ["a"]}), features_3d=three_d, id_column="ID")


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "bags", "instances", "width", "positives", "most"),
    [  # of the table in SOURCES.md
        ("musk1", 92, 476, 166, 47, 40),
        ("tiger", 200, 1220, 230, 100, 13),
        ("elephant", 200, 1391, 230, 100, 13),
    ],
)
def test_reads_the_classic_sets(
    name: str, bags: int, instances: int, width: int, positives: int, most: int
) -> None:
    path = DATA / f"{name}.csv.gz"
    if not path.is_file():
        pytest.skip(f"no mil/{path.name}: set MOLPOOL_DATA to the folder of the public data sets")
    data = BagData.from_bag_table(path)
    assert (len(data), data.n_instances, len(data.feature_names_3d)) == (bags, instances, width)
    assert data.labels is not None
    assert (data.labels.sum(), data.sizes.max()) == (positives, most)
    with gzip.open(path, "rt") as lines:
        last = list(lines)[-1].rstrip().split(",")
    assert data.ids[-1] == last[0]
    assert data.instances is not None
    np.testing.assert_array_equal(data.instances[-1], np.array(last[-width:], dtype=np.float32))
