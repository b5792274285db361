"""Predictions of retrained models on the outer test split, read from their run folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from molpool_common import FloatArray

from molpool_pipelines.runs import SPLIT, ColumnsConfig, read_run_predictions
from molpool_pipelines.scores import predictions_of
from molpool_pipelines.studies._config import HPOError


@dataclass(frozen=True, eq=False)
class TestPredictions:
    """The outer test split as one run predicts it.

    Parameters
    ----------
    frame : DataFrame
        Its rows of ``predictions.parquet``.
    labels, predictions : ndarray [N, T]
        Labels NaN where missing, or a bound.
    keys : list, length N
        Names of the rows, by which resamples of `molpool-evaluate` put them in order.
    """

    __test__ = False  # not one of pytest's

    frame: pl.DataFrame
    labels: FloatArray
    predictions: FloatArray
    keys: list[Any]

    def __len__(self) -> int:
        return len(self.labels)


def read_test_predictions(run: Path, tasks: Sequence[str]) -> TestPredictions:
    """Return the test split of a run folder of molpool-train.

    Raises
    ------
    HPOError
        If it has none.
    """
    frame = read_run_predictions(run)
    tested = frame[SPLIT] == "test"
    if not tested.any():
        raise HPOError(f"retrain: expected rows of the outer test in {run}; found none.")
    # Of all rows, since a name that is there twice has its place beside it in the key.
    found = predictions_of(frame, run.name, columns=ColumnsConfig(tasks=list(tasks)))
    found = found.take(tested.to_numpy())
    return TestPredictions(frame.filter(tested), found.y_true, found.y_pred, found.keys)


def check_same_rows(tests: Sequence[TestPredictions]) -> None:
    """Raise unless all runs were tested on the same rows.

    Raises
    ------
    HPOError
        Which would be a fault of ours: the outer test does not depend on what is tuned.
    """
    for test in tests[1:]:
        # Order included: predictions are averaged by position.
        same = test.keys == tests[0].keys
        if not same or not np.array_equal(test.labels, tests[0].labels, equal_nan=True):
            raise HPOError("retrain: expected all models to be tested on the same rows.")


def mean_frame(tests: Sequence[TestPredictions], tasks: Sequence[str]) -> pl.DataFrame:
    """Return the rows of the outer test with the mean of several models' predictions.

    With two or more, ``TASK_sd`` is their standard deviation.
    """
    each = np.stack([test.predictions for test in tests])
    # A decision of one member is none of the mean.
    frame = _without(tests[0].frame, " decision")
    columns = []
    for t, task in enumerate(tasks):
        columns.append(pl.Series(f"{task} predicted", each[:, :, t].mean(axis=0)))
        if len(tests) > 1:
            # ddof=1, as ensembles of `molpool-train` have it.
            columns.append(pl.Series(f"{task}_sd", each[:, :, t].std(axis=0, ddof=1)))
    return frame.with_columns(columns)


def with_predictions(
    test: TestPredictions, tasks: Sequence[str], predictions: FloatArray
) -> pl.DataFrame:
    """Return the rows of the outer test with the predictions of another model [N, T]."""
    return _without(test.frame, " decision", "_sd").with_columns(
        pl.Series(f"{task} predicted", predictions[:, t]) for t, task in enumerate(tasks)
    )


def mean_unseen(runs: Sequence[Path], tasks: Sequence[str]) -> pl.DataFrame | None:
    """Return the mean of several models' predictions of the leaderboard table.

    Parameters
    ----------
    runs : sequence of Path
        Run folders, each with one table of predictions of ``data.predict_path``.
    tasks : sequence of str
        Their tasks.

    Returns
    -------
    DataFrame or None
        With ``TASK_sd`` of two or more; None where there is no such table.
    """
    files = [next(iter(sorted(run.glob("predictions_*.parquet"))), None) for run in runs]
    frames = [read_run_predictions(f.parent, f.name) for f in files if f is not None]
    # One model alone has no spread, and its own file is right already.
    if len(frames) < 2:
        return frames[0] if frames else None
    # What one member alone says of itself is not said of the mean.
    own = (" decision", "_lower", "_upper")
    first = frames[0].drop([t + end for t in tasks for end in own], strict=False)
    columns = []
    for task in tasks:
        # Until 2026 these files had the bare name.
        name = next(n for n in (f"{task} predicted", task) if n in first.columns)
        numbers = [frame[name].cast(pl.Float64).fill_null(float("nan")) for frame in frames]
        each = np.stack([column.to_numpy() for column in numbers])
        columns.append(pl.Series(f"{task} predicted", each.mean(axis=0)))
        columns.append(pl.Series(f"{task}_sd", each.std(axis=0, ddof=1)))
    bare = [task for task in tasks if f"{task} predicted" not in first.columns]
    return first.drop(bare).with_columns(columns)


def _without(frame: pl.DataFrame, *endings: str) -> pl.DataFrame:
    return frame.drop([c for c in frame.columns if c.endswith(endings)])
