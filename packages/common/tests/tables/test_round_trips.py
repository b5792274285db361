"""What is written in any format, encoding and decimal convention reads equal."""

from __future__ import annotations

import csv
import gzip
import io

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from molpool_common import (
    MISSING,
    InputError,
    ReadConfig,
    number_column,
    open_table,
    read_table,
    table_chunks,
)

SMILES = [
    "CCO",
    "C[C@H](N)C(=O)O",
    "c1ccc(cc1)[N+](=O)[O-]",
    "[2H]C",
    r"F/C=C\F",
    "O=C([O-])C.[Na+]",
]
LETTERS = st.characters(codec="cp1252", exclude_categories=["Cc", "Zs"])
NAMES = st.text(LETTERS, max_size=8).map("x".__add__)
NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
Row = tuple[str, str, float | None, float | None]
ROWS = st.lists(
    st.tuples(st.sampled_from(SMILES), NAMES, NUMBERS, NUMBERS), min_size=1, max_size=12
)
HEADER = ["SMILES", "Name, of it", "KSOL (µM)", 'say "y"']


def frame_of(rows: list[Row]) -> pl.DataFrame:
    types = [pl.String, pl.String, pl.Float64, pl.Float64]
    return pl.DataFrame(rows, schema=dict(zip(HEADER, types, strict=True)), orient="row")


def text_of(frame: pl.DataFrame, separator: str, decimal: str, ends: str) -> str:
    handle = io.StringIO()
    writer = csv.writer(handle, delimiter=separator, lineterminator=ends)
    writer.writerow(frame.columns)
    for row in frame.rows():
        cells = ["" if c is None else c if isinstance(c, str) else repr(c) for c in row]
        writer.writerow([*cells[:2], *(cell.replace(".", decimal) for cell in cells[2:])])
    return handle.getvalue()


def same(found: pl.DataFrame, frame: pl.DataFrame) -> bool:
    """Return whether a table holds the texts and, read as numbers, the numbers of a frame."""
    assert found.columns == frame.columns
    texts = found.select(HEADER[:2]).equals(frame.select(HEADER[:2]))
    return texts and all(
        number_column(found, name, where="t").equals(frame[name]) for name in HEADER[2:]
    )


@settings(max_examples=150)
@given(
    rows=ROWS,
    separator=st.sampled_from(",;\t|"),
    decimal=st.sampled_from(".,"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"]),
    ends=st.sampled_from(["\n", "\r\n"]),
    compressed=st.booleans(),
    said=st.booleans(),
)
def test_text(
    rows: list[Row],
    separator: str,
    decimal: str,
    encoding: str,
    ends: str,
    compressed: bool,
    said: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    frame = frame_of(rows)
    content = text_of(frame, separator, decimal, ends).encode(encoding)
    path = tmp_path_factory.mktemp("text") / "t.csv"
    path.write_bytes(gzip.compress(content) if compressed else content)
    read = ReadConfig.model_validate({"decimal": decimal} if said else {})
    found, reading = open_table(path, read)
    assert reading.separator == separator
    parts = list(table_chunks(path, found.columns, 3, read=read))
    assert pl.concat(parts).equals(found)
    if said or reading.commas or decimal == ".":
        assert same(found, frame)
        return
    try:
        assert same(found, frame)
    except InputError as error:
        # Cells such as 1,234 alone: a person could not tell either.
        told = str(error)
    else:
        return
    assert "--read.decimal" in told


@settings(max_examples=40)
@given(rows=ROWS)
def test_parquet(
    rows: list[Row],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    frame = frame_of(rows)
    folder = tmp_path_factory.mktemp("parquet")
    frame.with_columns(pl.col("SMILES").cast(pl.Categorical)).write_parquet(folder / "a.parquet")
    assert read_table(folder).equals(frame)
    assert pl.concat(table_chunks(folder, frame.columns, 5)).equals(frame)


@settings(max_examples=40)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(SMILES),
            NAMES,
            # Excel itself keeps 15 digits.
            st.none() | st.floats(-1e300, 1e300).map(lambda x: float(f"{x:.15g}")),
            st.none() | st.integers(-1000, 1000).map(float),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_excel(
    rows: list[Row],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    frame = frame_of(rows)
    path = tmp_path_factory.mktemp("excel") / "t.xlsx"
    frame.write_excel(path)
    found, reading = open_table(path)
    assert (reading.format, reading.sheet) == ("Excel", "Sheet1")
    for name in HEADER[2:]:
        for a, b in zip(number_column(found, name, where="t"), frame[name], strict=True):
            assert (a is None) == (b is None)
            assert a is None or a == pytest.approx(b, rel=1e-15)
    assert found.select(HEADER[:2]).equals(frame.select(HEADER[:2]))


OWN = ("SMILES", "SMILES (property)")
"""Properties whose columns would be called as that of the structures, or as one another."""


@settings(max_examples=40)
@given(
    records=st.lists(
        st.tuples(st.sampled_from(SMILES), st.text(LETTERS, min_size=1, max_size=9), NUMBERS),
        min_size=1,
        max_size=6,
    ),
    compressed=st.booleans(),
)
def test_sdf(
    records: list[tuple[str, str, float | None]],
    compressed: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    from rdkit import Chem

    texts = []
    for smiles, name, number in records:
        block = Chem.MolToMolBlock(Chem.MolFromSmiles(smiles))
        value = "" if number is None else f"> <KSOL>\n{number!r}\n\n"
        value += "".join(f"> <{p}>\n{p} {number}\n\n" for p in OWN)
        texts.append(f"{block}> <batch>  (1)\nb{name}\n\n{value}$$$$\n")
    content = "".join(texts).encode("utf-8")
    path = tmp_path_factory.mktemp("sdf") / "t.sdf"
    path.write_bytes(gzip.compress(content) if compressed else content)
    found = read_table(path)
    assert found["SMILES"].to_list() == [Chem.CanonSmiles(smiles) for smiles, _, _ in records]
    for own, column in zip(OWN, ("SMILES (property) (property)", "SMILES (property)"), strict=True):
        assert found[column].to_list() == [f"{own} {number}" for _, _, number in records]
    assert found["batch"].to_list() == [f"b{name}" for _, name, _ in records]
    if any(number is not None for _, _, number in records):
        assert number_column(found, "KSOL", where="t").to_list() == [n for _, _, n in records]


def test_names_of_the_strategy_are_no_words_for_missing() -> None:
    assert not any(word.startswith("x") for word in MISSING)
