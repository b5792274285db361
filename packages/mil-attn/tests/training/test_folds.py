from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mil_attn._errors import MILError
from mil_attn.training._folds import make_folds, stored_folds
from molpool_common import Split
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
