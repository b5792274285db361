"""The score over tasks, its interval, and what is made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from molpool_common import FloatArray
from molpool_pipelines.scores import Resampling, read_predictions, score_tasks
from molpool_pipelines.studies._outer_test import read_test_predictions
from molpool_pipelines.studies._scoring import (
    Contender,
    Ends,
    MacroScore,
    outer_scores,
)
from sklearn.metrics import average_precision_score, mean_absolute_error


@pytest.fixture
def classes() -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(0)
    y = (rng.random((150, 3)) < [0.5, 0.2, 0.1]).astype(float)
    p = y + rng.normal(size=y.shape)
    y[rng.random(y.shape) < 0.2] = np.nan
    return y, p


def by_hand(y: FloatArray, p: FloatArray, weight: float) -> float:
    each = []
    for t in range(y.shape[1]):
        there = ~np.isnan(y[:, t])
        each.append(average_precision_score(y[there, t], p[there, t]))
    return float((1 - weight) * np.mean(each) + weight * min(each))


def test_macro_plus_min_by_hand(classes: tuple[FloatArray, FloatArray]) -> None:
    y, p = classes
    score = MacroScore(("average_precision",) * 3, 0.25)
    assert score(y, p) == pytest.approx(by_hand(y, p, 0.25), rel=1e-12)
    assert score.direction == "maximize"
    assert MacroScore(("average_precision", None, None))(y, p) == score.by_task(y, p)[0]


def test_worst_is_the_largest_error() -> None:
    y = np.array([[0.0, 0.0], [2.0, 2.0], [4.0, 4.0]])
    p = np.array([[1.0, 3.0], [2.0, 3.0], [4.0, 3.0]])
    spread = 4 / 3
    rae = [mean_absolute_error(y[:, t], p[:, t]) / spread for t in range(2)]
    score = MacroScore(("ma_rae", "ma_rae"), 0.5)
    assert score(y, p) == pytest.approx(0.5 * np.mean(rae) + 0.5 * max(rae))


def test_undefined_tasks_are_left_out(classes: tuple[FloatArray, FloatArray]) -> None:
    y, p = classes
    y[:, 2] = 0
    score = MacroScore(("average_precision",) * 3, 0.25)
    assert score(y, p) == pytest.approx(by_hand(y[:, :2], p[:, :2], 0.25))
    assert score(np.full((4, 3), np.nan), np.zeros((4, 3))) is None
    drawn = score.resampled(np.full((4, 3), np.nan), np.zeros((1, 4, 3)), n=10)
    assert Ends.of(drawn[:, 0]) is None


def test_resamples_are_the_score_of_the_rows_drawn(classes: tuple[FloatArray, FloatArray]) -> None:
    y, p = classes
    score = MacroScore(("average_precision",) * 3, 0.4)
    rows = np.random.default_rng(2).integers(len(y), size=(20, len(y)))
    expected = [by_hand(y[r], p[r], 0.4) for r in rows]
    found = score.resampled(y, p[None], n=20, seed=2)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-9)


def test_interval_is_that_of_a_bootstrap_by_hand(classes: tuple[FloatArray, FloatArray]) -> None:
    y, p = classes
    score = MacroScore(("average_precision",) * 3, 0.0)
    found = Ends.of(score.resampled(y, p[None], n=2000)[:, 0])
    rng = np.random.default_rng(1)
    values = [by_hand(y[r], p[r], 0.0) for r in rng.integers(len(y), size=(2000, len(y)))]
    low, high = np.quantile(values, [0.025, 0.975])
    assert found is not None
    # Ends of 2 000 resamples: standard error of a 2.5 % quantile about 0.09 of the spread's sd; two
    # of them differ by more than 0.5 sd in less than one of 10^4 runs; seeds are fixed.
    assert found.low == pytest.approx(low, abs=0.5 * float(np.std(values)))
    assert found.high == pytest.approx(high, abs=0.5 * float(np.std(values)))


def test_paired_differences_are_narrower_than_apart(classes: tuple[FloatArray, FloatArray]) -> None:
    y, p = classes
    score = MacroScore(("average_precision",) * 3)
    almost = p + 0.05 * np.random.default_rng(3).normal(size=p.shape)
    models = [Contender(name, q) for name, q in (("best", p), ("same", p), ("almost", almost))]
    alone, same, difference = outer_scores(models, y, ["a", "b", "c"], score, n=200)
    assert same.gain_interval == (0.0, 0.0)
    assert difference.gain_interval is not None
    assert alone.interval is not None
    width = difference.gain_interval.high - difference.gain_interval.low
    assert width < 0.5 * (alone.interval.high - alone.interval.low)


def test_interval_is_the_one_of_the_score_and_of_the_page(tmp_path: Path) -> None:
    """One run, one interval: `molpool-evaluate score` reads the same file."""
    rng = np.random.default_rng(7)
    y = rng.normal(size=(40, 2))
    y[rng.random(y.shape) < 0.3] = np.nan
    p = np.nan_to_num(y) + 0.5 * rng.normal(size=y.shape)
    frame = pl.DataFrame(
        {
            "id": [f"m{i}" for i in rng.permutation(40)],
            "split": ["test"] * 40,
            **{t: pl.Series(y[:, i]).fill_nan(None) for i, t in enumerate("ab")},
            **{f"{t} predicted": p[:, i] for i, t in enumerate("ab")},
        }
    )
    frame.write_parquet(tmp_path / "predictions.parquet")
    test = read_test_predictions(tmp_path, ["a", "b"])
    models = [Contender("best", test.predictions)]
    (study,) = outer_scores(
        models, test.labels, ["a", "b"], MacroScore(("ma_rae",) * 2), keys=test.keys
    )
    scored = score_tasks(read_predictions(tmp_path), Resampling(), names=["ma_rae"])
    mean = next(s for s in scored if s.task not in ("a", "b"))
    assert study.interval is not None
    assert mean.interval is not None
    assert study.outer == pytest.approx(mean.value, rel=1e-12)
    assert tuple(study.interval) == pytest.approx(tuple(mean.interval), rel=1e-12)


@pytest.mark.parametrize("metric", ["mae", "average_precision"])
def test_optimism_is_above_0_where_the_inner_score_was_too_good(metric: str) -> None:
    rng = np.random.default_rng(0)
    y = (rng.random((60, 1)) < 0.5).astype(float)
    good, bad = y + 0.3 * rng.normal(size=y.shape), y + 2 * rng.normal(size=y.shape)
    score = MacroScore((metric,))
    value = score(y, bad)
    assert value is not None
    better = value - 0.1 if metric == "mae" else value + 0.1
    contenders = [Contender("trial 3", bad, (better, better)), Contender("defaults", good)]
    best, other = outer_scores(contenders, y, ["a"], score, seed=1, n=200)
    assert (best.outer, best.inner) == (value, pytest.approx(better))
    assert best.optimism == pytest.approx(0.1)
    assert best.interval is not None
    assert best.optimism_interval is not None
    assert best.optimism_interval.low < 0.1 < best.optimism_interval.high
    width = best.interval.high - best.interval.low
    assert best.optimism_interval.high - best.optimism_interval.low == pytest.approx(width)
    assert best.gain is None
    assert (other.inner, other.optimism) == (None, None)
    # The best trial is worse than the defaults here, whatever the direction of the score.
    assert other.gain is not None
    assert other.gain < 0
    assert other.gain_interval is not None
    assert other.gain_interval.low < other.gain < other.gain_interval.high < 0
