"""Ids: strings as written in a column of text, numbers in one of numbers, nothing between."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from molpool_common import IdColumn, InputError, TableError, joint_ids

pytestmark = pytest.mark.core


def joint(*files: list[Any], **options: Any) -> Any:
    columns = [pl.Series("id", values) for values in files]
    return joint_ids([IdColumn.read(c, f"f{i}") for i, c in enumerate(columns)], **options)


def texts(ids: Any) -> list[list[str | None]]:
    return [t.to_list() for t in ids.texts]


def test_text_is_taken_as_it_is_written():
    ids = joint(["007", "7", "7.0"])
    assert texts(ids) == [["007", "7", "7.0"]]
    assert ids.kind == "text"
    assert ids.notes == (
        "column 'id': different ids, as the column is of text: 007 and 7 and 7.0.",
    )


@pytest.mark.parametrize("values", [[7, 8], [7.0, 8.0], ["7", "8"], ["7.0", "8.00"]])
def test_in_a_column_of_numbers_they_are_one(values):
    ids = joint(values)
    assert (texts(ids), ids.kind) == ([["7", "8"]], "number")


@pytest.mark.parametrize(
    "files", [([5950.0, None], [5950]), (["5950.0", None], ["5950"]), (["5950"], [5950.0, None])]
)
def test_a_file_of_floats_and_one_of_integers_are_one_and_said(files):
    ids = joint(*files)
    assert {t for file in texts(ids) for t in file} == {"5950", None}
    assert ids.notes == ("column 'id': one id each, as the column is of numbers: 5950 and 5950.0.",)


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ((["7", "8", "7.0"],), {}, r"\(f0\): expected ids written one way.*'7.0' in row 3"),
        ((["A", "7"], [7]), {}, r"\(f1\): expected text, as in f0; found '7' in row 1"),
        ((["A"], ["7.0", "8.0"]), {}, r"\(f1\): expected text.*in 2 rows: 1, 2"),
        ((["7", "A"],), {"known": "number"}, "whole numbers, as in .* found 'A' in row 2"),
        (([7],), {"known": "text"}, "text, as in earlier tables; found '7'"),
        (([1.5, 2.0],), {}, "whole numbers, or text, as ids; found 1.5 in row 1"),
    ],
)  # fmt: skip
def test_mixing_is_a_fault_with_its_rows(files, options, message):
    with pytest.raises(TableError, match=message):
        joint(*files, cure="--ids text does.", **options)


def test_a_table_of_digits_belongs_to_earlier_text():
    assert texts(joint(["7"], known="text")) == [["7"]]


def test_every_spelling_can_be_asked_for():
    assert texts(joint(["7", "7.0"], spelling="text")) == [["7", "7.0"]]
    assert texts(joint(["007", "+7", "7.0"], spelling="number")) == [["7", "7", "7"]]
    assert texts(joint(["007", "A"], spelling="number")) == [["007", "A"]]


def test_letters_and_blanks_are_normalised_and_said():
    ids = joint(["é", "e\N{COMBINING ACUTE ACCENT}", " a", "a\N{NO-BREAK SPACE}", ""])
    assert texts(ids) == [["é", "é", "a", "a", None]]
    assert ids.notes[0].startswith("column 'id': 2 ids stand with and without blanks")


@pytest.mark.parametrize("values", [[[1], [2]], [{"a": 1}], [b"x"]])
def test_what_cannot_name_anything_is_refused_by_type(values):
    with pytest.raises(InputError, match=r"column 'id' \(f0\): expected ids.*found"):
        joint(values)


@given(st.lists(st.integers(0, 2**31 - 1), min_size=1), st.booleans())
def test_numbers_are_one_in_every_type(numbers, gaps):
    values = [*numbers, None] if gaps else numbers
    forms = [
        pl.Series("id", values, dtype=pl.Int64),
        pl.Series("id", values, dtype=pl.Float64),
        pl.Series("id", values, dtype=pl.Int64).cast(pl.String),
        pl.Series("id", values, dtype=pl.Int64).cast(pl.String).cast(pl.Categorical),
        pl.Series("id", values, dtype=pl.Decimal(20, 2)),
    ]
    ids = joint_ids([IdColumn.read(form, str(form.dtype)) for form in forms])
    expected = [None if v is None else str(v) for v in values]
    assert [t.to_list() for t in ids.texts] == [expected] * len(forms)
    assert ids.kind == "number"
