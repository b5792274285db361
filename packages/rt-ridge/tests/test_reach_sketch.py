from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rt_ridge.errors import RTRidgeError
from rt_ridge.intervals import IntervalCalibration, by_size
from rt_ridge.reach import Extrapolation
from rt_ridge.reach_sketch import ACCURACY, ReachSketch


@given(
    st.integers(200, 4_000),
    st.integers(0, 1_000),
    st.integers(1, 4),
    st.sampled_from([1e-3, 1.0, 1e6, 1e12]),
)
def test_no_narrower_than_all_rows_at_once_and_hardly_wider(
    n: int, seed: int, parts: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    z, support = scale * rng.standard_t(2, n), rng.integers(0, 150, n)
    z[rng.random(n) < 0.01] = np.nan
    if (~np.isnan(z)).sum() < 200:
        return
    exact = IntervalCalibration.fit(z, support)
    sketch = ReachSketch()
    for rows in np.array_split(rng.permutation(n), parts):
        sketch.update(z[rows], support[rows])
    found = sketch.calibration()
    assert sketch.n_rows == (~np.isnan(z)).sum()
    assert (found.reach >= exact.reach * (1 - 1e-12)).all()
    if scale > 1e6:  # beyond the cells the largest error stands for all
        return
    # Below the smallest cell, 1e-4 standard deviations, the width is absolute.
    np.testing.assert_allclose(found.reach, exact.reach, rtol=1.001 * ACCURACY, atol=1e-4)


def test_parts_and_rows_beyond_are_told_as_from_all_rows_at_once() -> None:
    rng = np.random.default_rng(0)
    n = 6_000
    part, support = rng.integers(0, 5, n), rng.integers(0, 150, n)
    z = rng.normal(size=n) * np.array([0.5, 1.0, 2.0, 1.0, 0.2])[part]
    far = rng.random(n) < 0.1
    z[far] *= 4
    sketch = ReachSketch()
    for rows in np.array_split(np.arange(n), 3):
        sketch.update(z[rows], support[rows], part[rows], far[rows])
    ends = np.zeros(2), np.ones(2)
    found = sketch.calibration(ends)
    exact = IntervalCalibration.fit(z[~far], support[~far], part[~far])
    outside = Extrapolation.fit(*ends, *by_size(np.abs(z[far]), part[far]))
    # A candidate level more or less, of 0.1 % where it matters, beside the width of a cell.
    np.testing.assert_allclose(found.reach[:, 9:], exact.reach[:, 9:], rtol=0.03)
    assert found.extrapolation is not None
    np.testing.assert_allclose(found.extrapolation.reach, outside.reach, rtol=0.03)


def test_too_few_rows_and_wrong_edges_are_refused() -> None:
    sketch = ReachSketch()
    sketch.update(np.ones(199), np.ones(199, dtype=np.int64))
    with pytest.raises(RTRidgeError, match="at least 200 held-out rows with a prediction; found"):
        sketch.calibration()
    with pytest.raises(RTRidgeError, match=r"ascending from 1; found \[2, 3\]"):
        ReachSketch([2, 3])
