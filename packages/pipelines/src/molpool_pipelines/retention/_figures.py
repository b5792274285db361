"""Figures of fits and evaluations, each with words and numbers beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from molpool_common import FloatArray, InputError, Table, atomic_path, style
from rt_ridge import (
    parent_expectation,
    plot_drift,
    plot_run_residuals,
    plot_shrinkage,
    plot_slopes,
    plot_support,
)

from molpool_pipelines.retention._coefficients import own_estimates
from molpool_pipelines.retention._config import PlotConfig, ResultsConfig
from molpool_pipelines.retention._evaluate import Evaluation, nonempty
from molpool_pipelines.retention._fit import FittedRun
from molpool_pipelines.retention._identifiers import CLUSTER, SPECIES

ERRORS = {
    "support": "training rows",
    "n": "rows",
    "n_missing": "no prediction",
    "n_pairs": "pairs",
    "mae": "MAE",
    "rmse": "RMSE",
    "pair_rmse_p50": "pair RMSE p50",
    "pair_rmse_p90": "p90",
    "pair_rmse_p99": "p99",
}
"""Columns of an evaluation about errors, and their heads."""

INTERVALS = {
    "support": "training rows",
    "coverage_50": "in 50 %",
    "coverage_80": "in 80 %",
    "coverage_95": "in 95 %",
    "width_50": "width 50 %",
    "width_80": "width 80 %",
    "width_95": "width 95 %",
    "z_mean": "z mean",
    "z_sd": "z sd",
}
"""Columns of an evaluation about intervals, and their heads."""


@dataclass(frozen=True)
class Plot:
    """A figure with a name for its file, words for those who cannot see it, and its numbers."""

    name: str
    figure: Figure
    alt: str
    caption: str
    data: Table | None = None

    def save(self, folder: Path, formats: Sequence[str]) -> list[Path]:
        """Write the figure in each format and return the files."""
        files = [folder / f"{self.name}.{suffix}" for suffix in formats]
        for file in files:
            with style(), atomic_path(file) as temporary:
                self.figure.savefig(temporary, format=file.suffix[1:], dpi=160)
        return files


def plot(config: PlotConfig) -> list[Plot]:
    """Return the figures of fits and of their evaluation; writes nothing.

    Raises
    ------
    InputError, RTRidgeError
        If neither is given, or a folder holds something else.
    """
    runs, evaluation = load_results(config)
    plots = [figure for run in runs for figure in fit_plots(run)]
    return plots if evaluation is None else [*plots, *evaluation_plots(evaluation)]


FEWEST_SLOPES = 3
"""Pairs with slopes of their own from which these are drawn, rather than intercepts."""


def load_results(config: ResultsConfig) -> tuple[list[FittedRun], Evaluation | None]:
    """Read fits and their evaluation, at least one of either."""
    if not config.runs and config.evaluation is None:
        raise InputError("runs", expected="folders of fits, or --evaluation", found="neither")
    runs = [FittedRun.load(folder) for folder in config.runs]
    return runs, None if config.evaluation is None else Evaluation.load(config.evaluation)


def fit_plots(run: FittedRun) -> Iterator[Plot]:
    """Draw what pooling did, the residuals of the runs, and the slopes of the supercategories."""
    regressors = run.summaries.features.regressors
    what = regressors[0] if regressors else "intercept"
    pooled = run.metrics["model"] in ("partial_pooling", "supercategory")
    if pooled and run.statistics is not None:
        # Not saved by the fit: from the statistics it takes milliseconds.
        own = own_estimates(run.statistics, run.summaries)
        # With fewer rows than slopes a pair has none of its own.
        enough = bool(regressors) and np.isfinite(own[:, 1]).sum() >= FEWEST_SLOPES
        yield _shrinkage(run, own, what if enough else "intercept")
    if run.runs is not None and run.runs.height > 1:
        yield _run_residuals(run, run.runs)
    if regressors:
        yield Plot(
            f"slopes_{run.name}",
            plot_slopes(run.summaries, what, run.names.of(_parent_column(run))),
            f"Boxes of the slopes of {what} by supercategory.",
            f"Slope of {what} of all pairs in each supercategory: box, quartiles; line, median; "
            "whiskers, 1.5 box lengths.",
            _slope_table(run),
        )


def _shrinkage(run: FittedRun, own: FloatArray, what: str) -> Plot:
    j = ("intercept", *run.summaries.features.regressors).index(what)
    share = parent_expectation(run.summaries).shrinkage(run.summaries)
    move = np.nanmedian(np.abs(run.summaries.mean - own)[:, j])
    weight = np.nanmedian(share[:, j]) if np.isfinite(share[:, j]).any() else np.nan
    told = f" In the median the parent weighs {weight:.2f}." if np.isfinite(weight) else ""
    slope = what if what == "intercept" else f"the slope of {what}"
    return Plot(
        f"shrinkage_{run.name}",
        plot_shrinkage(own, run.summaries, what),
        f"Arrows from the estimates of {slope} by each pair's own rows to the pooled ones, and the"
        f" share of the parent by training rows. The median move is {move:.3g}.{told}",
        f"Left: {slope} of pairs (80 at most) by least squares of their own rows, the arrow to the"
        " pooled estimate, and a dash where the level above would expect it. Right: share of that"
        " level in the pooled estimate, posterior over prior variance, by training rows of the"
        f" pair.{told}",
    )


def _run_residuals(run: FittedRun, runs: pl.DataFrame) -> Plot:
    worst = runs.sort(pl.col("mean").abs(), descending=True)["run"][0]
    return Plot(
        f"residuals_{run.name}",
        plot_run_residuals(*(runs[c].to_numpy() for c in ("mean", "low", "high", "flagged"))),
        f"Residuals of {runs.height} runs in their order: mean, range of 90 % of the rows, and"
        f" number of flagged peaks. Run {worst} is off most.",
        "Residuals by run, in the order of the table, each row against the fit to all others: mean"
        " and range from 5 to 95 % of the rows; below, the peaks that are flagged.",
        Table(["run", "rows", "mean", "sd", "5 %", "95 %", "flagged"], runs.head(1000).rows()),
    )


def _parent_column(run: FittedRun) -> str:
    """Return the column of the names of supercategories, or of the groups that stand for them."""
    summaries = run.summaries
    of_clusters = summaries.coefficients.parents is not None
    return CLUSTER if of_clusters or summaries.group_col == "species_cluster" else SPECIES


def _slope_table(run: FittedRun) -> Table:
    summaries = run.summaries
    group = summaries.keys >> 32
    parents = summaries.coefficients.parents
    # Without supercategories each group stands for itself.
    parent = group if parents is None else parents.of(group)
    names = summaries.features.regressors
    frame = pl.DataFrame(summaries.mean[:, 1:], schema=list(names)).with_columns(
        pl.Series("supercategory", parent)
    )
    means = frame.group_by("supercategory").agg(
        pl.len().cast(pl.Int64).alias("pairs"), pl.col(names).mean()
    )
    # 200 and 1000 rows bound the size of the page; the files hold all.
    shown = means.sort("supercategory").head(200)
    rows = shown.with_columns(
        run.names.apply(_parent_column(run), shown["supercategory"]).alias("supercategory")
    ).rows()
    return Table(means.columns, rows, caption="Mean slope of the pairs of each supercategory.")


def evaluation_plots(evaluation: Evaluation) -> Iterator[Plot]:
    """Draw error and coverage by support, and the drift of the runs."""
    own = {s.name: s.table for s in evaluation.scored}
    yield _support("support", own, "All rows that each model predicts, by the training rows of")
    # Where all models predict all rows, the rows that all predict are the same.
    if any(not s.common.equals(s.table) for s in evaluation.scored):
        common = {s.name: s.common for s in evaluation.scored}
        first = evaluation.scored[0].name
        text = (
            f"The {evaluation.n_common:,} rows that all predict, by the training rows in {first} of"
        )
        yield _support("support_common", common, text)
    if evaluation.drift is not None:
        yield from map(_drift, evaluation.drift.partition_by("artefact", maintain_order=True))


def _support(name: str, tables: dict[str, pl.DataFrame], which: str) -> Plot:
    filled = {bin_ for table in tables.values() for bin_ in nonempty(table)["support"]}
    # Bins that are empty for every model are left out, so that axes of several models agree.
    shown = {n: t.filter(pl.col("support").is_in(filled)) for n, t in tables.items()}
    return Plot(
        name,
        plot_support(shown),
        "RMSE and coverage of the intervals by the number of training rows of the pair.",
        f"{which} their pair: error, and share of the rows inside the 95 % (solid), 80 % (dashed) "
        "and 50 % (dotted) intervals. Grey: nominal coverage.",
        Table(
            ["model", *(ERRORS | INTERVALS).values()],
            [[n, *row] for n, t in shown.items() for row in t.select(*(ERRORS | INTERVALS)).rows()],
        ),
    )


def _drift(runs: pl.DataFrame) -> Plot:
    name = runs["artefact"][0]
    columns = ("run", "observed", "predicted", "without_drift")
    rows = runs.select("run", "n", "observed", "predicted", "bias", "rmse").head(1000).rows()
    return Plot(
        f"drift_{name}",
        plot_drift(*(runs[c].to_numpy() for c in columns)),
        f"Mean shift of each run, as measured and as {name} predicts it, and what is left over.",
        f"Drift by run, {name}: mean over the rows of each run of the measured and of the predicted"
        " shift against what the pair would elute at with average standards. Below: what the"
        " standards leave unexplained.",
        Table(["run", "rows", "measured", "predicted", "bias", "RMSE"], rows),
    )
