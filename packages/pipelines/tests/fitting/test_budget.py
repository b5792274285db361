"""What a time budget leaves out."""

import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from molpool_pipelines.fitting import _tabular_fits as fits
from molpool_pipelines.fitting._budget import Budget
from molpool_pipelines.fitting._related_use import Plan

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
    assert not Budget(None).is_over


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
    assert not budget.is_over


class Table:
    def __init__(self, targets):
        self.targets = targets

    def __len__(self):
        return len(self.targets)


@pytest.mark.parametrize(("name", "seen"), [("lightgbm", 12), ("mlp", 100), ("gp", 10)])
def test_what_a_model_of_single_tasks_takes_is_told_from_some(name, seen, monkeypatch):
    # Each label takes a second.
    targets = np.where(np.arange(800)[:, None] % 100 <= np.arange(100), 1.0, np.nan)
    clock, asked = [0.0], []

    def fitted(plan, at, hidden, tasks):
        asked.append((len(at), len(tasks)))
        clock[0] += np.isfinite(targets[np.ix_(at, tasks)]).sum()

    monkeypatch.setattr(fits, "perf_counter", lambda: clock[0])
    one: Any = SimpleNamespace(
        rows=SimpleNamespace(table=Table(targets)), config=SimpleNamespace(seed=0), fitted=fitted
    )
    monkeypatch.setitem(fits._GROWTH, "gp", 1.0)
    monkeypatch.setattr(fits, "_PILOT_LABELS", 500)
    assert fits.Fits._of_pilot(one, Plan(name)) == pytest.approx(np.isfinite(targets).sum())
    ((rows, tasks),) = asked
    assert rows == 100
    assert abs(tasks - seen) <= (name == "gp")
