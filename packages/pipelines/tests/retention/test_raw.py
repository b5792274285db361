"""Raw tables of laboratories: long and wide, with anchors, with gaps, of several files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from molpool_common import InputError, RunFolder, TableError
from molpool_pipelines.retention import PrepareConfig, Prepared, prepare

RUNS, COMPOUNDS = ("r1", "r2", "r3"), ("caffeine", "taurine", "IS-a", "IS-b")
PLAIN: dict[str, Any] = {"species_raw": None, "cluster_raw": None}
LONG = PLAIN | {"compound_col": "feature", "run_col": "sample", "target_col": "time"}


def times() -> pl.DataFrame:
    """Return one row a peak: compound c of run r at 10 c + r minutes."""
    rows = [
        (run, name, 10.0 * c + r, int(name.startswith("IS")))
        for r, run in enumerate(RUNS)
        for c, name in enumerate(COMPOUNDS)
    ]
    return pl.DataFrame(rows, schema=["sample", "feature", "time", "is_istd"], orient="row")


def done(tmp_path: Path, *frames: pl.DataFrame, **options: Any) -> Prepared:
    """Prepare tables, and hold that every row that came in is counted and listed once."""
    for i, frame in enumerate(frames):
        frame.write_csv(tmp_path / f"t{i}.csv")
    files = [str(tmp_path / f"t{i}.csv") for i in range(len(frames))]
    found = prepare(PrepareConfig(data=files, **options))
    counts = dict(found.counts)
    read, kept = counts.pop("read"), counts.pop("kept")
    assert kept == found.rows.height
    assert read == kept + sum(counts.values())
    beside = counts.pop("anchors", 0) + counts.pop("empty_cells", 0)
    assert found.rejected.height == read - kept - beside
    assert found.rejected["reason"].null_count() == 0
    return found


@pytest.mark.core
@pytest.mark.parametrize(
    "how", [{"anchor_col": "is_istd"}, {"anchors": ["IS-a", "IS-b"]}, {"anchors": ["IS*"]}]
)
def test_times_of_anchors_are_covariates_of_their_runs(tmp_path, how):
    found = done(tmp_path, times(), **LONG, **how)
    assert found.counts["anchors"] == 6
    assert found.rows["IS_IS-a"].to_list() == [20, 20, 21, 21, 22, 22]
    assert found.rows["IS_IS-b"].to_list() == [30, 30, 31, 31, 32, 32]
    assert found.rows["time"].to_list() == [0, 10, 1, 11, 2, 12]
    assert dict(found.compounds.rows()) == {"caffeine": 0, "taurine": 1}


def test_flags_are_read_however_they_are_written(tmp_path):
    words = {1: "TRUE", 0: "no"}
    flagged = times().with_columns(pl.col("is_istd").replace_strict(words))
    assert done(tmp_path, flagged, **LONG, anchor_col="is_istd").counts["anchors"] == 6
    kinds = times().with_columns(pl.col("is_istd").replace_strict({1: "Internal std", 0: "x"}))
    with pytest.raises(InputError, match=r"expected flags.*'x' \(rows 1.*--anchor-values"):
        done(tmp_path, kinds, **LONG, anchor_col="is_istd")
    options = {"anchor_col": "is_istd", "anchor_values": ["Internal*"]}
    assert done(tmp_path, kinds, **LONG, **options).counts["anchors"] == 6


def test_two_peaks_of_an_anchor_are_their_mean(tmp_path):
    twice = pl.concat([times(), times().filter(feature="IS-a").with_columns(time=0.0)])
    found = done(tmp_path, twice, **LONG, anchor_col="is_istd")
    assert found.rows["IS_IS-a"].to_list() == [10, 10, 10.5, 10.5, 11, 11]


@pytest.mark.parametrize(("choice", "kept"), [("error", None), ("drop", 4), ("run_median", 6)])
def test_a_run_without_an_anchor(tmp_path, choice, kept):
    lost = times().filter(~((pl.col("sample") == "r2") & (pl.col("feature") == "IS-a")))
    options = {**LONG, "anchor_col": "is_istd", "missing_covariates": choice}
    if kept is None:
        with pytest.raises(
            InputError, match=r"column 'IS_IS-a' \(t0.csv\).*2 missing \(rows 5, 6\)"
        ):
            done(tmp_path, lost, **options)
        return
    found = done(tmp_path, lost, **options)
    assert found.counts["kept"] == kept
    if choice == "drop":
        assert found.rejected.rows() == [
            (5, "caffeine", "t0.csv", "no value of IS_IS-a"),
            (6, "taurine", "t0.csv", "no value of IS_IS-a"),
        ]
    else:
        assert found.rows["IS_IS-a_missing"].to_list() == [0, 0, 1, 1, 0, 0]


def test_later_tables_have_the_anchors_of_the_first(tmp_path):
    first = done(tmp_path, times(), **LONG, anchor_col="is_istd")
    (tmp_path / "p").mkdir()
    first.write(RunFolder(tmp_path / "p"))
    # No flags, no times but those of anchors: a table to predict.
    later = times().with_columns(
        time=pl.when(pl.col("is_istd") == 1).then("time"), sample=pl.lit("r9")
    )
    found = done(
        tmp_path, later[2:4], later[:2], **LONG, like=str(tmp_path / "p"), missing_target="keep"
    )
    assert found.rows["IS_IS-b"].to_list() == [30, 30]
    assert found.rows["time"].null_count() == 2
    with pytest.raises(TableError, match=r"covariates \(t0.csv\).*'IS_IS-b'.*--absent-covariates"):
        done(tmp_path, later[:3], **LONG, like=str(tmp_path / "p"), missing_target="keep")
    options = {"missing_target": "keep", "absent_covariates": "center"}
    found = done(tmp_path, later[:3], **LONG, like=str(tmp_path / "p"), **options)
    # At the mean of the first table, where a slope has no effect.
    assert found.rows["IS_IS-b"].to_list() == [31, 31]


@pytest.mark.parametrize("layout", ["run_columns", "compound_columns"])
def test_wide_tables_say_what_long_ones_say(tmp_path, layout):
    long = done(tmp_path, times(), **LONG, anchors=["IS*"])
    if layout == "run_columns":
        wide = times().pivot(on="sample", index="feature", values="time")
        options = LONG
    else:
        wide = times().pivot(on="feature", index="sample", values="time")
        options = {**LONG, "compound_col": "comp_id"}
    found = done(tmp_path, wide, **options, layout=layout, anchors=["IS*"])
    order = ["sample", "comp_id"]
    assert found.counts["read"] == 12
    assert found.compounds.equals(long.compounds)
    assert found.rows.sort(order).equals(long.rows.sort(order).select(found.rows.columns))


def test_empty_cells_of_a_wide_table_are_no_rows_unless_to_predict(tmp_path):
    wide = times().pivot(on="sample", index="feature", values="time")
    wide = wide.with_columns(r2=pl.when(pl.col("feature") == "taurine").then(None).otherwise("r2"))
    found = done(tmp_path, wide, **LONG, layout="run_columns")
    assert (found.counts["read"], found.counts["empty_cells"], found.rows.height) == (12, 1, 11)
    found = done(tmp_path, wide, **LONG, layout="run_columns", missing_target="keep")
    assert found.rows["time"].null_count() == 1


def test_columns_of_a_wide_table_that_hold_text_are_all_named(tmp_path):
    wide = times().pivot(on="sample", index="feature", values="time")
    wide = wide.with_columns(class_=pl.lit("lipid"), note=pl.lit("ok"))
    with pytest.raises(TableError) as error:
        done(tmp_path, wide, **LONG, layout="run_columns")
    for said in ("'class_'", "'note'", "--value-cols"):
        assert said in str(error.value)
    found = done(tmp_path, wide, **LONG, layout="run_columns", value_cols=["r?"])
    assert found.rows.height == 12


# --- covariates, targets and ids of several files ---


def table(n: int = 4, **columns: Any) -> pl.DataFrame:
    start = {"comp_id": [f"c{i}" for i in range(n)], "run": ["r"] * n, "rt": np.arange(n) * 1.0}
    return pl.DataFrame({**start, **columns})


def test_a_covariate_that_one_file_lacks_is_said_by_file(tmp_path):
    frames = table(IS_1=[1.0, 2, 3, 4], IS_2=1.0), table(IS_2=2.0)
    with pytest.raises(TableError, match=r"covariates \(t1.csv\): .*found none called 'IS_1'"):
        done(tmp_path, *frames, **PLAIN)
    found = done(tmp_path, *frames, **PLAIN, absent_covariates="center")
    assert found.rows["IS_1"].to_list() == [1, 2, 3, 4, 2.5, 2.5, 2.5, 2.5]
    assert any("IS_1 is at its mean, 2.5, in t1.csv" in note for note in found.notes)


def test_a_table_without_times_is_for_prediction(tmp_path):
    found = done(tmp_path, table(IS_1=1.0).drop("rt"), **PLAIN)
    assert "rt" not in found.rows.columns
    assert found.rows.height == 4
    assert any("for prediction alone" in note for note in found.notes)
    # A name that was given is meant to be there.
    with pytest.raises(InputError, match=r"target_col.*'RT'"):
        done(tmp_path, table(IS_1=1.0), **PLAIN, target_col="RT")
    with pytest.raises(InputError, match=r"in all files, or in none; found none in t1.csv"):
        done(tmp_path, table(), table().drop("rt"), **PLAIN)


def test_no_covariates_are_intercepts_only(tmp_path):
    found = done(tmp_path, table(), **PLAIN)
    assert found.record["covariates"] == []
    assert "No run covariates: intercepts only." in found.notes
    with pytest.raises(InputError, match="covariates"):
        done(tmp_path, table(), **PLAIN, covariates=["ISTD_*"])


def test_every_gap_of_every_file_is_named_at_once(tmp_path):
    gaps = table(rt=[None, 1.0, None, 2.0], IS_1=[1.0, None, 1.0, 1.0])
    with pytest.raises(TableError) as error:
        done(tmp_path, gaps, gaps, **PLAIN)
    message = str(error.value)
    assert message.startswith("4 kinds of fault")
    assert message.count("2 missing (rows 1, 3)") == 2
    assert message.count("1 missing (rows 2)") == 2


def test_rows_set_aside_have_reasons(tmp_path):
    rows = table(
        species_raw=["s", None, "s", "s"], group=["g", "g", None, "g"], rt=[1.0, 2, 3, None]
    )
    found = done(tmp_path, rows, rows, cluster_raw="group", missing_target="drop", cap=1)
    reasons = dict(found.rejected["reason"].value_counts().rows())
    assert reasons == {
        "no retention time": 2,
        "no supercategory": 2,
        "no subgroup": 2,
        "over the cap of its pair": 1,
    }
    assert found.rejected.filter(reason="no subgroup")["row"].to_list() == [2, 2]
    assert set(found.rejected["source"]) == {"t0.csv", "t1.csv"}


def test_ids_of_a_column_of_text_are_what_is_written(tmp_path):
    found = done(tmp_path, table(3, comp_id=["007", "7", "7.0"]), **PLAIN)
    assert dict(found.compounds.rows()) == {"007": 0, "7": 1, "7.0": 2}
    assert "different ids, as the column is of text: 007 and 7 and 7.0" in found.notes[0]
    found = done(tmp_path, table(3, comp_id=["007", "7", "7.0"]), **PLAIN, ids="number")
    assert dict(found.compounds.rows()) == {"7": 7}


def test_a_column_of_floats_and_one_of_integers_are_one(tmp_path):
    found = done(tmp_path, table(1, comp_id=["5950.0"]), table(1, comp_id=["5950"]), **PLAIN)
    assert dict(found.compounds.rows()) == {"5950": 5950}
    words = "one id each, as the column is of numbers: 5950 and 5950.0"
    assert any(words in note for note in found.notes)


def test_letters_and_blanks_make_no_second_species(tmp_path):
    names = ["é", "e\N{COMBINING ACUTE ACCENT}", " é ", "é"]
    found = done(tmp_path, table(species_raw=names), cluster_raw=None)
    assert found.rows["species"].to_list() == [0, 0, 0, 0]
    assert "and are one each: 'é'" in found.notes[0]


def test_all_columns_that_are_missing_are_named_with_the_way_out(tmp_path):
    with pytest.raises(InputError) as error:
        done(tmp_path, times())
    message = str(error.value)
    for said in ("'species_raw'", "'species_group_raw'", "'comp_id'", "'feature'", "None"):
        assert said in message
