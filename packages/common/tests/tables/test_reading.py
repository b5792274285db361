from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Literal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from molpool_common import (
    MISSING,
    ReadConfig,
    measured_column,
    missing_words,
    number_column,
    open_table,
    read_table,
    require_columns,
    unit_of,
)
from molpool_common._errors import InputError


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_table(path)
    return str(caught.value)


class TestRead:
    TEXT = "SMILES,y\nCCO,1.5\nCCN,NA\n"

    FRAME = pl.DataFrame({"SMILES": ["CCO", "CCN"], "y": ["1.5", None]})

    def test_csv(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text(self.TEXT)
        assert read_table(tmp_path / "t.csv").equals(self.FRAME)

    def test_tsv(self, tmp_path: Path) -> None:
        (tmp_path / "t.tsv").write_text(self.TEXT.replace(",", "\t"))
        assert read_table(tmp_path / "t.tsv").equals(self.FRAME)

    @pytest.mark.parametrize("name", ["t.csv.gz", "t.tsv.gz"])
    def test_gzip(self, tmp_path: Path, name: str) -> None:
        text = self.TEXT if "csv" in name else self.TEXT.replace(",", "\t")
        (tmp_path / name).write_bytes(gzip.compress(text.encode()))
        assert read_table(tmp_path / name).equals(self.FRAME)

    def test_windows_file(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf" + self.TEXT.replace("\n", "\r\n").encode())
        assert read_table(tmp_path / "t.csv").equals(self.FRAME)

    def test_parquet_keeps_its_types(self, tmp_path: Path) -> None:
        frame = pl.DataFrame({"SMILES": ["CCO"], "y": [1.5]})
        frame.write_parquet(tmp_path / "t.parquet")
        assert read_table(tmp_path / "t.parquet").equals(frame)

    def test_quoted_commas_and_line_breaks(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text('SMILES,name\nCCO,"a, b\nc"\n')
        assert read_table(tmp_path / "t.csv")["name"].to_list() == ["a, b\nc"]

    @pytest.mark.parametrize("word", MISSING)
    def test_words_for_missing(self, tmp_path: Path, word: str) -> None:
        (tmp_path / "t.csv").write_text(f"SMILES,y\nCCO,{word}\n")
        assert read_table(tmp_path / "t.csv")["y"].to_list() == [None]


class TestRefuse:
    def test_missing_file(self, tmp_path: Path) -> None:
        (tmp_path / "train.csv").touch()
        assert "no file" in refusal(tmp_path / "trian.csv")
        assert refusal(tmp_path / "trian.csv").endswith("Did you mean 'train.csv'?")

    def test_missing_folder(self, tmp_path: Path) -> None:
        assert "expected an existing file; found no file" in refusal(tmp_path / "no" / "t.csv")

    def test_name_with_the_mark_of_a_duplicate(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("SMILES,y,z,y\nCCO,1,2,3\n")
        assert refusal(tmp_path / "t.csv") == (
            "columns (t.csv): expected distinct names; found twice 'y'."
        )

    def test_longer_line_inside_gzip(self, tmp_path: Path) -> None:
        content = gzip.compress(b"SMILES,y\nCCO,1\nCCN,2,3\n")
        (tmp_path / "t.csv.gz").write_bytes(content)
        assert "found 3 in line 3, 2 in the header" in refusal(tmp_path / "t.csv.gz")

    def test_damaged_gzip(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"SMILES,y\nCCO,1\n" * 100)[:-20])
        assert "t.csv.gz" in refusal(tmp_path / "t.csv.gz")

    def test_one_column_is_a_table(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("SMILES\nCCO\n")
        assert read_table(tmp_path / "t.csv").shape == (1, 1)


class TestRequireColumns:
    def test_only_what_is_absent_is_refused(self) -> None:
        frame = pl.DataFrame({"a": [1], "b": [2]})
        require_columns(frame, ["b", "a"], key="k", where="t.csv")
        with pytest.raises(InputError, match="found 'c'"):
            require_columns(frame, ["b", "c", "a"], key="k", where="t.csv")

    def test_absent(self) -> None:
        with pytest.raises(InputError) as caught:
            require_columns(pl.DataFrame({"LogD": [1]}), ["LodG"], key="data.x", where="t.csv")
        assert str(caught.value) == (
            "data.x (t.csv): expected a column of the table; found 'LodG'. Did you mean 'LogD'?"
        )


class TestNumberColumn:
    def test_text_to_numbers(self) -> None:
        frame = pl.DataFrame({"y": ["1", "-2.5e-3", None, " 4"]})
        assert number_column(frame, "y", where="t").to_list() == [1.0, -0.0025, None, 4.0]

    def test_numbers_of_other_types(self) -> None:
        frame = pl.DataFrame({"i": [1, None], "b": [True, False], "f": [math.nan, 2.0]})
        assert number_column(frame, "i", where="t").to_list() == [1.0, None]
        assert number_column(frame, "b", where="t").to_list() == [1.0, 0.0]
        assert number_column(frame, "f", where="t").to_list() == [None, 2.0]

    def test_text_is_refused_by_row(self) -> None:
        frame = pl.DataFrame({"y": ["1", ">5", None, "x"]})
        with pytest.raises(InputError) as caught:
            number_column(frame, "y", where="t.csv")
        assert str(caught.value) == (
            "column 'y' (t.csv): expected a number or nothing in every row; "
            "found '>5' in row 2. Rows: 2, 4."
        )

    def test_rows_given(self) -> None:
        frame = pl.DataFrame({"y": ["1", "x", "z"]})
        with pytest.raises(InputError, match=r"'x' in row 20\. Rows: 20, 30\."):
            number_column(frame, "y", where="t", rows=[10, 20, 30])

    @pytest.mark.parametrize("value", ["inf", "-inf", math.inf])
    def test_infinity(self, value: str | float) -> None:
        with pytest.raises(InputError, match=r"expected a finite number in every row.*row 1"):
            number_column(pl.DataFrame({"y": [value]}), "y", where="t")

    @given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False)))
    def test_numbers_written_as_text_come_back(self, values: list[float | None]) -> None:
        text = pl.Series("y", [None if v is None else repr(v) for v in values], dtype=pl.String)
        assert number_column(text.to_frame(), "y", where="t").to_list() == values


def test_errors_of_excel_are_named_and_counted(tmp_path: Path) -> None:
    import xlsxwriter

    path = tmp_path / "t.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet("Data")
        sheet.write_row(0, 0, ["SMILES", "KSOL", "LogD"])
        for row, text in enumerate(["C", "CC", "CCC", "CCCC"], 1):
            sheet.write(row, 0, text)
            sheet.write(row, 2, row / 4)
        sheet.write_number(1, 1, 3.5)
        sheet.write_formula(2, 1, "=1/0", None, "#DIV/0!")
        sheet.write_formula(3, 1, "=NA()", None, "#N/A")
        sheet.write_string(4, 1, "n.d.")
    frame, reading = open_table(path)
    assert frame["KSOL"].to_list() == ["3.5", None, None, None]
    note = "Excel errors read as missing: KSOL 1 '#DIV/0!', 1 '#N/A'."
    assert note in reading.sentences()
    expected = {"KSOL": {"#DIV/0!": 1, "#N/A": 1, "n.d.": 1}}
    assert missing_words(path, ["KSOL", "LogD"]) == expected


@pytest.mark.parametrize("decimal", ["auto", ","])
def test_numbers_of_excel_keep_their_point_beside_commas_in_text(
    decimal: Literal["auto", ","], tmp_path: Path
) -> None:
    import xlsxwriter

    path = tmp_path / "t.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        for column, cells in enumerate([["KSOL", 9.38, "<0,5", ">250"], ["LogD", 2.5, 1.25, 3]]):
            sheet.write_column(0, column, cells)
    frame, reading = open_table(path, ReadConfig(decimal=decimal))
    assert frame["KSOL"].to_list() == ["9.38", "<0.5", ">250"]
    assert frame["LogD"].to_list() == ["2.5", "1.25", "3"]
    assert reading.commas == ("KSOL",)


def test_decimal_commas_below_a_row_of_units(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id;KSOL;CL\n;µM;µL/min/mg\na;10,8;1.234,5\nb;175;7\n")
    frame, reading = open_table(path)
    assert reading.commas == ("KSOL", "CL")
    assert frame["CL"].to_list() == ["µL/min/mg", "1234.5", "7"]


def test_examples_of_what_was_read_are_the_first_of_each_kind() -> None:
    cells = pl.DataFrame({"y": [">9", "<3", ">8", "<2", "1", ">7"] * 50})
    notes = measured_column(cells, "y", where="t").notes
    assert notes == [
        "100 cells such as '<3' read as upper bounds",
        "150 cells such as '>9' read as lower bounds",
    ]


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("LogD (pH 7.4)", None),
        ("PPB (human)", None),
        ("IC50 (n=3)", None),
        ("CL [mL/min/kg]", "mL/min/kg"),
        ("Papp (1e-6 cm/s)", "1e-6 cm/s"),
        ("PPB (% unbound)", "% unbound"),
        ("KSOL (log10 uM)", "log10 uM"),
        ("RT [min]", "min"),
    ],
)
def test_a_remark_in_brackets_is_no_unit(name: str, unit: str | None) -> None:
    assert unit_of(name) == unit
    # A remark that were a unit would refuse the cells' own.
    cells = pl.DataFrame({name: ["5 µM"]})
    if unit is None:
        assert measured_column(cells, name, where="t").unit == "µM"


@pytest.mark.parametrize("word", ["-999", "-", "n.d.", "9"])
def test_words_are_found_whatever_their_second_letter(word: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"a,b\n-999.5,{word}\n{word},-2\n99,-9\n")
    frame = open_table(path, ReadConfig(missing=[word]))[0]
    assert frame["a"].to_list() == ["-999.5", None, "99"]
    assert frame["b"].to_list() == [None, "-2", "-9"]


def test_a_column_may_be_called_n(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("SMILES,n\nC,>3\nCC,n.d.\nCCC,<1\n")
    frame, _ = open_table(path)
    assert measured_column(frame, "n", where="t.csv").values[[0, 2]].to_list() == [3.0, 1.0]
    assert missing_words(path, ["n"]) == {"n": {"n.d.": 1}}
