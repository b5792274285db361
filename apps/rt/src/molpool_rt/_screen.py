"""Results on the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, Literal, NamedTuple

import molpool_pipelines.retention as rt
import polars as pl
from molpool_common import listed
from rich.console import Console
from rich.table import Table

MOST_SCALES = 20
"""Scales on the screen; metrics.json has all of them."""

MOST_STRUCTURES = 6
"""Structures on the screen, besides those of the fit."""


def show_prepared(console: Console, prepared: rt.Prepared) -> None:
    """Print what became of the rows."""
    counts, rows = prepared.counts, prepared.rows
    clusters = rows["species_cluster"].n_unique()
    console.print(
        f"{counts['read']:,} rows read, {counts['kept']:,} kept:"
        f" {rows['species'].n_unique():,} species in"
        f" {clusters:,} supercategor{'y' if clusters == 1 else 'ies'}"
    )
    others = {
        "anchors": "of anchors, whose times are covariates",
        "empty_cells": "of empty cells",
        "other_libraries": "of other libraries",
        "without_supercategory": "without a supercategory dropped",
        "without_subgroup": "without a subgroup dropped",
        "without_target": "without a retention time dropped",
        "without_covariate": "without a value of some covariate dropped",
        "capped": "beyond the cap",
    }
    for key, what in others.items():
        if counts.get(key):
            console.print(f"{counts[key]:,} row{'' if counts[key] == 1 else 's'} {what}")
    for note in prepared.notes:
        console.print(note, highlight=False, markup=False)
    for name in () if prepared.imputer is None else prepared.imputer.indicated:
        console.print(f"Gaps of {name} are the run's median, marked in {name}_missing.")
    if prepared.collisions.height:
        n = prepared.collisions.height
        console.print(f"Warning: {n:,} ids or names collide; collisions.csv lists them.")


def show_training(console: Console, training: rt.Training) -> None:
    """Print what a fit is made from."""
    if training.without_parents:
        parent = training.config.parent_col
        console.print(f"No column {parent!r}: groups have no supercategories.")
    counts, names = training.counts(), training.features.names
    console.print(
        f"{counts['rows']:,} rows, {counts['pairs']:,} pairs of {counts['groups']:,} groups and"
        f" {counts['compounds']:,} compounds; "
        + (f"{len(names)} covariates: {listed(names, 6)}" if names else "no covariates")
        + f" ({training.seconds:.1f} s)"
    )
    for note in training.notes:
        console.print(note, highlight=False, markup=False)


def show_fitted(console: Console, fitted: rt.Fitted) -> None:
    """Print what was chosen, the scales with their intervals, diagnostics and notes."""
    if fitted.structure:
        console.print(_structure_table(fitted.structure))
    console.print(scale_table(fitted.estimator.scales_))
    facts = [f"log likelihood {fitted.estimator.log_likelihood_:,.2f}"]
    facts += [f"{name} {v:.4g}" for name, v in fitted.diagnostics.items() if v is not None]
    console.print(", ".join(facts) + f" ({fitted.seconds['fit']:.1f} s)")
    found = fitted.calibrated
    if found is not None:
        console.print(f"{found.sentence()} ({fitted.seconds['calibration']:.1f} s)")
    # Those of reading are on the screen already.
    for note in fitted.said[len(fitted.training.notes) :]:
        console.print(note, highlight=False, markup=False)
    for note in fitted.notes:
        console.print(f"Note: {note}")
    if fitted.residuals is not None and fitted.residuals.n_flagged:
        n, of = fitted.residuals.n_flagged, fitted.residuals.n_rows
        console.print(f"{n:,} of {of:,} peaks are far off what is expected; flagged.csv lists them")


def _structure_table(structures: Sequence[Mapping[str, Any]]) -> Table:
    """Return the best structures, and those of the fit."""
    title = "Structures, by errors on runs left out"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("structure")
    for name in ("weight", "RMSE", "MAE", "log density", "±"):
        table.add_column(name, justify="right")
    shown = [row for i, row in enumerate(structures) if i < MOST_STRUCTURES or row["weight"]]
    for row in shown:
        weight = f"{row['weight']:.0%}" if row["weight"] else ""
        keys = ("rmse", "mae", "log_density", "log_density_se")
        table.add_row(row["name"], weight, *(_number(row[k]) for k in keys))
    if len(shown) < len(structures):
        table.caption = f"and {len(structures) - len(shown)} more in metrics.json"
    return table


def show_predictions(console: Console, predictions: rt.PredictionFile) -> None:
    """Print how many rows were predicted by which level."""
    n_rows = sum(predictions.levels.values())
    console.print(f"{predictions.path}: {n_rows:,} rows", soft_wrap=True)
    if predictions.calibrated:
        console.print("Intervals are calibrated on runs held out from the fit.")
    for note in predictions.notes:
        console.print(note, highlight=False, markup=False)
    for level, n in predictions.levels.items():
        said = "by coefficients of their own pair" if level == "pair" else f"by the level {level}"
        if level != "none":
            console.print(f"  {n:>12,}  {said}")
    for reason, n in predictions.reasons.items():
        console.print(f"  {n:>12,}  without a prediction: {reason}", highlight=False, markup=False)
    if predictions.rejected is not None:
        console.print(f"{predictions.rejected}: the rows without", soft_wrap=True)


def show_evaluation(console: Console, evaluation: rt.Evaluation) -> None:
    """Print a table per fit and, of several, one of all on the rows that all of them predict."""
    for note in evaluation.notes:
        console.print(note, highlight=False, markup=False)
    calibrated = [scored.name for scored in evaluation.scored if scored.calibrated]
    if calibrated:
        console.print(f"Intervals calibrated on runs held out: {', '.join(calibrated)}.")
    if evaluation.n_left_out:
        console.print(f"{evaluation.n_left_out:,} rows of pairs never seen are left out.")
    console.print(
        "Rows by training rows of their pair. none: without a prediction; pair p99: of the pairs'"
        " RMSE; 50, 80, 95 %: share within that interval."
    )
    for scored in evaluation.scored:
        console.print(_support_table(scored))
    if len(evaluation.scored) > 1:
        console.print(
            f"RMSE on the {evaluation.n_common:,} rows that all predict, by support in"
            f" {evaluation.scored[0].name}",
            style="bold",
        )
        console.print(_comparison_table(evaluation))
    if evaluation.strata is not None:
        for part in evaluation.strata.partition_by("column", maintain_order=True):
            console.print(_strata_table(part))
    if evaluation.folds is not None:
        console.print(_fold_table(evaluation.folds))


class Steps:
    """Prints each result of a run of everything once it is there."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, name: str, step: rt.Step) -> None:
        """Print one result; `name` is that of the model."""
        # By type: the run reports what it returns anyway, and knows nothing of screens.
        match step:
            case rt.Training():
                self._console.rule(name)
                show_training(self._console, step)
            case rt.Fitted():
                show_fitted(self._console, step)
            case rt.Evaluation():
                show_evaluation(self._console, step)
            case _:
                self._console.print(f"Simulated {sizes(step)}.")


