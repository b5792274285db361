from __future__ import annotations

import numpy as np
import pytest
from rt_ridge.statistics import _moments as scatter
from rt_ridge.statistics._moments import Moments, merge_moments, moments_of


def test_moments_are_numpys_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups that fill several blocks, one, or a part, against `numpy.cov`."""
    rng = np.random.default_rng(0)
    keys = rng.permutation(np.repeat([0, 3, 4, 9, 2**40], [500, 1, 30, 30, 2]))
    rows = rng.normal(size=(len(keys), 3))
    for block in (1, 100, 10_000):
        monkeypatch.setattr(scatter, "_BLOCK_FLOATS", block)
        moments = moments_of(keys, rows)
        assert moments.keys.tolist() == [0, 3, 4, 9, 2**40]
        assert moments.n.tolist() == [500, 1, 30, 30, 2]
        for i, key in enumerate(moments.keys):
            mine = rows[keys == key]
            np.testing.assert_allclose(moments.mean[i], mine.mean(axis=0), atol=1e-15)
            expected = np.cov(mine.T, ddof=0) * len(mine)
            np.testing.assert_allclose(moments.scatter[i], expected, atol=1e-13 * len(mine))


def test_many_moments_of_few_new_keys_are_not_copied_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Keys of all merges together stay below 2 N log₂ N; one by one they would be N²/2."""
    copied = 0
    merge_two = scatter.merge_two

    def counted(a: Moments, b: Moments) -> Moments:
        nonlocal copied
        copied += len(a.keys) + len(b.keys)
        return merge_two(a, b)

    monkeypatch.setattr(scatter, "merge_two", counted)
    n = 256
    one = (moments_of(np.array([i]), np.full((1, 1), float(i))) for i in range(n))
    merged = merge_moments(one)
    assert merged.keys.tolist() == list(range(n))
    assert merged.mean[:, 0].tolist() == list(range(n))
    assert copied <= 2 * n * np.log2(n)


@pytest.mark.parametrize("top", [0, 2**32 + 5, 2**62 + 3])
def test_moments_do_not_depend_on_the_size_of_keys(top: int) -> None:
    rng = np.random.default_rng(1)
    few = rng.integers(0, 4, 40)
    rows = rng.normal(size=(40, 2))
    found = moments_of(few + top, rows)
    assert found.keys.tolist() == [top, top + 1, top + 2, top + 3]
    for k in range(4):
        assert found.n[k] == (few == k).sum()
        np.testing.assert_allclose(found.mean[k], rows[few == k].mean(axis=0), rtol=0, atol=1e-14)
