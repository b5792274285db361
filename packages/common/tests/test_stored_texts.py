from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from molpool_common import StoredTexts


@given(st.lists(st.text()), st.lists(st.text()), st.slices(8))
def test_they_are_the_list_that_they_stand_for(
    first: list[str], more: list[str], part: slice
) -> None:
    stored = StoredTexts(first)
    stored.extend(more)
    assert list(stored) == first + more
    assert len(stored) == len(first + more)
    assert stored[part] == (first + more)[part]


def test_a_row_that_is_not_there() -> None:
    stored = StoredTexts(["C", "", "N"])
    assert stored[-1] == "N"
    with pytest.raises(IndexError):
        stored[3]
