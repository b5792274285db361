"""Texts that look like formulas are inert in CSV, and come back as they were."""

from __future__ import annotations

import csv
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from molpool_common import formulas_marked, formulas_unmarked, open_table, write_table

TEXTS = st.lists(st.text("'=+-@\t\r1.,eE x", max_size=6) | st.none(), min_size=1, max_size=6)
FORMULAS = ["=1+1", "@SUM(A1)", "+1+1", "-2+3+cmd|' /C calc'!A0", "-x", "'=1", "''@x", "\t=1"]
OTHERS = ["-1.5e-3", "+7", "-.5", "-1,5", "C=O", "(-)-menthol", "'quoted'", "", "1e5", "7-9", "-"]


@given(TEXTS, st.text("'=+-@ab", min_size=1, max_size=4))
def test_round_trip(texts: list[str | None], name: str) -> None:
    frame = pl.DataFrame({name: texts, "n": range(len(texts))}, schema_overrides={name: pl.String})
    marked = formulas_marked(frame)
    assert formulas_unmarked(marked).equals(frame)
    for text in (*marked.columns, *marked[marked.columns[0]].drop_nulls()):
        assert not text.startswith(("=", "@", "\t", "\r"))


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_marked(text: str) -> None:
    assert formulas_marked(pl.DataFrame({"a": [text]}))["a"].to_list() == [f"'{text}"]


@pytest.mark.parametrize("text", OTHERS)
def test_other_texts_and_numbers_stay(text: str) -> None:
    frame = pl.DataFrame({"a": [text]})
    assert formulas_marked(frame).equals(frame)


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_files(tmp_path: Path, ending: str) -> None:
    frame = pl.DataFrame(
        {"=n": ["=1+1", "'=1", "ok"], "'=n": ["-1+1", "@x", "x"], "y": [-1.5, 2, 3]}
    )
    path = tmp_path / f"t{ending}"
    write_table(path, frame)
    with path.open(newline="") as file:
        cells = list(csv.reader(file, delimiter="\t" if ending == ".tsv" else ","))
    assert cells[:2] == [["'=n", "''=n", "y"], ["'=1+1", "'-1+1", "-1.5"]]
    found, _ = open_table(path)
    assert found.columns == frame.columns
    for name in ("=n", "'=n"):
        assert found[name].to_list() == frame[name].to_list()
