"""Figures of fits and evaluations, each with words and numbers beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from matplotlib.figure import Figure as Picture
from molpool_common import InputError, Table, load_config
from rt_ridge import (
    GroupwiseRidge,
    Stage1CoeffSummaries,
    SufficientStatistics,
    plot_drift,
    plot_shrinkage,
    plot_slopes,
    plot_support,
)

from molpool_pipelines.retention.config import FitConfig
from molpool_pipelines.retention.evaluation import Evaluation, with_rows
from molpool_pipelines.retention.folder import COEFFICIENTS, CONFIG, METRICS, STATISTICS

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
"""Columns of an evaluation that say how far off the means are, as readers see them."""

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
"""Columns that say how honest the intervals are."""


@dataclass(frozen=True)
class Drawn:
    """A figure with a name for its file, words for those who cannot see it, and its numbers."""

    name: str
    picture: Picture
    alt: str
    caption: str
    data: Table | None = None


@dataclass(frozen=True)
class FittedRun:
    """The folder that `molpool-rt fit` left.

    Attributes
    ----------
    name : str
        Of the folder.
    summaries : Stage1CoeffSummaries
        The artefact.
    metrics : dict
        metrics.json.
    config : str
        Its keys that are not at their default, dotted, one a line.
    statistics : SufficientStatistics or None
        Of the regressors.
    """

    name: str
    summaries: Stage1CoeffSummaries
    metrics: dict[str, Any]
    config: str
    statistics: SufficientStatistics | None

    @classmethod
    def load(cls, folder: str) -> FittedRun:
        """Read a run folder, or raise `InputError` or `RTRidgeError`."""
        path = Path(folder)
        absent = [n for n in (COEFFICIENTS, METRICS, CONFIG) if not (path / n).is_file()]
        if absent:
            raise InputError(
                "runs",
                expected="folders of molpool-rt fit",
                found=f"{folder!r} without {absent[0]}",
            )
        statistics = path / STATISTICS
        return cls(
            path.resolve().name,
            Stage1CoeffSummaries.load(path / COEFFICIENTS),
            json.loads((path / METRICS).read_text(encoding="utf-8")),
            _settings(path / CONFIG),
            SufficientStatistics.load(statistics) if statistics.is_file() else None,
        )


def _settings(path: Path) -> str:
    config = load_config(FitConfig, path)
    changed = config.model_dump(mode="json", exclude_defaults=True)
    return "\n".join(_lines(changed))


def _lines(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _lines(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}: {json.dumps(value, ensure_ascii=False)}"


def fit_figures(run: FittedRun) -> Iterator[Drawn]:
    """Draw what pooling did, and the slopes of the supercategories."""
    regressors = run.summaries.features.regressors
    what = regressors[0] if regressors else "intercept"
    pooled = run.metrics["model"] in ("partial_pooling", "supercategory")
    if pooled and run.statistics is not None:
        own = GroupwiseRidge().fit(run.statistics, features=run.summaries.features).summaries_
        yield Drawn(
            f"shrinkage_{run.name}",
            plot_shrinkage(own, run.summaries, what),
            f"Estimates of {what} of each pair on its own against pooled ones.",
            f"Left: {what} of every pair, fitted on its own (ridge, penalty 1) and pooled. Right: "
            "how far pooling moved it, by the training rows of the pair.",
        )
    if regressors:
        yield Drawn(
            f"slopes_{run.name}",
            plot_slopes(run.summaries, what),
            f"Boxes of the slopes of {what} by supercategory.",
            f"Slope of {what} of all pairs in each supercategory: box, quartiles; line, median; "
            "whiskers, 1.5 box lengths.",
            _slope_table(run),
        )


def _slope_table(run: FittedRun) -> Table:
    summaries = run.summaries
    group = summaries.keys >> 32
    parents = summaries.coefficients.parents
    parent = group if parents is None else parents.of(group)
    names = summaries.features.regressors
    frame = pl.DataFrame(summaries.mean[:, 1:], schema=list(names)).with_columns(
        pl.Series("supercategory", parent)
    )
    means = frame.group_by("supercategory").agg(
        pl.len().cast(pl.Int64).alias("pairs"), pl.col(names).mean()
    )
    rows = means.sort("supercategory").head(200).rows()
    return Table(means.columns, rows, caption="Mean slope of the pairs of each supercategory.")


def evaluation_figures(evaluation: Evaluation) -> Iterator[Drawn]:
    """Draw error and coverage by support, and the drift of the runs."""
    own = {s.name: s.table for s in evaluation.scored}
    yield _support("support", own, "All rows that each model predicts, by the training rows of")
    if len(own) > 1:
        common = {s.name: s.common for s in evaluation.scored}
        first = evaluation.scored[0].name
        text = (
            f"The {evaluation.n_common:,} rows that all predict, by the training rows in {first} of"
        )
        yield _support("support_common", common, text)
    if evaluation.drift is not None:
        yield from map(_drift, evaluation.drift.partition_by("artefact", maintain_order=True))


def _support(name: str, tables: dict[str, pl.DataFrame], which: str) -> Drawn:
    filled = {bin_ for table in tables.values() for bin_ in with_rows(table)["support"]}
    shown = {n: t.filter(pl.col("support").is_in(filled)) for n, t in tables.items()}
    return Drawn(
        name,
        plot_support(shown),
        "RMSE and coverage of the intervals by the number of training rows of the pair.",
        f"{which} their pair: error, and share of the rows inside the 95 % (solid), 80 % (dashed) "
        "and 50 % (dotted) intervals. Grey: what the intervals claim.",
        Table(
            ["model", *(ERRORS | INTERVALS).values()],
            [[n, *row] for n, t in shown.items() for row in t.select(*(ERRORS | INTERVALS)).rows()],
        ),
    )


def _drift(runs: pl.DataFrame) -> Drawn:
    name = runs["artefact"][0]
    columns = ("run", "observed", "predicted", "without_drift")
    rows = runs.select("run", "n", "observed", "predicted", "bias", "rmse").head(1000).rows()
    return Drawn(
        f"drift_{name}",
        plot_drift(*(runs[c].to_numpy() for c in columns)),
        f"Mean shift of each run, as measured and as {name} predicts it, and what is left over.",
        f"Drift by run, {name}: mean over the rows of each run of the measured and of the predicted"
        " shift against what the pair would elute at with average standards. Below: what the"
        " standards leave unexplained.",
        Table(["run", "rows", "measured", "predicted", "bias", "RMSE"], rows),
    )


def save(drawn: Sequence[Drawn], folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write each figure in each format and return the files."""
    from molpool_common import atomic_path, style

    written = []
    for one in drawn:
        for suffix in formats:
            path = folder / f"{one.name}.{suffix}"
            with style(), atomic_path(path) as temporary:
                one.picture.savefig(temporary, format=suffix, dpi=160)
            written.append(path)
    return written
