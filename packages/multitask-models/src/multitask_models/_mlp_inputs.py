"""Features as a network takes them: counts by logarithm, the rest standardised, blocks balanced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from molpool_common import BoolArray, Float32Array, FloatArray, IntArray
from numpy.typing import NDArray

from multitask_models._errors import ModelError

CLIP = 3.0
"""Standard deviations that no standardised value exceeds: z becomes 3 tanh(z / 3)."""

REFERENCE_WIDTH = 256
"""Width of a block that enters at its own size."""

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
        widths = [X.shape[1]] if widths is None else [int(width) for width in widths]
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
            sparse = counts and bool((block[:, inside] != 0).mean() <= MOST_DENSE)
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
        taken = X[:, self.columns].astype(np.float32)
        counts = self.counts
        # A count that a caller's own table makes negative would be no number.
        taken[:, counts] = np.log1p(np.maximum(taken[:, counts], 0.0))
        dense = (taken[:, ~counts] - self.centre[~counts]) / self.scale[~counts]
        taken[:, ~counts] = CLIP * np.tanh(dense / CLIP)
        taken *= self.factor
        return np.nan_to_num(taken, copy=False, nan=0.0)


def _are_counts(block: NDArray[Any]) -> bool:
    known = block[~np.isnan(block)]
    return bool(((known >= 0) & (known == np.floor(known))).all())


def _mean_and_deviation(block: NDArray[Any]) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation of each column over its known values, 0 if it has none."""
    known = ~np.isnan(block)
    n = np.maximum(known.sum(axis=0), 1)
    centre = np.where(known, block, 0.0).sum(axis=0, dtype=np.float64) / n
    squares = np.where(known, block - centre, 0.0) ** 2
    return centre, np.sqrt(squares.sum(axis=0) / n)
