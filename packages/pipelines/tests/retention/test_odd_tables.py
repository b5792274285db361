"""Tables with little in them, or with something wrong: a wide answer, or one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from molpool_common import InputError
from molpool_pipelines.retention import (
    EvaluateConfig,
    FitConfig,
    PredictConfig,
    PrepareConfig,
    fit,
    predict,
    prepare,
)
from molpool_pipelines.retention._splits import Splits
from molpool_pipelines.retention._training import read_training
from molpool_pipelines.tables import TableFiles

N_RUNS = 12


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    """Twelve runs of two species and four compounds, two covariates."""
    rng = np.random.default_rng(0)
    run = np.repeat(np.arange(N_RUNS), 8)
    species, compound = np.tile(np.repeat([0, 1], 4), N_RUNS), np.tile(np.arange(4), 2 * N_RUNS)
    drift = rng.normal(size=(N_RUNS, 2))[run]
    rt = 4 + 2.0 * compound + 0.2 * species + 0.3 * drift[:, 0] + 0.05 * rng.normal(size=len(run))
    return pl.DataFrame(
        {
            "run": [f"r{i}" for i in run],
            "acquired": [f"{1 + i}/15/2024" for i in (5 * run) % N_RUNS],
            "species": species,
            "species_cluster": np.zeros(len(run), dtype=np.int64),
            "comp_id": compound,
            "IS_1": drift[:, 0],
            "IS_2": drift[:, 1],
            "rt": rt,
        }
    )


def written(folder: Path, frame: pl.DataFrame, **keys: Any) -> FitConfig:
    frame.write_parquet(folder / "rows.parquet")
    return FitConfig(data=[str(folder / "rows.parquet")], **keys)


LITTLE: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "fewer rows than coefficients": lambda t: t.head(3),
    "constant covariates": lambda t: t.with_columns(IS_1=pl.lit(1.0), IS_2=pl.lit(2.0)),
    "one compound": lambda t: t.filter(comp_id=0),
    "all groups of one row": lambda t: t.head(40).with_columns(species=pl.int_range(pl.len())),
    "one run": lambda t: t.filter(run="r0"),
    "one row a pair": lambda t: t.unique(["species", "comp_id"], keep="first", maintain_order=True),
}


@pytest.mark.parametrize("name", LITTLE)
def test_little_data_have_an_answer_that_is_wide(rows, tmp_path, name):
    table = LITTLE[name](rows)
    found = fit(written(tmp_path, table, flag_threshold=None))
    prediction = found.summaries.predict(
        rows, *(rows[c].to_numpy() for c in ("species", "comp_id", "species_cluster"))
    )
    assert np.isfinite(prediction.mean).all()
    off = np.abs(rows["rt"].to_numpy() - prediction.mean)
    if table["run"].n_unique() > 4:
        # Also of pairs that are not in the table, whatever is lacking.
        assert (off <= prediction.half_width(0.95)).mean() > 0.7
    else:
        # Nothing in so few runs says how others differ from them.
        assert any("fewer than 5 runs are too few" in note for note in found.said)


def test_times_that_can_hardly_be_any_are_said_with_their_rows(rows, tmp_path):
    place = pl.int_range(pl.len())
    rt = pl.when(place == 4).then(0.0).when(place == 6).then(-3.0).when(place == 9).then(2e3)
    odd = rows.with_columns(rt=rt.otherwise("rt"))
    notes = read_training(written(tmp_path, odd, lambda_slopes="estimate")).notes
    assert any("2 retention times of 0 or below" in n and "rows 5, 7" in n for n in notes)
    assert any("1 retention times of over a day (1,440 min)" in n and "10" in n for n in notes)
    seconds = rows.with_columns(pl.col("rt") * 60)
    notes = read_training(written(tmp_path, seconds, lambda_slopes="estimate")).notes
    assert not any("retention times of" in n for n in notes)
    odd.write_csv(tmp_path / "raw.csv")
    columns = {"species_raw": "species", "cluster_raw": "species_cluster"}
    said = prepare(PrepareConfig(data=[str(tmp_path / "raw.csv")], **columns)).notes
    assert any("0 or below" in n for n in said)


def test_runs_that_stand_twice_are_left_out_together(rows, tmp_path):
    copy = rows.filter(run="r3").with_columns(run=pl.lit("again"))
    training = read_training(written(tmp_path, pl.concat([rows, copy])))
    (note,) = (n for n in training.notes if "repeat the rows" in n)
    assert "'r3' is 'again'" in note or "'again' is 'r3'" in note
    folds = training.folds
    assert folds is not None
    assert folds.order["again"] == folds.order["r3"]
    counts = [fold.stats.n_rows for fold in training.held_out[:5]]
    assert sum(counts) == rows.height + copy.height
    twice = pl.concat([rows, rows.head(3)])
    twice.write_csv(tmp_path / "raw.csv")
    columns = {"species_raw": "species", "cluster_raw": "species_cluster"}
    said = prepare(PrepareConfig(data=[str(tmp_path / "raw.csv")], **columns)).notes
    assert any("3 rows repeat run, species, compound and time" in n for n in said)


def test_later_runs_are_those_of_the_fits_own_order(rows, tmp_path):
    config = written(tmp_path, rows, order_col="acquired")
    splits = Splits.read(
        EvaluateConfig(artefacts=["x"], split_type="time", cv={"folds": 3}),
        [config],
        TableFiles.find(config.data, "data"),
    )
    assert "by acquired" in splits.how
    assert "acquired" in splits.rows.columns
    month = rows["acquired"].str.split("/").list.first().cast(pl.Int64).to_numpy()
    for cell in splits.cells:
        assert month[cell.train].max() < month[cell.test].min()


def test_acquisition_order_that_is_none_is_refused(rows, tmp_path):
    words = rows.with_columns(acquired=pl.lit("some day"))
    with pytest.raises(InputError, match="order_col"):
        read_training(written(tmp_path, words, order_col="acquired"))


def raw_table(rows: pl.DataFrame) -> pl.DataFrame:
    names = pl.col("species").replace_strict({0: "plasma", 1: "liver"}, return_dtype=pl.String)
    return rows.select(
        names.alias("matrix"), pl.col("comp_id").cast(pl.String).alias("compound"), "run", "rt"
    )


def prepared(folder: Path, table: pl.DataFrame, **keys: Any) -> Any:
    table.write_csv(folder / "raw.csv")
    columns = {"species_raw": "matrix", "cluster_raw": None, "compound_col": "compound"}
    return prepare(PrepareConfig(data=[str(folder / "raw.csv")], **columns, **keys))


def test_a_raw_table_is_sent_to_prepare(rows, tmp_path):
    table = raw_table(rows)
    for keys, found in (
        ({"compound_col": "compound"}, "found none called 'species'"),
        ({"group_col": "matrix", "compound_col": "compound"}, "names, as 'plasma'"),
    ):
        with pytest.raises(InputError, match=f"group_col.*{found}.*molpool-rt prepare makes"):
            read_training(written(tmp_path, table, parent_col=None, **keys))


def test_names_that_are_nearly_the_same_are_said(rows, tmp_path):
    place = pl.int_range(pl.len())
    spelt = pl.when(place == 0).then(pl.lit("Plasma")).when(place == 8).then(pl.lit("plasam"))
    table = raw_table(rows)
    notes = prepared(tmp_path, table.with_columns(matrix=spelt.otherwise("matrix"))).notes
    said = "column 'matrix': 'Plasma' (1 rows) beside 'plasma', 'plasam' (1 rows) beside 'plasma':"
    assert any(note.startswith(said) for note in notes)
    assert not any("nearly the same" in note for note in prepared(tmp_path, table).notes)
    # Compounds 0 to 3, and matrices with numbers, are alike by nature.
    numbered = table.with_columns(matrix="matrix " + pl.col("run"))
    assert not any("nearly the same" in note for note in prepared(tmp_path, numbered).notes)


def test_a_later_table_with_new_names_says_so(rows, tmp_path):
    table = raw_table(rows)
    first = prepared(tmp_path, table)
    with first.config.open_folder(tmp_path / "prepared", []) as run:
        first.write(run)
    later = table.with_columns(matrix=pl.col("matrix").str.replace("plasma", "Plasma"))
    notes = prepared(tmp_path, later, like=str(tmp_path / "prepared")).notes
    new = "names that earlier tables do not have get ids of their own: 'Plasma'."
    assert any(new in note for note in notes)
    assert any("'Plasma' (48 rows) beside 'plasma'" in note for note in notes)
    assert not any("compound" in note for note in notes)


def test_runs_in_seconds_among_runs_in_minutes_are_said(rows, tmp_path):
    table = raw_table(rows)
    assert not any("seconds" in note for note in prepared(tmp_path, table).notes)
    late = pl.col("run").is_in(["r10", "r11"])
    mixed = table.with_columns(rt=pl.when(late).then(60 * pl.col("rt")).otherwise("rt"))
    notes = prepared(tmp_path, mixed).notes
    assert any(
        note.startswith("Times of 2 of 12 runs (r1") and "60 times" in note for note in notes
    )


def test_readings_far_from_those_of_the_fit_are_said(rows, tmp_path):
    folder = tmp_path / "fit"
    config = written(tmp_path, rows, save_dir=str(folder), calibrate={"enabled": "false"})
    found = fit(config)
    with config.open_folder(folder, []) as run:
        found.write(run)
    for factor, said in ((1, []), (60, ["96 of 96 rows", "IS_1", "another unit"])):
        scaled = rows.with_columns(IS_1=factor * (10 + pl.col("IS_1")) - 10 * (factor == 1))
        scaled.write_parquet(tmp_path / "new.parquet")
        asked = {"artefact": str(folder), "data": [str(tmp_path / "new.parquet")]}
        notes = predict(PredictConfig(**asked, output=str(tmp_path / f"{factor}.csv"))).notes
        far = [note for note in notes if "readings of standards beyond" in note]
        assert len(far) == bool(said)
        assert all(word in far[0] for word in said)
