from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from molpool_common.tables._layout import _Words

WORDS = ("NA", "n.d.", "nan", "-", "#N/A", "-999", "9x")
CELLS = st.sampled_from(["", "-1", "-.5", "12", "-9", "-9999", "NAN", "N", "n.d", "x-", *WORDS])


@given(
    st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=6),
    st.sets(st.sampled_from(WORDS)),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_words_are_found_where_they_are_whole_cells(
    rows: list[list[str]], words: set[str], end: str, ended: bool
) -> None:
    text = end.join(",".join(row) for row in rows) + end * ended
    block = np.frombuffer(text.encode() or b"\n", np.uint8)
    bounds = np.isin(block, list(b",\n"))
    found = _Words(sorted(words), ord(",")).there(block, bounds)
    assert found == {cell.encode() for row in rows for cell in row if cell in words}
