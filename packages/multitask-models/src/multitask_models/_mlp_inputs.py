"""Features as a network takes them: counts by logarithm, the rest standardised, blocks balanced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from numbers import Integral
from typing import Any

import numpy as np
from molpool_common import BoolArray, Float32Array, FloatArray, IntArray
from numpy.typing import NDArray

from multitask_models._errors import ModelError

CLIP = 3.0
"""Standard deviations that no standardised value exceeds: z becomes 3 tanh(z / 3)."""

REFERENCE_WIDTH = 256
"""Width of a block that enters at its own size."""

_ROWS, _COLUMNS = 4096, 64
"""That are converted at a time: in double precision all would be twice the features."""

MOST_DENSE = 0.1
"""Share of entries other than zero up to which passing over the zeros is quicker (measured)."""


@dataclass(frozen=True)
class InputScaling:
    """How features [N, F] become the inputs [N, C] of a network.

    A block, as the features of one kind, is divided by the root of its width, so that 2 048
    fingerprint counts do not drown 200 descriptors. A block of counts (whole numbers from 0 on)
    enters as log1p; in others each column is standardised and its outliers are bent towards
    `CLIP`. A missing feature is the column's mean, or no count. A column without spread over the
    training rows is left out. Columns of counts that are mostly zero come last, so that a first
    layer can pass over the zeros.

    Parameters
    ----------
    columns : ndarray of int [C]
        Columns that are inputs.
    counts : ndarray of bool [C]
        Those that are counts.
    centre, scale : ndarray [C]
        Mean and standard deviation over the training rows.
    factor : ndarray [C]
        sqrt(256 / width of the column's block).
    sparse : ndarray of bool [C]
        Counts that are zero in most rows: the last columns.
    """

    columns: IntArray
    counts: BoolArray
    centre: FloatArray
    scale: FloatArray
    factor: FloatArray
    sparse: BoolArray

    @classmethod
    def fitted(cls, X: NDArray[Any], widths: Sequence[int] | None) -> InputScaling:
        """Return the scaling that training rows [N, F] in blocks of these widths ask for.

        Raises
        ------
        ModelError
            If the widths do not make up the features.
        """
        widths = [X.shape[1]] if widths is None else list(widths)
        if not all(isinstance(width, Integral) for width in widths):
            raise ModelError(f"blocks: expected widths, whole numbers; found {widths[0]!r}.")
        if sum(widths) != X.shape[1] or min(widths) < 1:
            raise ModelError(
                f"blocks: expected widths from 1 on that make up {X.shape[1]} features; found "
                f"{widths}, {sum(widths)} together."
            )
        parts = []
        for last, width in zip(np.cumsum(widths), widths, strict=True):
            block = X[:, last - width : last]
            centre, scale = _mean_and_deviation(block)
            # A constant's deviation is rounding of its mean.
            inside = np.flatnonzero(scale > 1e-6 * np.abs(centre))
            counts = _are_counts(block)
            filled = np.count_nonzero(block, axis=0)[inside]
            sparse = counts and len(inside) > 0 and filled.mean() <= MOST_DENSE * len(block)
            parts.append(
                cls(
                    last - width + inside,
                    np.full(len(inside), counts),
                    centre[inside],
                    scale[inside],
                    np.full(len(inside), np.sqrt(REFERENCE_WIDTH / width)),
                    np.full(len(inside), sparse),
                )
            )
        joined = [np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)]
        order = np.argsort(joined[-1], kind="stable")
        return cls(*(column[order] for column in joined))

    def transform(self, X: NDArray[Any]) -> Float32Array:
        """Return the inputs of rows [N, F]."""
        # By columns, as products of other layouts round otherwise.
        inputs = np.empty((len(X), len(self.columns)), dtype=np.float32, order="F")
        counts = self.counts
        for start in range(0, len(X), _ROWS):
            taken = X[start : start + _ROWS, self.columns].astype(np.float32)
            # A count that a caller's own table makes negative would be no number.
            taken[:, counts] = np.log1p(np.maximum(taken[:, counts], 0.0))
            dense = (taken[:, ~counts] - self.centre[~counts]) / self.scale[~counts]
            taken[:, ~counts] = CLIP * np.tanh(dense / CLIP)
            taken *= self.factor
            inputs[start : start + _ROWS] = np.nan_to_num(taken, copy=False, nan=0.0)
        return inputs


def _some_columns(block: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield a few columns at a time: what is computed of all is many times the features."""
    for start in range(0, block.shape[1], _COLUMNS):
        yield block[:, start : start + _COLUMNS]


def _are_counts(block: NDArray[Any]) -> bool:
    return all(
        bool((np.isnan(some) | ((some >= 0) & (some == np.floor(some)))).all())
        for some in _some_columns(block)
    )


def _mean_and_deviation(block: NDArray[Any]) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation of each column over its known values, 0 if it has none."""
    centres, deviations = [], []
    for some in _some_columns(block):
        known = ~np.isnan(some)
        n = np.maximum(known.sum(axis=0), 1)
        centre = np.where(known, some, 0.0).sum(axis=0, dtype=np.float64) / n
        squares = np.where(known, some - centre, 0.0) ** 2
        centres.append(centre)
        deviations.append(np.sqrt(squares.sum(axis=0) / n))
    return np.concatenate(centres), np.concatenate(deviations)
