"""Trees under the folds of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mil_attn import BagData
from molpool_common import InputError
from molpool_pipelines.studies import _baselines as baselines
from molpool_pipelines.studies._baselines import (
    BASELINES,
    FOREST,
    MEAN,
    NEIGHBOURS,
    BaselineObjective,
    inner_scores,
    names_of,
    predict_tasks,
    varied_columns,
)
from molpool_pipelines.studies._config import RetrainConfig
from molpool_pipelines.studies._kinds import (
    FeatureRows,
    TabularFold,
    TabularStudy,
    molecule_features,
    pooled_features,
)
from molpool_pipelines.studies._scoring import MacroScore
from sklearn.ensemble import RandomForestRegressor
from sklearn.neighbors import KNeighborsRegressor

FEW: dict[str, Any] = {
    name: {**settings, "n_estimators": 30} if "n_estimators" in settings else settings
    for name, settings in baselines.DEFAULTS.items()
}
FEW[baselines.LIGHTGBM]["learning_rate"] = 0.2


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "DEFAULTS", FEW)


@pytest.fixture
def side() -> FeatureRows:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 5)).astype(np.float32)
    x[rng.random(x.shape) < 0.05] = np.nan
    x[:, 4] = 3
    signal = np.nan_to_num(x[:, 0])
    y = np.stack([signal + 0.1 * rng.normal(size=120), (signal > 0).astype(float)], axis=1)
    y[rng.random(y.shape) < 0.2] = np.nan
    return FeatureRows(x, y)


KINDS = ("regression", "classification")


def test_forest_is_sklearns_on_labelled_rows_and_varied_columns(side: FeatureRows) -> None:
    found = predict_tasks(FOREST, side, side.features, KINDS, seed=3)
    there = ~np.isnan(side.labels[:, 0])
    peer = RandomForestRegressor(**FEW[FOREST], random_state=3)
    peer.fit(side.features[there, :4], side.labels[there, 0])
    np.testing.assert_array_equal(found[:, 0], peer.predict(side.features[:, :4]))


@pytest.mark.parametrize("name", [name for name in BASELINES if name != MEAN])
def test_what_can_be_learned_is(side: FeatureRows, name: str) -> None:
    train, val = side.take(np.arange(80)), side.take(np.arange(80, 120))
    p = predict_tasks(name, train, val.features, KINDS, seed=0)
    assert p.shape == (40, 2)
    mae, auc = MacroScore(("ma_rae", None)), MacroScore((None, "roc_auc"))
    error, area = mae(val.labels, p), auc(val.labels, p)
    assert error is not None
    # Neighbours heed all columns alike, of which one matters.
    assert error < (0.9 if name == NEIGHBOURS else 0.7)
    assert area is not None
    assert area > (0.7 if name == NEIGHBOURS else 0.9)
    assert ((p[:, 1] >= 0) & (p[:, 1] <= 1)).all()
    again = predict_tasks(name, train, val.features, KINDS, seed=0)
    np.testing.assert_array_equal(p, again)


def test_the_mean_knows_nothing_else(side: FeatureRows) -> None:
    found = predict_tasks(MEAN, side, side.features[:3], KINDS, seed=0)
    expected = np.nanmean(side.labels, axis=0)
    np.testing.assert_allclose(found, np.tile(expected, (3, 1)), rtol=1e-12)


def test_neighbours_are_sklearns_on_scaled_columns(side: FeatureRows) -> None:
    found = predict_tasks(NEIGHBOURS, side, side.features[:9], KINDS, seed=0)
    there = ~np.isnan(side.labels[:, 0])
    x, y = side.features[there, :4].astype(float), side.labels[there, 0]
    mean = np.nanmean(x, axis=0)
    x, new = (np.where(np.isnan(v), mean, v) for v in (x, side.features[:9, :4].astype(float)))
    x, new = ((v - x.mean(axis=0)) / x.std(axis=0) for v in (x, new))
    peer = KNeighborsRegressor(5, weights="distance").fit(x, y)
    # The pipeline scales in single precision.
    np.testing.assert_allclose(found[:, 0], peer.predict(new), rtol=1e-3, atol=1e-3)


def test_missing_labels_and_single_classes(side: FeatureRows) -> None:
    labels = side.labels.copy()
    labels[:, 0] = np.nan
    labels[:, 1] = np.where(np.isnan(labels[:, 1]), np.nan, 1)
    p = predict_tasks(FOREST, FeatureRows(side.features, labels), side.features[:3], KINDS, seed=0)
    assert np.isnan(p[:, 0]).all()
    assert (p[:, 1] == 1).all()
    with pytest.raises(InputError, match="Did you mean 'random forest'"):
        predict_tasks("random forrest", side, side.features, KINDS, seed=0)


def test_varied_columns() -> None:
    x = np.array([[1, 1, np.nan, np.nan], [1, 2, np.nan, 5], [1, np.nan, np.nan, 5]], np.float32)
    assert varied_columns(x).tolist() == [False, True, False, False]


def test_scores_are_of_the_validation_rows_and_tasks_of_each_fold(side: FeatureRows) -> None:
    first, rest = np.arange(40), np.arange(40, 120)
    both = np.array([True, True])
    folds = [TabularFold(rest, first, both), TabularFold(first, rest, np.array([True, False]))]
    score = MacroScore(("ma_rae", None))
    data = TabularStudy(side, folds, ("a", "b"), KINDS, score, "x")
    scores = inner_scores(data, seed=5)
    assert [s.name for s in scores] == list(BASELINES)
    p = predict_tasks(FOREST, side.take(rest), side.take(first).features, KINDS, seed=5)
    assert scores[1].folds[0] == score(side.take(first).labels, p)
    assert scores[1].value == np.mean(scores[1].folds)
    told: list[tuple[int, float]] = []
    objective = BaselineObjective(data, FOREST)
    result = objective.run_fold({"n_estimators": 3}, 0, lambda e, v: told.append((e, v)), seed=5)
    assert told == [(0, result.value)]
    assert result.value != scores[1].folds[0]
    assert result.numbers == {"a": result.value}
    assert (objective.n_folds, objective.direction) == (2, "minimize")


def test_what_is_scored_is_chosen_as_in_training_and_as_before() -> None:
    for said, names in (
        ("all", BASELINES),
        (True, BASELINES),
        ("fast", tuple(n for n in BASELINES if n != FOREST)),
        (False, ()),
    ):
        config = RetrainConfig.model_validate({"study_dir": "s", "baselines": said})
        assert names_of(config.baselines) == names


def test_bags_are_pooled() -> None:
    x = np.array([[1, np.nan], [3, np.nan], [5, 7]], dtype=np.float32)
    bags = BagData(["a", "b"], x, np.array([0, 2, 3]), undefined_ok=True)
    np.testing.assert_array_equal(
        pooled_features(bags), [[2, np.nan, 1, np.nan, 3, np.nan], [5, 7, 5, 7, 5, 7]]
    )


def test_molecules_have_descriptors_and_counts(tmp_path: Path) -> None:
    descriptors = pytest.importorskip("rdkit.Chem.Descriptors")
    from rdkit import Chem

    found = molecule_features(["CCO", "not one", "c1ccccc1CCO"], cache=tmp_path)
    names = [n for n, _ in descriptors.descList if n != "Ipc"]
    assert found.shape == (3, len(names) + 2048)
    assert np.isnan(found[1]).all()
    column = names.index("MolWt")
    assert found[0, column] == pytest.approx(descriptors.MolWt(Chem.MolFromSmiles("CCO")))
    # Three heavy atoms at radius 0 and their environments at 1 and 2: CCO has C, C, O; CC, CCO, CO.
    assert found[0, len(names) :].sum() >= 6
