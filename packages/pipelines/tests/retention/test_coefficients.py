"""Tables of a fit: coefficients with names and units, and windows of an instrument's method."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from molpool_common import InputError
from molpool_pipelines.retention import (
    CoefficientsConfig,
    FitConfig,
    PredictConfig,
    PrepareConfig,
    WindowsConfig,
    coefficients,
    fit,
    predict_frames,
    prepare,
    windows,
    write_coefficients,
    write_windows,
)
from rt_ridge import Stage1CoeffSummaries, parent_expectation

READINGS = ["run_covariate_0", "run_covariate_1"]


@pytest.fixture(scope="module")
def run(lab, tmp_path_factory):
    """Return a fit of a table whose species and compounds have names."""
    path = tmp_path_factory.mktemp("coefficients")
    named = pl.read_parquet(lab / "train.parquet").with_columns(
        pl.format("sp {}", "species").alias("species_raw"),
        pl.format("cl {}", "species_cluster").alias("species_group_raw"),
        pl.format("C{}", "comp_id").alias("compound"),
    )
    named.drop("species", "species_cluster", "comp_id").write_csv(path / "raw.csv")
    config = PrepareConfig(data=[str(path / "raw.csv")], compound_col="compound")
    prepare(config).write(config.open_folder(path / "prepared"))
    config = FitConfig(
        data=[str(path / "prepared" / "rows.parquet")],
        intercept_prior="comp_hier_supercat",
        slope_head_mode="cluster_supercat",
        calibrate={"enabled": False},
        flag_threshold=None,
    )
    fit(config).write(config.open_folder(path / "fit"))
    return path / "fit"


def test_every_coefficient_has_a_name_a_unit_and_what_it_rests_on(run):
    table = coefficients(CoefficientsConfig(artefact=str(run)))
    summaries = Stage1CoeffSummaries.load(run / "coefficients.npz")
    n_pairs, size = summaries.mean.shape
    assert table.height == n_pairs * size
    assert table["coefficient"].to_list()[:3] == ["intercept", *READINGS]
    assert table["unit"].to_list()[:2] == ["min", "min per unit of run_covariate_0"]
    mapping = pl.read_csv(run.parent / "prepared" / "mapping.csv")
    assert set(table["species"]) == set(mapping["species_raw"])
    assert table["species_cluster"].str.starts_with("cl ").all()
    species = mapping.filter(species_raw="sp 2")["species"].item()
    names = pl.read_csv(run.parent / "prepared" / "compounds.csv")
    compound = names.filter(compound_raw="C3")["comp_id"].item()
    row = table.filter(species="sp 2", compound="C3", coefficient="run_covariate_1")
    (place,) = np.flatnonzero(summaries.keys == (species << 32) + compound)
    above = parent_expectation(summaries)
    assert row["estimate"].item() == summaries.mean[place, 2]
    assert row["se"].item() == pytest.approx(np.sqrt(summaries.cov[place, 2, 2]))
    assert row["rows"].item() == summaries.n[place]
    assert row["parent_estimate"].item() == above.mean[place, 2]
    share = summaries.cov[place, 2, 2] / above.sd[place, 2] ** 2
    assert row["shrinkage"].item() == pytest.approx(min(share, 1.0))


def test_own_estimates_are_least_squares(run):
    table = coefficients(CoefficientsConfig(artefact=str(run)))
    raw = pl.read_csv(run.parent / "raw.csv")
    pair = table.filter(pl.col("rows") == pl.col("rows").max()).select("species", "compound").row(0)
    own = raw.filter(species_raw=pair[0], compound=pair[1])
    X = (own.select(READINGS) - raw.select(pl.col(READINGS).mean())[[0] * own.height]).to_numpy()
    design = np.column_stack([np.ones(len(X)), X])
    exact = np.linalg.lstsq(design, own["rt"].to_numpy(), rcond=None)[0]
    found = table.filter(species=pair[0], compound=pair[1])["own"].to_numpy()
    np.testing.assert_allclose(found, exact, rtol=1e-6)
    # Two rows of a rare pair tell an intercept at the pooled slopes, and no slopes.
    rare = table.filter(rows=2)
    assert rare.height
    assert rare.filter(coefficient="run_covariate_0")["own"].null_count() == rare.height / 3
    assert rare.filter(coefficient="intercept")["own"].null_count() == 0


READERS = {"csv": pl.read_csv, "parquet": pl.read_parquet, "xlsx": pl.read_excel}


@pytest.mark.parametrize("suffix", READERS)
def test_files_hold_the_table(run, tmp_path, suffix):
    config = CoefficientsConfig(artefact=str(run), output=str(tmp_path / f"c.{suffix}"))
    path, table = write_coefficients(config)
    found = READERS[suffix](path)
    assert found.columns == table.columns
    np.testing.assert_allclose(found["estimate"], table["estimate"], rtol=1e-9)
    with pytest.raises(InputError, match="a new file"):
        write_coefficients(config)


def test_windows_are_intervals_at_the_readings_of_the_run(run, tmp_path):
    config = WindowsConfig(
        artefact=str(run),
        species="sp 2",
        level=0.8,
        readings={"run_covariate_0": 0.5},
        output=str(tmp_path / "w.csv"),
    )
    path, table = write_windows(config)
    heads = ["Compound", "RT (min)", "Window start (min)", "Window end (min)", "Window (min)"]
    assert pl.read_csv(path).columns == heads
    assert table["RT (min)"].is_sorted()
    summaries = Stage1CoeffSummaries.load(run / "coefficients.npz")
    prepared = run.parent / "prepared"
    ask = pl.read_parquet(prepared / "rows.parquet").join(
        pl.read_csv(prepared / "compounds.csv").filter(compound_raw="C3"), on="comp_id"
    )
    species = pl.read_csv(prepared / "mapping.csv").filter(species_raw="sp 2")["species"].item()
    reading = {"run_covariate_0": 0.5, "run_covariate_1": summaries.feature_center[1]}
    ask.filter(species=species).head(1).with_columns(**reading).write_parquet(
        tmp_path / "a.parquet"
    )
    (frame,) = predict_frames(
        PredictConfig(artefact=str(run), data=[str(tmp_path / "a.parquet")], level=[0.8])
    )
    row = table.filter(Compound="C3").row(0)
    expected = [frame[c].item() for c in ("rt", "rt_lower", "rt_upper")]
    assert row[1:4] == pytest.approx(expected, abs=6e-5)  # rounded to four decimals
    wide = windows(config.model_copy(update={"least_width": 30.0}))
    assert (wide["Window end (min)"] - wide["RT (min)"]).to_numpy() == pytest.approx(15.0, abs=1e-4)
    assert (wide["Window start (min)"] >= 0).all()
    every = windows(config.model_copy(update={"species": None}))
    assert every.columns[:2] == ["Species", "Compound"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"species": "sp 22"}, "species.*Did you mean 'sp 2'"),
        ({"readings": {"run_covariate_9": 1.0}}, "readings.*standards of the fit"),
        ({"artefact": None}, "artefact.*the run folder of a fit"),
        ({"output": "w.doc"}, "a name that ends in .parquet, .csv, .tsv, .xlsx"),
    ],
)
def test_what_is_not_there_is_named(run, tmp_path, keys, message):
    given = {"artefact": str(run), "output": str(tmp_path / "w.csv")} | keys
    with pytest.raises(InputError, match=message):
        write_windows(WindowsConfig(**given))
