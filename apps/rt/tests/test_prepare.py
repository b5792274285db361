"""Prepare through the command: nothing is dropped, capped, filled or renumbered unsaid."""

from __future__ import annotations

import json

import polars as pl
import pytest

RAW = ("--compound-col", "compound")


@pytest.fixture
def raw(train):
    """A raw table: names instead of ids, three rows without a supercategory."""
    named = train.select(
        pl.format("sp {}", "species").alias("species_raw"),
        pl.format("group {}", "species_cluster").alias("species_group_raw"),
        pl.format("C{}", pl.col("comp_id").cast(pl.String).str.zfill(2)).alias("compound"),
        pl.when(pl.col("species") < 3).then(pl.lit("208")).otherwise(pl.lit("209")).alias("lib"),
        *("run", "rt", "run_covariate_0", "run_covariate_1"),
    )
    blank = pl.int_range(pl.len()).is_in([0, 7, 11])
    return named.with_columns(
        pl.when(blank).then(None).otherwise("species_group_raw").alias("species_group_raw")
    )


def rows(folder, name="rows.parquet"):
    return pl.read_parquet(folder / name)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_names_become_ids_that_nest(good, raw, train, tmp_path, suffix):
    file = tmp_path / f"raw.{suffix}"
    raw.write_csv(file) if suffix == "csv" else raw.write_parquet(file)
    ended = good("prepare", "--data", file, *RAW, "--save-dir", tmp_path / "out")
    found = rows(tmp_path / "out")
    kept = train.filter(~pl.int_range(pl.len()).is_in([0, 7, 11]))
    # Names in order are numbered in order, so that these ids are those of the laboratory.
    for column in ("species", "species_cluster", "comp_id", "rt", "run_covariate_1"):
        assert found[column].to_list() == pytest.approx(kept[column].to_list(), rel=1e-14)
    assert "3 rows without a supercategory dropped" in ended.out
    assert json.loads((tmp_path / "out" / "prepared.json").read_text())["rows"] == {
        "read": train.height,
        "without_supercategory": 3,
        "without_subgroup": 0,
        "without_target": 0,
        "capped": 0,
        "kept": kept.height,
    }


@pytest.mark.core
def test_ids_that_are_numbers_stay(good, train, tmp_path):
    shifted = train.with_columns(pl.col("species") + 1000, pl.col("comp_id") * 7)
    shifted.write_csv(tmp_path / "raw.csv")
    good(
        *("prepare", "--data", tmp_path / "raw.csv", "--save-dir", tmp_path / "out"),
        *("--species-raw", "species", "--cluster-raw", "species_cluster"),
    )
    found = rows(tmp_path / "out")
    for column in ("species", "species_cluster", "comp_id"):
        assert found[column].to_list() == shifted[column].to_list()


def test_cap_and_libraries(good, raw, tmp_path):
    raw.write_csv(tmp_path / "raw.csv")
    out = tmp_path / "out"
    arguments = ("--library-col", "lib", "--libs", "208,209", "--cap", "4", "--save-dir", out)
    good("prepare", "--data", tmp_path / "raw.csv", *RAW, *arguments)
    files = sorted(p.name for p in out.glob("*.parquet"))
    assert files == ["lib208.parquet", "lib209.parquet"]
    parts = [rows(out, name) for name in files]
    assert set(parts[0]["species"]) == {0, 1, 2}
    counts = pl.concat(parts).group_by("species", "comp_id").len()["len"]
    assert counts.max() == 4
    kept = raw.drop_nulls("species_group_raw").group_by("species_raw", "compound").len()["len"]
    assert sum(map(len, parts)) == kept.clip(upper_bound=4).sum()
    again = tmp_path / "again"
    good("prepare", "--data", tmp_path / "raw.csv", *RAW, *arguments[:-1], again)
    assert all(rows(again, name).equals(rows(out, name)) for name in files)


