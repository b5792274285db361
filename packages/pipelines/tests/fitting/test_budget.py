"""What a time budget leaves out."""

import time
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from molpool_common import RunFolder
from molpool_pipelines.fitting import TrainTabularConfig, _baselines, _costs, train_tabular
from molpool_pipelines.fitting._baselines import affordable
from molpool_pipelines.fitting._budget import Budget
from molpool_pipelines.fitting._costs import (
    Cost,
    Planning,
    Size,
    share_of_rows,
    shortened,
    tried_cost,
)
from molpool_pipelines.fitting._results import metric_table
from molpool_pipelines.models import MemberName
from molpool_pipelines.runs import read_metrics

SMILES = [f"{'C' * n}O" for n in range(1, 201)]


def test_features_that_would_take_too_long_are_left_out_and_said():
    per_molecule = {"quick": 0.0, "slow": 0.0005, "quick too": 0.0}

    def compute(name, smiles):
        time.sleep(per_molecule[name] * len(smiles))

    # 200 molecules of the slow one take .1 s, more than two fifths of .2 s.
    kept, notes = Budget("0.2s").affordable([*per_molecule], SMILES, compute)
    assert kept == ["quick", "quick too"]
    assert len(notes) == 1
    assert "features slow" in notes[0]
    assert Budget("9s").affordable([*per_molecule], SMILES, compute) == ([*per_molecule], [])


def test_one_featuriser_stays_whatever_it_takes_the_quickest():
    seconds = {"slow": 0.001, "quick": 0.0002}
    for budget in ("0.001s", "0.2s"):
        kept, notes = Budget(budget).affordable(
            [*seconds], SMILES, lambda name, some: time.sleep(seconds[name] * len(some))
        )
        assert kept == ["quick"], budget
        assert "features slow" in notes[0]


def test_without_a_budget_nothing_is_tried():
    asked = []
    found = Budget(None).affordable(["a"], SMILES, lambda *given: asked.append(given))
    assert (found, asked) == ((["a"], []), [])
    assert Budget(None).left is None
    assert Budget(None).allows(1e9)


def test_what_is_left_shrinks():
    budget = Budget("1s")
    before = budget.left
    time.sleep(0.01)
    assert before is not None
    assert budget.left is not None
    assert budget.left < before < 1


def test_what_is_promised_is_not_left():
    budget = Budget("100s")
    budget.promise(60)
    assert budget.left is not None
    assert 25 < budget.left < 30


def test_what_comes_after_the_models_is_kept_by_tasks_and_molecules():
    few, many, large = Budget("300s"), Budget("300s"), Budget("300s")
    few.reserve(1, 900, 100)
    many.reserve(617, 900, 100)
    large.reserve(4, 60_000, 7_000)
    lefts = [budget.left or 0.0 for budget in (few, many, large)]
    # A tenth at least.
    assert lefts[0] == pytest.approx(270, abs=1)
    assert lefts[0] > lefts[1] > 200
    assert 200 < lefts[2] < 270
    assert many.allows(200)
    assert not many.allows(290)


@pytest.mark.parametrize(
    ("most", "kept", "left_out"),
    [
        (200.0, ["mean", "neighbours", "lightgbm"], []),
        (100.0, ["mean", "neighbours"], ["LightGBM"]),
    ],
)
def test_simple_models_beside_a_run_have_a_bound(most, kept, left_out):
    costs: dict[MemberName, float] = {"mean": 0.5, "neighbours": 4.0, "lightgbm": 130.0}
    found, seconds, notes = affordable([*costs], costs.__getitem__, most, f"of {most:g} s")
    assert found == kept
    assert seconds == sum(costs[name] for name in kept)
    assert [name for name in left_out if name in notes[0]] == left_out
    assert all("130 s of 100 s" in note for note in notes)


