"""Ids of names: distinct, stable, and the numbers themselves where names are numbers."""

from __future__ import annotations

import json
import tempfile
import unicodedata
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from molpool_common import RunFolder, TableError
from molpool_pipelines.retention import (
    FitConfig,
    PredictConfig,
    PrepareConfig,
    fit,
    predict_frames,
    prepare,
)
from molpool_pipelines.retention._identifiers import Identifiers
from rt_ridge import RTRidgeError

NAMES = st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1), unique=True)


@given(first=NAMES, second=NAMES)
def test_names_have_distinct_ids_that_stay(first, second):
    one = Identifiers.of(pl.Series("n", first, dtype=pl.String))
    two = Identifiers.of(pl.Series("n", second, dtype=pl.String), one)
    assert sorted(one.ids.values()) == list(range(len(first)))
    assert sorted(two.ids.values()) == list(range(len({*first, *second})))
    assert {name: two.ids[name] for name in first} == one.ids


@given(st.lists(st.integers(0, 2**31 - 1), unique=True))
def test_numbers_are_their_own_ids(numbers):
    column = pl.Series("n", numbers, dtype=pl.Int64)
    assert Identifiers.of(column).apply(column).to_list() == numbers


def test_numbers_out_of_range_are_no_ids():
    with pytest.raises(RTRidgeError, match=r"column 'n'.*found -1"):
        Identifiers.of(pl.Series("n", [3, -1]))


# --- batch after batch, as files ---

KINDS = {
    "names": (st.sampled_from(["A", "b", "é", "e\u0301", " A", "007", "7.1", "C 1"]), pl.String),
    "integers": (st.integers(0, 40), pl.Int64),
    "floats": (st.integers(0, 40).map(float), pl.Float64),
    "digits": (st.integers(0, 40).map(str), pl.String),
}


@st.composite
def batches(draw):
    """Draw one type of ids for species and compounds each, and tables that use some of them."""
    species, compound = (KINDS[draw(st.sampled_from(sorted(KINDS)))] for _ in range(2))
    row = st.tuples(species[0], compound[0])
    tables = draw(st.lists(st.lists(row, min_size=1, max_size=6), min_size=2, max_size=4))
    return tables, species[1], compound[1]


def written(path: Path, rows, species, compound, *, csv: bool) -> Path:
    frame = pl.DataFrame(
        {
            "species_raw": pl.Series([s for s, _ in rows], dtype=species),
            "species_group_raw": ["one"] * len(rows),
            "comp_id": pl.Series([c for _, c in rows], dtype=compound),
            "rt": [float(i) for i in range(len(rows))],
        }
    )
    frame.write_csv(path) if csv else frame.write_parquet(path)
    return path


def prepared(data: Path, folder: Path, like: Path | None):
    done = prepare(PrepareConfig(data=[str(data)], like=None if like is None else str(like)))
    folder.mkdir()
    done.write(RunFolder(folder))
    return done


@settings(max_examples=20, deadline=None)
@given(batches(), st.booleans(), st.randoms(use_true_random=False))
def test_an_id_keeps_its_code_whatever_comes_in_which_order(drawn, csv, random):
    tables, species, compound = drawn
    random.shuffle(tables)
    codes: dict[str, dict[str, int]] = {"species": {}, "comp_id": {}}
    with tempfile.TemporaryDirectory() as place:
        like = None
        for i, rows in enumerate(tables):
            suffix = "csv" if csv else "parquet"
            data = written(Path(place) / f"{i}.{suffix}", rows, species, compound, csv=csv)
            done = prepared(data, Path(place) / f"p{i}", like)
            like = Path(place) / f"p{i}"
            maps = {
                "species": dict(done.mapping.select("species_raw", "species").rows()),
                "comp_id": dict(done.compounds.select("compound_raw", "comp_id").rows()),
            }
            for column, known in codes.items():
                # Extended, never overridden; nothing forgotten; one code per id.
                assert maps[column].items() >= known.items()
                assert len(set(maps[column].values())) == len(maps[column])
                codes[column] = maps[column]
            # Every row keeps its place and has the code of its own name.
            for name, column, at in (("species_raw", "species", 0), ("", "comp_id", 1)):
                own = pl.Series([row[at] for row in rows])
                own = own.cast(pl.Int64) if own.dtype.is_float() else own
                spelt = own.cast(pl.String).str.normalize("NFC").str.strip_chars()
                assert done.rows[column].to_list() == [codes[column][s] for s in spelt], name
            assert done.counts["kept"] == done.counts["read"] == len(rows)


