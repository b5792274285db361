from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from sampling_core.cells import group_rows

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
