from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rt_ridge.cap import cap_pairs
from rt_ridge.errors import RTRidgeError


@settings(max_examples=50, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60),
    cap=st.integers(1, 5),
    seed=st.integers(0, 100),
)
def test_the_cap_holds_for_every_pair(pairs: Any, cap: int, seed: int) -> None:
    frame = pl.DataFrame(pairs, schema=["species", "comp_id"], orient="row").with_row_index()
    kept = cap_pairs(frame, cap, seed=seed)
    assert kept.equals(cap_pairs(frame, cap, seed=seed))
    assert kept["index"].is_sorted()
    for (a, b), rows in frame.group_by("species", "comp_id"):
        left = kept.filter(species=a, comp_id=b)
        assert left.height == min(cap, rows.height)
        assert set(left["index"]) <= set(rows["index"])


def test_the_cap_draws_without_favour() -> None:
    frame = pl.DataFrame({"species": [0] * 20, "comp_id": [0] * 20}).with_row_index()
    draws = pl.concat([cap_pairs(frame, 5, seed=seed) for seed in range(400)])
    counts = draws["index"].value_counts()["count"]
    # Each row is drawn 100 ± 8.7 times; one of 20 is 5 sd off once in 10^5 runs.
    assert counts.len() == 20
    assert counts.min() > 56  # type: ignore[operator]
    assert counts.max() < 144  # type: ignore[operator]


def test_a_cap_of_nothing_is_refused() -> None:
    with pytest.raises(RTRidgeError, match="cap: expected at least 1; found 0"):
        cap_pairs(pl.DataFrame({"species": [0], "comp_id": [0]}), 0)