def sizes(rows: Mapping[str, int]) -> str:
    """Return the sizes of a simulated laboratory as a sentence has them."""
    return (
        f"{rows['train']:,} training and {rows['test']:,} test rows"
        f" of {rows['species']:,} species and {rows['compounds']:,} compounds"
    )


def scale_table(scales: Mapping[str, Mapping[str, float]]) -> Table:
    """Return the scales with their 95 % intervals; a scale at exactly 0 is said to be."""
    table = Table(title="Standard deviations", title_justify="left", title_style="bold")
    table.add_column("scale")
    for head in ("estimate", "95 % from", "to"):
        table.add_column(head, justify="right")
    shown = list(rt.standard_deviations(scales).items())[:MOST_SCALES]
    for name, scale in shown:
        mean = "0 (exactly)" if scale["mean"] == 0 else _number(scale["mean"])
        table.add_row(name, mean, _number(scale["low"]), _number(scale["high"]))
    if len(scales) > len(shown):
        table.caption = f"and {len(scales) - len(shown)} more in metrics.json"
    return table


def _number(value: Any, digits: int = 4) -> str:
    """Return a number for the screen; a dash where there is none."""
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.{digits}g}" if abs(value) < 1e-3 and value else f"{value:.{digits}f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


class _Column(NamedTuple):
    head: str
    column: str
    digits: int = 3


_SUPPORT = (
    _Column("support", "support"),
    _Column("rows", "n"),
    _Column("none", "n_missing"),
    _Column("RMSE", "rmse"),
    _Column("pair p99", "pair_rmse_p99"),
    _Column("50 %", "coverage_50"),
    _Column("80 %", "coverage_80"),
    _Column("95 %", "coverage_95"),
    _Column("z sd", "z_sd", 2),
)


def _support_table(scored: rt.Scored) -> Table:
    """Return errors and coverage by support, pairs never seen first."""
    caption = f"{100 * scored.share_unseen:.1f} % of the rows are of pairs never seen."
    table = Table(title=scored.name, title_justify="left", title_style="bold", caption=caption)
    table.caption_justify = "left"
    filled = rt.nonempty(scored.table)
    shown = [c for c in _SUPPORT if c.column != "n_missing" or filled["n_missing"].sum()]
    for column in shown:
        justify: Literal["left", "right"] = "left" if column.column == "support" else "right"
        table.add_column(column.head, justify=justify)
    for row in filled.iter_rows(named=True):
        if row["support"] == "all":
            table.add_section()
        table.add_row(*(_cell(row[c.column], c.digits) for c in shown))
    return table


def _cell(value: Any, digits: int) -> str:
    return f"{value:.{digits}f}" if isinstance(value, float) else _number(value)


def _comparison_table(evaluation: rt.Evaluation) -> Table:
    """Return the RMSE of each fit below another, on the rows that all of them predict."""
    first = evaluation.scored[0]
    common = rt.nonempty(first.common.with_row_index("place"))
    supports, places = common["support"].to_list(), common["place"].to_list()
    counts = common["n"].to_list()
    errors = [[scored.common["rmse"][place] for place in places] for scored in evaluation.scored]
    rare = [scored.rare.row(-1, named=True) for scored in evaluation.scored]
    if rare[0]["n"]:
        supports.append(f"rare, {rare[0]['support']}")
        counts.append(rare[0]["n"])
        errors = [[*row, of["rmse"]] for row, of in zip(errors, rare, strict=True)]
    # Models may be many, with long names: they are the rows.
    table = Table()
    table.add_column("support")
    for support in supports:
        table.add_column(support, justify="right")
    table.add_row("rows", *map(_number, counts), end_section=True)
    for scored, row in zip(evaluation.scored, errors, strict=True):
        table.add_row(scored.name, *map(_number, row))
    return table


def _strata_table(strata: pl.DataFrame) -> Table:
    """Return errors and coverage of each stratum of one column."""
    title = f"By {strata['column'][0]}"
    table = Table(title=title, title_justify="left", title_style="bold")
    shown = strata.drop("column", "width_80", "width_95")
    for head in ("model", "stratum", "rows", "MAE", "RMSE", "bias", "80 %", "95 %"):
        table.add_column(head, justify="left" if head in ("model", "stratum") else "right")
    for row in shown.iter_rows():
        table.add_row(*(_cell(value, 3) for value in row))
    return table


def _fold_table(folds: pl.DataFrame) -> Table:
    """Return mean and spread over the folds of each model."""
    shown = {"rmse": "RMSE", "mae": "MAE", "coverage_80": "80 %", "coverage_95": "95 %"}
    title = f"Over {folds.select('repeat', 'fold').n_unique()} folds, mean ± sd"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("model")
    for head in shown.values():
        table.add_column(head, justify="right")
    for (name,), part in folds.group_by("artefact", maintain_order=True):
        known = part.drop_nulls(list(shown))
        cells = [f"{_mean(known[c]):.3f} ± {_sd(known[c]):.3f}" for c in shown]
        table.add_row(str(name), *cells)
    return table


def _mean(values: pl.Series) -> float:
    return float(values.to_numpy().mean()) if len(values) else float("nan")


def _sd(values: pl.Series) -> float:
    return float(values.to_numpy().std(ddof=1)) if len(values) > 1 else 0.0


def shift_table(study: rt.ShiftStudy) -> Table:
    """Return the errors by number of anchors, method and distance."""
    title = "MAE by distance of the run, percentiles"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("anchors", justify="right")
    table.add_column("method")
    bins = study.result.bins
    for name in bins:
        table.add_column(name, justify="right")
    grouped = study.summary.group_by("anchors", "method", maintain_order=True)
    for (anchors, method), part in grouped:
        found = dict(zip(part["bin"], part["mae"], strict=True))
        cells = ("–" if found[b] is None else f"{found[b]:.3f}" for b in bins)
        table.add_row(str(anchors), str(method), *cells)
    return table
