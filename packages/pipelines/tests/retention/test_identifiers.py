"""Ids of names: distinct, stable, and the numbers themselves where names are numbers."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from molpool_pipelines.retention._prepare import Identifiers
from rt_ridge import RTRidgeError

NAMES = st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1), unique=True)


@given(first=NAMES, second=NAMES)
def test_names_have_distinct_ids_that_stay(first, second):
    one = Identifiers.of(pl.Series("n", first, dtype=pl.String))
    two = Identifiers.of(pl.Series("n", second, dtype=pl.String), one)
    assert sorted(one.ids.values()) == list(range(len(first)))
    assert sorted(two.ids.values()) == list(range(len({*first, *second})))
    assert {name: two.ids[name] for name in first} == one.ids


@given(st.lists(st.integers(0, 2**31 - 1), unique=True))
def test_numbers_are_their_own_ids(numbers):
    column = pl.Series("n", numbers, dtype=pl.Int64)
    assert Identifiers.of(column).apply(column).to_list() == numbers


def test_numbers_out_of_range_are_no_ids():
    with pytest.raises(RTRidgeError, match=r"column 'n'.*found -1"):
        Identifiers.of(pl.Series("n", [3, -1]))
