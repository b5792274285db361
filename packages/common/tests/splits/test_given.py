"""Splits that users bring."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from molpool_common._errors import InputError
from molpool_common.splits import assign_rows, joined_groups, read_split_file, split_names


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "split.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_usual_spellings() -> None:
    values = ["Train", "TRAINING ", "valid", "Validation", "dev", "Test", "hold-out", "", None]
    assert split_names(values) == ["train"] * 2 + ["val"] * 3 + ["test"] * 2 + [None] * 2
    assert split_names(["train", float("nan"), "unused"]) == ["train", None, None]


def test_other_values_are_named_with_their_rows() -> None:
    with pytest.raises(InputError) as caught:
        split_names(["train", "0", "tset", "0"], parameter="column 'set'", where="a.csv")
    assert str(caught.value) == (
        "column 'set' (a.csv): expected train, val or test in any usual spelling, or nothing; "
        "found '0', 'tset' in rows 2, 3, 4."
    )
    with pytest.raises(InputError, match="a row of train, val or test; found none"):
        split_names(["", None])


@pytest.mark.parametrize(
    "content",
    [
        # Chemprop 2 reads these.
        [{"train": [0, 1, 4], "val": [2], "test": [3]}],
        [{"train": "0-1,4", "val": "2", "test": "3"}],
        # A benchmark of Polaris; it names its test sets.
        {"split": [[0, 1, 4], {"test": [3]}], "metrics": []},
        [[0, 1, 4], [3]],
        {"Train": [0, 1, 4], "valid": [2], "test": [3]},
    ],
)
def test_files_of_chemprop_and_polaris(tmp_path: Path, content: Any) -> None:
    (entry,) = read_split_file(written(tmp_path, content))
    names = assign_rows(entry, 6)
    val = "val" if entry.val else None
    assert names == ["train", "train", val, "test", "train", None]


def test_ids_and_several_rows_of_one(tmp_path: Path) -> None:
    ids = ["a", "b", "a", "c"]
    (entry,) = read_split_file(written(tmp_path, {"a": "train", "c": "TEST", "b": ""}))
    assert assign_rows(entry, 4, ids) == ["train", None, "train", "test"]
    (entry,) = read_split_file(written(tmp_path, {"train": ["a"], "test": ["c"]}))
    assert assign_rows(entry, 4, ids) == ["train", None, "train", "test"]
    with pytest.raises(InputError, match=r"found ids such as 'a'.*--data.id-column"):
        assign_rows(entry, 4)


def test_several_entries_are_a_cross_validation(tmp_path: Path) -> None:
    entries = read_split_file(
        written(tmp_path, [{"train": [0], "test": [1]}, {"train": [1], "test": [0]}])
    )
    assert [entry.name for entry in entries] == ["entry 0", "entry 1"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "a JSON file of splits; found"),
        ("[" * 100_000, "a JSON file of splits; found"),
        (5, "as Chemprop writes it"),
        ([], "as Chemprop writes it"),
        ([{"train": [0], "fold": [1]}], "train, val and test in entry 0; found 'fold'"),
        ([{"train": [0, 1], "test": [1]}], "each row in one split; found 1 in train and test"),
        ([{"train": [-1]}], "rows from 0 as train; found -1"),
        ([{"train": [0.5]}], "rows from 0, ranges such as '0-99', or ids as train"),
        ([{"train": [True]}], "rows from 0, ranges"),
        ([{"train": [0, "a"]}], "either rows from 0 or ids as train"),
        ([{"train": "0-x"}], "rows from 0, ranges such as '0-99', or ids as train"),
        ([{"train": "3--1"}], "ranges such as '0-99,105' as train; found '3--1'"),
        ([{"train": [], "test": []}], "rows; found none in entry 0"),
        ({"split": {"training": {"datapoints": 3}}}, "rows from 0, ranges"),
    ],
)
def test_what_is_no_split_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_split_file(written(tmp_path, content))
    assert message in str(caught.value)
    assert "split.json" in str(caught.value)


def test_rows_beyond_the_table(tmp_path: Path) -> None:
    (entry,) = read_split_file(written(tmp_path, [{"train": "0-5"}]))
    with pytest.raises(InputError, match="expected rows 0 to 3; found 2 others: 4, 5"):
        assign_rows(entry, 4)
    with pytest.raises(InputError, match="no file"):
        read_split_file(tmp_path / "none.json")


class TestJoinedGroups:
    def test_a_chain_of_molecules_and_series_is_one(self) -> None:
        groups = ["B", "A", "B", "C", "D", "E"]
        series = ["s1", "s2", "s2", None, "", "s3"]
        assert joined_groups(groups, series) == ["A", "A", "A", "C", "D", "E"]

    def test_without_series_molecules_stay_what_they_are(self) -> None:
        assert joined_groups(["B", "A"], [None, float("nan")]) == ["B", "A"]

    @given(
        rows=st.lists(st.tuples(st.sampled_from("ABCDEF"), st.sampled_from(["x", "y", "z", ""])))
    )
    def test_nothing_linked_is_apart_and_nothing_else_together(
        self, rows: list[tuple[str, str]]
    ) -> None:
        if not rows:
            return
        groups, series = [g for g, _ in rows], [s for _, s in rows]
        joined = joined_groups(groups, series)
        # Merged by hand until nothing changes.
        own = {g: {g} for g in groups}
        for _ in rows:
            for g, s in rows:
                for h, t in rows:
                    if g == h or (s == t and s):
                        both = own[g] | own[h]
                        for member in both:
                            own[member] = both
        assert joined == [min(own[g]) for g in groups]
