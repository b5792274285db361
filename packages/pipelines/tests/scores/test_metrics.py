"""Metrics of tasks with intervals, against scikit-learn, by hand and by simulation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from molpool_common import bootstrap_interval
from molpool_pipelines.runs import MACRO
from molpool_pipelines.scores._metrics import Resampling, Scored, score_tasks
from molpool_pipelines.scores._predictions import Predictions
from scipy import stats
from sklearn import metrics as peer

pytestmark = pytest.mark.core


Made = Callable[..., Predictions]
NONE = Resampling(n=0)


def by_name(scores: tuple[Scored, ...]) -> dict[tuple[str, str], Scored]:
    return {(s.task, s.metric): s for s in scores}


def test_values_are_those_of_scikit_learn_and_means_are_theirs(made: Made) -> None:
    rng = np.random.default_rng(1)
    y = rng.normal(size=(120, 2)) * [1, 30]
    p = y + rng.normal(size=(120, 2)) * [0.5, 20]
    y[::3, 1] = np.nan
    found = by_name(score_tasks(made(y, p), NONE))
    for t, task in enumerate(("t0", "t1")):
        rows = np.isfinite(y[:, t])
        a, b = y[rows, t], p[rows, t]
        assert found[task, "mae"].value == pytest.approx(peer.mean_absolute_error(a, b))
        assert found[task, "r2"].value == pytest.approx(peer.r2_score(a, b))
        assert found[task, "spearman"].value == pytest.approx(stats.spearmanr(a, b).statistic)
        rae = np.abs(a - b).mean() / np.abs(a - a.mean()).mean()
        assert found[task, "ma_rae"].value == pytest.approx(rae)
        assert found[task, "mae"].n == rows.sum()
    both = [found[t, "ma_rae"].value or 0 for t in ("t0", "t1")]
    assert found[MACRO, "ma_rae"].value == pytest.approx(np.mean(both))
    assert (MACRO, "mae") not in found  # of other units


def test_shares_within_a_distance_are_left_out_where_labels_lie_far_apart(made: Made) -> None:
    rng = np.random.default_rng(3)
    y = rng.normal(size=(60, 3)) * [1.5, 5, 500]
    found = by_name(score_tasks(made(y, y + rng.normal(size=(60, 3))), NONE))
    there = [
        [
            name
            for name in ("within_0.3", "within_0.5", "within_1")
            if found[t, name].value is not None
        ]
        for t in ("t0", "t1", "t2")
    ]
    assert there == [["within_0.3", "within_0.5", "within_1"], ["within_0.5", "within_1"], []]
    assert found["t2", "within_1"].reason == "labels range over more than 60 times 1"


def test_intervals_are_those_of_a_plain_bootstrap(made: Made) -> None:
    """Ends of 4 000 resamples each differ by chance alone: here by less than 5 % of the width.

    An end's standard error is about 1.3 % of the width, so that this fails once in some 10 000.
    """
    rng = np.random.default_rng(2)
    y = rng.normal(size=(80, 1))
    p = y + rng.normal(size=(80, 1))
    found = by_name(score_tasks(made(y, p), Resampling(4000, 0.9, seed=5)))
    for name in ("mae", "ma_rae", "spearman", "r2"):
        ours = found["t0", name].interval
        assert ours is not None
        plain = bootstrap_interval(name, y[:, 0], p[:, 0], 4000, 0.9, seed=rng)
        width = plain.high - plain.low
        assert ours.low == pytest.approx(plain.low, abs=0.06 * width)
        assert ours.high == pytest.approx(plain.high, abs=0.06 * width)


def test_intervals_cover_the_truth(made: Made) -> None:
    """90 % intervals of the mean MA-RAE of two tasks, whose true value is known.

    Truth is N(0, 1), errors N(0, 0.5²): E|error| / E|y| = 0.5 in every task. With 150 rows the
    percentile bootstrap covers about 0.89; of 200 simulations the count has a standard deviation of
    4.4, so that 160 to 197 fails less than once in 10 000.
    """
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(200):
        y = rng.normal(size=(150, 2))
        p = y + 0.5 * rng.normal(size=(150, 2))
        seed = int(rng.integers(1 << 30))
        scores = score_tasks(made(y, p), Resampling(200, 0.9, seed), names=("ma_rae",))
        interval = by_name(scores)[MACRO, "ma_rae"].interval
        assert interval is not None
        hits += interval.low <= 0.5 <= interval.high
    assert 160 <= hits <= 197


def test_the_mean_of_tasks_that_share_molecules_is_resampled_with_them(made: Made) -> None:
    """Two equal tasks: their mean moves as one of them does, not less."""
    rng = np.random.default_rng(4)
    y = np.repeat(rng.normal(size=(60, 1)), 2, axis=1)
    p = y + np.repeat(rng.normal(size=(60, 1)), 2, axis=1)
    found = by_name(score_tasks(made(y, p), Resampling(300), names=("ma_rae",)))
    one, mean = found["t0", "ma_rae"].interval, found[MACRO, "ma_rae"].interval
    assert one is not None
    assert mean is not None
    assert tuple(mean) == pytest.approx(tuple(one), rel=1e-12)


def test_what_is_undefined_is_left_out_and_said(made: Made) -> None:
    y = np.array([[0, 1, np.nan], [0, 0, np.nan], [0, 1, np.nan], [0, 0, np.nan]], dtype=float)
    p = np.linspace(0, 1, 12).reshape(4, 3)
    kinds = ("classification",) * 3
    found = by_name(score_tasks(made(y, p, task_types=kinds), Resampling(50)))
    assert found["t0", "roc_auc"].value is None
    assert found["t0", "roc_auc"].reason == "a single class"
    assert found["t0", "average_precision"].reason == "no positives"
    assert found["t2", "roc_auc"].reason == "no labels"
    assert found["t1", "roc_auc"].value == 0.25
    mean = found[MACRO, "roc_auc"]
    assert (mean.value, mean.n, mean.reason) == (0.25, 1, "without t0, t2")
    few = by_name(score_tasks(made(y, p, task_types=kinds), NONE, min_labels=5))
    assert few["t1", "roc_auc"].reason == "fewer than 5 labels"
    assert few[MACRO, "roc_auc"].reason == "undefined for every task"
