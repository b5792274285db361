"""Files found by name or pattern, their common columns, rows counted and ids checked."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from molpool_common import InputError
from molpool_pipelines.tables import TableFiles, survey

TABLE = TableFiles([Path("t.csv")], ["IS_1", "IS_2", "ES_1", "rt", "a[1]"])


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    """Two files of 5 and 3 rows, of other columns in another order."""
    first = pl.DataFrame({"id": [f"m{i}" for i in range(5)], "x": range(5), "only": [0] * 5})
    second = pl.DataFrame({"x": range(5, 8), "id": ["m5", "m6", None]})
    first.write_csv(tmp_path / "part-1.csv")
    second.write_parquet(tmp_path / "part-2.parquet")
    return [tmp_path / "part-1.csv", tmp_path / "part-2.parquet"]


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
def test_patterns_stand_for_columns(patterns: list[str], expected: list[str]) -> None:
    assert TABLE.matching(patterns, "covariates") == expected


def test_a_name_must_be_there() -> None:
    with pytest.raises(InputError, match=r"covariates \(t.csv\).*'IS_3'.*Did you mean 'IS_"):
        TABLE.matching(["IS_*", "IS_3"], "covariates")
    with pytest.raises(InputError, match=r"match RS_\*; found none.*--run-cols"):
        TABLE.matching(["RS_*"], "run_cols")


def test_files_are_one_table_of_their_common_columns(parts: list[Path]) -> None:
    table = TableFiles.find([str(parts[0].parent / "part-*")], "data")
    assert table.files == parts
    assert table.columns == ["id", "x"]
    assert table.name == "part-1.csv and 1 more"
    chunks = list(table.chunks(["x", "id", "x"], rows=2))
    assert [(c.where, c.first_row, c.frame.height) for c in chunks] == [
        ("part-1.csv", 1, 2),
        ("part-1.csv", 3, 2),
        ("part-1.csv", 5, 1),
        ("part-2.parquet", 1, 2),
        ("part-2.parquet", 3, 1),
    ]
    assert [int(x) for c in chunks for x in c.frame["x"]] == list(range(8))


@pytest.mark.parametrize("most", [1, 4, 5, 6, 8, 9])
def test_the_first_rows_alone(parts: list[Path], most: int) -> None:
    table = TableFiles.find(parts)
    chunks = list(table.chunks(["x"], most, rows=3))
    assert [int(x) for c in chunks for x in c.frame["x"]] == list(range(min(most, 8)))
    assert all(c.frame.height for c in chunks)


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 7, 8, 100])
def test_texts_come_in_frames_of_one_length(parts: list[Path], rows: int) -> None:
    frames = list(TableFiles.find(parts).texts(["x"], rows))
    assert [f.height for f in frames[:-1]] == [rows] * (len(frames) - 1)
    assert pl.concat(frames)["x"].to_list() == list("01234567")


def test_ids_are_there_once(tmp_path: Path, parts: list[Path]) -> None:
    assert survey(TableFiles.find(parts), "id", distinct=False) == 8
    assert survey(TableFiles.find(parts[:1]), "id", distinct=True) == 5
    with pytest.raises(InputError, match="an id in every row; found none in 1 rows: 8"):
        survey(TableFiles.find(parts), "id", distinct=True)
    with pytest.raises(InputError, match=r"each id once; found 5 ids.*'m0' \(2 times\)"):
        survey(TableFiles.find([parts[0], parts[0]]), "id", distinct=True)
    (tmp_path / "none.csv").write_text("id\n")
    with pytest.raises(InputError, match="at least one row; found none"):
        survey(TableFiles.find([tmp_path / "none.csv"]), "id", distinct=True)


def test_what_is_no_file_is_named(parts: list[Path]) -> None:
    with pytest.raises(InputError, match=r"data: expected at least one file or glob; found none"):
        TableFiles.find([], "data")
    with pytest.raises(InputError, match=r"existing file; found no file .*'part-1\.csv'\?"):
        TableFiles.find([parts[0].with_name("prat-1.csv")])
    with pytest.raises(InputError, match=r"data: expected a pattern.*nothing at '.*no\*"):
        TableFiles.find([str(parts[0].parent / "no*")], "data")
