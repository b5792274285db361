"""Tables written by the name of the file, read back by our reader and by others."""

from __future__ import annotations

import json
import random
from pathlib import Path

import openpyxl
import polars as pl
import pytest
from molpool_common import (
    InputError,
    check_output,
    frames_written,
    metadata_beside,
    open_table,
    read_table,
    table_metadata,
    write_table,
)
from rdkit import Chem

FRAME = pl.DataFrame(
    {
        "id": ["=1+1", "007", "5950"],
        "SMILES": ["CCO", "no", "c1ccccc1"],
        "LogD": [1.25e-10, None, float("inf")],
        "active": [True, None, False],
    }
)
META = {"tasks": {"LogD": {"unit": "µM"}}}


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "xlsx", "sdf"])
def test_rows_in_two_frames_and_metadata_come_back(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"t.{ending}"
    with frames_written(path, metadata=META) as writer:
        writer.write(FRAME.head(1))
        writer.write(FRAME.tail(2))
    assert table_metadata(path) == META
    found = read_table(path)
    assert found.height == 3
    assert found["id"].cast(pl.String).to_list() == FRAME["id"].to_list()
    assert [float(x) if x else None for x in found["LogD"].to_list()] == FRAME["LogD"].to_list()
    assert [str(x).lower() if x is not None else None for x in found["active"].to_list()] == [
        "true",
        None,
        "false",
    ]


def test_a_worksheet_has_numbers_as_numbers_and_names_as_names(tmp_path: Path) -> None:
    write_table(tmp_path / "t.xlsx", FRAME)
    sheet = openpyxl.load_workbook(tmp_path / "t.xlsx").active
    assert sheet is not None
    rows = list(sheet.iter_rows(values_only=True))
    assert rows[0] == tuple(FRAME.columns)
    # openpyxl tells a formula by its type, which a text that begins with = has not.
    assert [cell.data_type for cell in sheet["A"][1:]] == ["s", "s", "n"]
    assert rows[1] == ("=1+1", "CCO", 1.25e-10, True)
    assert rows[2][0] == "007"
    assert rows[3] == (5950, "c1ccccc1", "inf", False)


def test_an_sdf_has_structures_that_rdkit_reads_and_keeps_the_row_without_one(
    tmp_path: Path,
) -> None:
    frame = FRAME.with_columns(pl.Series("note", ["a\n\nb", None, "x"]))
    write_table(tmp_path / "t.sdf", frame)
    mols = list(Chem.SDMolSupplier(str(tmp_path / "t.sdf")))
    assert [Chem.MolToSmiles(mol) for mol in mols] == ["CCO", "", "c1ccccc1"]
    assert mols[0].GetProp("note") == "a\nb"
    assert mols[0].GetProp("_Name") == "=1+1"
    assert not mols[1].HasProp("LogD")
    assert mols[2].GetNumConformers() == 1


def interrupted(path: Path) -> None:
    with frames_written(path) as writer:
        writer.write(FRAME)
        raise RuntimeError


def test_nothing_is_left_where_a_frame_fails(tmp_path: Path) -> None:
    for ending in ("csv", "xlsx", "sdf", "parquet"):
        with pytest.raises(RuntimeError):
            interrupted(tmp_path / f"t.{ending}")
    with pytest.raises(InputError, match="'structure'"):
        write_table(tmp_path / "t.sdf", FRAME, smiles="structure")
    assert list(tmp_path.iterdir()) == []


def test_metadata_of_a_table_that_was_replaced_goes(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write_table(path, FRAME, metadata=META)
    assert json.loads(metadata_beside(path).read_text())["columns"] == FRAME.columns
    write_table(path, FRAME)
    assert table_metadata(path) is None
    metadata_beside(path).write_text("{")
    assert table_metadata(path) is None


def test_a_worksheet_that_is_too_long_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("molpool_common.tables._writing._MOST_ROWS", 3)
    with pytest.raises(InputError, match="at most 2 rows"):
        write_table(tmp_path / "t.xlsx", FRAME)
    with pytest.raises(InputError, match="32,767 characters"):
        write_table(tmp_path / "t.xlsx", pl.DataFrame({"a": ["x" * 40_000]}))
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    there = tmp_path / "t.csv"
    there.write_text("a\n")
    (tmp_path / "folder.csv").mkdir()
    for path, words in (
        (tmp_path / "t.xslx", "Did you mean '.xlsx'"),
        (tmp_path / "t", "ends in .parquet, .csv"),
        (tmp_path / "no" / "t.csv", "existing folder"),
        (tmp_path / "folder.csv", "expected a file"),
        (there, "--overwrite true"),
    ):
        with pytest.raises(InputError, match=words):
            check_output(path)
    with pytest.raises(InputError, match="another file"):
        check_output(there, overwrite=True, inputs=[there])
    check_output(there, overwrite=True)
    check_output(tmp_path / "T.SDF")


def test_a_flipped_bit_of_a_parquet_file_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    path = write_table(tmp_path / "p.parquet", FRAME, metadata=META)
    sound, good = path.read_bytes(), open_table(path)[0]
    # Names of columns, which have no checksum as values have; and anything.
    name = [8 * sound.index(FRAME.columns[-1].encode()) + bit for bit in range(8)]
    refused = 0
    for at in (*name, *random.Random(0).sample(range(8 * len(sound)), 100)):
        damaged = bytearray(sound)
        damaged[at // 8] ^= 1 << at % 8
        path.write_bytes(damaged)
        try:
            assert open_table(path)[0].equals(good)
            assert table_metadata(path) == META
        except InputError:
            refused += 1
    assert refused > 50
