"""Predictions of retrained models on the outer test, read from their run folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from molpool_common import FloatArray

from molpool_pipelines.studies.errors import HPOError


@dataclass(frozen=True, eq=False)
class TestSide:
    """The outer test as one run predicts it.

    Parameters
    ----------
    frame : DataFrame
        Its rows of ``predictions.parquet``.
    labels, predictions : ndarray [N, T]
        Labels NaN where missing, or a bound.
    """

    __test__ = False  # not one of pytest's

    frame: pl.DataFrame
    labels: FloatArray
    predictions: FloatArray

    def __len__(self) -> int:
        return len(self.labels)


def read_test(run: Path, tasks: Sequence[str]) -> TestSide:
    """Return the test side of a run folder of molpool-train.

    Raises
    ------
    HPOError
        If it has none.
    """
    frame = pl.read_parquet(run / "predictions.parquet").filter(pl.col("side") == "test")
    if frame.is_empty():
        raise HPOError(f"retrain: expected rows of the outer test in {run}; found none.")
    labels = np.stack([_labels(frame, task) for task in tasks], axis=1)
    predictions = np.stack([_as_numbers(frame[f"{task} predicted"]) for task in tasks], axis=1)
    return TestSide(frame, labels, predictions)


def check_same_rows(sides: Sequence[TestSide]) -> None:
    """Raise unless all runs were tested on the same rows.

    Raises
    ------
    HPOError
        Which would be a fault of ours: the outer test does not depend on what is tuned.
    """
    keys = [c for c in ("id", "source", "row", "SMILES") if c in sides[0].frame.columns]
    for side in sides[1:]:
        same = side.frame.select(keys).equals(sides[0].frame.select(keys))
        if not same or not np.array_equal(side.labels, sides[0].labels, equal_nan=True):
            raise HPOError("retrain: expected all models to be tested on the same rows.")


def mean_frame(sides: Sequence[TestSide], tasks: Sequence[str]) -> pl.DataFrame:
    """Return the rows of the outer test with the mean of several models' predictions.

    With two or more, ``TASK_sd`` is their standard deviation.
    """
    each = np.stack([side.predictions for side in sides])
    frame = sides[0].frame.drop([c for c in sides[0].frame.columns if c.endswith(" decision")])
    columns = []
    for t, task in enumerate(tasks):
        columns.append(pl.Series(f"{task} predicted", each[:, :, t].mean(axis=0)))
        if len(sides) > 1:
            columns.append(pl.Series(f"{task}_sd", each[:, :, t].std(axis=0, ddof=1)))
    return frame.with_columns(columns)


def with_predictions(side: TestSide, tasks: Sequence[str], predictions: FloatArray) -> pl.DataFrame:
    """Return the rows of the outer test with the predictions of another model [N, T]."""
    derived = (" decision", "_sd")
    frame = side.frame.drop([c for c in side.frame.columns if c.endswith(derived)])
    return frame.with_columns(
        pl.Series(f"{task} predicted", predictions[:, t]) for t, task in enumerate(tasks)
    )


def mean_unseen(runs: Sequence[Path]) -> pl.DataFrame | None:
    """Return the mean of several models' predictions of the leaderboard table.

    Parameters
    ----------
    runs : sequence of Path
        Run folders, each with one table of predictions of ``data.predict_path``.

    Returns
    -------
    DataFrame or None
        Numbers are means over the runs, with ``NAME_sd`` of two or more; None where there is no
        such table.
    """
    files = [next(iter(sorted(run.glob("predictions_*.parquet"))), None) for run in runs]
    frames = [pl.read_parquet(file) for file in files if file is not None]
    if not frames:
        return None
    first = frames[0].drop([c for c in frames[0].columns if c.endswith(" decision")])
    if len(frames) == 1:
        return frames[0]
    numbers = [c for c, kind in first.schema.items() if kind.is_float() and not c.endswith("_sd")]
    columns = []
    for name in numbers:
        each = np.stack([_as_numbers(frame[name]) for frame in frames])
        columns.append(pl.Series(name, each.mean(axis=0)))
        columns.append(pl.Series(f"{name}_sd", each.std(axis=0, ddof=1)))
    return first.with_columns(columns)


def _labels(frame: pl.DataFrame, task: str) -> FloatArray:
    values = _as_numbers(frame[task])
    modifier = f"{task} modifier"
    if modifier not in frame.columns:
        return values
    exact = (frame[modifier].fill_null("=") == "=").to_numpy()
    return np.where(exact, values, np.nan)


def _as_numbers(column: pl.Series) -> FloatArray:
    numbers: FloatArray = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return numbers
