"""Sides of bags as the split section says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from mil_attn import BagData, MILRunConfig, bag_folds, read_bags, split_bags
from molpool_common import InputError

N = 60


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "bags.csv"
    frame = pl.DataFrame(
        {
            "bag_id": [f"b{i}" for i in range(N)],
            "label": (rng.random(N) < 0.3).astype(int),
            "fold": rng.permutation(N) % 4,
            "plate": [f"P{i % 6}" for i in range(N)],
            "f1": rng.normal(size=N),
        }
    )
    frame.write_csv(path)
    return path


def run_of(table: Path, **split: Any) -> tuple[BagData, MILRunConfig]:
    data = {"kind": "bags", "feature_columns": ["f1"]}
    config = MILRunConfig.model_validate({"data_path": str(table), "data": data, "split": split})
    return read_bags(table, config.data, config), config


SPLITS: list[dict[str, Any]] = [
    {"split_type": "multilabel", "n_folds": 4},
    {"split_type": "stratified", "n_folds": 4},
    {"split_type": "random", "n_folds": 4, "fold": 2},
    {"split_type": "plate", "n_folds": 3, "plate_column": "plate"},
    {"split_type": "stored", "fold_column": "fold", "fold": 3},
]


@pytest.mark.parametrize("section", SPLITS, ids=lambda s: str(s["split_type"]))
def test_the_share_that_validates_does_not_move_the_test_side(
    table: Path, section: dict[str, Any]
) -> None:
    bags, some = run_of(table, **section, val_ratio=0.2)
    _, none = run_of(table, **section, val_ratio=0)
    with_val, without = split_bags(bags, some), split_bags(bags, none)
    np.testing.assert_array_equal(with_val.test, without.test)
    assert len(with_val.val)
    assert not len(without.val)
    assert len(without.train) + len(without.test) == N


@pytest.mark.parametrize("section", SPLITS, ids=lambda s: str(s["split_type"]))
def test_folds_of_some_of_the_bags_partition_them(table: Path, section: dict[str, Any]) -> None:
    bags, config = run_of(table, **section, val_ratio=0)
    rest = bags.take(np.arange(10, N))
    folds = bag_folds(rest, config)
    assert sorted(np.concatenate([f.test for f in folds]).tolist()) == list(range(N - 10))


def test_stored_folds_are_found_by_name(table: Path) -> None:
    bags, config = run_of(table, split_type="stored", fold_column="fold", fold=3)
    stored = dict(pl.read_csv(table).select("bag_id", "fold").iter_rows())
    shuffled = bags.take(np.random.default_rng(1).permutation(N))
    test = split_bags(shuffled, config).test
    assert {shuffled.ids[i] for i in test} == {b for b, fold in stored.items() if fold == 3}


def test_fold_that_is_not_there(table: Path) -> None:
    bags, config = run_of(table, split_type="stored", fold_column="fold", fold=4)
    with pytest.raises(InputError, match=r"split\.fold: expected 0 to 3; found 4|0 to 3"):
        split_bags(bags, config)
