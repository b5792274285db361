"""The label table: which row carries a label of which task.

Everything walks the table in chunks of rows, so that no mask of its full size is ever held.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from sampling_core.errors import SamplingError, listed

Targets = npt.NDArray[np.generic]
Counts = npt.NDArray[np.int64]
Codes = npt.NDArray[np.signedinteger]

CHUNK_ENTRIES = 1 << 21
"""Entries of the table looked at in one go: temporaries stay at some tens of MB."""


def as_targets(targets: npt.ArrayLike) -> Targets:
    """Return the label table as a numeric array (N, T), without a copy where it is one already.

    Raises
    ------
    SamplingError
        If it holds no numbers, has no row or no column, or more than two axes.
    """
    table = np.asarray(targets)
    if table.dtype.kind not in "fiub":
        try:
            table = table.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise SamplingError(
                f"targets: expected numbers with NaN where there is no label; {error}"
            ) from error
    if table.ndim == 1:
        table = table[:, None]
    if table.ndim != 2 or 0 in table.shape:
        raise SamplingError(
            f"targets: expected (rows, tasks) with at least one of each, found shape {table.shape}"
        )
    return table


def row_chunks(n_rows: int, n_columns: int = 1) -> Iterator[slice]:
    """Yield slices that cover the rows in order, each of about `CHUNK_ENTRIES` entries."""
    step = max(1, CHUNK_ENTRIES // n_columns)
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def label_masks(table: Targets) -> Iterator[tuple[slice, npt.NDArray[np.bool_]]]:
    """Yield for each chunk of rows its slice and its mask (n, T) of labels."""
    for rows in row_chunks(*table.shape):
        yield rows, ~np.isnan(table[rows])


def count_labels(table: Targets) -> Counts:
    """Return the number of labels of each task (T,).

    Raises
    ------
    SamplingError
        If a value is infinite or no task has a label.
    """
    counts = np.zeros(table.shape[1], dtype=np.int64)
    for rows, labelled in label_masks(table):
        _refuse_infinite(table, rows)
        counts += np.count_nonzero(labelled, axis=0)
    if not counts.any():
        raise SamplingError(f"targets: no label in any of {len(table)} rows; every value is NaN")
    return counts


def count_codes(codes: Codes, n_codes: int) -> Counts:
    """Return how often each code from 0 on comes (n_codes,), leaving out those below 0."""
    counts = np.zeros(n_codes, dtype=np.int64)
    for rows in row_chunks(len(codes)):
        # Chunk by chunk, as counting widens what it counts to eight bytes.
        chunk = codes[rows]
        counts += np.bincount(chunk[chunk >= 0], minlength=n_codes)
    return counts


def _refuse_infinite(table: Targets, rows: slice) -> None:
    infinite = np.isinf(table[rows])
    if infinite.any():
        places = [f"row {rows.start + i} column {j}" for i, j in np.argwhere(infinite)[:11]]
        raise SamplingError(
            f"targets: expected finite values or NaN, found infinity at {listed(places)}"
        )


def primary_tasks(table: Targets, counts: Counts) -> Codes:
    """Return the labelled task with the fewest labels of each row (N,), -1 where there is none.

    Of tasks with equally many labels the lowest column is primary.
    """
    rarest_first = np.argsort(counts, kind="stable")
    primary = np.empty(len(table), dtype=np.min_scalar_type(-table.shape[1]))
    for rows, labelled in label_masks(table):
        chunk = np.full(len(labelled), -1, dtype=primary.dtype)
        for task in rarest_first[::-1]:
            np.copyto(chunk, task, where=labelled[:, task], casting="unsafe")
        primary[rows] = chunk
    return primary
