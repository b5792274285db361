"""The study of bags and the battery of assumptions: their arithmetic, and that they run."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from mil_attn import BagData, pack_bags

STUDIES = Path(__file__).parents[1] / "studies"


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(STUDIES))
    return importlib.import_module("mil_study")


@pytest.fixture
def battery(study: ModuleType) -> ModuleType:
    return importlib.import_module("mil_assumptions")


def test_what_choosing_the_epoch_on_the_test_fold_adds(study: ModuleType) -> None:
    # After two epochs: 1 and 3 of 4 right; the last epoch counts, the best is shown beside it.
    p = np.array([[0.9, 0.2, 0.8, 0.6], [0.4, 0.9, 0.8, 0.1]])
    result = study.FoldResult(p[::-1], np.array([0.0, 1.0, 1.0, 0.0]))
    assert result.correct.tolist() == [4, 1]
    assert result.auc == pytest.approx(0.25)  # one of four pairs in order
    assert study.FoldResult(p, np.ones(4)).auc is None


@pytest.mark.parametrize("name", ["ABMIL", "DSMIL"])
def test_a_padded_peer_is_as_each_bag_alone(study: ModuleType, name: str) -> None:
    pytest.importorskip("torchmil")
    torch.manual_seed(0)
    matrices = [torch.randn(n, 5) for n in (1, 7, 2)]
    labels = torch.tensor([0.0, 1.0, 1.0])
    peer = study.Peer(name, 5).eval()
    whole, alone = pack_bags(matrices), [pack_bags([m]) for m in matrices]
    # Single precision through three layers.
    near = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(
        peer.logits(whole), torch.cat([peer.logits(bag) for bag in alone]), **near
    )
    losses = [peer.loss(bag, y[None]) for bag, y in zip(alone, labels, strict=True)]
    torch.testing.assert_close(peer.loss(whole, labels), torch.stack(losses).mean(), **near)


@pytest.mark.parametrize("test", [False, True])
def test_the_rules_of_the_battery_hold_on_either_side(battery: ModuleType, test: bool) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        for positive in (False, True):
            keys = {name: plan(rng, positive, test)[0] for name, plan in battery.TESTS.items()}
            assert (keys["planted key"][0] > 0) == positive
            assert (keys["count threshold"][0] >= 3) == positive
            assert (keys["false-positive instance"][0] > 0) == positive
            both = keys["false frequency"]
            assert (both[0] > 0 and both[1] > 0) == positive
            # What training suggests besides is the other way round in test bags.
            assert (keys["false-positive instance"][2] > 0) == (positive == test)


@pytest.mark.slow
def test_every_setting_trains(battery: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(battery, "N_TRAIN", 32)
    monkeypatch.setattr(battery, "N_TEST", 8)
    for make in battery.SETTINGS.values():
        found = battery.scores(make, battery.planted_key, 0, 1)
        assert ((found >= 0) & (found <= 1)).all()


@pytest.mark.slow
@pytest.mark.realdata
def test_the_study_reads_the_stored_folds(study: ModuleType) -> None:
    try:
        folder = study.table_folder()
    except SystemExit as reason:
        pytest.skip(str(reason))
    if not (folder / "musk1.csv.gz").exists():
        pytest.skip("no mil/musk1.csv.gz: set MOLPOOL_DATA to the folder of the public tables")
    found = study.study("musk1", repeats=1, epochs=1, chosen=["attention pool"])
    (row,) = found.rows
    assert row["method"] == "attention pool"
    assert 0.4 < row["accuracy"] < 1
    assert study.study("musk1", 1, 1, ["attention pool"], found).rows == [row]
    assert "| attention pool | 0." in study.tables(found)


def test_networks_of_all_folds_are_trained_at_once(study: ModuleType) -> None:
    small = importlib.import_module("mil_small")
    rng = np.random.default_rng(0)
    offsets = np.arange(0, 61, 3)
    data = study.BagData(
        [str(b) for b in range(20)],
        rng.normal(size=(60, 4)).astype(np.float32),
        offsets,
        labels=(np.arange(20) % 2)[:, None].astype(float),
        task_names=["label"],
    )
    splits = np.array([np.arange(20) % 5 != fold for fold in range(5)])
    every = {"instances": 0.3, "features": 0.3, "clip": 2.0, "mixup": 0.4}
    setting = {**small.BASE, **every, "width": 8, "batch": 8}
    found = small.trained(data, splits, setting, members=2, epochs=10, seed=0)
    assert list(found) == [10]
    assert found[10].shape == (5, 2, 20)
    torch.manual_seed(0)
    networks = small.Networks(3, 4, setting).eval()
    x = torch.randn(3, 60, 4)
    whole, _ = networks(x, torch.arange(20).repeat_interleave(3), 20)
    alone, _ = networks(x[:, 6:9], torch.zeros(3, dtype=torch.int64), 1)
    torch.testing.assert_close(whole[:, 2:3], alone)
    scores = small.scores(np.array([[0.9, 0.2], [0.3, 0.3]]), np.array([1.0, 0.0]))
    assert (scores["accuracy"], scores["accuracy_of_one"]) == (1.0, 0.75)


# Fisher vectors see means and spreads of a bag, no single instance; by chance 0.8 is one in 170.
@pytest.mark.parametrize(("name", "least"), [("MISVM", 0.9), ("FisherVectors", 0.8)])
def test_references_learn_which_instance_makes_a_bag_positive(
    study: ModuleType, name: str, least: float
) -> None:
    pytest.importorskip("sklearn")
    assert study.SETS  # the folder of the studies is on the path
    draw = np.random.default_rng(0)
    sizes = np.full(80, 3)
    x = draw.normal(size=(sizes.sum(), 4)).astype(np.float32)
    y = (np.arange(80) % 2).astype(np.float64)
    x[3 * np.flatnonzero(y), 0] += 5  # one of three instances of a positive bag
    ids, offsets = [str(i) for i in range(80)], np.r_[0, sizes.cumsum()]
    data = BagData(ids, x, offsets, labels=y[:, None], task_names=["y"])
    model = getattr(importlib.import_module("bag_references"), name)()
    model.fit(data.take(range(60)), seed=0)
    said, sd = model.predict_with_sd(data.take(range(60, 80)))
    assert said.shape == sd.shape == (20, 1)
    assert ((said[:, 0] >= 0.5) == y[60:]).mean() >= least
