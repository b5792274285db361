"""A fold's score by hand, what passes through it, and what never reaches it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import molpool_pipelines.studies.chemprop._objective as objective_module
import numpy as np
import optuna
import polars as pl
import pytest
from chemprop_multitask import ChempropModel, MoleculeData
from molpool_common import METRICS
from molpool_pipelines.affinity import group_tasks, measure_affinity
from molpool_pipelines.studies._molecules import (
    FoldScorer,
    InnerFold,
    StudyData,
    make_scorers,
    read_study_data,
)
from molpool_pipelines.studies._trials import FoldResult, Objective
from molpool_pipelines.studies.chemprop._objective import for_tasks, with_measured_groups
from molpool_pipelines.studies.chemprop._problem import chemprop_problem
from molpool_pipelines.studies.chemprop._space import trial_config
from molpool_pipelines.tables import load_molecules, split_table
from task_affinity import AffinityResult

STORED = {"study": {"fold_type": "stored", "fold_column": "Fold"}}
JOINT = "joint_sampling."
CURRICULUM = {
    f"{JOINT}enabled": True,
    f"{JOINT}task_oversampling.alpha": 0.5,
    f"{JOINT}composition_mode": "hierarchical",
    f"{JOINT}curriculum.enabled": True,
    f"{JOINT}curriculum.patience": 1,
}
GROUPS = {
    "task_affinity.enabled": True,
    "task_affinity.n_groups": 2,
    "task_affinity.affinity_type": "dot_product",
}


def silent(_epoch: int, _value: float) -> None:
    """Take a score."""


def build(config: Any) -> Objective:
    return chemprop_problem(config).build()


def ma_rae(truth: Any, predicted: Any) -> float:
    y = np.array(truth, dtype=float)
    there = np.isfinite(y)
    y, p = y[there], np.array(predicted)[there]
    return float(np.abs(y - p).mean() / np.abs(y - y.mean()).mean())


@pytest.mark.slow
def test_a_fold_s_score_by_hand(make_config: Any, molecules: pl.DataFrame) -> None:
    """The same model trained outside of the study, its rows chosen by hand from the table."""
    config = make_config(**STORED)
    outer = split_table(load_molecules(config.data, config.data_path), config.data, config.seed)
    labelled = pl.any_horizontal(pl.col("a", "b", "c").is_not_null())
    rest = molecules.filter(~pl.col("SMILES").is_in(outer.test.smiles), labelled)
    params = {"training.max_lr": 0.01, "model.ffn.hidden_size": 12}
    told: list[tuple[int, float]] = []
    result = build(config).run_fold(
        params, 1, lambda epoch, score: told.append((epoch, score)), seed=9
    )

    train, val = rest.filter(pl.col("Fold") != "y"), rest.filter(pl.col("Fold") == "y")
    data, held_out = (
        MoleculeData(
            part["SMILES"].to_list(), part.select("a", "b", "c").to_numpy(), task_names="abc"
        )
        for part in (train, val)
    )
    by_hand = trial_config(config, params)
    model = ChempropModel.from_config(by_hand, task_names="abc", seed=9)
    records = model.fit(data, held_out, seed=9)  # keeps the weights of the lowest loss
    predicted = model.predict(held_out)
    expected = {t: ma_rae(val[t].to_list(), predicted[:, k]) for k, t in enumerate("abc")}
    # Single precision, scaled back there and here in another order.
    assert result.value == pytest.approx(np.mean(list(expected.values())), rel=1e-4)
    for task, value in expected.items():
        assert result.numbers[f"ma_rae: {task}"] == pytest.approx(value, rel=1e-4)
    losses = [r.val_loss for r in records if r.val_loss is not None]
    assert len(losses) == len(records)
    best = int(np.argmin(losses))
    assert [epoch for epoch, _ in told] == [0, 1, 2]
    assert told[best][1] == result.value
    assert result.numbers["best_epoch"] == best + 1


@pytest.mark.slow
def test_labels_of_the_outer_test_change_no_score(
    make_config: Any, molecules: pl.DataFrame, tmp_path: Path
) -> None:
    config = make_config()
    outer = split_table(load_molecules(config.data, config.data_path), config.data, config.seed)
    tested = pl.col("SMILES").is_in(outer.test.smiles)
    scores = []
    for name, poison in (("clean", pl.col), ("absurd", lambda _: 1e9), ("none", lambda _: None)):
        path = tmp_path / f"{name}.csv"
        cells = [pl.when(tested).then(poison(t)).otherwise(pl.col(t)).alias(t) for t in "abc"]
        molecules.with_columns(cells).write_csv(path)
        objective = build(make_config(data_path=str(path)))
        params = CURRICULUM | GROUPS
        scores.append([objective.run_fold(params, fold, silent, 3).value for fold in (0, 1)])
    assert scores[0] == scores[1] == scores[2]


@pytest.mark.slow
def test_groups_are_measured_on_training_rows_of_the_fold(
    make_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def spy(config: Any, train: MoleculeData, kinds: Any) -> Any:
        seen.append(train)
        grouped = measure(config, train, kinds)
        seen.append(grouped.groups)
        return grouped

    measure = objective_module.with_measured_groups
    monkeypatch.setattr(objective_module, "with_measured_groups", spy)
    config = make_config(**STORED, sharing="separate")
    result = build(config).run_fold(GROUPS, 2, silent, 3)
    train = read_study_data(config).folds[2].train
    np.testing.assert_array_equal(seen[0].targets, train.targets)
    assert len(seen[1]) == 2
    assert np.isfinite(result.value)
    assert {name for name in result.numbers if name.startswith("ma_rae")} == {
        f"ma_rae: {task}" for task in "abc"
    }


@pytest.mark.slow
@pytest.mark.parametrize("fault", [KeyboardInterrupt, optuna.TrialPruned])
def test_what_tell_raises_passes_through(make_config: Any, fault: type[BaseException]) -> None:
    objective = build(make_config())
    epochs = []

    def tell(epoch: int, _value: float) -> None:
        epochs.append(epoch)
        if epoch == 1:
            raise fault

    with pytest.raises(fault):
        objective.run_fold({}, 0, tell, 1)
    assert epochs == [0, 1]
    assert isinstance(objective.run_fold({}, 0, silent, 1), FoldResult), "the next trial runs"


@pytest.mark.slow
def test_the_same_seed_gives_the_same_score(make_config: Any) -> None:
    objective = build(make_config())
    first, again, other = (objective.run_fold(CURRICULUM, 0, silent, s).value for s in (4, 4, 5))
    assert first == again != other


def test_parameters_that_fit_no_rows_say_so(make_config: Any) -> None:
    """The engine records what is raised."""
    phases = {f"{JOINT}curriculum.phase_weights.warmup.{q}": 0.0 for q in ("high", "low")}
    objective = build(
        make_config(joint_sampling={"curriculum": {"qualities": ["high", "medium", "low"]}})
    )
    empty = {**CURRICULUM, **phases, f"{JOINT}curriculum.phase_weights.warmup.medium": 0.0}
    with pytest.raises(ValueError, match="expected a weight above 0"):
        objective.run_fold(empty, 0, silent, 1)


class TestScorer:
    """Scores of predictions that are written down."""

    def scorer(self, data: StudyData, fold: int, name: str) -> FoldScorer:
        return make_scorers(METRICS[name], data)[fold]

    def test_macro_means_count_exact_labels_of_each_task(self, make_config: Any) -> None:
        data = read_study_data(make_config(**STORED))
        fold = data.folds[0]
        predicted = np.add(np.nan_to_num(fold.val.targets), [1.0, 2.0, -3.0])
        scores = self.scorer(data, 0, "mae")(predicted)
        assert scores == pytest.approx({"a": 1.0, "b": 2.0, "c": 3.0})
        signs = np.zeros(fold.val.targets.shape, dtype=np.int8)
        signs[np.flatnonzero(np.isfinite(fold.val.targets[:, 0]))[1:], 0] = 1  # one exact label
        bounded = InnerFold(fold.train, _with(fold.val, censoring=signs), fold.columns)
        scorer = FoldScorer(METRICS["ma_rae"], bounded, data.task_types)
        assert scorer.left_out == {"a": "constant truth"}
        assert set(scorer(predicted)) == {"b", "c"}

    def test_a_constant_prediction_correlates_with_nothing(self, make_config: Any) -> None:
        data = read_study_data(make_config(**STORED))
        constant = np.zeros(data.folds[0].val.targets.shape)
        assert self.scorer(data, 0, "spearman")(constant) == {"a": 0.0, "b": 0.0, "c": 0.0}


def test_a_fold_without_positives_is_named(
    make_config: Any, molecules: pl.DataFrame, tmp_path: Path
) -> None:
    """Task d has positives in fold x alone, so each fold but x does not score it."""
    path = tmp_path / "classes.csv"
    positive = (pl.col("Fold") == "x") & (pl.int_range(pl.len()) % 2 == 0)
    other = pl.int_range(pl.len()) % 2
    molecules.with_columns(positive.cast(int).alias("d"), other.alias("e")).write_csv(path)
    both = make_config(**STORED, data_path=str(path), data={"target_columns": ["d", "e"]})
    problem = chemprop_problem(both)
    assert (problem.metric, problem.direction) == ("macro ROC AUC", "maximize")
    assert "Fold 1 does not score d (a single class)." in problem.notes
    alone = make_config(**STORED, data_path=str(path), data={"target_columns": ["d"]})
    with pytest.raises(ValueError, match=r"'roc_auc', undefined in fold 1: d \(a single class\)"):
        chemprop_problem(alone)


def test_groups_of_a_fold_leave_its_missing_tasks_out(make_config: Any) -> None:
    config = make_config(
        groups=[["a", "b"], ["b", "c"], ["c"]],
        group_assignment={"b": 1, "c": 2},
        training={"task_weights": {"a": 2.0, "c": 3.0}},
    )
    part = for_tasks(config, ("a", "b"), ("a", "b", "c"))
    assert part.groups == [["a", "b"], ["b"]]
    assert part.group_assignment == {"a": 0, "b": 1}
    assert part.training.task_weights == {"a": 2.0}
    assert for_tasks(config, ("a", "b", "c"), ("a", "b", "c")) is config


def _with(table: Any, **changes: Any) -> Any:
    from dataclasses import replace

    return replace(table, **changes)


def test_affinity_is_measured_as_training_does(
    make_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same rows, architecture and seed give the same matrix: one estimator."""
    config = make_config(task_affinity={"enabled": True, "affinity_batch_size": 16, "n_groups": 2})
    fold = read_study_data(config).folds[0]
    train, kinds = MoleculeData.from_table(fold.train), ("regression",) * len(fold.columns)
    found: list[AffinityResult] = []

    def recorded(*arguments: Any) -> AffinityResult:
        found.append(measure_affinity(*arguments))
        return found[-1]

    monkeypatch.setattr(objective_module, "measure_affinity", recorded)
    trial = trial_config(config, {})
    grouped = with_measured_groups(trial, train, kinds)
    expected = measure_affinity(trial.task_affinity, trial, train, kinds)
    np.testing.assert_array_equal(found[0].matrix, expected.matrix)
    assert grouped.groups == group_tasks(expected).grouping.groups
