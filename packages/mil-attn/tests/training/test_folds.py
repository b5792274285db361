"""Splits of bags as the split section says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from mil_attn import BagData, MILRunConfig, bag_folds, read_bags, split_bags
from mil_attn._errors import MILError
from mil_attn.training._folds import make_folds, stored_folds
from molpool_common import InputError, Split
from numpy.typing import NDArray

N = 400


@pytest.fixture
def labels() -> NDArray[np.float64]:
    rng = np.random.default_rng(0)
    y = (rng.random((N, 3)) < [0.5, 0.1, 0.03]).astype(float)
    y[rng.random(N) < 0.05, 1] = np.nan
    return y


def check_partition(folds: list[Split], n: int = N) -> None:
    tested = np.concatenate([f.test for f in folds])
    assert sorted(tested.tolist()) == list(range(n))
    for fold in folds:
        assert sorted(np.concatenate(list(fold)).tolist()) == list(range(n))


def test_stratified_deals_out_combinations(labels: NDArray[np.float64]) -> None:
    folds = make_folds("stratified", 5, groups=range(N), labels=labels, val_ratio=0.25)
    check_partition(folds)
    keys = ["".join(map(str, row)) for row in labels]
    for key in set(keys):
        held = np.array([k == key for k in keys])
        counts = [int(held[f.test].sum()) for f in folds]
        assert max(counts) - min(counts) <= 1, key
    assert all(len(f.val) == pytest.approx(80, abs=4) for f in folds)


def test_multilabel_deals_out_the_labels_of_each_task(labels: NDArray[np.float64]) -> None:
    folds = make_folds("multilabel", 5, groups=range(N), labels=labels)
    check_partition(folds)
    for t in range(3):
        counts = [int((labels[f.test, t] == 1).sum()) for f in folds]
        assert max(counts) - min(counts) <= 2, t


def test_plates_stay_together() -> None:
    plates = [f"P{i % 37}" for i in range(N)]
    folds = make_folds("plate", 5, groups=range(N), plates=plates)
    check_partition(folds)
    for fold in folds:
        fold.check(plates)


def test_scaffolds_stay_together() -> None:
    smiles = [
        "C" * (i % 7) + ring for i, ring in enumerate(["c1ccccc1", "C1CCCC1", "c1ccncc1"] * 6)
    ]
    folds = make_folds("scaffold", 3, groups=smiles, smiles=smiles, val_ratio=0)
    check_partition(folds, len(smiles))
    assert all(len({i % 3 for i in fold.test.tolist()}) == 1 for fold in folds)


def test_stored_test_sides_are_kept_and_validation_is_stratified(
    labels: NDArray[np.float64],
) -> None:
    number = np.random.default_rng(1).integers(0, 10, size=N)
    folds = stored_folds(number, labels=labels[:, :1], val_ratio=0.2)
    check_partition(folds)
    for f, fold in enumerate(folds):
        assert (number[fold.test] == f).all()
        rest = np.concatenate([fold.train, fold.val])
        assert labels[fold.val, 0].sum() == pytest.approx(0.2 * labels[rest, 0].sum(), abs=1)
    assert all(len(f.val) == 0 for f in stored_folds(number, val_ratio=0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_folds("scafold", 2, groups=[1, 2]), "'scafold'. Did you mean 'scaffold'"),
        (lambda: make_folds("plate", 2, groups=[1, 2]), "plates: expected for folds by 'plate'"),
        (lambda: make_folds("random", 3, groups=[1, 2]), "at least 3 molecules"),
        (lambda: stored_folds([0, np.nan, 1]), "none in rows 2"),
        (lambda: stored_folds([0, 0]), "at least 2 folds; found 1"),
        (lambda: stored_folds(["a", "b"]), "fold number for each bag"),
    ],
)
def test_what_is_missing_is_named(call: Any, message: str) -> None:
    with pytest.raises(MILError, match=message):
        call()


N_BAGS = 60


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "bags.csv"
    frame = pl.DataFrame(
        {
            "bag_id": [f"b{i}" for i in range(N_BAGS)],
            "label": (rng.random(N_BAGS) < 0.3).astype(int),
            "fold": rng.permutation(N_BAGS) % 4,
            "plate": [f"P{i % 6}" for i in range(N_BAGS)],
            "f1": rng.normal(size=N_BAGS),
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
    assert len(without.train) + len(without.test) == N_BAGS


@pytest.mark.parametrize("section", SPLITS, ids=lambda s: str(s["split_type"]))
def test_folds_of_some_of_the_bags_partition_them(table: Path, section: dict[str, Any]) -> None:
    bags, config = run_of(table, **section, val_ratio=0)
    rest = bags.take(np.arange(10, N_BAGS))
    folds = bag_folds(rest, config)
    assert sorted(np.concatenate([f.test for f in folds]).tolist()) == list(range(N_BAGS - 10))


def test_stored_folds_are_found_by_name(table: Path) -> None:
    bags, config = run_of(table, split_type="stored", fold_column="fold", fold=3)
    stored = dict(pl.read_csv(table).select("bag_id", "fold").iter_rows())
    shuffled = bags.take(np.random.default_rng(1).permutation(N_BAGS))
    test = split_bags(shuffled, config).test
    assert {shuffled.ids[i] for i in test} == {b for b, fold in stored.items() if fold == 3}


def test_fold_that_is_not_there(table: Path) -> None:
    bags, config = run_of(table, split_type="stored", fold_column="fold", fold=4)
    with pytest.raises(InputError, match=r"split\.fold: expected 0 to 3; found 4|0 to 3"):
        split_bags(bags, config)
