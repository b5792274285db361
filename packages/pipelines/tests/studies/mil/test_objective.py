"""One fold of a study of bags: what it trains on, how it is scored, that it can be given up."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import polars as pl
import pytest
from mil_attn import MILConfig, MILError, fit, predict
from molpool_common import InputError, validate_values
from molpool_pipelines.fitting import TrainMILConfig, rare_positive_sampler
from molpool_pipelines.studies.mil._config import HPOMILConfig
from molpool_pipelines.studies.mil._objective import MILObjective, study_bags
from molpool_pipelines.studies.mil._problem import mil_problem
from sklearn.metrics import average_precision_score

MakeConfig = Callable[..., HPOMILConfig]
PARAMS = {"lr": 4e-3, "inst_dropout": 0.1, "gamma_t0": 1.0, "gamma_t1": 2.0, "min_w": 0.5}


def nothing(_epoch: int, _value: float) -> None:
    """Take no notice."""


@pytest.mark.parametrize("kind", ["multilabel", "stratified", "random", "stored"])
def test_folds_leave_the_outer_test_alone(config: MakeConfig, kind: str) -> None:
    study = {"n_folds": 3, "fold_type": kind}
    split: dict[str, Any] = {"n_folds": 4}
    if kind == "stored":
        study["fold_column"] = "fold"
        split = {"split_type": "stored", "fold_column": "fold", "fold": 1}
    made = config(study=study, split=split)
    bags = study_bags(made)
    assert bags.n_test + len(bags.rest) == 80
    validated = np.concatenate([f.test for f in bags.folds])
    assert sorted(validated.tolist()) == list(range(len(bags.rest)))
    for number, fold in enumerate(bags.folds):
        assert not set(fold.train) & set(fold.test)
        assert len(fold.train) + len(fold.test) == len(bags.rest)
        assert not len(fold.val)
        assert set(bags.fold(number)[0].ids) == {bags.rest.ids[i] for i in fold.train}
    if kind == "stored":
        assert bags.n_test == 20
        assert all(len({int(i[3:]) % 4 for i in bags.fold(k)[1].ids}) == 1 for k in range(3))


@pytest.mark.slow
def test_score_by_hand(config: MakeConfig) -> None:
    made = config(study={"n_folds": 3, "min_w": 0.2})
    bags = study_bags(made)
    objective = MILObjective(made, bags)
    told: list[tuple[int, float]] = []
    found = objective.run_fold(PARAMS, 1, lambda e, v: told.append((e, v)), seed=7)

    train, val = bags.fold(1)
    own = MILConfig.model_validate(made.run.model_dump(include=set(MILConfig.model_fields)))
    again = fit(
        own.with_params(PARAMS),
        train,
        val,
        sampler=rare_positive_sampler(made.run, train, 7),
        seed=7,
    )
    p = predict(again.module, val)
    assert val.labels is not None
    ap = [average_precision_score(val.labels[:, t], p[:, t]) for t in range(2)]
    # Epochs report in single precision: 6e-8.
    assert found.value == pytest.approx(0.8 * np.mean(ap) + 0.2 * min(ap), rel=1e-6)
    assert found.numbers["score at sampled min_w"] == pytest.approx(
        0.5 * np.mean(ap) + 0.5 * min(ap), rel=1e-6
    )
    assert (found.numbers["ap easy"], found.numbers["ap rare"]) == pytest.approx(tuple(ap))
    assert found.numbers["best_epoch"] == again.best_epoch + 1
    assert [e for e, _ in told] == list(range(len(again.records)))
    assert told[again.best_epoch][1] == found.value


@pytest.mark.slow
def test_weight_of_the_worst_task_as_the_literature_draws_it(config: MakeConfig) -> None:
    made = config(study={"n_folds": 3, "min_w": "sampled"})
    assert config(study={"n_folds": 3, "min_w": "drawn"}) == made, "its earlier name"
    objective = MILObjective(made, study_bags(made))
    found = objective.run_fold(PARAMS, 0, nothing, seed=1)
    assert found.value == found.numbers["score at sampled min_w"]
    assert objective.metric == "macro_plus_min AP (min_w sampled)"
    kinder = objective.run_fold({**PARAMS, "min_w": 0.1}, 0, nothing, seed=1)
    # The very same model scores better for drawing a smaller weight.
    assert kinder.numbers["macro_ap"] == found.numbers["macro_ap"]
    assert kinder.value > found.value
    problem = mil_problem(made)
    assert problem.resolve(PARAMS)["training"]["min_w"] == 0.5
    assert any("not compared like with like" in note for note in problem.notes)


@pytest.mark.slow
def test_one_task_and_values(config: MakeConfig) -> None:
    one = config(data={"target_columns": ["easy"]})
    found = MILObjective(one, study_bags(one)).run_fold({}, 0, nothing, seed=0)
    assert found.value == pytest.approx(found.numbers["ap easy"])

    values = config(data={"target_columns": ["value"]}, task_kind="regression")
    problem = mil_problem(values)
    assert (problem.direction, problem.metric) == ("minimize", "RAE")
    bags = study_bags(values)
    objective = MILObjective(values, bags)
    found = objective.run_fold({"lr": 1e-3}, 0, nothing, seed=0)
    # Whole from single precision, as its epochs report it, and from predictions in label units.
    assert found.value == pytest.approx(found.numbers["rae value"], rel=1e-4)


@pytest.mark.slow
def test_a_trial_that_is_given_up_stops_at_once(config: MakeConfig) -> None:
    made = config()
    told: list[int] = []

    def tell(epoch: int, _value: float) -> None:
        told.append(epoch)
        raise optuna.TrialPruned

    with pytest.raises(optuna.TrialPruned):
        MILObjective(made, study_bags(made)).run_fold({}, 0, tell, seed=0)
    assert told == [0]


@pytest.mark.slow
def test_same_seed_same_score_and_process_apart(config: MakeConfig) -> None:
    made = config()
    problem = mil_problem(made)
    build = pickle.loads(pickle.dumps(problem.build))
    scores = [build().run_fold({"lr": 3e-3}, 2, nothing, seed=s).value for s in (5, 5, 6)]
    assert scores[0] == scores[1]
    assert scores[0] != scores[2]


def test_best_configuration_is_one_of_training(config: MakeConfig) -> None:
    problem = mil_problem(config())
    resolved = validate_values(TrainMILConfig, problem.resolve({**PARAMS, "batch_size": 128}))
    assert resolved.blend.models == ["attention"]
    assert (resolved.training.lr, resolved.training.batch_size) == (4e-3, 128)
    assert resolved.loss.gamma == [1.0, 2.0]
    assert resolved.training.min_w == 0.3  # that of the comparison, not the sampled one
    assert set(problem.defaults) == set(problem.space.parameters)


def test_identity_knows_the_data_and_what_no_parameter_sets(
    config: MakeConfig, tmp_path: Path
) -> None:
    made = config()
    same = mil_problem(config(training={"lr": 1e-3})).identity
    assert mil_problem(made).identity == same  # lr is drawn
    assert mil_problem(config(training={"epochs": 4})).identity != same
    other = tmp_path / "bags.csv"
    assert made.data_path is not None
    frame = pl.read_csv(made.data_path)
    frame.with_columns(pl.col("f1") + 1).write_csv(other)
    assert mil_problem(config(path=other)).identity != same


@pytest.mark.parametrize(
    ("change", "sections", "message"),
    [
        ({"rare": 0}, {}, r"inner fold 0 \(of 3\): expected positive labels of 'rare' in training"),
        ({}, {"study": {"metric": "auc"}}, "study.metric: expected 'macro_plus_min'"),
        ({}, {"study": {"fold_type": "stored", "fold_column": "g"}}, "fold_column.*'g'"),
        ({}, {"study": {"fold_type": "plate"}}, "split.plate_column: expected a column"),
        ({}, {"study": {"n_folds": 200}}, "k: expected at least 200 molecules"),
        ({}, {"study": {"min_w": 2}}, "expected a number from 0 to 1, or sampled"),
        ({"fold": None}, {"study": {"fold_type": "stored", "fold_column": "fold"}}, "fold"),
    ],
)
def test_bad_input(
    config: MakeConfig,
    tmp_path: Path,
    change: dict[str, Any],
    sections: dict[str, Any],
    message: str,
) -> None:
    path = tmp_path / "bags.csv"
    stored = config().data_path
    assert stored is not None
    frame = pl.read_csv(stored)
    if change:
        frame = frame.with_columns(**{k: pl.lit(v) for k, v in change.items()})
    frame.write_csv(path)
    with pytest.raises((InputError, MILError), match=message):
        mil_problem(config(path=path, **sections))
