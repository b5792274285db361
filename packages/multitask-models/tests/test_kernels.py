"""Kernels of blocks: definitions, positive definiteness, and their derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from multitask_models._errors import ModelError
from multitask_models._kernels import (
    KINDS,
    RADIAL,
    BlockKernel,
    KernelSum,
    build_blocks,
    cholesky_with_jitter,
    tanimoto,
)

COUNTS = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 12), st.just(6)), elements=st.integers(0, 9)
)
NUMBERS = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 12), st.just(4)), elements=st.floats(-1e6, 1e6)
)


def by_definition(a, b):
    """Return sum min / sum max, pair by pair."""
    return [
        [np.minimum(p, q).sum() / np.maximum(p, q).sum() if (p + q).any() else 1.0 for q in b]
        for p in a
    ]


@given(COUNTS, COUNTS)
def test_tanimoto_is_min_over_max(a, b):
    np.testing.assert_allclose(tanimoto(a, b), by_definition(a, b), rtol=1e-14)
    # Halves are no counts, and take the road of absolute differences.
    np.testing.assert_allclose(tanimoto(a / 2, b / 2), by_definition(a, b), rtol=1e-12)


def test_tanimoto_of_long_counts():
    a = np.array([[0.0, 5000.0, 3.0], [7000.0, 1.0, 0.0]])
    np.testing.assert_allclose(tanimoto(a, a), by_definition(a, a), rtol=1e-12)


@settings(deadline=None)
@given(COUNTS, st.sampled_from(KINDS), st.floats(-2, 2))
def test_kernel_of_counts_is_symmetric_and_positive(x, kind, ratio):
    check_positive(x, kind, ratio)


@settings(deadline=None)
@given(NUMBERS, st.sampled_from(RADIAL), st.floats(-2, 2))
def test_kernel_of_numbers_is_symmetric_and_positive(x, kind, ratio):
    check_positive(x, kind, ratio)


def check_positive(x, kind, ratio):
    blocks = build_blocks(x, None, kind)
    kernel = KernelSum(blocks, np.ones(1), np.array([ratio])).square([blocks[0].prepare(x)])
    np.testing.assert_array_equal(kernel, kernel.T)
    np.testing.assert_array_equal(kernel.diagonal(), 1.0)
    # Squared distances by products lose half of the digits of near duplicates.
    assert np.linalg.eigvalsh(kernel).min() > -1e-7
    cholesky_with_jitter(kernel, "kernel")


@pytest.mark.parametrize("kind", RADIAL)
def test_slope_is_the_derivative_by_the_log_lengthscale(kind):
    kernel = BlockKernel("block", np.arange(2), kind, np.zeros(2), np.ones(2))
    base = np.array([[0.0, 0.3], [1.7, 9.0]])
    step = 1e-6
    numeric = (kernel.value(base, 0.2 + step) - kernel.value(base, 0.2 - step)) / (2 * step)
    np.testing.assert_allclose(np.asarray(kernel.slope(base, 0.2)), numeric, atol=1e-9)


def test_unit_of_a_descriptor_does_not_matter():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 3))
    y = x * [1e6, 1e-6, -1.0] + [3.0, 0.0, 1e3]
    values = []
    for features in (x, y):
        block = build_blocks(features, None, "rbf")[0]
        prepared = block.prepare(features)
        values.append(block.value(block.base(prepared, prepared), 0.0))
    np.testing.assert_allclose(values[0], values[1], atol=1e-8)


def test_kind_is_chosen_by_the_values():
    x = np.hstack([np.arange(6.0).reshape(3, 2), [[0.5], [1.0], [2.0]]])
    assert [block.kind for block in build_blocks(x, [2, 1], "auto")] == ["tanimoto", "matern52"]


def test_matrix_that_is_no_covariance_is_refused():
    with pytest.raises(ModelError, match="positive definite"):
        cholesky_with_jitter(np.array([[1.0, 2.0], [2.0, 1.0]]), "kernel")
