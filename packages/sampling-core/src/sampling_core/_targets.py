"""The label table: which row carries a label of which task, and how rare a task is.

Everything walks the table in chunks of rows, so that no mask of its full size is ever held.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from molpool_common import BoolArray, FloatArray, IntArray, listed
from numpy.typing import ArrayLike, NDArray

from sampling_core._cells import CellRows, Codes, group_rows
from sampling_core._errors import SamplingError


class LabelMask:
    """Which labels there are, a bit for each: 60 MB for 20 000 000 rows of 20 tasks.

    The samplers ask no more of a table of labels than this, so that one larger than memory is
    drawn from too. `RarePositiveSampler` alone looks at values.

    Parameters
    ----------
    bits : ndarray of uint8, (N, ceil(T / 8))
        As `numpy.packbits` packs rows.
    n_tasks : int
        The T tasks.
    """

    def __init__(self, bits: NDArray[np.uint8], n_tasks: int) -> None:
        self._bits = bits
        self.shape = (len(bits), n_tasks)

    @classmethod
    def from_chunks(cls, chunks: Iterable[ArrayLike]) -> LabelMask:
        """Return the mask of a table that is read chunk after chunk, each looked at once.

        Parameters
        ----------
        chunks : iterable of array_like, (n, T)
            Labels of some rows each, NaN where there is none; all of the same T tasks.

        Raises
        ------
        SamplingError
            If there is no row, a value is infinite, or chunks have different numbers of tasks.
        """
        packed: list[NDArray[np.uint8]] = []
        n_tasks = 0
        for chunk in chunks:
            table = as_values(chunk)
            _refuse_infinite(table, slice(0, len(table)), first=sum(map(len, packed)))
            if packed and table.shape[1] != n_tasks:
                raise SamplingError(
                    f"targets: expected {n_tasks} tasks in each chunk, as in the first; found "
                    f"{table.shape[1]}"
                )
            n_tasks = table.shape[1]
            packed.append(np.packbits(~np.isnan(table), axis=1))
        if not packed:
            raise SamplingError("targets: expected rows, found no chunk of them")
        return cls(np.concatenate(packed), n_tasks)

    def __len__(self) -> int:
        return len(self._bits)

    def of(self, rows: slice) -> BoolArray:
        """Return the mask (n, T) of some rows."""
        return np.unpackbits(self._bits[rows], axis=1, count=self.shape[1]).view(np.bool_)


Targets = NDArray[np.generic] | LabelMask

COUNT_OFFSET = 1e-6
"""Added to a count in the multiplicative weight, as its definition has it."""

CHUNK_ENTRIES = 1 << 21
"""Entries of the table looked at in one go: temporaries stay at some tens of MB."""


def as_targets(targets: ArrayLike | LabelMask) -> Targets:
    """Return the label table as a numeric array (N, T), without a copy where it is one already.

    Raises
    ------
    SamplingError
        If it holds no numbers, has no row or no column, or more than two axes.
    """
    if isinstance(targets, LabelMask):
        return targets
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


def as_values(targets: ArrayLike | LabelMask) -> NDArray[np.generic]:
    """Return the label table as `as_targets` does; `SamplingError` where only its mask is given."""
    table = as_targets(targets)
    if isinstance(table, LabelMask):
        raise SamplingError("targets: expected values, whose positives count; found a LabelMask")
    return table


def row_chunks(n_rows: int, n_columns: int = 1) -> Iterator[slice]:
    """Yield slices that cover the rows in order, each of about `CHUNK_ENTRIES` entries."""
    step = max(1, CHUNK_ENTRIES // n_columns)
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def label_masks(table: Targets) -> Iterator[tuple[slice, BoolArray]]:
    """Yield for each chunk of rows its slice and its mask (n, T) of labels."""
    for rows in row_chunks(*table.shape):
        yield rows, table.of(rows) if isinstance(table, LabelMask) else ~np.isnan(table[rows])


def count_labels(table: Targets) -> IntArray:
    """Return the number of labels of each task (T,).

    Raises
    ------
    SamplingError
        If a value is infinite or no task has a label.
    """
    counts = np.zeros(table.shape[1], dtype=np.int64)
    for rows, labelled in label_masks(table):
        if not isinstance(table, LabelMask):
            _refuse_infinite(table, rows)
        counts += np.count_nonzero(labelled, axis=0)
    if not counts.any():
        raise SamplingError(f"targets: no label in any of {len(table)} rows; every value is NaN")
    return counts


def count_codes(codes: Codes, n_codes: int) -> IntArray:
    """Return how often each code from 0 on comes (n_codes,), leaving out those below 0."""
    counts = np.zeros(n_codes, dtype=np.int64)
    for rows in row_chunks(len(codes)):
        # Chunk by chunk, as counting widens what it counts to eight bytes.
        chunk = codes[rows]
        counts += np.bincount(chunk[chunk >= 0], minlength=n_codes)
    return counts


def _refuse_infinite(table: NDArray[np.generic], rows: slice, first: int = 0) -> None:
    infinite = np.isinf(table[rows])
    if infinite.any():
        start = first + rows.start
        places = [f"row {start + i} column {j}" for i, j in np.argwhere(infinite)[:11]]
        raise SamplingError(
            f"targets: expected finite values or NaN, found infinity at {listed(places)}"
        )


def primary_tasks(table: Targets, counts: IntArray) -> Codes:
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


def inverse_power(counts: IntArray, alpha: float, offset: float = 0.0) -> FloatArray:
    """Return (counts + offset)^-α, scaled so that the largest is 1; exactly 0 for counts of 0.

    The scale cancels in every probability. In logarithms no α over- or underflows all of them.
    """
    weights = np.zeros(len(counts))
    labelled = counts > 0
    log = -alpha * np.log(counts[labelled] + offset)
    weights[labelled] = np.exp(log - log.max())
    return weights


def label_cells(table: Targets, quality: Codes | None = None, n_qualities: int = 1) -> CellRows:
    """Return for each task and quality the rows with that label: cell t · Q + q.

    A row is in one cell for each of its labels.
    """
    n_rows, n_tasks = table.shape

    def entries() -> Iterator[tuple[IntArray, IntArray]]:
        for rows, labelled in label_masks(table):
            task, row = np.nonzero(labelled.T)
            row += rows.start
            yield (task if quality is None else task * n_qualities + quality[row]), row

    return group_rows(entries, n_tasks * n_qualities, n_rows, disjoint=n_tasks == 1)


def class_cells(codes: Codes, n_classes: int) -> CellRows:
    """Return the rows of each class; code -1 is in none."""

    def entries() -> Iterator[tuple[Codes, IntArray]]:
        for rows in row_chunks(len(codes)):
            yield codes[rows], np.arange(rows.start, rows.stop)

    return group_rows(entries, n_classes, len(codes), disjoint=True)
