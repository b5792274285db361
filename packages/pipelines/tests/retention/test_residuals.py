"""Residuals of rows left out, against fits without them; peaks under another compound's name."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from molpool_pipelines.retention import FitConfig, fit
from molpool_pipelines.retention._residuals import weighed
from rt_ridge import GroupwiseRidge, PartialPoolingRidge

N_RUNS, N_COMPOUNDS = 30, 6


def rows() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    run = np.repeat(np.arange(N_RUNS), N_COMPOUNDS)
    compound = np.tile(np.arange(N_COMPOUNDS), N_RUNS)
    reading = rng.normal(size=N_RUNS)[run]
    rt = 2.0 * compound + 0.3 * reading + 0.05 * rng.normal(size=len(run))
    table = pl.DataFrame({"species": 0, "species_cluster": 0, "comp_id": compound, "run": run})
    return table.with_columns(IS_0=reading, rt=rt)


@pytest.mark.parametrize(
    ("model", "tolerance"),
    [
        # A ridge of given penalty is exact; a pooled fit without a row has slightly other scales.
        (GroupwiseRidge(), 1e-7),
        (PartialPoolingRidge(slope_head_mode="global", lambda_slopes="estimate"), 0.03),
    ],
)
def test_a_row_is_held_against_the_fit_to_all_others(model, tolerance):
    table = rows()
    X, y = table.select("IS_0").to_numpy(), table["rt"].to_numpy()
    ids = table.select("species", "comp_id").to_numpy()
    whole = model.fit(X, y, ids).summaries_.predict(X, *ids.T)
    residual, sd = weighed(y, whole, None).leave_one_out
    noise = whole.std**2 - whole.std_mean**2
    for row in (0, 7, 100):
        kept = np.arange(len(y)) != row
        other = model.fit(X[kept], y[kept], ids[kept]).summaries_.predict(X[[row]], *ids[[row]].T)
        assert residual[row] == pytest.approx(y[row] - other.mean[0], rel=tolerance)
        spread = other.std_mean[0] ** 2 / (other.std[0] ** 2 - other.std_mean[0] ** 2)
        assert sd[row] ** 2 == pytest.approx(noise[row] * (1 + spread), rel=tolerance)


def test_a_row_alone_has_no_other_to_be_held_against():
    table = rows()
    alone = pl.concat([table, table.head(1).with_columns(species=1)], how="vertical_relaxed")
    X, ids = alone.select("IS_0").to_numpy(), alone.select("species", "comp_id").to_numpy()
    found = GroupwiseRidge().fit(X, alone["rt"].to_numpy(), ids).summaries_.predict(X, *ids.T)
    residual, _ = weighed(alone["rt"].to_numpy(), found, None).leave_one_out
    assert np.isnan(residual[-1])
    assert np.isfinite(residual[:-1]).all()


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Return a fit of a table in which one peak is another compound's and one nobody's."""
    folder = tmp_path_factory.mktemp("residuals")
    table = rows()
    other = table.filter(run=4, comp_id=4)["rt"].item()
    wrong = (
        pl.when((pl.col("run") == 4) & (pl.col("comp_id") == 2))
        .then(other)
        .when((pl.col("run") == 9) & (pl.col("comp_id") == 1))
        .then(pl.col("rt") + 0.9)
        .otherwise("rt")
    )
    table.with_columns(wrong.alias("rt")).write_csv(folder / "t.csv")
    config = FitConfig(data=[str(folder / "t.csv")], intercept_prior="flat")
    found = fit(config)
    found.write(config.open_folder(folder / "fit"))
    return found, folder / "fit"


def test_peaks_that_are_not_what_they_are_called_are_flagged(fitted):
    found, folder = fitted
    assert found.residuals is not None
    flagged = found.residuals.flagged
    assert flagged.select("run", "compound").rows() == [("4", "2"), ("9", "1")]
    assert found.residuals.n_flagged == 2
    swapped, shifted = flagged.rows(named=True)
    # The compound whose time it is; where nobody is expected, none.
    assert (swapped["candidate"], shifted["candidate"]) == ("4", None)
    assert swapped["candidate_expected"] == pytest.approx(swapped["observed"], abs=0.3)
    assert swapped["row"] == 4 * N_COMPOUNDS + 2 + 1
    assert swapped["expected"] == pytest.approx(4.0, abs=0.5)
    assert shifted["difference"] == pytest.approx(0.9, abs=0.2)
    assert pl.read_csv(folder / "flagged.csv").height == 2


def test_runs_stand_in_the_order_of_the_table(fitted):
    found, folder = fitted
    runs = pl.read_csv(folder / "residuals.csv")
    assert runs["run"].to_list() == list(range(N_RUNS))
    assert (runs["n"] == N_COMPOUNDS).all()
    assert runs.filter(pl.col("flagged") > 0)["run"].to_list() == [4, 9]
    assert found.residuals.n_rows == N_RUNS * N_COMPOUNDS


def test_a_time_of_nothing_is_listed_first(tmp_path):
    table = pl.concat([rows(), rows().with_columns(pl.col("run") + N_RUNS)]).head(240)
    at = pl.int_range(pl.len()) == 77
    table.with_columns(rt=pl.when(at).then(0.0).otherwise("rt")).write_csv(tmp_path / "t.csv")
    found = fit(
        FitConfig(data=[str(tmp_path / "t.csv")], model="ridge", calibrate={"enabled": False})
    )
    assert found.residuals is not None
    assert found.residuals.flagged["row"].to_list() == [78]
    assert found.residuals.flagged["observed"].to_list() == [0.0]
