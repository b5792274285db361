from __future__ import annotations

import math

import numpy as np
import pytest
from sampling_core import TaskAwareSampler, WeightStatistics
from scipy.stats import entropy


def test_uniform_rows() -> None:
    statistics = TaskAwareSampler(np.ones((8, 1)), 0.5, seed=0).statistics()
    assert statistics.as_dict() == pytest.approx(
        {
            "min": 1 / 8,
            "max": 1 / 8,
            "entropy": math.log(8),
            "effective_samples": 8.0,
            "n_rows": 8,
            "n_drawable": 8,
        },
        rel=1e-14,
    )


def test_entropy_is_that_of_scipy() -> None:
    targets = np.where(np.random.default_rng(0).random((50, 3)) < 0.4, 1.0, np.nan)
    sampler = TaskAwareSampler(targets, 0.7, seed=0)
    expected = entropy(sampler.probabilities())
    assert sampler.statistics().entropy == pytest.approx(float(expected), rel=1e-12)


def test_rows_are_summed_once_for_each_set_of_weights() -> None:
    sampler = TaskAwareSampler(np.ones((4, 2)), 0.5, seed=0)
    assert sampler.statistics() is sampler.statistics()


def test_statistics_are_plain_numbers() -> None:
    statistics = TaskAwareSampler(np.ones((4, 2)), 0.5, seed=0).statistics()
    assert isinstance(statistics, WeightStatistics)
    assert {type(value) for value in statistics.as_dict().values()} == {int, float}
