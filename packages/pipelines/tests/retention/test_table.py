"""Columns by name and pattern, and headers."""

from __future__ import annotations

from pathlib import Path

import pytest
from molpool_common import InputError
from molpool_pipelines.retention._table import Table, header, matching

TABLE = Table([Path("t.csv")], ["IS_1", "IS_2", "ES_1", "rt", "a[1]"])


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["IS_*"], ["IS_1", "IS_2"]),
        (["ES_1", "IS_*", "RS_*"], ["ES_1", "IS_1", "IS_2"]),
        (["IS_2", "IS_*"], ["IS_2", "IS_1"]),
        (["?S_1"], ["IS_1", "ES_1"]),
        (["a[1]"], ["a[1]"]),
    ],
)
def test_patterns_stand_for_columns(patterns, expected):
    assert matching(patterns, TABLE) == expected


def test_a_name_must_be_there():
    with pytest.raises(InputError, match=r"'IS_3'.*Did you mean 'IS_"):
        matching(["IS_*", "IS_3"], TABLE)


def test_headers_are_read_without_the_rows(tmp_path):
    (tmp_path / "t.csv").write_text('\ufeff"a, b",c\n1,2\n', encoding="utf-8")
    (tmp_path / "t.tsv").write_text("a\tb\n", encoding="utf-8")
    assert header(tmp_path / "t.csv") == ["a, b", "c"]
    assert header(tmp_path / "t.tsv") == ["a", "b"]
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(InputError, match="header"):
        header(tmp_path / "empty.csv")
