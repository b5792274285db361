"""Weights of members per task, by errors out of fold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from molpool_pipelines.models._blend_weights import blend_weights


def noisy(y, *spreads, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([y + rng.normal(scale=s, size=y.shape) for s in spreads])


def test_a_better_member_weighs_more_and_a_useless_one_nothing():
    y = np.random.default_rng(1).normal(size=(2000, 2))
    weights = blend_weights(y, noisy(y, 0.3, 0.4, 8.0), ("regression",) * 2)
    np.testing.assert_allclose(weights.sum(axis=0), 1)
    assert (weights[0] > weights[1]).all()
    assert (weights[2] < 0.03).all()


def test_the_blend_is_no_worse_than_its_best_member_on_the_rows_that_weigh_it():
    y = np.random.default_rng(2).normal(size=(3000, 1))
    p = noisy(y, 0.5, 0.6)
    weights = blend_weights(y, p, ("regression",))
    blended = (weights[:, None, :] * p).sum(axis=0)
    # Independent errors of .5 and .6 leave .38 in the best mixture.
    assert np.abs(blended - y).mean() < 0.85 * np.abs(p[0] - y).mean()


def test_a_task_of_few_labels_takes_the_weights_of_the_others():
    y = np.random.default_rng(3).normal(size=(2000, 2))
    p = noisy(y, 0.2, 1.0)
    p[:, :, 1] = p[::-1, :, 1]  # in the second task the other member is better
    y[6:, 1] = np.nan
    few = blend_weights(y, p, ("regression",) * 2)
    assert few[0, 1] > 0.9
    assert np.abs(few[:, 1] - few[:, 0]).max() < 0.1


def test_a_change_of_unit_changes_no_weight():
    y = np.random.default_rng(4).normal(size=(300, 2))
    p = noisy(y, 0.3, 0.5, 0.7)
    scale = np.array([1e-9, 1e6])
    one = blend_weights(y, p, ("regression",) * 2)
    np.testing.assert_array_equal(one, blend_weights(y * scale, p * scale, ("regression",) * 2))


def test_classes_are_weighed_by_their_probabilities():
    rng = np.random.default_rng(5)
    truth = rng.uniform(size=(4000, 1))
    y = (rng.uniform(size=truth.shape) < truth).astype(float)
    weights = blend_weights(y, np.stack([truth, 1 - truth]), ("classification",))
    assert weights[0, 0] > 0.97


@settings(max_examples=25, deadline=None)
@given(arrays(np.float64, (3, 12, 2), elements=st.floats(-10, 10)), st.integers(0, 12))
def test_weights_are_shares_whatever_is_missing(p, n_missing):
    y = np.linspace(-1, 1, 24).reshape(12, 2)
    y[:n_missing, 0] = np.nan
    p[0, -2:] = np.nan
    weights = blend_weights(y, p, ("regression",) * 2)
    assert (weights >= 0).all()
    assert weights.sum(axis=0) == pytest.approx(1)
