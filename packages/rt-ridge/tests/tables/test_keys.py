from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rt_ridge import RTRidgeError
from rt_ridge.tables._keys import pack, unpack

ids = st.integers(0, 2**31 - 1)


@given(pairs=st.lists(st.tuples(ids, ids), min_size=1))
def test_keys_sort_as_their_pairs_do_and_come_apart_again(pairs: list[tuple[int, int]]) -> None:
    group, compound = (np.array(column) for column in zip(*pairs, strict=True))
    keys = pack(group, compound)
    assert keys.tolist() == [g * 2**32 + c for g, c in pairs]
    assert [a.tolist() for a in unpack(keys)] == [group.tolist(), compound.tolist()]
    assert np.argsort(keys, kind="stable").tolist() == sorted(
        range(len(pairs)), key=pairs.__getitem__
    )


@pytest.mark.parametrize(
    ("group", "compound", "phrase"),
    [
        ([0, -3], [1, 1], "group: expected ids from 0 to 2^31 - 1; found -3 (rows 2)"),
        ([0, 1], [1, 2**31], "compound: expected ids from 0 to 2^31 - 1; found 2147483648"),
        ([0.5, 1], [1, 1], "group: expected whole numbers; found 0.5 (rows 1)"),
        ([np.nan, 1], [1, 1], "group: expected ids from 0"),
        (["a"], [1], "group: expected whole numbers; found <U1"),
        ([[1]], [1], "group: expected ids [N]"),
        ([1, 2], [1], "compound: expected one id for each of 2 rows of group; found 1"),
    ],
)
def test_what_is_no_id_is_refused(group: object, compound: object, phrase: str) -> None:
    with pytest.raises(RTRidgeError) as caught:
        pack(group, compound)  # type: ignore[arg-type]
    assert phrase in str(caught.value)


def test_no_row_has_no_key() -> None:
    assert pack([], []).shape == (0,)
