from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sampling_core.cells import CellRows
from sampling_core.draws import CellDraws
from scipy.stats import chisquare

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
