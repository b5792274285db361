"""The percentile bootstrap.

Resamples by counts against the metric itself on rows repeated so often.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from molpool_common._errors import InputError
from molpool_common.metrics import (
    METRICS,
    Metric,
    UndefinedMetricError,
    bootstrap_interval,
    mae,
    mean_over_tasks,
    percentile_interval,
    resampled,
    resampled_scores,
    rmse,
    roc_auc,
)
from molpool_common.metrics import _resampling as _bootstrap
from sklearn import metrics as sk


@pytest.mark.parametrize(
    ("name", "peer"),
    [("r2", sk.r2_score), ("mae", sk.mean_absolute_error), ("roc_auc", sk.roc_auc_score)],
)
def test_agrees_with_a_loop_over_the_same_resamples(name: str, peer: object) -> None:
    assert callable(peer)
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, 40).astype(float), rng.normal(size=40)
    rows = np.random.default_rng(1).integers(40, size=(200, 40))
    values = [peer(y[r], p[r]) for r in rows]
    low, high = bootstrap_interval(name, y, p, n=200, level=0.9, seed=1)
    # rtol: the peer sums in another order.
    np.testing.assert_allclose([low, high], np.percentile(values, [5, 95]), rtol=1e-10)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_chunks_do_not_change_the_interval(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, 25).astype(float), rng.normal(size=25)
    whole = bootstrap_interval(name, y, p, n=100, seed=2)
    monkeypatch.setattr(_bootstrap, "_CELLS", 25 * 7)
    assert bootstrap_interval(name, y, p, n=100, seed=2) == whole


def test_covers_the_true_error_about_as_often_as_it_says() -> None:
    # |N(0, 1)| has mean sqrt(2/pi). The percentile interval of 60 rows covers it about 93 times in
    # 100; fewer than 168 of 200 then has probability below 1e-5 (binomial).
    rng = np.random.default_rng(11)
    truth = (2 / np.pi) ** 0.5
    covered = 0
    for _ in range(200):
        low, high = bootstrap_interval("mae", np.zeros(60), rng.normal(size=60), n=300, seed=rng)
        covered += low <= truth <= high
    assert covered >= 168


def test_undefined_resamples_are_dropped_and_counted() -> None:
    y = np.array([1.0, 0.0, 0.0, 0.0])
    interval = bootstrap_interval("roc_auc", y, np.array([0.9, 0.1, 0.2, 0.3]), n=4000, seed=5)
    # A resample has one class with probability 0.75^4 + 0.25^4 = 0.3203; 0.03 is over four
    # standard deviations of 4000 draws, a failure rate below 1e-4.
    assert interval.dropped / 4000 == pytest.approx(0.75**4 + 0.25**4, abs=0.03)
    assert interval.n + interval.dropped == 4000
    assert (interval.low, interval.high) == (1.0, 1.0)


def test_a_higher_level_is_wider_and_holds_the_lower() -> None:
    rng = np.random.default_rng(0)
    y, p = rng.normal(size=(2, 50))
    narrow = bootstrap_interval(mae, y, p, level=0.5, seed=4)
    wide = bootstrap_interval(mae, y, p, level=0.99, seed=4)
    assert wide.low < narrow.low < mae(y, p) < narrow.high < wide.high


def test_a_metric_without_value_has_no_interval() -> None:
    with pytest.raises(UndefinedMetricError, match="constant truth"):
        bootstrap_interval("r2", [1.0, 1.0], [1.0, 2.0], seed=0)


def test_no_defined_resample() -> None:
    # The single resample repeats one row.
    with pytest.raises(UndefinedMetricError, match="all 1 resamples"):
        bootstrap_interval("r2", [1.0, 2.0], [1.0, 2.0], n=1, seed=_repeating_rng())


def _repeating_rng() -> np.random.Generator:
    for seed in range(100):
        first, second = np.random.default_rng(seed).integers(2, size=2)
        if first == second:
            return np.random.default_rng(seed)
    raise AssertionError("no seed below 100 repeats a row")


def test_wrong_arguments() -> None:
    with pytest.raises(InputError, match=r"Did you mean 'spearman'\?"):
        bootstrap_interval("spaerman", [1.0], [1.0])
    with pytest.raises(InputError, match="level: expected a number between 0 and 1; found 95"):
        bootstrap_interval("mae", [1.0], [1.0], level=95)
    with pytest.raises(InputError, match="at least 1 resample; found 0"):
        bootstrap_interval("mae", [1.0], [1.0], n=0)


def test_the_interval_depends_on_the_rows_and_not_on_their_order_or_company() -> None:
    rng = np.random.default_rng(7)
    y, p = rng.normal(size=(90, 2)), rng.normal(size=(3, 90, 2))
    y[::4, 1] = np.nan
    keys = [f"M{i}" for i in range(90)]
    alone = bootstrap_interval("mae", y[:, 1], p[2, :, 1], keys=keys)
    mixed = rng.permutation(90)
    again = bootstrap_interval("mae", y[mixed, 1], p[2, mixed, 1], keys=[keys[i] for i in mixed])
    assert again == alone
    # Beside other tasks and models, and as the first 1 000 of more resamples.
    drawn = resampled_scores(
        y[mixed], p[:, mixed], [[rmse], [rmse, mae]], keys=[keys[i] for i in mixed], n=2500
    )
    assert percentile_interval(drawn[1]["mae"][:1000, 2]) == alone


def test_the_mean_over_tasks_leaves_out_what_is_undefined_on_a_resample() -> None:
    found = mean_over_tasks([np.array([1.0, np.nan, np.nan]), np.array([3.0, 4.0, np.nan])])
    np.testing.assert_array_equal(found, [2.0, 4.0, np.nan])
    assert percentile_interval(found[2:]) is None


def test_no_rows_have_no_scores() -> None:
    drawn = resampled_scores(np.empty((0, 1)), np.empty((1, 0, 1)), [[mae]], n=5)
    assert np.isnan(drawn[0]["mae"]).all()
    assert drawn[0]["mae"].shape == (5, 1)


def test_resamples_are_of_all_rows() -> None:
    counts = np.concatenate(list(_bootstrap.draw_counts(7, 1000, np.random.default_rng(0))))
    assert counts.shape == (1000, 7)
    assert (counts.sum(axis=1) == 7).all()
    # Each row is drawn 1000 times in the mean, sd below 31: five of them.
    assert np.abs(counts.sum(axis=0) - 1000).max() < 155


def test_tasks_share_their_resamples() -> None:
    """A task and its copy move together, however labels of another are missing."""
    rng = np.random.default_rng(3)
    y = rng.normal(size=80)
    p = y + rng.normal(0, 0.5, (2, 80))
    gaps = np.where(np.arange(len(y)) % 3 == 0, np.nan, y)
    truth = np.column_stack([y, gaps, y])
    drawn = resampled_scores(truth, np.stack([p] * 3, axis=2), [[mae]] * 3, n=50)
    np.testing.assert_array_equal(drawn[0]["mae"], drawn[2]["mae"])
    assert not np.array_equal(drawn[0]["mae"], drawn[1]["mae"])


def by_repetition(metric: Metric, y: np.ndarray, p: np.ndarray, counts: np.ndarray) -> float:
    rows = np.repeat(np.arange(len(y)), counts)
    try:
        return metric(y[rows], p[rows])
    except UndefinedMetricError:
        return float("nan")


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 12), ties=st.booleans())
def test_equals_the_metric_of_repeated_rows(metric: Metric, seed: int, n: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    p = rng.normal(size=n).round(0 if ties else 8)
    y = rng.normal(size=n).round(0 if ties else 8) + 100
    if metric.task_type == "classification":
        y = rng.integers(0, 2, n).astype(float)
    counts = rng.integers(0, 3, size=(6, n))
    found = resampled(metric, y, p, counts)
    expected = [by_repetition(metric, y, p, c) for c in counts]
    # Sums of a dozen numbers about 100: rounding stays far below.
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9, equal_nan=True)


def test_nothing_drawn_is_undefined() -> None:
    assert np.isnan(resampled(mae, [1.0, 2.0], [1.0, 3.0], [[0, 0]])).all()
    assert resampled(mae, [], [], np.empty((2, 0))).shape == (2,)


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="counts: expected one for each of 2 rows"):
        resampled(mae, [1.0, 2.0], [1.0, 3.0], [[1, 1, 1]])
    with pytest.raises(InputError, match="0 or 1"):
        resampled(roc_auc, [1.0, 2.0], [1.0, 3.0], [[1, 1]])
