"""What a model says of molecules, as columns of a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from molpool_common import FloatArray
from numpy.typing import NDArray

from molpool_pipelines.models.saved import Predicted


def prediction_columns(
    tasks: Sequence[str], predicted: Predicted, rows: NDArray[np.int64], n: int
) -> list[pl.Series]:
    """Return, of each task, ``TASK predicted``, ``TASK_sd`` and ``TASK decision``.

    Parameters
    ----------
    tasks : sequence of str, length T
        Their names.
    predicted : Predicted
        Of R rows; what it has no values of gets no columns.
    rows : ndarray of int64 [R]
        Their places in the columns.
    n : int
        Length of the columns, null where there is no row.
    """
    columns = []
    for t, task in enumerate(tasks):
        columns.append(spread(f"{task} predicted", predicted.mean[:, t], rows, n))
        if predicted.sd is not None:
            columns.append(spread(f"{task}_sd", predicted.sd[:, t], rows, n))
        if predicted.decisions is not None:
            called = predicted.decisions[:, t].astype(np.float64)
            called[np.isnan(predicted.mean[:, t])] = np.nan
            flags = spread(f"{task} decision", called, rows, n)
            columns.append(flags.cast(pl.Boolean))
    return columns


def spread(name: str, values: FloatArray, rows: NDArray[np.int64], n: int) -> pl.Series:
    """Return values as a column of `n` rows, null where there is none."""
    column = np.full(n, np.nan)
    column[rows] = values
    return pl.Series(name, column).fill_nan(None)
