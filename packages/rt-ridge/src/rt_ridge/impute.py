"""Missing run covariates: an error, or by switch the run's own median and an indicator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from rt_ridge.errors import RTRidgeError, listed

if TYPE_CHECKING:
    import polars as pl

MissingCovariates = Literal["error", "run_median"]

INDICATOR = "_missing"
"""Ending of the column that is 1 where a covariate was missing."""


@dataclass(frozen=True)
class Imputer:
    """Fills gaps of covariates, never with a silent 0.

    Parameters
    ----------
    covariates : tuple of str
        Columns that may have gaps.
    medians : tuple of float
        Of each over the training runs, for runs without any reading of it.
    indicated : tuple of str
        Covariates that had gaps in training; each has an indicator, a covariate of the model.
    run : str
        Column of the run.
    """

    covariates: tuple[str, ...]
    medians: tuple[float, ...]
    indicated: tuple[str, ...]
    run: str = "run"

    @classmethod
    def fit(cls, frame: pl.DataFrame, covariates: Sequence[str], run: str = "run") -> Imputer:
        """Learn the medians, and which covariates have gaps, from the training rows.

        Raises
        ------
        RTRidgeError
            If there is no column of the run, or a covariate has no value at all.
        """
        import polars as pl

        if run not in frame.columns:
            raise RTRidgeError(
                f"run: expected a column {run!r} to take medians in; found {listed(frame.columns)}"
            )
        gaps = frame.select(_is_gap(name) for name in covariates)
        per_run = frame.group_by(run).agg(_median(name) for name in covariates)
        medians = per_run.select(pl.col(name).median() for name in covariates).row(0)
        empty = [name for name, median in zip(covariates, medians, strict=True) if median is None]
        if empty:
            raise RTRidgeError(
                f"covariates: expected a value somewhere in {listed([repr(e) for e in empty])};"
                f" found {frame.height} rows without any"
            )
        indicated = tuple(name for name in covariates if gaps[name].any())
        return cls(tuple(covariates), tuple(float(m) for m in medians), indicated, run)

    @property
    def columns(self) -> tuple[str, ...]:
        """Covariates of the model: those given, and the indicators."""
        return self.covariates + tuple(name + INDICATOR for name in self.indicated)

    def apply(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Fill gaps by the median of the run, else of the training runs; add the indicators.

        Raises
        ------
        RTRidgeError
            If a covariate has gaps that had none in training, so that the model has no indicator
            for it.
        """
        import polars as pl

        gaps = frame.select(_is_gap(name) for name in self.covariates)
        new = [n for n in self.covariates if n not in self.indicated and gaps[n].any()]
        if new:
            row = int(np.flatnonzero(gaps[new[0]].to_numpy())[0])
            raise RTRidgeError(
                f"covariates: expected no gap in {listed([repr(n) for n in new])}, which had none"
                f" in training; found one in row {row + 1}"
            )
        fill = [
            pl.when(_is_gap(name))
            .then(_median(name).over(self.run))
            .otherwise(pl.col(name))
            .fill_null(median)
            .alias(name)
            for name, median in zip(self.covariates, self.medians, strict=True)
        ]
        flags = [_is_gap(n).cast(pl.Float64).alias(n + INDICATOR) for n in self.indicated]
        return frame.with_columns(*fill, *flags)


def refuse_gaps(frame: pl.DataFrame, covariates: Sequence[str]) -> None:
    """Raise `RTRidgeError` if a covariate is missing anywhere; names column, rows and cure."""
    gaps = frame.select(_is_gap(name) for name in covariates)
    for name in covariates:
        rows = np.flatnonzero(gaps[name].to_numpy())
        if len(rows):
            raise RTRidgeError(
                f"{name}: expected a value in every row; found {len(rows)} missing"
                f" (rows {listed((rows + 1).tolist())}). Take the run's median with an indicator by"
                " missing_covariates run_median, or leave the rows out."
            )


def _is_gap(name: str) -> pl.Expr:
    import polars as pl

    column = pl.col(name).cast(pl.Float64)
    return (column.is_null() | column.is_nan()).alias(name)


def _median(name: str) -> pl.Expr:
    import polars as pl

    return pl.col(name).cast(pl.Float64).fill_nan(None).median()
