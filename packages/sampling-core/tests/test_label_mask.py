"""Draws from a table of which only the labels' places are kept."""

from __future__ import annotations

import numpy as np
import pytest
from sampling_core import (
    JointSampler,
    LabelMask,
    RarePositiveSampler,
    SamplingError,
    TaskAwareSampler,
)


def table(n: int = 500, tasks: int = 11) -> np.ndarray:
    rng = np.random.default_rng(0)
    values = rng.random((n, tasks))
    values[values > 0.3] = np.nan
    values[:, 0] = 1.0
    return values


def test_draws_are_those_of_the_table() -> None:
    values = table()
    mask = LabelMask.from_chunks(values[start : start + 64] for start in range(0, 500, 64))
    assert mask.shape == values.shape
    for alpha in (0.0, 0.7):
        for mode in ("multiplicative", "hierarchical"):
            ours, theirs = (
                JointSampler(of, task_alpha=alpha, composition_mode=mode, seed=1)
                for of in (mask, values)
            )
            np.testing.assert_array_equal(ours.draws(), theirs.draws())
    ours, theirs = (TaskAwareSampler(of, seed=1) for of in (mask, values))
    np.testing.assert_array_equal(ours.draws(), theirs.draws())


def test_what_is_wrong_is_named_by_its_row_in_the_table() -> None:
    values = table(20, 2)
    values[13, 1] = np.inf
    with pytest.raises(SamplingError, match="infinity at row 13 column 1"):
        LabelMask.from_chunks([values[:10], values[10:]])
    with pytest.raises(SamplingError, match=r"expected 2 tasks in each chunk.*found 1"):
        LabelMask.from_chunks([values[:10], values[:10, :1]])
    with pytest.raises(SamplingError, match="no chunk"):
        LabelMask.from_chunks([])
    with pytest.raises(SamplingError, match="found a LabelMask"):
        RarePositiveSampler(LabelMask.from_chunks([values[:10]]), 0.1, 1.0, 5.0)  # type: ignore[arg-type]