def test_lightgbm_of_many_tasks_is_left_out_beside_a_quick_model(tmp_path, monkeypatch, capsys):
    # A task takes a hundredth of a second at least: what it takes is told from some of them.
    rng = np.random.default_rng(0)
    path = tmp_path / "t.csv"
    smiles = [f"{'C' * (1 + i % 20)}{'ONSF'[i % 4]}" for i in range(200)]
    tasks = {f"t{k}": rng.normal(size=200) for k in range(30)}
    pl.DataFrame({"SMILES": smiles, **tasks}).write_csv(path)
    fitted = []
    real = _baselines.fit_member

    def fit(member, molecules, targets, **options):
        fitted.append((type(member).__name__, int(np.isfinite(targets).any(axis=0).sum())))
        return real(member, molecules, targets, **options)

    monkeypatch.setattr(_baselines, "fit_member", fit)
    monkeypatch.setattr(_baselines, "_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(RunFolder, "seconds", 0.05)
    config = TrainTabularConfig(
        data_path=str(path),
        save_dir=str(tmp_path / "run"),
        model=["mean"],
        features="morgan_count",
        page=False,
        data={"cache_dir": "none", "split_ratios": (0.6, 0.2, 0.2)},
    )
    run = train_tabular(config)
    found = read_metrics(run / "metrics.json")
    beside = found.of_reported.baselines
    assert beside is not None
    assert "lightgbm" not in beside.models
    assert "mean" in beside.models
    assert any("LightGBM" in note and "Left out of the simple" in note for note in found.notes)
    trials = [n for name, n in fitted if name == "MultitaskLightGBM"]
    assert trials == [6, 6, 6]
    said = capsys.readouterr().out.replace("\n", " ")
    assert "Against the best simple model of each task: " in said
    assert "t7: the mean of the task" not in said
    assert len(beside.sentences) == 30


class Clock:
    """Seconds that pass only where a model works."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(_costs, "perf_counter", lambda: self.now)


KNOWN = np.arange(4000)[:, None] % 100 <= np.arange(100)


@pytest.mark.parametrize(
    ("name", "steps", "fixed", "step", "tasks"),
    [
        ("mlp", 40, 0.5, 0.25, 100),
        ("lightgbm", 500, 3.0, 0.125, 6),
        ("tabicl", 0, 2.0, 0.0, 6),
        ("mean", 0, 1.0, 0.0, 100),
    ],
)
def test_what_a_model_takes_is_told_from_a_few_of_its_steps(
    name, steps, fixed, step, tasks, monkeypatch
):
    # Each label takes this long, each prediction a 16th of a second.
    clock, asked = Clock(monkeypatch), []

    def trial(rows, at, n):
        asked.append((len(rows), len(at), n))
        asked_rows = rows
        first = len(asked) == 1 and steps > 0
        clock.now += KNOWN[np.ix_(rows, at)].sum() * (fixed + (n or 0) * step) + 1e6 * first

        def predict(rows):
            # Of the rows that are predicted all are taken to have as many labels.
            clock.now += KNOWN[np.ix_(asked_rows, at)].sum() / 16 * len(rows) / len(asked_rows)

        return predict

    cost = tried_cost(name, KNOWN, steps, trial, seed=0, left=1e9)
    labels = KNOWN.sum()
    assert cost.fixed == pytest.approx(labels * fixed)
    assert cost.fit == pytest.approx(labels * (fixed + steps * step))
    # Of trees the more, the longer.
    longer = steps / 15 if name == "lightgbm" else 1
    assert cost.said == pytest.approx(labels / 16 * longer)
    assert {(rows, at) for rows, at, _ in asked} == {(1000, tasks)}
    assert sum(n or 0 for *_, n in asked) <= 25


@pytest.mark.parametrize(("left", "trials"), [(1.0, 1), (1e12, 3)])
def test_a_gaussian_process_that_takes_far_too_long_is_not_told_closely(left, trials, monkeypatch):
    clock, asked = Clock(monkeypatch), []

    def trial(rows, at, n):
        labels = KNOWN[np.ix_(rows, at)].sum()
        asked.append(labels)
        clock.now += labels**1.8
        return lambda rows: None

    cost = tried_cost("gp", KNOWN, 0, trial, seed=0, left=left)
    assert cost.fit == pytest.approx(float(KNOWN.sum()) ** 1.8)
    assert len(asked) == trials
    assert max(asked) < 7_000


COSTS = {
    ("lightgbm", False): Cost(10, 0.1, 500),
    ("mlp", False): Cost(4, 2, 40),
    ("mlp", True): Cost(2, 0.5, 40),
    ("gp", False): Cost(400),
}


def planned(left, *names, several=True, given=False, least=0.0):
    def cost(name, one):
        return COSTS[name, one and name == "mlp"]

    # Five folds, each of which trains on four fifths.
    planning = Planning(cost, names, 5, lambda k: 1 + 0.8 * k, several=several, given=given)
    return planning.size(left / _costs.SURE, least)


@pytest.mark.parametrize(
    ("left", "size"),
    [
        # A fit of each takes 544 s together, and five folds five times that.
        (2800, Size(5)),
        # One network in the place of four gives the third model its time.
        (2450, Size(5, one_network=True)),
        # The process has none: more folds for the other two.
        (450, Size(5, one_network=True)),
        (220, Size(2, one_network=True)),
        # The network alone.
        (111, Size(5, one_network=True)),
        (60, Size(2, one_network=True)),
        (40, Size(1, one_network=True)),
    ],
)
def test_models_come_before_folds_and_folds_before_networks(left, size):
    assert planned(left, "lightgbm", "mlp", "gp") == size


def test_folds_that_were_given_stay():
    assert planned(220, "lightgbm", "mlp", "gp", given=True) == Size(5, one_network=True)
    short = planned(50, "lightgbm", "mlp", given=True)
    assert (short.folds, short.short, short.seconds) == (5, "mlp", pytest.approx(10))


def test_where_nothing_has_time_the_nearest_is_made_shorter():
    size = planned(18, "lightgbm", "mlp", "gp")
    assert size == Size(1, one_network=True, short="mlp", seconds=size.seconds)
    assert size.seconds == pytest.approx(10)
    assert shortened("mlp", COSTS["mlp", True], size.seconds) == {"time_limit": pytest.approx(8)}
    assert shortened("mlp", COSTS["mlp", True], size.seconds, 0.8)["time_limit"] < 6.5
    trees = planned(36, "lightgbm", "gp", several=False)
    assert (trees.short, trees.seconds) == ("lightgbm", pytest.approx(20))
    found = shortened("lightgbm", COSTS["lightgbm", False], trees.seconds)
    assert found == {"n_estimators": 100, "learning_rate": pytest.approx(0.15)}
    # Where nothing is left, for the least that is of use.
    over = planned(0, "lightgbm", "mlp", "gp", least=18)
    assert over == replace(size, over=True)
    alone = planned(180, "gp", several=False)
    assert share_of_rows("gp", COSTS["gp", False], alone.seconds) ** 1.8 == pytest.approx(0.25)
    # Trees have fewer steps, not fewer rows.
    assert share_of_rows("lightgbm", COSTS["lightgbm", False], 1.0) == 1.0


@pytest.mark.parametrize(
    ("seconds", "other", "a_pass", "name"),
    [
        # Two trees, half a pass: neither has begun, and a network learns from more.
        (4, Cost(3, 0.5, 500), 10, "mlp"),
        # Ten trees and four fifths of a pass, though that is the larger share.
        (8, Cost(3, 0.5, 500), 10, "lightgbm"),
        # Both have begun: a pass of ten is more than fourteen trees of five hundred.
        (10.2, Cost(3, 0.5, 500), 10, "mlp"),
        # A process of an eighth of its rows.
        (3000, Cost(24_000), 3001, "gp"),
    ],
)
def test_a_network_that_has_not_seen_all_rows_once_comes_last(seconds, other, a_pass, name):
    beside: MemberName = "lightgbm" if other.steps else "gp"
    costs: dict[MemberName, Cost] = {"mlp": Cost(0, a_pass, 10), beside: other}
    planning = Planning(lambda of, one: costs[of], tuple(costs), 5, lambda k: 1.0)
    assert planning.size(seconds / _costs.SURE).short == name


@pytest.mark.parametrize(("n", "shown"), [(3, 3), (24, 24), (610, 24)])
def test_the_screen_shows_the_first_of_hundreds_of_tasks(n, shown):
    rows = [[f"task {k}", 10, 0.5] for k in range(n)]
    table = metric_table([*rows, ["mean over tasks", 10 * n, 0.5]], ["task", "labels", "RAE"], "")
    names = list(table.columns[0].cells)
    assert names == [*(f"task {k}" for k in range(shown)), "mean over tasks"]
    said = None if n == shown else f"and {n - shown} tasks more in metrics.json and in the report"
    assert table.caption == said
