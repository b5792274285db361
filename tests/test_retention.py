"""The retention-time quickstart, as its documentation shows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from molpool_rt.cli import main

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "rt_quickstart.yaml"


@pytest.mark.slow
def test_quickstart_pools_to_honest_intervals(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["run", "--config", str(CONFIG), "--save-dir", str(out)]) == 0
    assert "report.html" in capsys.readouterr().out
    assert (out / "report.html").read_text().startswith("<!doctype html>")
    assert (out / "report.pdf").read_bytes().startswith(b"%PDF")
    found = pl.read_csv(out / "evaluation.csv")
    pooled = found.filter(artefact="partial_pooling", rows="all").filter(pl.col("n") >= 500)
    assert pooled["support"].to_list() == ["unseen", "2-4", "10-19", "all"]
    # The bar of real data: 95 % intervals within one point overall, three in every bin. The rows
    # of a run share its readings, so that the seed, which is fixed, decides about tenths.
    coverage = dict(pooled.select("support", "coverage_95").rows())
    assert abs(coverage.pop("all") - 0.95) < 0.01
    assert all(abs(c - 0.95) < 0.03 for c in coverage.values())
    # Noise alone is 0.1 min; pairs never seen come within half of it.
    rmse = dict(pooled.select("support", "rmse").rows())
    assert rmse["10-19"] < 0.12
    assert rmse["unseen"] < 0.2
    assert_predicted_as_trained(out)
    common = found.filter(rows="common", support="all").select("artefact", "rmse").rows()
    errors = dict(common)
    assert errors["partial_pooling"] < 0.5 * min(errors["supercategory"], errors["ridge"])


def assert_predicted_as_trained(out: Path) -> None:
    """Predict the table that a model was fitted to: its rows, in their order, in minutes."""
    train, predicted = out / "data" / "train.parquet", out / "predicted.parquet"
    artefact = out / "models" / "partial_pooling"
    flags = ["--data", str(train), "--output", str(predicted), "--keep-cols", "rt"]
    assert main(["predict", "--artefact", str(artefact), *flags]) == 0
    given, said = pl.read_parquet(train), pl.read_parquet(predicted)
    for column in ("species", "comp_id"):
        assert said[column].equals(given[column])
    assert said["rt_measured"].equals(given["rt"], check_names=False)
    # Noise is 0.1 min; rows of rare pairs are fitted less closely.
    assert np.sqrt(np.mean((said["rt"] - given["rt"]).to_numpy() ** 2)) < 0.12
