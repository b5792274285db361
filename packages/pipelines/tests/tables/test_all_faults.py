"""All that is wrong with tables of molecules, in one message and before anything is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from molpool_common import InputError, TableError, validate_values
from molpool_pipelines.tables import DataConfig, load_molecules
from molpool_pipelines.tables import _molecules as reading

BAD = """\
SMILES,A,B,one,sign,Quality,Date
CCO,1.5,abc,1,<,high,2020-01-01
CCN,2.5,1.0,,<<,high,
xx,3,2.0,,=,low,2020-01-03
CCC,x,3.0,,,low,2020-01-04
"""


def load(path: Path, *targets: str, options: dict[str, Any] | None = None, **data: Any) -> Any:
    config = validate_values(
        DataConfig, {"target_columns": list(targets), "cache_dir": "none", **data}
    )
    return load_molecules(config, str(path), **(options or {}))


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.csv"
    path.write_text(BAD)
    return path


def everything(path: Path, **options: Any) -> TableError:
    with pytest.raises(TableError) as caught:
        load(
            path,
            *("A", "B", "one", "Nope"),
            id_column="Name",
            modifier_columns={"A": "sign"},
            split_type="time",
            time_column="Date",
            options={"quality_column": "Quality", "qualities": ["high", "medium"], **options},
        )
    return caught.value


def test_one_message_says_all_of_it(bad: Path) -> None:
    error = everything(bad)
    found = {(f.parameter, f.found.partition(" in ")[0]) for f in error.faults}
    assert found == {
        ("data.id_column", "'Name'"),
        ("data.target_columns", "'Nope'"),
        ("column 'Quality'", "'low'"),
        ("column 'Date'", "None"),
        ("column 'A'", "'x'"),
        ("column 'B'", "'abc'"),
        ("column 'sign'", "'<<'"),
        ("column 'SMILES'", "'xx'"),
        ("task 'one'", "one label"),
    }
    assert error.exit_code == 2
    said = str(error)
    assert said.startswith("bad.csv: 9 kinds of fault\n")
    assert "--on-bad-smiles drop leaves them out" in said


def test_rows_that_are_left_out_are_no_faults(bad: Path) -> None:
    bad.write_text("SMILES,A\nCCO,1\nCCN,2\nxx,nonsense\nCCC,3\n")
    loaded = load(bad, "A", options={"on_bad_smiles": "drop"})
    assert loaded.origin["row"].to_list() == [1, 2, 4]
    assert loaded.dropped.rows() == [
        (3, "3", "bad.csv", "xx", "SMILES Parse Error: syntax error while parsing: xx")
    ]
    with pytest.raises(TableError, match="2 kinds of fault"):
        load(bad, "A")


def test_rows_in_are_rows_used_and_rows_rejected(bad: Path) -> None:
    bad.write_text("SMILES,A,Name\nCCO,1,a\n,2,b\nxx,3,c\nCCC,3,d\n")
    for on_bad in ("drop", "keep"):
        loaded = load(bad, "A", id_column="Name", options={"on_bad_smiles": on_bad})
        assert len(loaded) + len(loaded.dropped) == 4
        assert loaded.dropped["id"].to_list() == ["b", "c"]


def test_cheap_faults_of_a_long_table_are_said_before_minutes_of_parsing(
    bad: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("parsed")

    monkeypatch.setattr(reading, "_QUICK", 3)
    monkeypatch.setattr(reading, "identify", never)
    assert "column 'SMILES'" not in {f.parameter for f in everything(bad).faults}


def test_faults_of_several_tables_name_theirs(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("SMILES,y\nCCO,1\nCCN,x\n")
    (tmp_path / "b.csv").write_text("mol,z\nCCC,3\nCC,4\nno,5\n")
    sources = [
        {"path": str(tmp_path / "a.csv"), "columns": {"Y": "y"}},
        {"path": str(tmp_path / "b.csv"), "columns": {"Y": "z"}, "smiles_column": "mol"},
    ]
    config = validate_values(DataConfig, {"target_columns": ["Y"], "sources": sources})
    with pytest.raises(TableError) as caught:
        load_molecules(config, None)
    assert [f.parameter for f in caught.value.faults] == [
        "column 'y' (a.csv)",
        "column 'mol' (b.csv)",
    ]


def test_one_fault_keeps_its_own_words(bad: Path) -> None:
    bad.write_text("SMILES,A\nCCO,1\nCCN,2\n")
    with pytest.raises(InputError, match=r"^data\.target_columns \(bad\.csv\): ") as caught:
        load(bad, "B")
    assert not isinstance(caught.value, TableError)


@pytest.mark.parametrize(
    ("times", "row"),
    [
        (["2020-01-01", "2020-02-01", "soon"], 3),
        (["1", "two", "3"], 2),
        (["E-1", "E-2", "none yet"], 3),
    ],
)
def test_a_time_that_is_none_is_named_by_row(tmp_path: Path, times: list[str], row: int) -> None:
    path = tmp_path / "t.csv"
    lines = [f"{s},1,{t}" for s, t in zip(("CCO", "CCN", "CCC"), times, strict=True)]
    path.write_text("\n".join(["SMILES,A,Date", *lines]) + "\n")
    with pytest.raises(InputError, match=rf"column 'Date' \(t\.csv\).*in row {row}\."):
        load(path, "A", split_type="time", time_column="Date")
