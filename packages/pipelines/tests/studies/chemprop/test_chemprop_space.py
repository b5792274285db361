"""Every point of the default space makes a valid configuration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from molpool_common import InputError
from molpool_pipelines.fitting import TrainChempropConfig
from molpool_pipelines.studies._parameters import Choice, Range
from molpool_pipelines.studies._space import Space, read_space, value_at
from molpool_pipelines.studies.chemprop._problem import chemprop_problem
from molpool_pipelines.studies.chemprop._space import default_space, trial_config

GUIDE = Path(__file__).parents[5] / "docs" / "tuning_chemprop.md"
guided = pytest.mark.skipif(not GUIDE.is_file(), reason="the guide is no part of the wheel")
QUALITIES = ["high", "medium", "low"]


class Dice:
    """Draws as `optuna.Trial` does at random, a thousand times sooner."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        if log:
            return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))
        if step:
            return low + step * int(self.rng.integers(0, round((high - low) / step) + 1))
        return float(self.rng.uniform(low, high))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        return low + step * int(self.rng.integers(0, (high - low) // step + 1))

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return choices[self.rng.integers(len(choices))]


def full(config: TrainChempropConfig, n_tasks: int = 5) -> Space:
    return read_space({}, default_space(config, n_tasks, QUALITIES), TrainChempropConfig)


def test_ten_thousand_draws_stay_in_range_and_build() -> None:
    config = TrainChempropConfig()
    space, dice = full(config), Dice()
    seen: set[str] = set()
    for n in range(10_000):
        params = space.suggest(dice)
        for name, value in params.items():
            parameter = space.parameters[name]
            if isinstance(parameter, Range):
                assert parameter.low <= value <= parameter.high, name
            elif isinstance(parameter, Choice):
                assert value in parameter.choices, name
        seen |= set(params)
        built = trial_config(config, params)
        if n % 20 == 0:  # each drawn value stands in the configuration
            values = built.model_dump()
            assert {name: value_at(values, name) for name in params} == params
        assert built.training.init_lr <= built.training.max_lr  # type: ignore[operator]
    assert seen == set(space.parameters)


def test_conditions_follow_what_they_are_of() -> None:
    space, dice = full(TrainChempropConfig()), Dice()
    for _ in range(300):
        params = space.suggest(dice)
        joint = params["joint_sampling.enabled"]
        assert ("joint_sampling.task_oversampling.alpha" in params) == joint
        assert ("joint_sampling.composition_mode" in params) == joint
        moving = joint and params["joint_sampling.curriculum.enabled"]
        weights = [name for name in params if "phase_weights" in name]
        assert len(weights) == (12 if moving else 0)
        assert ("task_affinity.n_groups" in params) == params["task_affinity.enabled"]


@pytest.mark.parametrize(
    ("values", "n_tasks", "absent"),
    [
        ({}, 1, "task_affinity"),
        ({"groups": [["a"], ["b"]]}, 2, "task_affinity"),
        ({"model": {"from_foundation": "f.pt"}}, 2, "model.message_passing.hidden_size"),
        ({"training": {"epochs": 1}}, 2, "training.warmup_epochs"),
    ],
)
def test_what_makes_no_sense_is_not_tried(values: Any, n_tasks: int, absent: str) -> None:
    space = default_space(TrainChempropConfig.model_validate(values), n_tasks, None)
    assert not [name for name in space if name.startswith(absent)]
    assert not [name for name in space if "curriculum" in name], "there are no quality labels"


@pytest.mark.parametrize("section", [{"clustering_method": "spectral"}, {"estimator": "probe"}])
def test_lookahead_is_tried_where_it_can_be(section: Any) -> None:
    config = TrainChempropConfig.model_validate({"task_affinity": section})
    kinds = default_space(config, 3, None)["task_affinity.affinity_type"]["choices"]
    assert kinds == ["cosine"], "at unit length a dot product is a cosine"


class TestTrialConfig:
    """What a parameter makes meaningless follows it."""

    def test_a_learning_rate_that_is_drawn_counts(self) -> None:
        config = TrainChempropConfig.model_validate({"training": {"max_lr": 1e-3}})
        assert trial_config(config, {"training.learning_rate": 0.01}).training.peak_lr == 0.01

    def test_alpha_switches_tasks_on(self) -> None:
        off = {"task_oversampling": {"enabled": False}}
        config = TrainChempropConfig.model_validate({"joint_sampling": off})
        params = {"joint_sampling.enabled": True, "joint_sampling.task_oversampling.alpha": 0.5}
        assert trial_config(config, params).joint_sampling.task_oversampling.enabled

    def test_sampling_by_nothing_is_shuffling(self) -> None:
        params = {
            "joint_sampling.enabled": True,
            "joint_sampling.task_oversampling.enabled": False,
            "joint_sampling.composition_mode": "hierarchical",
        }
        joint = trial_config(TrainChempropConfig(), params).joint_sampling
        assert (joint.enabled, joint.composition_mode) == (False, "multiplicative")

    def test_one_weight_leaves_the_others(self) -> None:
        name = "joint_sampling.curriculum.phase_weights.warmup.low"
        weights = trial_config(TrainChempropConfig(), {name: 0.4}).joint_sampling.curriculum
        assert weights.phase_weights is not None
        assert weights.phase_weights["warmup"] == {"high": 0.9, "medium": 0.1, "low": 0.4}
        assert weights.phase_weights["polish"] == {"high": 0.7, "medium": 0.2, "low": 0.1}

    def test_models_of_groups_need_groups(self) -> None:
        config = TrainChempropConfig.model_validate({"sharing": "separate"})
        assert trial_config(config, {"task_affinity.enabled": False}).sharing == "heads"
        assert trial_config(config, {"task_affinity.enabled": True}).sharing == "separate"


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"space": {"model.aggregation": "median"}}, r"space\.model\.aggregation: .*'median'"),
        (
            {"space": {"model.ffn.dropout": {"low": 0.5, "high": 1.0}}},
            r"space\.model\.ffn\.dropout: .* takes: a number less than 1; found 1\.0",
        ),
        ({"space": {"model.ffn.depth": 3}}, r"space\.model\.ffn\.depth"),
        ({"space": {"task_affinity.n_groups": {"low": 2, "high": 4}}}, "1 to 3, .* found 4"),
        ({"task_affinity": {"affinity_batch_size": 50}}, "at most the 2. labelled training rows"),
        (
            {"groups": [["a", "b"], ["c"]], "space": {"task_affinity.enabled": True}},
            "groups: expected none where task_affinity.enabled",
        ),
        (
            {"sharing": "separate", "space": {"task_affinity.enabled": False}},
            "sharing: expected groups or task_affinity.enabled",
        ),
        ({"study": {"metric": "ma-rae"}}, "study.metric: .*Did you mean 'ma_rae'"),
        ({"study": {"metric": "roc_auc"}}, "a metric of regression: .*found 'roc_auc'"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_trial(
    make_config: Any, sections: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        chemprop_problem(make_config(**sections))


def test_defaults_are_the_configuration_s_own(make_config: Any) -> None:
    problem = chemprop_problem(make_config(training={"learning_rate": 0.002}))
    assert problem.defaults["training.max_lr"] == 0.002
    assert problem.defaults["training.init_lr"] == pytest.approx(0.0002)
    assert problem.defaults["joint_sampling.curriculum.phase_weights.warmup.high"] == 0.9
    assert problem.defaults["model.message_passing.hidden_size"] == 8
    own = trial_config(make_config(training={"learning_rate": 0.002}), problem.defaults)
    assert own.training.peak_lr == 0.002
    assert own.model == make_config().model


def test_learning_rate_takes_the_place_of_the_highest(make_config: Any) -> None:
    declared = {"training.learning_rate": {"low": 1e-4, "high": 1e-3, "log": True}}
    parameters = chemprop_problem(make_config(space=declared)).space.parameters
    assert "training.max_lr" not in parameters
    alone = make_config(space=declared, study={"default_space": False})
    assert list(chemprop_problem(alone).space.parameters) == list(declared)


def test_a_study_is_known_by_what_trials_see(make_config: Any) -> None:
    first = chemprop_problem(make_config()).identity
    assert chemprop_problem(make_config(save_dir="elsewhere")).identity == first
    # A parameter's own value is only where trials start.
    assert chemprop_problem(make_config(training={"batch_size": 32})).identity == first
    for other in ({"seed": 1}, {"training": {"epochs": 4}}, {"data": {"split_seed": 3}}):
        assert chemprop_problem(make_config(**other)).identity != first


@guided
def test_the_guide_names_every_parameter() -> None:
    guide = GUIDE.read_text()
    table = guide[guide.index("## What is tried") : guide.index("The first trial is")]
    section = ""
    said = set()
    for name in re.findall(r"`([a-z_.]+(?:PHASE\.LABEL)?)`", table):
        said.add(section + name if name.startswith(".") else name)
        section = name.rpartition(".")[0] if not name.startswith(".") else section
    drawn = {
        re.sub(r"weights\..*", "weights.PHASE.LABEL", n)
        for n in full(TrainChempropConfig()).parameters
    }
    assert drawn <= said


@guided
def test_the_example_of_the_guide_is_a_space(make_config: Any) -> None:
    guide = GUIDE.read_text()
    example = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", guide, re.S)[0])
    space = chemprop_problem(make_config(space=example["space"])).space
    assert set(example["space"]) <= set(space.parameters)
    drawn = [space.suggest(dice) for dice in [Dice()] for _ in range(50)]
    assert all(("training.huber_delta" in d) == (d["training.loss"] == "huber") for d in drawn)
