from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sampling_core import (
    CurriculumState,
    DynamicCurriculumSampler,
    RarePositiveSampler,
    SamplingError,
    TaskAwareSampler,
)
from scipy.stats import chisquare

NAN = np.nan
# Three labels of task 0 and one of task 1.
Y = np.array([[1, NAN], [2, NAN], [3, 4]])


def test_alpha_zero_is_uniform_over_tasks() -> None:
    p = TaskAwareSampler(Y, 0.0, seed=0).probabilities()
    np.testing.assert_allclose(p, [1 / 6, 1 / 6, 1 / 6 + 1 / 2], rtol=1e-15)


def test_alpha_one_is_inverse_to_counts() -> None:
    # p(task) = (1/3, 1) / (4/3).
    p = TaskAwareSampler(Y, 1.0, seed=0).probabilities()
    np.testing.assert_allclose(p, [1 / 12, 1 / 12, 1 / 12 + 3 / 4], rtol=1e-15)


@pytest.mark.parametrize("alpha", [0.0, 0.37, 1.0])
def test_draws_follow_the_closed_form(alpha: float) -> None:
    rng = np.random.default_rng(3)
    targets = np.where(rng.random((40, 5)) < [0.9, 0.5, 0.2, 0.1, 0.0], 1.0, NAN)
    targets[0] = [1, 1, 1, 1, NAN]
    labelled = ~np.isnan(targets)
    n = labelled.sum(axis=0)
    task = np.array([c**-alpha if c else 0.0 for c in n.tolist()])
    p = (labelled / np.maximum(n, 1)) @ (task / task.sum())
    draws = TaskAwareSampler(targets, alpha, num_samples=200_000, seed=11).draws()
    counts = np.bincount(draws, minlength=40)
    assert not counts[p == 0].any()
    # A sound sampler fails once in 10^6 seeds.
    assert chisquare(counts[p > 0], len(draws) * p[p > 0]).pvalue > 1e-6


@pytest.mark.filterwarnings("ignore:alpha")
@given(st.floats(-300, 300))
def test_task_without_labels_has_probability_zero(alpha: float) -> None:
    targets = np.array([[NAN, 1, NAN], [NAN, 1, 2], [NAN, NAN, NAN]])
    sampler = TaskAwareSampler(targets, alpha, seed=0)
    assert {cell.task for cell in sampler.cell_table()} == {1, 2}
    p = sampler.probabilities()
    assert p[2] == 0.0
    assert p.sum() == pytest.approx(1.0, rel=1e-12)
    assert 2 not in sampler.draws()


@pytest.mark.parametrize("alpha", [-0.5, 1.5])
def test_alpha_outside_the_unit_interval_warns_and_works(alpha: float) -> None:
    with pytest.warns(UserWarning, match=r"lies outside \[0, 1\]"):
        sampler = TaskAwareSampler(Y, alpha, seed=0)
    odds = 3.0**-alpha
    assert sampler.cell_table()[0].probability == pytest.approx(odds / (odds + 1), rel=1e-12)


@pytest.mark.parametrize("alpha", [NAN, np.inf, "x", None, True, 1j])
def test_alpha_that_is_no_number_is_refused(alpha: Any) -> None:
    with pytest.raises(SamplingError, match="alpha: expected a finite number"):
        TaskAwareSampler(Y, alpha)


@pytest.mark.parametrize(
    "same",
    [Y.astype(np.float32), Y.tolist(), np.asfortranarray(Y), Y.astype(object)],
    ids=["float32", "list", "fortran", "object"],
)
def test_tables_of_any_kind_are_read(same: Any) -> None:
    reference = TaskAwareSampler(Y, 0.5, seed=0).probabilities()
    assert TaskAwareSampler(same, 0.5, seed=0).probabilities().tolist() == reference.tolist()


def test_one_axis_is_one_task() -> None:
    sampler = TaskAwareSampler(np.array([1.0, NAN, 2.0]), 0.5, seed=0)
    assert sampler.probabilities().tolist() == [0.5, 0.0, 0.5]


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (np.empty((0, 2)), r"found shape \(0, 2\)"),
        (np.empty((2, 0)), r"found shape \(2, 0\)"),
        (np.zeros((2, 2, 2)), r"found shape \(2, 2, 2\)"),
        (np.full((3, 2), NAN), "no label in any of 3 rows"),
        ([[1.0, 2.0], [np.inf, 1.0]], "infinity at row 1 column 0"),
        ([["a"], ["b"]], "expected numbers"),
    ],
)
def test_tables_that_cannot_be_sampled_are_refused(targets: Any, message: str) -> None:
    with pytest.raises(SamplingError, match=message):
        TaskAwareSampler(targets, 0.5)


LABELS = ["high"] * 10 + ["medium"] * 30 + ["low"] * 60


