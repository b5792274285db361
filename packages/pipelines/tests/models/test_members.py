"""Models on features that a run can name: each fits, predicts, is saved and read."""

import sys

import numpy as np
import pytest
from chemprop_multitask import ChempropConfig
from molecule_features import featurize
from molpool_common import InputError
from molpool_pipelines.fitting import TrainTabularConfig
from molpool_pipelines.models import (
    MEMBERS,
    Blend,
    MemberSettings,
    Molecules,
    asks_sd,
    build_member,
    check_members,
    fit_member,
    mix,
    predict_member,
)
from molpool_pipelines.models._members import load_member
from multitask_models import MissingPackageError, ModelError

SMILES = ["C" * n + end for n in range(1, 13) for end in ("", "O", "N", "Cl")]
SMALL = {
    "mlp": {"members": 2, "hidden": 32, "epochs": 60},
    "gp": {"max_iter": 5},
    "lightgbm": {"n_estimators": 20, "min_child_samples": 2},
    "xgboost": {"n_estimators": 20, "learning_rate": 0.3},
    "catboost": {"n_estimators": 20, "learning_rate": 0.3},
    "forest": {"n_estimators": 10},
    "extra_trees": {"n_estimators": 10},
    "chemprop": {
        "config": ChempropConfig.model_validate(
            {
                "model": {"message_passing": {"hidden_size": 24}},
                "training": {"epochs": 20, "batch_size": 8, "learning_rate": 3e-3},
            }
        ),
        "groups": [("a", "b")],
        "cache": "none",
    },
}


@pytest.fixture(scope="module")
def features():
    return featurize(SMILES, "morgan_count", cache=None)


def labels():
    length = np.array([len(s) for s in SMILES], dtype=float)
    y = np.stack([length, -2 * length], axis=1)
    y[::3, 1] = np.nan
    return y


@pytest.mark.parametrize("name", [name for name in MEMBERS if name != "tabicl"])
def test_every_model_predicts_the_same_after_it_was_saved(name, features, tmp_path):
    if name in ("xgboost", "catboost"):
        pytest.importorskip(name)
    settings = MemberSettings(
        features.blocks,
        ("regression",) * 2,
        seed=1,
        limits=None,
        options=SMALL.get(name, {}),
        task_names=("a", "b"),
    )
    molecules = Molecules(SMILES, features.values)
    model = fit_member(build_member(name, settings), molecules, labels(), censoring=None)
    mean, sd = predict_member(model, molecules)
    error = np.nanmean(np.abs(mean - labels())) / np.nanmean(
        np.abs(labels() - np.nanmean(labels(), 0))
    )
    assert error < (1.01 if name == "mean" else 0.8)
    assert sd.shape == mean.shape
    model.save(tmp_path / "model.npz")
    again, _ = predict_member(load_member(name, tmp_path / "model.npz"), molecules)
    np.testing.assert_array_equal(again, mean)


@pytest.mark.parametrize("name", ["mlp", "gp", "lightgbm"])
def test_models_that_learn_bounds_look_for_limits(name, features):
    model = build_member(name, MemberSettings(features.blocks, ("regression",)))
    assert getattr(model, "limits") == "auto"  # noqa: B009  # of models on features alone


def test_an_optional_model_that_is_missing_is_said_with_its_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "catboost", None)
    with pytest.raises(MissingPackageError, match="pip install 'catboost"):
        check_members(["mlp", "catboost"], ["regression"], lambda _: {})
    monkeypatch.setitem(sys.modules, "tabicl", pytest)
    files = TrainTabularConfig(tabicl={"regressor": "no.ckpt"}).options
    with pytest.raises(ModelError, match=r"regressor: .*no\.ckpt"):
        check_members(["tabicl"], ["regression"], files)


def test_neighbours_without_a_fingerprint_are_refused():
    found = featurize(["CCO"], "rdkit2d", cache=None)
    with pytest.raises(InputError, match="fingerprint"):
        build_member("neighbours", MemberSettings(found.blocks, ("regression",)))


def test_a_mixture_has_the_mean_and_the_variance_of_its_parts():
    means = np.array([[[0.0]], [[2.0]]])
    sds = np.array([[[1.0]], [[np.nan]]])
    mean, sd = mix(means, sds, np.array([[0.25], [0.75]]))
    assert mean[0, 0] == pytest.approx(1.5)
    # The first alone says how unsure it is: variance 1 within, .25 * 1.5^2 + .75 * .5^2 between.
    assert sd[0, 0] ** 2 == pytest.approx(1 + 0.75)


def test_a_member_that_says_nothing_and_has_all_the_weight_leaves_no_false_certainty():
    means, sds = np.zeros((2, 1, 1)), np.array([[[np.nan]], [[0.4]]])
    said = mix(means, sds, np.array([[1.0], [0.0]]))[1]
    assert said[0, 0] == pytest.approx(0.4)
    assert np.isnan(mix(means[:1], sds[:1], np.ones((1, 1)))[1]).all()


def test_a_gaussian_process_is_asked_only_where_no_other_model_says():
    assert asks_sd("gp", ["gp", "lightgbm"])
    assert not asks_sd("gp", ["gp", "mlp"])
    assert asks_sd("forest", ["gp", "forest"])


def test_a_member_that_cannot_predict_a_row_leaves_it_to_the_others():
    means = np.array([[[np.nan], [1.0]], [[2.0], [3.0]]])
    mean, _ = mix(means, np.zeros((2, 2, 1)), np.array([[0.5], [0.5]]))
    assert mean[:, 0].tolist() == [2.0, 2.0]
    nothing, sd = mix(np.full((1, 1, 1), np.nan), np.zeros((1, 1, 1)), np.ones((1, 1)))
    assert np.isnan(nothing).all()
    assert np.isnan(sd).all()


def test_a_blend_predicts_by_its_weights(features):
    settings = MemberSettings(features.blocks, ("regression",) * 2, limits=None)
    members = [
        build_member(name, settings).fit(features.values, labels())
        for name in ("mean", "neighbours")
    ]
    molecules = Molecules(SMILES, features.values)
    each = [predict_member(m, molecules)[0] for m in members]
    weights = np.array([[0.2, 1.0], [0.8, 0.0]])
    mean, _ = Blend(("mean", "neighbours"), tuple(members), weights, (True, True)).predict(
        molecules
    )
    np.testing.assert_allclose(mean[:, 0], 0.2 * each[0][:, 0] + 0.8 * each[1][:, 0])
    np.testing.assert_allclose(mean[:, 1], each[0][:, 1])
