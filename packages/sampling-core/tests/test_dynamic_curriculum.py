from __future__ import annotations

import numpy as np
import pytest
from sampling_core import CurriculumState, DynamicCurriculumSampler, SamplingError
from scipy.stats import chisquare

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
