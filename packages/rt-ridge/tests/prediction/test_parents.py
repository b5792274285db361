from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from rt_ridge import (
    GroupwiseRidge,
    PartialPoolingRidge,
    SufficientStatistics,
    parent_expectation,
)


def test_the_share_of_the_parent_is_how_far_pooling_moves() -> None:
    # One compound in 400 groups, intercepts alone: the pooled mean of n rows lies
    # s² / (s² + n t²) of the way to the parent, whose own mean is known to 1 / 20 of t.
    rng = np.random.default_rng(0)
    n = rng.integers(1, 9, 400)
    group = np.repeat(np.arange(400), n)
    true = 5 + 0.3 * rng.normal(size=400)
    y = true[group] + 0.3 * rng.normal(size=len(group))
    table = pl.DataFrame({"species": group, "comp_id": np.zeros_like(group), "rt": y})
    stats = SufficientStatistics.from_frame(table, covariates=[], parent=None)
    model = PartialPoolingRidge(intercept_prior="comp_hier", method="ml").fit(stats)
    found, above = model.summaries_, parent_expectation(model.summaries_)
    scales = {name: scale["mean"] for name, scale in model.scales_.items()}
    share = above.shrinkage(found)[:, 0]
    closed = scales["sigma"] ** 2 / (scales["sigma"] ** 2 + n * scales["tau_pair"] ** 2)
    np.testing.assert_allclose(share, closed, rtol=0.02)
    own = np.bincount(group, y) / n
    np.testing.assert_allclose(
        found.mean[:, 0], share * above.mean[:, 0] + (1 - share) * own, atol=0.005
    )
    assert set(above.level) == {"global"}


def test_pairs_on_their_own_have_no_parent() -> None:
    rng = np.random.default_rng(0)
    ids = np.stack([np.repeat(np.arange(4), 5), np.zeros(20, dtype=np.int64)], axis=1)
    found = GroupwiseRidge().fit(rng.normal(size=(20, 1)), rng.normal(size=20), ids).summaries_
    above = parent_expectation(found)
    assert np.isnan(above.mean).all()
    assert np.isnan(above.shrinkage(found)).all()
    assert set(above.level) == {"none"}


def test_a_pair_of_no_rows_would_be_its_parent() -> None:
    # Against the back-off of a fit that has never seen the pair.
    rng = np.random.default_rng(1)
    group, compound = np.repeat(np.arange(6), 30), np.tile(np.arange(5), 36)
    x = rng.normal(size=(180, 1))
    y = compound + 0.2 * group + 0.5 * x[:, 0] + 0.05 * rng.normal(size=180)
    ids = np.stack([group, compound], axis=1)
    model = PartialPoolingRidge(slope_head_mode="global", lambda_slopes="estimate").fit(x, y, ids)
    found = model.summaries_
    above = parent_expectation(found)
    (place,) = np.flatnonzero((found.keys >> 32 == 2) & (found.keys & 0xFFFFFFFF == 3))
    new = found.predict([[0.7 + found.feature_center[0]]], [77], [3])
    line = above.mean[place] @ np.array([1.0, 0.7])
    assert line == pytest.approx(new.mean[0], abs=1e-9)