ABCD = {"A": 0, "B": 1, "C": 2, "D": 3}


def test_the_third_table_knows_what_only_the_first_had(tmp_path):
    like = None
    for i, names in enumerate((["A", "B", "C"], ["C", "A"])):
        rows = [(n, n) for n in names]
        data = written(tmp_path / f"{i}.csv", rows, pl.String, pl.String, csv=True)
        prepared(data, tmp_path / f"p{i}", like)
        like = tmp_path / f"p{i}"
    rows = [("D", "D"), ("B", "B")]
    data = written(tmp_path / "2.csv", rows, pl.String, pl.String, csv=True)
    done = prepared(data, tmp_path / "p2", like)
    assert dict(done.mapping.select("species_raw", "species").rows()) == ABCD
    assert dict(done.compounds.rows()) == ABCD
    assert done.rows["species"].to_list() == [3, 1]
    assert dict(done.mapping.select("species_raw", "rows").rows()) == {
        "A": 0,
        "B": 1,
        "C": 0,
        "D": 1,
    }


def test_numbers_after_names_and_names_after_numbers(tmp_path):
    first = written(tmp_path / "a.csv", [("7", "7"), ("8", "8")], pl.String, pl.String, csv=True)
    second = written(tmp_path / "b.csv", [("7", "x")], pl.String, pl.String, csv=True)
    prepared(first, tmp_path / "a", None)
    with pytest.raises(
        TableError, match=r"whole numbers, as in earlier tables; found 'x' in row 1"
    ):
        prepared(second, tmp_path / "b", tmp_path / "a")
    # As text from here on: no number is given twice, not even that of a later id.
    config = PrepareConfig(data=[str(second)], like=str(tmp_path / "a"), ids="text")
    prepare(config).write(RunFolder.create(tmp_path / "b"))
    third = written(tmp_path / "c.csv", [("9", "9"), ("7", "10")], pl.String, pl.String, csv=True)
    done = prepared(third, tmp_path / "c", tmp_path / "b")
    assert dict(done.compounds.rows()) == {"7": 7, "8": 8, "x": 9, "10": 10, "9": 11}


def test_folders_written_before_kinds_were_recorded_are_read(tmp_path):
    data = written(tmp_path / "a.csv", [("7", "B"), ("8", "C")], pl.String, pl.String, csv=True)
    prepared(data, tmp_path / "a", None)
    record = json.loads((tmp_path / "a" / "prepared.json").read_text())
    kept = {key: record[key] for key in ("rows", "imputer", "files")}
    (tmp_path / "a" / "prepared.json").write_text(json.dumps(kept))
    done = prepared(data, tmp_path / "b", tmp_path / "a")
    assert done.rows["species"].to_list() == [7, 8]
    assert done.rows["comp_id"].to_list() == [0, 1]


@settings(max_examples=12, deadline=None)
@given(batches(), st.booleans())
def test_ids_come_out_of_predictions_as_they_went_in(drawn, csv):
    (rows, *_), species, compound = drawn
    rows = [*rows, *rows]  # a fit needs two rows
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        suffix = "csv" if csv else "parquet"
        data = written(folder / f"t.{suffix}", rows, species, compound, csv=csv)
        done = prepared(data, folder / "p", None)
        file = [str(folder / "p" / "rows.parquet")]
        quick = {"model": "ridge", "calibrate": {"enabled": False}, "flag_threshold": None}
        config = FitConfig(data=file, **quick)
        fit(config).write(config.open_folder(folder / "f"))
        ask = PredictConfig(artefact=str(folder / "f"), data=file)
        found = pl.concat(predict_frames(ask))
    for which, (name, id_) in enumerate((("species_raw", "species"), ("compound_raw", "comp_id"))):
        ids = found[name if name in found.columns else id_].cast(pl.String).to_list()
        spelt = [unicodedata.normalize("NFC", str(row[which])).strip() for row in rows]
        # A column of numbers holds 7 and 7.0 alike.
        kind = done.record["ids"]["compound_raw" if which else "species_raw"]
        expected = [str(int(float(s))) for s in spelt] if kind == "number" else spelt
        assert ids == expected
    assert found["rt"].null_count() == 0
