from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sampling_core import TaskAwareSampler, WeightStatistics
from sampling_core._cells import CellDraws, CellRows, group_rows
from scipy.stats import chisquare, entropy

pytestmark = pytest.mark.core


Pairs = Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]


@given(st.lists(st.integers(-1, 4), max_size=60), st.integers(1, 20))
def test_grouping_is_a_stable_sort(codes: list[int], step: int) -> None:
    array = np.array(codes, dtype=np.int64)

    def entries() -> Pairs:
        for start in range(0, len(array), step):
            yield array[start : start + step], np.arange(start, min(start + step, len(array)))

    cells = group_rows(entries, 5, len(codes), disjoint=True)
    assert cells.rows.dtype == np.int32
    for c in range(5):
        held = cells.rows[cells.offsets[c] : cells.offsets[c + 1]]
        assert held.tolist() == [i for i, code in enumerate(codes) if code == c]


def test_row_numbers_beyond_int32_are_kept() -> None:
    n_rows = 2**31 + 5

    def entries() -> Pairs:
        yield np.array([0, 0]), np.array([1, n_rows - 1])

    cells = group_rows(entries, 1, n_rows, disjoint=True)
    assert cells.rows.tolist() == [1, n_rows - 1]


def test_row_probabilities_add_up_over_cells() -> None:
    def entries() -> Pairs:
        yield np.array([0, 0, 1]), np.array([0, 2, 2])

    cells = group_rows(entries, 2, 4, disjoint=False)
    np.testing.assert_allclose(
        cells.row_probabilities(np.array([0.5, 0.5])), [0.25, 0, 0.75, 0], rtol=1e-15
    )


TOP = np.uint64(2**64 - 1)


def cells_of(sizes: list[int]) -> CellRows:
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    n_rows = int(offsets[-1])
    return CellRows(np.arange(n_rows, dtype=np.int32), offsets, n_rows, disjoint=True)


def drawn(sizes: list[int], p: list[float], words: list[int]) -> list[int]:
    probabilities = np.array(p) / sum(p)
    rows = CellDraws(cells_of(sizes), probabilities).rows(np.array(words, np.uint64))
    return [int(row) for row in rows]


def test_halves_split_at_the_middle_word() -> None:
    half = 2**63
    assert drawn([1, 1], [1, 1], [0, half - 1, half, 2**64 - 1]) == [0, 0, 1, 1]


def test_rows_of_a_cell_share_its_words_evenly() -> None:
    quarter = 2**62
    # Buckets hold words of equal upper bits; within each, the lower bits run over the rows.
    assert drawn([4], [1], [0, 2**50, 2**51, 2**51 + 2**50, quarter, 2**64 - 1]) == [
        0, 1, 2, 3, 0, 3,
    ]  # fmt: skip


def test_edge_inside_a_bucket_is_resolved_to_the_word() -> None:
    # p = 2^-20 puts the edge at word 2^44, deep inside the first bucket of 2^52 words.
    p = [2.0**-20, 1 - 2.0**-20]
    assert drawn([2, 1], p, [0, 2**43 - 1, 2**43, 2**44 - 1, 2**44]) == [0, 0, 1, 1, 2]


@given(
    st.lists(
        st.tuples(st.integers(1, 50), st.sampled_from([0.0, 1e-300, 1e-18, 1e-9, 1e-3, 0.3, 1.0])),
        min_size=1,
        max_size=12,
    ),
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=50),
)
def test_impossible_cells_are_never_hit(cells: list[tuple[int, float]], words: list[int]) -> None:
    sizes, p = [list(column) for column in zip(*cells, strict=True)]
    if sum(p) == 0.0:
        p[-1] = 1.0
    possible = np.repeat(np.array(p) > 0, sizes)
    # The ends and both sides of every edge are where rounding would go wrong.
    edges = [int(e * 2**64) for e in np.cumsum(p) / sum(p)]
    near = [min(max(e + d, 0), 2**64 - 1) for e in edges for d in (-2048, -1, 0, 1)]
    rows = drawn(sizes, p, [*words, *near, 0, 2**64 - 1])
    assert possible[rows].all()


@pytest.mark.parametrize("seed", [0, 1])
def test_draws_follow_cells_and_rows(seed: int) -> None:
    sizes = [3, 7, 1, 20, 5]
    p = np.array([0.25, 1e-4, 0.5, 0.05, 0.1999])
    n = 400_000
    words = np.random.Generator(np.random.Philox(seed)).bit_generator.random_raw(n)
    counts = np.bincount(CellDraws(cells_of(sizes), p).rows(words), minlength=36)
    # A sound sampler fails once in 10^6 seeds.
    assert chisquare(counts, n * np.repeat(p / sizes, sizes)).pvalue > 1e-6


def test_many_cells_share_buckets() -> None:
    # 20 000 cells in 4096 buckets: every bucket has edges in it.
    n = 20_000
    p = np.random.default_rng(0).dirichlet(np.ones(n))
    draws = CellDraws(cells_of([1] * n), p)
    words = np.random.default_rng(1).integers(0, TOP, 100_000, dtype=np.uint64, endpoint=True)
    expected = np.searchsorted(np.cumsum(p)[:-1], words / 2.0**64, side="right")
    # A word within 2^-53 of an edge may fall on either side of it: none of 10^5 is expected to.
    assert np.count_nonzero(draws.rows(words) != expected) <= 1


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