def by_quality(p: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[float]:
    return [float(p[np.array(LABELS) == q].sum()) for q in ("high", "medium", "low")]


def test_weights_are_those_of_a_row() -> None:
    sampler = DynamicCurriculumSampler(LABELS, CurriculumState(), seed=0)
    # warmup: 10 · 0.9, 30 · 0.1, 60 · 0.
    expected = pytest.approx([9 / 12, 3 / 12, 0], rel=1e-14)
    assert by_quality(sampler.probabilities()) == expected


def test_count_normalized_weights_are_shares() -> None:
    state = CurriculumState(patience=1, count_normalize=True)
    sampler = DynamicCurriculumSampler(LABELS, state, seed=0)
    assert by_quality(sampler.probabilities()) == pytest.approx([0.9, 0.1, 0], rel=1e-14)
    state.update(1.0)
    state.update(1.0)
    assert by_quality(sampler.probabilities()) == pytest.approx([0.6, 0.3, 0.1], rel=1e-14)


def test_draws_follow_the_shares() -> None:
    state = CurriculumState(patience=1, count_normalize=True)
    state.update(1.0)
    state.update(1.0)
    draws = DynamicCurriculumSampler(LABELS, state, num_samples=100_000, seed=4).draws()
    expected = 1e5 * np.repeat([0.06, 0.01, 0.1 / 60], [10, 30, 60])
    # A sound sampler fails once in 10^6 seeds.
    assert chisquare(np.bincount(draws, minlength=100), expected).pvalue > 1e-6


def test_absent_quality_leaves_its_share_to_the_others() -> None:
    state = CurriculumState(count_normalize=True)
    sampler = DynamicCurriculumSampler(["medium", "low", "medium"], state, seed=0)
    assert sampler.probabilities().tolist() == [0.5, 0.0, 0.5]
    assert [cell.quality for cell in sampler.cell_table()] == ["medium", "low"]


def test_phase_without_weight_is_refused() -> None:
    with pytest.raises(SamplingError, match="phase 'warmup' gives every row weight 0"):
        DynamicCurriculumSampler(["low"], CurriculumState())


# Prevalence 1/4, 1/3, 3/4 and none.
BINARY = np.array(
    [
        [1, 1, 1, NAN],
        [0, 0, 1, NAN],
        [0, NAN, 1, NAN],
        [0, 0, 0, NAN],
    ]
)


def test_weights_by_hand() -> None:
    sampler = RarePositiveSampler(BINARY, 0.5, 2.0, 10.0, seed=0)
    assert sampler.rare_tasks.tolist() == [0, 1]
    np.testing.assert_allclose(sampler.prevalence, [1 / 4, 1 / 3, 3 / 4, NAN], rtol=1e-15)
    np.testing.assert_allclose(sampler.probabilities(), np.array([5, 1, 1, 1]) / 8, rtol=1e-15)
    cells = [(cell.rare_positives, cell.size) for cell in sampler.cell_table()]
    assert cells == [(0, 3), (2, 1)]


def test_weights_are_capped() -> None:
    p = RarePositiveSampler(BINARY, 0.5, 2.0, 4.0, seed=0).probabilities()
    np.testing.assert_allclose(p, np.array([4, 1, 1, 1]) / 7, rtol=1e-15)


@pytest.mark.parametrize("threshold", [0.0, 0.25])
def test_task_at_the_threshold_is_not_rare(threshold: float) -> None:
    sampler = RarePositiveSampler(BINARY, threshold, 2.0, 4.0, seed=0)
    assert sampler.rare_tasks.size == 0
    assert sampler.probabilities().tolist() == [0.25] * 4


def test_draws_follow_weights_by_rare_positives() -> None:
    rng = np.random.default_rng(0)
    targets = (rng.random((60, 6)) < [0.02, 0.05, 0.1, 0.1, 0.4, 0.6]).astype(float)
    targets[rng.random((60, 6)) < 0.3] = NAN
    prevalence = np.nanmean(targets, axis=0)
    k = np.nansum(targets[:, prevalence < 0.2], axis=1)
    w = np.minimum(1 + 3 * k, 5)
    draws = RarePositiveSampler(targets, 0.2, 3.0, 5.0, num_samples=100_000, seed=1).draws()
    assert len(np.unique(w)) == 3
    # A sound sampler fails once in 10^6 seeds.
    assert chisquare(np.bincount(draws, minlength=60), 1e5 * w / w.sum()).pvalue > 1e-6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rare_prev_thr": 1.5}, "rare_prev_thr: expected 0 to 1, found 1.5"),
        ({"rare_prev_thr": NAN}, "rare_prev_thr"),
        ({"rare_oversample_mult": -1}, "rare_oversample_mult: expected a finite number >= 0"),
        ({"sample_weight_cap": 0.5}, "sample_weight_cap: expected a finite number >= 1"),
        ({"targets": [[0.0, 2.0]]}, "expected 0, 1 or NaN, found 2.0 at row 0 column 1"),
        ({"targets": [[NAN, NAN]]}, "no label"),
    ],
)
def test_bad_arguments_of_rare_positives_are_named(arguments: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {
        "targets": BINARY,
        "rare_prev_thr": 0.5,
        "rare_oversample_mult": 2.0,
        "sample_weight_cap": 4.0,
    }
    with pytest.raises(SamplingError, match=message):
        RarePositiveSampler(**(good | arguments))


def test_none_where_it_would_draw_evenly() -> None:
    targets = [[1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]
    assert RarePositiveSampler.if_any_rare(targets, 0.3, 0, 10) is None
    assert RarePositiveSampler.if_any_rare(targets, 0.2, 20, 10) is None
    sampler = RarePositiveSampler.if_any_rare(targets, 0.3, 20, 10, seed=1)
    assert sampler is not None
    assert sampler.rare_tasks.tolist() == [1]
