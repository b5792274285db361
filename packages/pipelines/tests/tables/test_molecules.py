from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from molpool_common import InputError, MoleculeTable, validate_values
from molpool_pipelines.tables._molecules import load_molecules
from molpool_pipelines.tables._table_config import DataConfig, TableConfig
from molpool_pipelines.tables._task_types import find_task_types


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Six molecules, two of them one compound, with holes in both targets."""
    path = tmp_path / "t.csv"
    path.write_text(
        "Name,SMILES,LogD,Sol,Quality,Date\n"
        "a,CCO,1.0,,high,2020\n"
        "b,CCN,2.0,10,high,2021\n"
        "c,C[C@H](N)O,,100,low,2022\n"
        "d,C[C@@H](N)O,4.0,1000,low,2023\n"
        "e,c1ccccc1,5.0,,medium,2024\n"
        "f,CN1C=NC2=C1C(=O)N(C(=O)N2C)C,6.0,194.19,medium,2025\n"
    )
    return path


def load(path: Path | None, *targets: str, options: Any = None, **data: Any) -> MoleculeTable:
    config = validate_values(DataConfig, {"target_columns": list(targets), **data})
    return load_molecules(config, str(path) if path else None, **(options or {}))


def refusal(*arguments: Any, **named: Any) -> str:
    with pytest.raises(InputError) as caught:
        load(*arguments, **named)
    return str(caught.value)


class TestOneTable:
    def test_rows(self, table: Path) -> None:
        loaded = load(table, "LogD", "Sol", id_column="Name")
        assert len(loaded) == 6
        assert loaded.task_names == ("LogD", "Sol")
        assert loaded.smiles[2] == "C[C@H](N)O", "as given"
        assert loaded.targets.dtype == np.float64
        np.testing.assert_array_equal(loaded.targets[:, 0], [1, 2, np.nan, 4, 5, 6])
        np.testing.assert_array_equal(loaded.targets[:, 1], [np.nan, 10, 100, 1000, np.nan, 194.19])
        assert loaded.origin["id"].to_list() == list("abcdef")
        assert loaded.origin["row"].to_list() == [1, 2, 3, 4, 5, 6]
        assert loaded.origin["source"].unique().to_list() == ["t.csv"]
        assert loaded.hold_out.all()
        assert loaded.dropped.is_empty()

    def test_stereoisomers_are_one_molecule(self, table: Path) -> None:
        groups = load(table, "LogD").groups
        assert groups[2] == groups[3]
        assert len(set(groups)) == 5
        assert groups[0] == "LFQSCWFLJHTTHZ", "ethanol, PubChem CID 702"

    def test_rows_without_names_are_numbered(self, table: Path) -> None:
        assert load(table, "LogD").origin["id"].to_list() == ["1", "2", "3", "4", "5", "6"]

    def test_quality_and_times_only_where_asked_for(self, table: Path) -> None:
        plain = load(table, "LogD")
        assert plain.quality is None
        assert plain.times is None
        options = {"quality_column": "Quality", "qualities": ["high", "medium", "low"]}
        full = load(table, "LogD", options=options, split_type="time", time_column="Date")
        assert full.quality == ["high", "high", "low", "low", "medium", "medium"]
        assert full.times == ["2020", "2021", "2022", "2023", "2024", "2025"]

    def test_transforms_use_the_molar_mass(self, table: Path) -> None:
        loaded = load(table, "Sol", transforms={"Sol": ["ug_per_mL_to_uM"]})
        # Caffeine, 194.19 g/mol (PubChem CID 2519); RDKit's atomic masses give 194.194.
        assert loaded.targets[5, 0] == pytest.approx(1000.0, rel=5e-5)

    def test_undefined_transform_names_the_row_of_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "t.csv"
        path.write_text("SMILES,y\nxx,1\nCCO,1\nCCN,0\nCCC,2\n")
        said = refusal(path, "y", options={"on_bad_smiles": "drop"}, transforms={"y": ["log10"]})
        assert said == "column 'y' (t.csv): expected values for which log10 is defined; " + (
            "found 0 in row 3."
        )

    def test_parquet_with_numbers(self, tmp_path: Path, table: Path) -> None:
        frame = pl.read_csv(table)
        frame.write_parquet(tmp_path / "t.parquet")
        np.testing.assert_array_equal(
            load(tmp_path / "t.parquet", "LogD", "Sol").targets,
            load(table, "LogD", "Sol").targets,
        )

    def test_demo(self) -> None:
        loaded = load(None, "LogP", "QED", dataset="demo", id_column="Molecule Name")
        assert len(loaded) == 1500
        assert loaded.origin["source"].unique().to_list() == ["demo"]


class TestBadSmiles:
    @pytest.fixture
    def holes(self, tmp_path: Path) -> Path:
        path = tmp_path / "t.csv"
        path.write_text("SMILES,y,Quality\nCCO,1,q\nxx,2,q\nCCN,3,q\n,4,q\nCCC,5,\n")
        return path

    def test_dropped_rows_are_kept_apart_with_their_reason(self, holes: Path) -> None:
        loaded = load(holes, "y", options={"on_bad_smiles": "drop"})
        assert loaded.origin["row"].to_list() == [1, 3, 5]
        np.testing.assert_array_equal(loaded.targets[:, 0], [1, 3, 5])
        assert loaded.dropped["row"].to_list() == [2, 4]
        assert loaded.dropped["SMILES"].to_list() == ["xx", None]
        assert loaded.dropped["source"].to_list() == ["t.csv", "t.csv"]
        assert all(loaded.dropped["reason"])

    def test_message_of_a_quality_counts_rows_of_the_file(self, holes: Path) -> None:
        options = {"on_bad_smiles": "drop", "quality_column": "Quality", "qualities": ["q"]}
        assert "found none in row 5." in refusal(holes, "y", options=options)

    def test_columns_suggested_are_those_of_the_file(self, holes: Path) -> None:
        assert "Valid: 'SMILES', 'y', 'Quality'." in refusal(holes, "zzzzzz")


class TestSources:
    def sources(self, tmp_path: Path) -> list[dict[str, Any]]:
        (tmp_path / "a.csv").write_text("SMILES,logd\nCCO,1\nCCN,2\n")
        (tmp_path / "b.csv").write_text("mol,D,S\nCCC,1000,7\nCCCC,10,8\nCCO,100,9\n")
        return [
            {"path": str(tmp_path / "a.csv"), "columns": {"LogD": "logd"}, "quality": "high"},
            {
                "path": str(tmp_path / "b.csv"),
                "smiles_column": "mol",
                "columns": {"LogD": {"column": "D", "transform": ["log10"]}, "Sol": "S"},
                "quality": "low",
                "hold_out": False,
            },
        ]

    def test_are_stacked(self, tmp_path: Path) -> None:
        options = {"quality_column": "Quality", "qualities": ["high", "low"]}
        loaded = load(None, "LogD", "Sol", sources=self.sources(tmp_path), options=options)
        nan = np.nan
        expected = np.array([[1, nan], [2, nan], [3, 7], [1, 8], [2, 9]])
        np.testing.assert_allclose(loaded.targets, expected, rtol=1e-14)
        assert loaded.quality == ["high", "high", "low", "low", "low"]
        assert loaded.hold_out.tolist() == [True, True, False, False, False]
        assert loaded.origin["source"].to_list() == ["a.csv"] * 2 + ["b.csv"] * 3
        assert loaded.origin["row"].to_list() == [1, 2, 1, 2, 3]
        assert loaded.groups[0] == loaded.groups[4]

    def test_unknown_quality_of_a_source(self, tmp_path: Path) -> None:
        options = {"quality_column": "Quality", "qualities": ["high", "lower"]}
        said = refusal(None, "LogD", "Sol", sources=self.sources(tmp_path), options=options)
        assert "found 'low' in row 1. Did you mean 'lower'?" in said
        assert "(b.csv)" in said

    def test_fault_names_its_file(self, tmp_path: Path) -> None:
        sources = self.sources(tmp_path)
        (tmp_path / "b.csv").write_text("mol,D,S\nCCC,x,7\n")
        said = refusal(None, "LogD", "Sol", sources=sources)
        assert "1. column 'D' (b.csv): expected a number" in said
        assert "2. task 'Sol': expected at least two labels; found one label." in said


class TestTake:
    def test_rows_in_the_order_asked_for(self, table: Path) -> None:
        options = {"quality_column": "Quality", "qualities": ["high", "medium", "low"]}
        loaded = load(
            table, "LogD", options=options, id_column="Name", split_type="time", time_column="Date"
        )
        taken = loaded.take(np.array([4, 0, 4]))
        assert taken.smiles == ["c1ccccc1", "CCO", "c1ccccc1"]
        assert taken.quality == ["medium", "high", "medium"]
        assert taken.times == ["2024", "2020", "2024"]
        assert taken.origin["id"].to_list() == ["e", "a", "e"]
        np.testing.assert_array_equal(taken.targets[:, 0], [5, 1, 5])
        assert taken.groups == [loaded.groups[i] for i in (4, 0, 4)]

    def test_no_row_keeps_the_columns(self, table: Path) -> None:
        options = {"quality_column": "Quality", "qualities": ["high", "medium", "low"]}
        taken = load(table, "LogD", options=options).take(np.array([], dtype=np.int64))
        assert len(taken) == 0
        assert taken.quality == []
        assert taken.targets.shape == (0, 1)


@pytest.mark.parametrize(("min_labels", "found"), [(3, "2 labels"), (4, "2 labels")])
def test_tasks_need_as_many_labels_as_the_caller_says(
    tmp_path: Path, min_labels: int, found: str
) -> None:
    path = tmp_path / "few.csv"
    path.write_text("SMILES,A,B\nCCO,1,\nCCN,2,\nCCC,,\n")
    assert refusal(path, "A", options={"min_labels": min_labels}) == (
        f"task 'A': expected at least {min_labels} labels; found {found}. "
        "Leave it out of data.target_columns, or --data.unlabelled-tasks drop."
    )
    assert load(path, "A", "B", options={"min_labels": 0}).task_names == ("A", "B")


TYPES = "SMILES,a,b,c,sign\nCCO,1,0.5,0,=\nCCN,0,2,,<\nCCC,,1,1,=\n"


def typed(tmp_path: Path, **values: Any) -> tuple[TableConfig, MoleculeTable]:
    path = tmp_path / "t.csv"
    path.write_text(TYPES)
    data = {"target_columns": ["a", "b", "c"]} | values.pop("data", {})
    config = validate_values(TableConfig, {"data": data, **values})
    return config, load_molecules(config.data, str(path))


@pytest.mark.parametrize(
    ("values", "kinds"),
    [
        ({}, "crc"),
        ({"task_type": "regression"}, "rrr"),
        ({"task_types": {"a": "regression"}}, "rrc"),
        ({"task_type": "regression", "task_types": {"c": "classification"}}, "rrc"),
    ],
)
def test_names_go_before_the_rest(tmp_path: Path, values: Any, kinds: str) -> None:
    full = {"c": "classification", "r": "regression"}
    assert find_task_types(*typed(tmp_path, **values)) == tuple(full[k] for k in kinds)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"task_types": {"d": "regression"}}, "task_types: .* found 'd'"),
        ({"task_type": "classification"}, r"task 'b' \(t\.csv\): .*found 0\.5 in row 1"),
        (
            {"data": {"modifier_columns": {"a": "sign"}}},
            r"task 'a' \(t\.csv\): expected classes without a modifier .*found 0 in row 2",
        ),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, values: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_task_types(*typed(tmp_path, **values))


def test_columns_of_some_tasks_keep_their_rows(tmp_path: Path) -> None:
    _, table = typed(tmp_path, data={"modifier_columns": {"b": "sign"}})
    part = table.of_tasks([2, 1])
    assert part.task_names == ("c", "b")
    np.testing.assert_array_equal(part.targets, [[0, 0.5], [np.nan, 2], [1, 1]])
    assert part.censoring is not None
    np.testing.assert_array_equal(part.censoring[:, 1], [0, -1, 0])
    alone = table.of_tasks([2])
    assert alone.smiles == ["CCO", "CCC"]
    assert alone.origin["row"].to_list() == [1, 3]
