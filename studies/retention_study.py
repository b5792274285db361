"""Retention times of real runs: errors, and how honest the intervals are.

Runs are held out whole, in five folds. Every model predicts the same rows of the held-out runs
from its anchors. Prints one table of models a panel, and one by training rows of the pair for the
last. ``--calibrate`` repeats models with intervals calibrated on training runs held out in turn.
``MOLPOOL_DATA`` names the folder of the public tables, as for `molpool-data`.

    python studies/retention_study.py Stoffel S9Site54 --calibrate "flat none"
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import retention_panels as panels
from rt_ridge import (
    GroupwiseRidge,
    PartialPoolingRidge,
    SupercategoryRidge,
    SupportMetrics,
    calibrate_intervals,
)

PANELS = panels.PANELS

PUBLISHED = {
    "Stoffel-95": (0.362, 0.163),
    "BGC": (0.490, 0.307),
    "BGC-pos": (0.474, 0.242),
    "S9Site54": (0.114, 0.033),
}
"""RMSE in minutes by the mean and by ridge, one model a compound, in folds of their own.

Those of Stoffel are of the compounds in at least 95 % of the setups (17 of 18); 0.033 of S9Site54
is the median over peptides, of standardised anchors.
"""

N_FOLDS = 5
PRIORS: tuple[Literal["flat", "comp_hier", "comp_hier_supercat"], ...] = (
    "flat",
    "comp_hier",
    "comp_hier_supercat",
)
HEADS: tuple[Literal["none", "global", "cluster_supercat"], ...] = (
    "none",
    "global",
    "cluster_supercat",
)

Model = tuple[Any, str]
"""An estimator, and the column that its groups are read from; "one" takes all rows as a group."""


def models(sigma: str, method: str) -> dict[str, Model]:
    """Return every model of the study by name."""
    shared: dict[str, Any] = {"lambda_slopes": "estimate", "sigma": sigma, "method": method}
    found: dict[str, Model] = {
        "mean of compound": (GroupwiseRidge(alpha=1e9), "one"),
        "ridge of compound": (GroupwiseRidge(), "one"),
        "groupwise ridge": (GroupwiseRidge(), "species"),
    }
    for prior in ("flat", "comp_hier"):
        ridge = SupercategoryRidge(intercept_prior=prior, slope_head_mode="global", **shared)
        found[f"supercategory {prior}"] = (ridge, "species_cluster")
    for prior, head in itertools.product(PRIORS, HEADS):
        pooled = PartialPoolingRidge(intercept_prior=prior, slope_head_mode=head, **shared)
        found[f"{prior} {head}"] = (pooled, "species")
    by_compound = PartialPoolingRidge(
        intercept_prior="comp_hier", slope_head_mode="global", compound_slopes=True, **shared
    )
    found["comp_hier + compound slopes"] = (by_compound, "species")
    return found


def folds(runs: npt.NDArray[np.int64], seed: int = 0) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield the rows held out in each fold: a fifth of the runs, whole."""
    unique = np.random.default_rng(seed).permutation(np.unique(runs))
    for held_out in np.array_split(unique, N_FOLDS):
        yield np.isin(runs, held_out)


def ids(rows: pl.DataFrame, column: str) -> npt.NDArray[np.int64]:
    """Return group, compound and supercategory of each row, [N, 3]."""
    cluster = rows["species_cluster"].to_numpy()
    groups = np.zeros_like(cluster) if column == "one" else rows[column].to_numpy()
    parents = groups if column != "species" else cluster
    return np.stack([groups, rows["comp_id"].to_numpy(), parents], axis=1)


