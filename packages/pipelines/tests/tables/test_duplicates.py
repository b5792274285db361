"""Merging of repeats, against loops in plain Python and values worked out by hand."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from molpool_common import InputError, MoleculeTable
from molpool_pipelines.tables._duplicates import (
    DuplicateRule,
    find_duplicates,
    merge_duplicates,
)

pytestmark = pytest.mark.core


NAN = math.nan


def table(
    groups: str,
    targets: list[list[float]],
    *,
    quality: list[str] | None = None,
    times: list[Any] | None = None,
    hold_out: list[bool] | None = None,
) -> MoleculeTable:
    """A table whose molecules are letters, named a1, b2, ... by letter and row."""
    n = len(groups)
    names = [f"{g}{i + 1}" for i, g in enumerate(groups)]
    values = np.array(targets, dtype=float).reshape(n, -1)
    return MoleculeTable(
        task_names=tuple(f"t{t}" for t in range(values.shape[1])),
        smiles=names,
        groups=list(groups),
        targets=values,
        quality=quality,
        times=times,
        hold_out=np.array(hold_out or [True] * n),
        origin=pl.DataFrame({"id": names, "source": ["x.csv"] * n, "row": range(1, n + 1)}),
        dropped=pl.DataFrame(),
    )


REPEATS = table("abacbb", [[1, NAN], [2, 7], [4, NAN], [5, 5], [NAN, 8], [2, 12]])


def test_mean_by_hand() -> None:
    merged = merge_duplicates(REPEATS, "mean")
    assert merged.groups == ["a", "b", "c"]
    np.testing.assert_array_equal(merged.targets, [[2.5, NAN], [2, 9], [5, 5]])
    assert merged.smiles == ["a1", "b2", "c4"]
    assert merged.origin["id"].to_list() == ["a1", "b2", "c4"]
    assert merged.origin["row"].to_list() == [1, 2, 4]


def test_median_by_hand() -> None:
    merged = merge_duplicates(REPEATS, "median")
    np.testing.assert_array_equal(merged.targets, [[2.5, NAN], [2, 8], [5, 5]])


def test_keep_is_the_same_table() -> None:
    assert merge_duplicates(REPEATS, "keep") is REPEATS


def test_a_table_is_left_alone_by_its_merging() -> None:
    before = REPEATS.targets.copy()
    merge_duplicates(REPEATS, "mean")
    np.testing.assert_array_equal(REPEATS.targets, before)


def test_qualities_stay_apart() -> None:
    given_ = table("aaa", [[1], [3], [9]], quality=["high", "low", "high"])
    merged = merge_duplicates(given_, "mean")
    assert merged.quality == ["high", "low"]
    np.testing.assert_array_equal(merged.targets, [[5], [3]])
    assert find_duplicates(given_).n_molecules == 1


def test_training_only_rows_stay_apart() -> None:
    given_ = table("aaa", [[1], [3], [9]], hold_out=[True, False, False])
    merged = merge_duplicates(given_, "mean")
    assert merged.hold_out.tolist() == [True, False]
    np.testing.assert_array_equal(merged.targets, [[1], [6]])


def test_a_merged_row_has_the_earliest_time_that_may_be_held_out() -> None:
    given_ = table(
        "abaa",
        [[1], [2], [3], [4]],
        times=["E-12", "E-11", "E-9", None],
        hold_out=[True, True, True, False],
    )
    merged = merge_duplicates(given_, "mean")
    assert merged.times == ["E-9", "E-11", None]
    assert merged.origin["id"].to_list() == ["a1", "b2", "a4"]


@pytest.mark.parametrize("how", ["mean", "median"])
def test_classes_take_the_majority_and_a_tie_has_no_label(how: DuplicateRule) -> None:
    given_ = table("aaabbcd", [[1], [1], [0], [1], [0], [NAN], [1]])
    np.testing.assert_array_equal(merge_duplicates(given_, how).targets, [[1], [NAN], [NAN], [1]])


def test_a_task_with_a_value_beyond_the_classes_is_averaged() -> None:
    given_ = table("aab", [[0], [1], [2]])
    np.testing.assert_array_equal(merge_duplicates(given_, "mean").targets, [[0.5], [2]])


def test_error_lists_molecules_with_rows_and_values() -> None:
    with pytest.raises(InputError) as caught:
        merge_duplicates(REPEATS, "error")
    message = str(caught.value)
    assert "2 of 3 repeats with different values (1 agree)" in message
    assert "a1, t0: 1 (x.csv, row 1), 4 (x.csv, row 3)" in message
    assert "b2, t1: 7 (x.csv, row 2), 8 (x.csv, row 5), 12 (x.csv, row 6)" in message
    assert "Stereoisomers count as one" in message


def test_error_lists_ten_and_counts_the_rest() -> None:
    letters = "abcdefghijkl"
    given_ = table(letters * 2, [[float(i)] for i in range(24)])
    with pytest.raises(InputError) as caught:
        merge_duplicates(given_, "error")
    lines = str(caught.value).splitlines()[1:]
    assert len(lines) == 11
    assert lines[-1] == "  and 2 more"


def test_error_leaves_repeats_that_agree() -> None:
    given_ = table("aba", [[1.5], [2], [1.5 * (1 + 1e-12)]])
    assert merge_duplicates(given_, "error") is given_
    report = find_duplicates(given_)
    assert (report.n_molecules, report.n_rows, report.n_repeated, report.n_agree) == (1, 2, 1, 1)


def test_the_smallest_difference_that_counts() -> None:
    # 1e-9 of the larger magnitude: just above it and just below.
    assert len(find_duplicates(table("aa", [[100.0], [100.0 + 1.1e-7]])).conflicts) == 1
    assert len(find_duplicates(table("aa", [[100.0], [100.0 + 0.9e-7]])).conflicts) == 0


def test_conflicts_have_their_spread() -> None:
    spreads = [c.spread for c in find_duplicates(REPEATS).conflicts]
    assert spreads == [3.0, 5.0]


def test_a_table_without_repeats() -> None:
    given_ = table("abc", [[1], [NAN], [3]])
    assert find_duplicates(given_).n_repeated == 0
    assert merge_duplicates(given_, "mean") is given_
    assert merge_duplicates(given_, "error") is given_


values = st.one_of(st.just(NAN), st.floats(-1e3, 1e3, width=32))


@st.composite
def tables(draw: st.DrawFn) -> MoleculeTable:
    n, tasks = draw(st.integers(1, 12)), draw(st.integers(1, 3))
    return table(
        draw(st.text("abc", min_size=n, max_size=n)),
        draw(st.lists(st.lists(values, min_size=tasks, max_size=tasks), min_size=n, max_size=n)),
        quality=draw(st.lists(st.sampled_from(["high", "low"]), min_size=n, max_size=n)),
        hold_out=draw(st.lists(st.booleans(), min_size=n, max_size=n)),
    )


def by_key(given_: MoleculeTable) -> dict[tuple[str, str, bool], list[list[float]]]:
    """The rows of each molecule, quality and side."""
    rows = defaultdict(list)
    for i, group in enumerate(given_.groups):
        assert given_.quality is not None
        key = group, given_.quality[i], bool(given_.hold_out[i])
        rows[key].append(given_.targets[i].tolist())
    return rows


def classes(given_: MoleculeTable, task: int) -> bool:
    return all(v in (0, 1) for v in given_.targets[:, task] if not math.isnan(v))


@given(tables(), st.sampled_from(["mean", "median"]))
def test_merging_agrees_with_a_loop(given_: MoleculeTable, how: DuplicateRule) -> None:
    merged = by_key(merge_duplicates(given_, how))
    expected = by_key(given_)
    assert list(merged) == list(expected)
    average = statistics.fmean if how == "mean" else statistics.median
    for key, rows in expected.items():
        for task, found in enumerate(merged[key][0]):
            labels = [row[task] for row in rows if not math.isnan(row[task])]
            want = average(labels) if labels else NAN
            if classes(given_, task) and want == 0.5:
                want = NAN
            elif classes(given_, task) and labels:
                want = float(want > 0.5)
            # Sums of at most 12 values up to 1e3, cancelling at worst: 12 · 1e3 · 2^-52 < 3e-12.
            assert found == pytest.approx(want, rel=1e-12, abs=3e-12, nan_ok=True)


@given(tables(), st.sampled_from(["mean", "median"]), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(
    given_: MoleculeTable, how: DuplicateRule, random: Any
) -> None:
    order = list(range(len(given_)))
    random.shuffle(order)
    one = by_key(merge_duplicates(given_, how))
    other = by_key(merge_duplicates(given_.take(np.array(order)), how))
    assert set(one) == set(other)
    for key, rows in one.items():
        np.testing.assert_allclose(rows, other[key], rtol=1e-12, atol=3e-12)


@given(tables(), st.sampled_from(["mean", "median", "keep"]))
def test_merging_twice_is_merging_once(given_: MoleculeTable, how: DuplicateRule) -> None:
    once = merge_duplicates(given_, how)
    assert merge_duplicates(once, how) is once


@given(tables())
def test_repeats_of_one_value_agree(given_: MoleculeTable) -> None:
    constant = replace(given_, targets=np.where(np.isnan(given_.targets), NAN, 2.5))
    report = find_duplicates(constant)
    assert report.conflicts == []
    counted = sum(
        sum(not math.isnan(row[task]) for row in rows) > 1
        for rows in by_key(constant).values()
        for task in range(constant.targets.shape[1])
    )
    assert report.n_repeated == counted
