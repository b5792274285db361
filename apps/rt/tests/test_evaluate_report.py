"""Evaluate, plot, report and run, against plain numpy and against one another."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest


def table(frame, artefact, rows="all"):
    return frame.filter(artefact=artefact, rows=rows)


@pytest.fixture(scope="module")
def predictions(good, lab, pooled, ridge, tmp_path_factory):
    """Predictions of both fits for the test table, by name, with the measured times."""
    folder = tmp_path_factory.mktemp("predictions")
    found = {}
    for fit in (pooled, ridge):
        output = folder / f"{fit.name}.parquet"
        good(
            *("predict", "--artefact", fit, "--data", lab / "test.parquet"),
            *("--output", output, "--keep-cols", "rt", "run", "--level", "0.8", "0.95"),
        )
        found[fit.name] = pl.read_parquet(output)
    return found


def test_errors_and_coverage_are_those_of_the_predictions(evaluation, predictions):
    frame = pl.read_csv(evaluation / "evaluation.csv")
    for name, predicted in predictions.items():
        known = predicted.drop_nulls("rt")
        error = (known["rt_measured"] - known["rt"]).to_numpy()
        row = table(frame, name).filter(support="all").row(0, named=True)
        assert row["n"] == known.height
        assert row["n_missing"] == predicted.height - known.height
        assert row["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-9)
        assert row["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-9)
        inside = known["rt_measured"].is_between(known["rt_lower_80"], known["rt_upper_80"]).mean()
        assert row["coverage_80"] == pytest.approx(inside, abs=1e-12)
        assert row["z_sd"] == pytest.approx(
            (error / known["rt_sd"].to_numpy()).std(ddof=1), rel=1e-9
        )
        pairs = known.with_columns(square=error**2).group_by("species", "comp_id")
        rmse = np.sqrt(pairs.agg(pl.col("square").mean())["square"].to_numpy())
        assert row["pair_rmse_p90"] == pytest.approx(np.percentile(rmse, 90), rel=1e-9)
        two = known.filter(pl.col("n_train").is_between(2, 4))
        assert table(frame, name).filter(support="2-4")["n"].item() == two.height


def test_fits_are_compared_on_the_rows_that_all_predict(evaluation, predictions):
    frame = pl.read_csv(evaluation / "evaluation.csv")
    known = predictions["ridge"]["rt"].is_not_null()
    for name, predicted in predictions.items():
        both = predicted.filter(known)
        error = (both["rt_measured"] - both["rt"]).to_numpy()
        row = table(frame, name, "common").filter(support="all").row(0, named=True)
        assert row["n"] == known.sum()
        assert row["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-9)
    n = [table(frame, name, "common")["n"].to_list() for name in predictions]
    assert n[0] == n[1]


def test_drift_is_the_mean_of_each_run(evaluation, predictions):
    drift = pl.read_csv(evaluation / "drift.csv").filter(artefact="pooled")
    known = predictions["pooled"]
    expected = known.group_by("run").agg((pl.col("rt_measured") - pl.col("rt")).mean()).sort("run")
    np.testing.assert_allclose(drift["bias"], expected["rt_measured"], atol=1e-12)
    assert drift["n"].sum() == known.height


def test_unseen_pairs_can_be_left_out(good, lab, pooled, predictions, tmp_path):
    out = tmp_path / "out"
    ended = good(
        *("evaluate", "--artefacts", f"mine={pooled}", "--data", lab / "test.parquet"),
        *("--require-seen-group", "--save-dir", out),
    )
    found = json.loads((out / "evaluation.json").read_text())
    unseen = predictions["pooled"].filter(n_train=0).height
    assert found["n_left_out"] == unseen > 0
    (mine,) = found["artefacts"]
    assert (mine["name"], mine["share_unseen"], set(mine["levels"])) == ("mine", 0, {"pair"})
    assert f"{unseen:,} rows of pairs never seen are left out" in ended.out


def test_the_first_rows_alone_and_bins_of_ones_own(good, lab, pooled, tmp_path):
    good(
        *("evaluate", "--artefacts", pooled, "--data", lab / "test.parquet"),
        *("--max-test-rows", "30", "--support-edges", "1", "10", "--save-dir", tmp_path / "out"),
    )
    frame = pl.read_csv(tmp_path / "out" / "evaluation.csv")
    assert table(frame, "pooled")["support"].to_list() == ["unseen", "1-9", ">=10", "all"]
    assert table(frame, "pooled")["n"][-1] == 30


def test_screen_has_the_thinnest_support_first(good, lab, pooled, ridge, tmp_path):
    ended = good(
        *("evaluate", "--artefacts", pooled, ridge, "--data", lab / "test.parquet"),
        *("--save-dir", tmp_path / "out"),
    )
    order = [line.split()[1] for line in ended.out.splitlines() if line.startswith("│")]
    assert order[0] == "unseen"
    assert order.count("all") == 2
    compared = ended.out.partition("that all predict")[2].splitlines()
    assert [head.strip() for head in compared[2].split("┃")[-3:-1]] == ["all", "rare, <=2"]
    assert [line.split()[1] for line in compared if line.startswith("│")][:3] == [
        "rows",
        "pooled",
        "ridge",
    ]


def test_all_baselines_are_compared_and_no_number_is_cut(good, lab, pooled, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    ended = good(
        *("evaluate", "--artefacts", pooled, "--data", lab / "test.parquet"),
        *("--baselines", "all", "--save-dir", tmp_path / "out"),
    )
    compared = ended.out.partition("that all predict")[2]
    for name in ("mean", "ridge", "lasso", "gam", "trees", "irt", "loess"):
        line = next(line for line in compared.splitlines() if f"baseline {name}" in line)
        assert float(line.split("│")[-2]) > 0
    assert "…" not in ended.out


@pytest.mark.slow
def test_figures_are_files(good, pooled, evaluation, tmp_path):
    out = tmp_path / "out"
    good("plot", "--runs", pooled, "--evaluation", evaluation, "--save-dir", out)
    names = {"shrinkage_pooled", "residuals_pooled", "slopes_pooled", "support", "support_common"}
    names |= {"drift_pooled", "drift_ridge"}
    assert {p.stem for p in out.glob("*.png")} == names
    assert {p.stem for p in out.glob("*.svg")} == names
    assert (out / "support.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_page_and_pdf_hold_the_same(good, pooled, ridge, evaluation, tmp_path):
    output = tmp_path / "report.html"
    good("report", "--runs", pooled, ridge, "--evaluation", evaluation, "--output", output)
    page = output.read_text()
    for text in ("Errors and intervals", "By support", "Drift by run", "Fit: pooled", "Fit: ridge"):
        assert text in page
    assert page.count("<svg") == 9
    assert not re.search(r'(src|href)="(?!#|data:)', page)
    row = pl.read_csv(evaluation / "evaluation.csv").filter(
        artefact="pooled", rows="all", support="all"
    )
    assert f'data-value="{row["rmse"].item()}"' in page
    pdf = output.with_suffix(".pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Subtype /Image") >= 9


def test_rare_pairs_have_rows_of_their_own(good, lab, pooled, ridge, tmp_path):
    out = tmp_path / "out"
    test = ("--data", lab / "test.parquet", "--rare-rows", "2", "--save-dir", out)
    ended = good("evaluate", "--artefacts", pooled, ridge, *test)
    assert "rare, <=2" in ended.out
    found = pl.read_csv(out / "evaluation.csv").filter(rows="rare", artefact="pooled")
    common = pl.read_csv(out / "evaluation.csv").filter(rows="common", artefact="pooled")
    # No pair of this laboratory has 1, 3 or 4 training rows.
    few = common.filter(pl.col("support").is_in(["unseen", "2-4"]))
    assert found["support"].to_list() == ["unseen", "1-2", "<=2"]
    assert found["n"].to_list() == [*few["n"], few["n"].sum()]
    assert found["rmse"][1] == pytest.approx(few["rmse"][1], rel=1e-12)


@pytest.mark.slow
def test_one_command_does_all(good, tmp_path):
    config = tmp_path / "all.yaml"
    config.write_text(
        "simulate: {n_species: 6, n_clusters: 2, n_compounds: 8, n_classes: 2, n_covariates: 2,\n"
        "  rare_pairs: 8, unseen_pairs: 5, anchors: 1}\n"
        "models:\n"
        "  pooled: {intercept_prior: comp_hier_supercat, use_descriptors: true,\n"
        "    class_slopes: cluster}\n"
        "  alone: {model: ridge}\n"
    )
    out = tmp_path / "out"
    good("run", "--config", config, "--save-dir", out)
    found = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}
    assert {
        *("report.html", "report.pdf", "evaluation.json", "evaluation.csv", "drift.csv"),
        *("data/train.parquet", "models/pooled/coefficients.npz", "models/alone/metrics.json"),
    } <= found
    first = pl.read_csv(out / "evaluation.csv")
    data = shutil.copytree(out / "data", tmp_path / "data")
    # Replacing it with other models leaves nothing of the first. The same tables, given instead of
    # simulated, lead to the same errors.
    config.write_text(config.read_text().replace("alone:", "single:"))
    good(
        *("run", "--config", config, "--save-dir", out, "--overwrite"),
        *("--train", data / "train.parquet", "--test", data / "test.parquet"),
        *("--descriptors", data / "compounds.parquet", "--classes", data / "compounds.parquet"),
    )
    assert {p.name for p in (out / "models").iterdir()} == {"pooled", "single"}
    one, two = (
        frame.drop("artefact", "rows", "support")
        for frame in (first, pl.read_csv(out / "evaluation.csv"))
    )
    np.testing.assert_allclose(one.to_numpy(), two.to_numpy(), rtol=1e-12)


@pytest.mark.slow
def test_shift_study_leaves_tables_figure_and_page(good, tmp_path):
    out = tmp_path / "out"
    good(
        *("shift", "--replicates", "2", "--anchors", "0", "2", "--save-dir", out),
        *("--simulate.n-species", "6", "--simulate.n-clusters", "2", "--simulate.n-compounds", "8"),
        *("--simulate.rare-pairs", "4", "--simulate.unseen-pairs", "4"),
        *("--simulate.n-covariates", "2", "--bins", "60", "90", "100"),
    )
    summary = pl.read_csv(out / "shift.csv")
    # 2 numbers of anchors, 3 methods, 3 bins.
    assert summary.height == 18
    assert set(summary["replicates"]) == {2}
    names = {"shift.json", "runs.csv", "shift.png", "shift.svg", "report.html", "report.pdf"}
    assert names <= {p.name for p in out.iterdir()}


def test_all_of_it_starts_anew_where_it_was_killed_after_a_fit(good, tmp_path):
    config = tmp_path / "one.yaml"
    config.write_text(
        "simulate: {n_species: 6, n_clusters: 2, n_compounds: 8, n_covariates: 2, anchors: 1}\n"
        "models:\n  alone: {model: ridge}\n"
    )
    out = tmp_path / "out"
    good("run", "--config", config, "--save-dir", out)
    # As a kill leaves it: the fit has ended, what it is part of has not.
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:2]])
    (out / ".lock.json").write_text(json.dumps({"command": command}))
    good("run", "--config", config, "--save-dir", out)
    assert (out / "report.html").is_file()
