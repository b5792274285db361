from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sampling_core import RarePositiveSampler, SamplingError
from scipy.stats import chisquare

NAN = np.nan
# Prevalence 1/4, 1/3, 3/4 and none.
Y = np.array(
    [
        [1, 1, 1, NAN],
        [0, 0, 1, NAN],
        [0, NAN, 1, NAN],
        [0, 0, 0, NAN],
    ]
)


def test_weights_by_hand() -> None:
    sampler = RarePositiveSampler(Y, 0.5, 2.0, 10.0, seed=0)
    assert sampler.rare_tasks.tolist() == [0, 1]
    np.testing.assert_allclose(sampler.prevalence, [1 / 4, 1 / 3, 3 / 4, NAN], rtol=1e-15)
    np.testing.assert_allclose(sampler.probabilities(), np.array([5, 1, 1, 1]) / 8, rtol=1e-15)
    cells = [(cell.rare_positives, cell.size) for cell in sampler.cell_table()]
    assert cells == [(0, 3), (2, 1)]


def test_weights_are_capped() -> None:
    p = RarePositiveSampler(Y, 0.5, 2.0, 4.0, seed=0).probabilities()
    np.testing.assert_allclose(p, np.array([4, 1, 1, 1]) / 7, rtol=1e-15)


@pytest.mark.parametrize("threshold", [0.0, 0.25])
def test_task_at_the_threshold_is_not_rare(threshold: float) -> None:
    sampler = RarePositiveSampler(Y, threshold, 2.0, 4.0, seed=0)
    assert sampler.rare_tasks.size == 0
    assert sampler.probabilities().tolist() == [0.25] * 4


def test_draws_follow_row_weights() -> None:
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
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {
        "targets": Y,
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
