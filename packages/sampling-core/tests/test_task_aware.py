from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sampling_core import SamplingError, TaskAwareSampler
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
