"""Means over rows that have something in common: a run, for drift, or a series, for strata.

Sums come in parts, as a run or a series may lie in several batches of rows and in several folds.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from molpool_common import BoolArray
from rt_ridge import Prediction

from molpool_pipelines.retention._batches import Artefact, Batch, BatchReader
from molpool_pipelines.tables import strata_of

LEVELS = (0.8, 0.95)
"""Of the intervals whose coverage and width strata show."""


def drift_sums(
    artefact: Artefact,
    batch: Batch,
    reader: BatchReader,
    run: str,
    prediction: Prediction,
    used: BoolArray,
) -> pl.DataFrame:
    """Return sums over the rows of each run; `rmse`: of the squares."""
    y = batch.frame[reader.config.target_col]
    center = artefact.summaries.feature_center
    # The covariates at their centre: what the pair would elute at without the drift that standards
    # show.
    still = batch.frame.with_columns(
        pl.lit(value).alias(name)
        for name, value in zip(artefact.summaries.feature_names, center, strict=True)
    )
    error = y - prediction.mean
    frame = pl.DataFrame(
        {
            "run": batch.raw[run].cast(pl.String),
            "observed": y,
            "predicted": prediction.mean,
            "without_drift": reader.predict(artefact, still).mean,
            "bias": error,
            "z_mean": error / prediction.std,
            "rmse": error**2,
        }
    )
    rows = frame.filter(pl.Series(used) & pl.col("bias").is_not_nan())
    return _sums(artefact, rows, ["run"])


def strata_sums(
    artefact: Artefact,
    batch: Batch,
    target: str,
    columns: Sequence[str],
    prediction: Prediction,
    used: BoolArray,
) -> list[pl.DataFrame]:
    """Return sums over the rows of each value of each column; `rmse`: of the squares."""
    error = batch.frame[target] - prediction.mean
    of_rows = {"mae": error.abs(), "rmse": error**2, "bias": error}
    for level in LEVELS:
        half = pl.Series(prediction.half_width(level))
        of_rows[f"coverage_{100 * level:g}"] = error.abs() <= half
        of_rows[f"width_{100 * level:g}"] = 2 * half
    frame = pl.DataFrame(of_rows)
    there = pl.Series(used) & error.is_not_nan()
    return [
        _sums(
            artefact,
            frame.with_columns(
                pl.lit(column).alias("column"), pl.Series("stratum", strata_of(batch.raw[column]))
            ).filter(there),
            ["column", "stratum"],
        )
        for column in columns
    ]


def _sums(artefact: Artefact, rows: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    sums = rows.group_by(by, maintain_order=True).agg(pl.len().alias("n"), pl.exclude(*by).sum())
    return sums.select(pl.lit(artefact.name).alias("artefact"), pl.all())


def mean_drift(parts: Sequence[pl.DataFrame], names: Sequence[str]) -> pl.DataFrame | None:
    """Return the means of `drift_sums`, fits as named, runs in the table's order; None of no parts.

    Runs that are numbers are in theirs.
    """
    if not parts:
        return None
    means = _means(parts, ["artefact", "run"])
    # Only where every name is a number.
    numbers = means["run"].cast(pl.Int64, strict=False)
    if numbers.null_count() == means["run"].null_count():
        # Run 10 comes after run 9, also in tables of text.
        means = means.with_columns(numbers).sort("run")
    return means.sort(_place(names), maintain_order=True)


def mean_strata(parts: Sequence[pl.DataFrame], names: Sequence[str]) -> pl.DataFrame | None:
    """Return the means of `strata_sums`, fits as named, strata by name; None of no parts."""
    if not parts:
        return None
    means = _means(parts, ["artefact", "column", "stratum"])
    columns = list(dict.fromkeys(means["column"].to_list()))
    # Stratum 10 comes after stratum 9.
    number = pl.col("stratum").cast(pl.Float64, strict=False)
    return means.sort(_place(names), _place(columns, "column"), number, "stratum", nulls_last=True)


def _means(parts: Sequence[pl.DataFrame], by: Sequence[str]) -> pl.DataFrame:
    sums = pl.concat(parts).group_by(by, maintain_order=True).sum()
    means = sums.with_columns(pl.exclude(*by, "n") / pl.col("n"))
    # The root last: until here the column held sums of squares.
    return means.with_columns(pl.col("n").cast(pl.Int64), pl.col("rmse").sqrt())


def _place(names: Sequence[str], column: str = "artefact") -> pl.Expr:
    """Return the place of a row's name among some."""
    places = {name: j for j, name in enumerate(names)}
    return pl.col(column).replace_strict(places, return_dtype=pl.Int64)