def test_gaps_are_the_median_of_the_run_and_marked(good, raw, tmp_path):
    one = (pl.col("run") == 2) & (pl.int_range(pl.len()).over("run") < 2)
    gaps = raw.with_columns(
        pl.when(one).then(None).otherwise("run_covariate_1").alias("run_covariate_1")
    )
    gaps.write_csv(tmp_path / "raw.csv")
    out = tmp_path / "out"
    prepare = ("prepare", "--data", tmp_path / "raw.csv", *RAW, "--save-dir")
    ended = good(*prepare, out, "--missing-covariates", "run_median")
    assert "Gaps of run_covariate_1 are the run's median" in ended.out
    found, marked = rows(out), "run_covariate_1_missing"
    filled = found.filter(pl.col(marked) == 1)
    assert 0 < filled.height <= 2
    expected = raw.filter(pl.col("run") == 2)["run_covariate_1"].median()
    assert filled["run_covariate_1"].to_list() == pytest.approx([expected] * filled.height)
    # A later table is numbered and filled as the first one was, and has the same columns.
    later = tmp_path / "later"
    raw[:50].write_csv(tmp_path / "raw.csv")
    good(*prepare, later, "--like", out)
    assert rows(later).columns == found.columns
    assert rows(later)[marked].sum() == 0


def test_later_tables_get_the_ids_of_the_first(good, raw, tmp_path):
    some = raw.filter(pl.col("species_raw").is_in(["sp 1", "sp 3"]))
    raw.filter(pl.col("species_raw") != "sp 0").write_csv(tmp_path / "first.csv")
    pl.concat([some, raw.filter(species_raw="sp 0")]).write_csv(tmp_path / "second.csv")
    for name, like in (("first", ()), ("second", ("--like", tmp_path / "first"))):
        data = tmp_path / f"{name}.csv"
        good("prepare", "--data", data, *RAW, "--save-dir", tmp_path / name, *like)
    first, second = (
        dict(pl.read_csv(tmp_path / n / "mapping.csv").select("species_raw", "species").rows())
        for n in ("first", "second")
    )
    assert {name: second[name] for name in ("sp 1", "sp 3")} == {
        name: first[name] for name in ("sp 1", "sp 3")
    }
    # A species of the second table alone comes after all of the first.
    assert second["sp 0"] == max(first.values()) + 1


def test_colliding_ids_are_listed(good, raw, tmp_path):
    ids = raw.with_columns(
        comp_id=pl.col("compound").str.slice(1).cast(pl.Int64), name=pl.col("compound")
    )
    # Library 209 calls compound 3 by another name.
    other = (pl.col("comp_id") == 3) & (pl.col("lib") == "209")
    ids = ids.with_columns(pl.when(other).then(pl.lit("X")).otherwise("name").alias("name"))
    ids.write_csv(tmp_path / "raw.csv")
    ended = good(
        *("prepare", "--data", tmp_path / "raw.csv", "--compound-name", "name"),
        *("--library-col", "lib", "--save-dir", tmp_path / "out"),
    )
    found = pl.read_csv(tmp_path / "out" / "collisions.csv")
    assert found.select("id", "name", "libraries").rows() == [(3, "C03", 208), (3, "X", 209)]
    assert "2 ids or names collide" in ended.out


def test_several_caps_leave_a_folder_each(good, raw, tmp_path):
    file = tmp_path / "raw.parquet"
    raw.write_parquet(file)
    words = ("prepare", "--data", file, *RAW, "--seed", "3")
    ended = good(*words, "--save-dir", tmp_path / "all", "--caps", "1,3", "--json")
    folders = [tmp_path / "all" / name for name in ("cap1", "cap3")]
    assert json.loads(ended.out)["folders"] == [str(folder) for folder in folders]
    good(*words, "--save-dir", tmp_path / "one", "--cap", "3")
    assert rows(folders[1]).equals(rows(tmp_path / "one"))
    per_pair = rows(folders[0]).group_by("species", "comp_id").len()["len"]
    assert set(per_pair) == {1}


def test_one_of_cap_and_caps(rt, tmp_path):
    ended = rt("prepare", "--data", tmp_path / "raw.csv", "--cap", "3", "--caps", "1,3")
    assert ended.code == 2
    assert "caps: expected one of cap and caps" in ended.err
