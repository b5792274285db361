"""Ids of names, and what the screen leaves out."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from molpool_pipelines.retention.numbering import Numbering
from molpool_pipelines.retention.screen import scale_table
from rt_ridge import RTRidgeError

NAMES = st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1), unique=True)


@given(first=NAMES, second=NAMES)
def test_names_have_distinct_ids_that_stay(first, second):
    one = Numbering.of(pl.Series("n", first, dtype=pl.String))
    two = Numbering.of(pl.Series("n", second, dtype=pl.String), one)
    assert sorted(one.ids.values()) == list(range(len(first)))
    assert sorted(two.ids.values()) == list(range(len({*first, *second})))
    assert {name: two.ids[name] for name in first} == one.ids


@given(st.lists(st.integers(0, 2**31 - 1), unique=True))
def test_numbers_are_their_own_ids(numbers):
    column = pl.Series("n", numbers, dtype=pl.Int64)
    assert Numbering.of(column).apply(column).to_list() == numbers


def test_numbers_out_of_range_are_no_ids():
    with pytest.raises(RTRidgeError, match=r"column 'n'.*found -1"):
        Numbering.of(pl.Series("n", [3, -1]))


def test_screen_says_what_is_exactly_zero_and_leaves_out_offsets():
    nothing = {"low": np.nan, "high": np.nan}
    scales = {"sigma": {"mean": 0.1, "low": 0.05, "high": 0.2}, "tau": {"mean": 0.0, **nothing}}
    scales |= {f"sigma_offset[{j}]": {"mean": 0.3, **nothing} for j in range(30)}
    table = scale_table(scales)
    assert list(table.columns[0].cells) == ["sigma", "tau"]
    assert list(table.columns[1].cells) == ["0.1000", "0 (exactly)"]
    assert table.caption == "and 30 more in metrics.json"