def cross_validate(
    panel: panels.Panel, model: Model, *, calibrated: bool = False
) -> tuple[SupportMetrics, dict[str, float]]:
    """Return the metrics over all held-out rows, and the mean of each scale over the folds.

    Parameters
    ----------
    panel : Panel
        Rows, held out by run.
    model : Model
        What is fitted to each fold's training rows.
    calibrated : bool
        Calibrate the intervals on runs of the training rows, held out in turn.
    """
    estimator, column = model
    X, y = panel.rows.select(panel.anchors).to_numpy(), panel.rows["rt"].to_numpy()
    runs, groups = panel.rows["run"].to_numpy(), ids(panel.rows, column)
    pairs = ids(panel.rows, "species")
    metrics, scales = SupportMetrics(), dict[str, float]()
    for out in folds(runs):
        train = X[~out], y[~out], groups[~out]
        summaries = estimator.fit(*train).summaries_
        if calibrated:
            reach = calibrate_intervals(estimator, *train, runs[~out], n_folds=N_FOLDS)
            summaries = replace(summaries, calibration=reach)
        for name, value in estimator.scales_.items():
            scales[name] = scales.get(name, 0.0) + value["mean"] / N_FOLDS
        prediction = summaries.predict(X[out], *groups[out].T)
        metrics.update(y[out], prediction, *support(pairs, out))
    return metrics, scales


def support(
    pairs: npt.NDArray[np.int64], out: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return training rows of the pair of each held-out row, and the pair."""
    keys = (pairs[:, 0] << 32) + pairs[:, 1]
    unique, place = np.unique(keys, return_inverse=True)
    counts = np.bincount(place[~out], minlength=len(unique))
    return counts[place[out]], keys[out]


def study(panel: panels.Panel, chosen: dict[str, tuple[Model, bool]]) -> None:
    """Print a panel's table of models, each calibrated or not, and the last one's by support."""
    n_runs = panel.rows["run"].n_unique()
    say(f"\n{panel.name}: {panel.rows.height} rows, {n_runs} runs, {len(panel.anchors)} anchors")
    head = "     n missing   rmse    mae    p50  c50  c80   c95  z_sd width95    s  σ, τ_slope"
    say(f"{'model':36}{head}")
    for name, (model, calibrated) in chosen.items():
        start = time.perf_counter()
        metrics, scales = cross_validate(panel, model, calibrated=calibrated)
        table, took = metrics.table(), time.perf_counter() - start
        short = " ".join(f"{scales.get(k, np.nan):.3g}" for k in ("sigma", "tau_slope"))
        say(f"{name:36}{line(table.row(-1, named=True))} {took:4.0f}  {short}")
    say(f"by support, {name}")
    for row in table.filter(pl.col("n") > 0).iter_rows(named=True):
        say(f"{row['support']:36}{line(row)}")


def line(row: dict[str, Any]) -> str:
    """Return the figures of one row of a table of metrics."""
    cover = " ".join(f"{100 * row[f'coverage_{q}']:4.1f}" for q in (50, 80, 95))
    return (
        f"{row['n']:6} {row['n_missing']:5} {row['rmse']:8.4f} {row['mae']:6.4f}"
        f" {row['pair_rmse_p50'] or np.nan:6.4f} {cover}"
        f" {row['z_sd'] or 0:5.2f} {row['width_95']:7.3f}"
    )


def say(text: str) -> None:
    """Write a line of the report."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Read the command line and run the study."""
    parser = argparse.ArgumentParser(description="Retention times of real runs")
    parser.add_argument("panels", nargs="*", help=f"of {', '.join(PANELS)}; all by default")
    parser.add_argument("--sigma", choices=("global", "group"), default="global")
    parser.add_argument("--method", default="map")
    parser.add_argument("--models", nargs="*", help="parts of names of models; all by default")
    parser.add_argument("--calibrate", nargs="*", default=[], help="names, in full")
    given = parser.parse_args()
    every = models(given.sigma, given.method)
    chosen = {
        name: (model, False)
        for name, model in every.items()
        if given.models is None or any(part in name for part in given.models)
    }
    chosen |= {f"{name}, calibrated": (every[name], True) for name in given.calibrate}
    for name in given.panels or PANELS:
        if name in PUBLISHED:
            say("\npublished rmse: mean {:.3f}, ridge {:.3f}".format(*PUBLISHED[name]))
        study(PANELS[name](), chosen)


if __name__ == "__main__":
    main()
