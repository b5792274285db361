"""A second table whose bags test; clusters and times as splits of bags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from mil_attn import BagData, MILError, MILRunConfig, SplitBags, make_folds, read_split_bags
from mil_attn.training._split_tables import joined_bags
from molpool_common import InputError

CHEAP = {"descriptors_3d": [], "descriptors_2d": {"descriptors": False, "morgan_bits": 8}}
BASES = ["NCc1ccccc1", "NCCc1ccccc1", "CNCC", "NCCCC", "C1CCNCC1", "c1ccncc1", "CN1CCCC1", "CCN"]
OTHERS = ["CCO", "CCCO", "c1ccccc1O", "CCCl", "CCBr", "c1ccsc1"]


def molecules(path: Path, smiles: list[str], **columns: Any) -> Path:
    n = len(smiles)
    frame = pl.DataFrame({"SMILES": smiles, "y": [float(i % 2) for i in range(n)], **columns})
    frame.write_csv(path)
    return path


def read(first: Path, second: Path | None, **more: Any) -> SplitBags:
    data = {
        "target_columns": ["y"], "features": CHEAP, "cache_dir": "none",
        **({} if second is None else {"test_path": str(second)}), **more.pop("data", {}),
    }  # fmt: skip
    split = {"split_type": "random", "val_ratio": 0.25, **more.pop("split", {})}
    values = {"data_path": str(first), "data": data, "split": split, **more}
    return read_split_bags(MILRunConfig.model_validate(values))


def test_the_second_table_tests_and_the_first_is_divided(tmp_path: Path) -> None:
    found = read(molecules(tmp_path / "a.csv", BASES), molecules(tmp_path / "b.csv", OTHERS))
    assert [len(part) for part in found.split] == [6, 2, 6]
    tested = found.data.take(found.split.test)
    assert tested.smiles == tuple(OTHERS)
    # Rows of both are numbered from 1: those of the second are told by its file.
    assert list(tested.ids) == [f"{i} (b.csv)" for i in range(1, 7)]
    assert [name for name, _ in found.tables] == ["a.csv", "b.csv"]
    assert found.notes == []


@pytest.mark.parametrize("overlap", ["drop", "keep", "error"])
def test_molecules_in_both_tables_are_told(overlap: str, tmp_path: Path) -> None:
    first = molecules(tmp_path / "a.csv", [*BASES, "CCO"])
    second = molecules(tmp_path / "b.csv", [*OTHERS, "CNCC.Cl"])
    split = {"split_overlap": overlap}
    if overlap == "error":
        with pytest.raises(InputError, match="2 molecules of the two tables stand on two sides"):
            read(first, second, split=split)
        return
    found = read(first, second, split=split)
    (note,) = found.notes
    assert "2 molecules of the two tables stand on two sides (2 training rows): 3, 9" in note
    trained = {found.data.smiles[i] for i in [*found.split.train, *found.split.val]}  # type: ignore[index]
    assert ({"CNCC", "CCO"} <= trained) == (overlap == "keep")
    assert len(trained) == (9 if overlap == "keep" else 7)


def test_series_of_both_tables_are_one(tmp_path: Path) -> None:
    first = molecules(tmp_path / "a.csv", BASES, series=["p", "p", "q", "q", "r", "r", "s", "s"])
    second = molecules(tmp_path / "b.csv", OTHERS, series=["q", "t", "t", "t", "t", None])
    found = read(first, second, split={"group_column": "series"})
    assert "'3'" not in str(found.data.ids[:6])
    assert len(found.split.train) + len(found.split.val) == 6


def bag_table(path: Path, bags: str, seed: int = 0, **columns: Any) -> Path:
    rng = np.random.default_rng(seed)
    ids = [name for name in bags for _ in range(2)]
    labels, values = [ord(name) % 2 for name in ids], rng.normal(size=len(ids))
    frame = pl.DataFrame({"bag_id": ids, "label": labels, "f1": values, **columns})
    frame.write_csv(path)
    return path


def test_bags_of_instances_are_joined_and_one_name_is_one_bag(tmp_path: Path) -> None:
    first = bag_table(tmp_path / "a.csv", "abcdefgh")
    second = bag_table(tmp_path / "b.csv", "hxyz", seed=1)
    more = {"data": {"kind": "bags", "target_columns": [], "features": {}}}
    found = read(first, second, **more)
    assert list(found.data.ids) == list("abcdefghxyz")
    assert [found.data.ids[i] for i in found.split.test] == list("hxyz")
    instances = pl.read_csv(second)["f1"].to_numpy().astype(np.float32)
    taken = found.data.take(found.split.test)
    np.testing.assert_array_equal(np.asarray(taken.instances)[:, 0], instances)
    kept = read(first, second, **more, split={"split_overlap": "keep"})
    assert [kept.data.ids[i] for i in kept.split.test] == ["h (b.csv)", "x", "y", "z"]


def test_a_split_column_and_a_second_table(tmp_path: Path) -> None:
    words = ["train", "train", "train", "train", "val", "val", "test", ""]
    first = molecules(tmp_path / "a.csv", BASES, set=words)
    second = molecules(tmp_path / "b.csv", OTHERS)
    found = read(first, second, split={"split_column": "set"})
    assert [len(part) for part in found.split] == [4, 2, 7]


def test_stored_folds_say_what_tests_themselves(tmp_path: Path) -> None:
    first = molecules(tmp_path / "a.csv", BASES, fold=[0, 1] * 4)
    second = molecules(tmp_path / "b.csv", OTHERS)
    with pytest.raises(InputError, match=r"another than stored with data\.test_path"):
        read(first, second, split={"split_type": "stored", "fold_column": "fold"})


def test_a_split_file_is_of_the_first_table(tmp_path: Path) -> None:
    first, second = molecules(tmp_path / "a.csv", BASES), molecules(tmp_path / "b.csv", OTHERS)
    file = tmp_path / "s.json"
    file.write_text(json.dumps([{"train": [0, 1, 2, 3], "val": [4], "test": []}]))
    found = read(first, second, split={"split_file": str(file)})
    assert [len(part) for part in found.split] == [4, 1, 6]


def test_tables_of_other_features_are_not_joined() -> None:
    one, other = (
        BagData(ids=[name], x2d=np.zeros((1, 1), np.float32), feature_names_2d=[name])
        for name in "ab"
    )
    with pytest.raises(MILError, match="feature_names_2d"):
        joined_bags(one, other)


def test_weights_and_energies_of_one_table_are_1_and_unknown_in_the_other() -> None:
    common: dict[str, Any] = {
        "instances": np.zeros((1, 1)), "offsets": [0, 1], "labels": [[1.0]], "task_names": ["y"],
    }  # fmt: skip
    one = BagData(ids=["a"], weights=np.full((1, 1), 3.0), **common)
    other = BagData(ids=["b"], energies=np.array([2.0]), **common)
    both = joined_bags(one, other)
    assert both.weights is not None
    assert both.energies is not None
    np.testing.assert_array_equal(both.weights, [[3.0], [1.0]])
    np.testing.assert_array_equal(both.energies, [np.nan, 2.0])
    np.testing.assert_array_equal(both.bounds, [0, 1, 2])


def test_folds_by_time_test_the_latest_first() -> None:
    times = [f"2024-01-{day:02d}" for day in range(1, 13)]
    folds = make_folds("time", 3, groups=range(12), times=times, val_ratio=0)
    assert [fold.test.tolist() for fold in folds] == [[9, 10, 11], [6, 7, 8], [3, 4, 5]]
    for fold in folds:
        assert fold.train.max() < fold.test.min()


def test_folds_by_cluster_tear_none() -> None:
    rings = ("c1ccccc1", "C1CCNCC1", "c1ccsc1")
    smiles = [chain + ring for ring in rings for chain in ("C", "CC", "")]
    groups = [str(i) for i in range(9)]
    folds = make_folds("cluster", 3, groups=groups, smiles=smiles, distance=0.8, val_ratio=0)
    assert sorted(row for fold in folds for row in fold.test.tolist()) == list(range(9))
    with pytest.raises(MILError, match="smiles: expected for folds by 'cluster'"):
        make_folds("cluster", 3, groups=groups)
