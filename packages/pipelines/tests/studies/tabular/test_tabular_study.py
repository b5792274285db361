"""Studies of models on features: the space, a trial, and the final training."""

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from molecule_features import FeatureError
from molpool_common import InputError
from molpool_pipelines.fitting import TrainTabularConfig
from molpool_pipelines.models import load_model
from molpool_pipelines.studies import (
    HPOTabularConfig,
    RetrainConfig,
    read_study,
    retrain,
    run_study,
    tabular_problem,
)
from molpool_pipelines.studies.tabular._problem import tabular_kind
from molpool_pipelines.studies.tabular._space import default_space, tabular_space, trial_config

TASKS = ["a", "b"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    rng = np.random.default_rng(5)
    ends = ["O", "N", "OC", "C(=O)O", "Cl", "c1ccccc1"]
    smiles = ["C" * (i // 6 + 1) + ends[i % 6] for i in range(72)]
    size = np.array([len(s) for s in smiles], dtype=float)
    path = tmp_path_factory.mktemp("study") / "table.csv"
    y = np.column_stack([size, 30 - size]) + 0.1 * rng.normal(size=(72, 2))
    pl.DataFrame({"SMILES": smiles, "a": y[:, 0], "b": y[:, 1]}).write_csv(path)
    return path


def make(table, **sections):
    values = {
        "data_path": str(table),
        "features": "morgan_count",
        "mlp": {"members": 1, "hidden": 16, "epochs": 3},
        "data": {"target_columns": TASKS, "cache_dir": "none"},
        "study": {"n_trials": 2, "n_folds": 2, "default_space": False},
        "space": {"model": {"choices": [["mlp"], ["mean"]]}, "mlp.epochs": 4},
        **sections,
    }
    return HPOTabularConfig.model_validate(values)


def test_every_end_of_the_default_space_is_a_configuration():
    config = HPOTabularConfig()
    space = tabular_space(config)
    assert space.parameters.keys() == default_space(config).keys()
    for name, parameter in space.parameters.items():
        for value in parameter.extremes():
            assert isinstance(trial_config(config, {name: value}), TrainTabularConfig)


def test_the_configurations_own_choices_are_in_the_space(table):
    space = default_space(make(table, model=["forest"], features="maccs"))
    assert space["model"]["choices"][0] == ["forest"]
    assert space["features"]["choices"][0] == "maccs"


@pytest.mark.parametrize(
    ("space", "error", "words"),
    [
        ({"mlp.hiden": 3}, InputError, "mlp.hidden"),
        ({"mlp.dropout": {"low": 0.5, "high": 1.5}}, InputError, "space.mlp.dropout"),
        ({"features": {"choices": ["rdkit3d"]}}, FeatureError, "rdkit2d"),
        ({"model": {"choices": [["mpl"]]}}, InputError, "space.model"),
        ({"model": {"choices": [["mlp"], ["xgboost"]]}}, ImportError, r"models\[xgboost\]"),
    ],
)
def test_what_training_does_not_take_is_refused(table, space, error, words, monkeypatch):
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(error, match=words):
        tabular_problem(make(table, space=space))


def test_a_trial_without_a_network_draws_no_rows(table):
    config = make(table, joint_sampling={"enabled": True})
    assert trial_config(config, {"model": ["mlp"]}).joint_sampling.enabled
    assert not trial_config(config, {"model": ["gp"]}).joint_sampling.enabled


def test_a_fold_is_scored_by_models_of_the_others(table):
    problem = tabular_problem(make(table))
    assert problem.metric == "macro MA-RAE"
    objective = problem.build()
    told = []
    mean = objective.run_fold({"model": ["mean"]}, 0, lambda *seen: told.append(seen), seed=1)
    # The mean of other molecules, about as good as that of the scored ones.
    assert 0.9 < mean.value < 1.1
    assert told == [(0, mean.value)]
    assert mean.numbers.keys() == {"ma_rae: a", "ma_rae: b"}
    drawn = {"model": ["mlp"], "mlp.epochs": 30, "joint_sampling.enabled": True}
    assert objective.run_fold(drawn, 0, lambda *_: None, seed=1).value < mean.value


@pytest.mark.slow
def test_a_study_ends_in_models_that_predict(table, tmp_path):
    for n in (1, 2):  # the second goes on with the first
        study = {"n_trials": n, "n_folds": 2, "default_space": False}
        config = make(table, save_dir=str(tmp_path / "study"), study=study)
        assert run_study(config, tabular_problem, name="t") == 0
    folder = Path(tmp_path / "study")
    assert len(read_study(folder).complete()) == 2
    found = retrain(RetrainConfig(study_dir=str(folder), defaults=True))
    model = load_model(found / "models" / "member-000")
    assert np.isfinite(model.predict(["CCO"], 1).mean).all()
    assert tabular_kind(config).tasks == tuple(TASKS)
