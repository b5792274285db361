"""Errors and interval coverage by support, from chunks of any size in any order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from molpool_common import FloatArray, IntArray

from rt_ridge.errors import RTRidgeError
from rt_ridge.intervals import SUPPORT_EDGES

if TYPE_CHECKING:
    import polars as pl

    from rt_ridge.summaries import Prediction


COVERAGES = (0.5, 0.8, 0.95)
"""Nominal coverage of the central intervals that are checked."""

PERCENTILES = (50, 90, 99)
"""Percentiles of the pairs' RMSE."""

_COMPACT = 200_000
"""Pairs kept unmerged before equal ones are added up."""


class SupportMetrics:
    """Sums over rows, by the number of training rows of their pair.

    Sums add, so that chunks, files and machines give the answer of the whole table.

    Parameters
    ----------
    edges : sequence of int
        Least support of each bin, ascending, from 1 on; pairs never seen have a bin of their own.

    Raises
    ------
    RTRidgeError
        If the edges do not ascend from 1.
    """

    def __init__(self, edges: Sequence[int] = SUPPORT_EDGES) -> None:
        if not edges or edges[0] != 1 or any(np.diff(edges) <= 0):
            raise RTRidgeError(f"edges: expected ascending from 1; found {list(edges)}")
        self.edges = tuple(int(edge) for edge in edges)
        n_bins = len(self.edges) + 1
        # Of rows, |e|, e², z, z²; then of hits and widths of each interval.
        self._sums = np.zeros((n_bins, 5 + 2 * len(COVERAGES)))
        self._missing = np.zeros(n_bins, dtype=np.int64)
        self._pairs = _Pairs()

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the bins: "unseen", "1", "2-4", ..., ">=100"."""
        inner = [
            str(low) if high == low + 1 else f"{low}-{high - 1}"
            for low, high in pairwise(self.edges)
        ]
        return ("unseen", *inner, f">={self.edges[-1]}")

    @property
    def n_rows(self) -> int:
        """Rows seen, with and without a prediction."""
        return int(self._sums[:, 0].sum() + self._missing.sum())

    @property
    def share_unseen(self) -> float:
        """Share of the rows whose pair has no training row."""
        return float((self._sums[0, 0] + self._missing[0]) / max(self.n_rows, 1))

    def update(
        self, y: FloatArray, prediction: Prediction, support: IntArray, keys: IntArray
    ) -> None:
        """Add a chunk of rows.

        Parameters
        ----------
        y : ndarray, [N]
            Measured retention times.
        prediction : Prediction
            Of the same rows; rows with NaN are counted as missing and left out of the rest.
        support : ndarray of int, [N]
            Training rows of each row's pair.
        keys : ndarray of int64, [N]
            The pairs, for the RMSE of each.
        """
        bins = np.searchsorted(self.edges, support, side="right")
        there = ~np.isnan(prediction.mean)
        n_bins = len(self._sums)
        self._missing += np.bincount(bins[~there], minlength=n_bins)
        error, std, bins = (y - prediction.mean)[there], prediction.std[there], bins[there]
        z = error / std
        columns = [np.ones_like(error), np.abs(error), error**2, z, z**2]
        for coverage in COVERAGES:
            half = prediction.half_width(coverage)[there]
            columns += [(np.abs(error) <= half).astype(np.float64), 2 * half]
        for j, column in enumerate(columns):
            self._sums[:, j] += np.bincount(bins, column, minlength=n_bins)
        self._pairs.add(keys[there], bins, error**2)

    def merge(self, *others: SupportMetrics) -> SupportMetrics:
        """Return the metrics of all rows of this and the others.

        Raises
        ------
        RTRidgeError
            If their bins differ.
        """
        merged = SupportMetrics(self.edges)
        for part in (self, *others):
            if part.edges != self.edges:
                raise RTRidgeError(
                    f"edges: expected {list(self.edges)} in all parts; found {list(part.edges)}"
                )
            merged._sums += part._sums
            merged._missing += part._missing
            merged._pairs.extend(part._pairs)
        return merged

    def table(self) -> pl.DataFrame:
        """Return one row a bin, the least support first, and one of all rows.

        Returns
        -------
        DataFrame
            Columns support, n, n_missing, n_pairs, mae, rmse, coverage_50, coverage_80,
            coverage_95, width_50, width_80, width_95, z_mean, z_sd, pair_rmse_p50, pair_rmse_p90,
            pair_rmse_p99; null where a bin has no row.
        """
        import polars as pl

        sums = np.concatenate([self._sums, self._sums.sum(axis=0)[None]])
        columns: dict[str, object] = {
            "support": [*self.labels, "all"],
            "n": sums[:, 0].astype(np.int64),
            "n_missing": [*self._missing, self._missing.sum()],
        }
        with np.errstate(invalid="ignore", divide="ignore"):
            means = sums / sums[:, :1]
            columns |= self._pairs.summary(len(self._sums))
            columns |= {"mae": means[:, 1], "rmse": np.sqrt(means[:, 2])}
            for j, coverage in enumerate(COVERAGES):
                columns[f"coverage_{coverage * 100:.0f}"] = means[:, 5 + 2 * j]
                columns[f"width_{coverage * 100:.0f}"] = means[:, 6 + 2 * j]
            columns["z_mean"] = means[:, 3]
            spread = sums[:, 4] - sums[:, 0] * means[:, 3] ** 2
            columns["z_sd"] = np.sqrt(np.maximum(spread, 0.0) / (sums[:, 0] - 1))
        return pl.DataFrame(columns).select(_ordered(columns)).fill_nan(None)


def _ordered(columns: dict[str, object]) -> list[str]:
    front = [name for name in columns if not name.startswith(("width", "pair_rmse", "z_"))]
    return front + [name for name in columns if name not in front]


class _Pairs:
    """Rows and squared errors of every pair, added up when there are many."""

    def __init__(self) -> None:
        self._parts: list[tuple[IntArray, IntArray, FloatArray, FloatArray]] = []

    def add(self, keys: IntArray, bins: IntArray, squares: FloatArray) -> None:
        unique, place = np.unique(keys, return_inverse=True)
        at = np.empty(len(unique), dtype=np.int64)
        at[place] = bins
        self._parts.append((unique, at, *_sums_of(place, np.ones_like(squares), squares)))
        if sum(len(part[0]) for part in self._parts[1:]) > _COMPACT:
            self._parts = [self._merged()]

    def extend(self, other: _Pairs) -> None:
        self._parts += other._parts

    def _merged(self) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
        if not self._parts:
            none = np.zeros(0, dtype=np.int64)
            return none, none, np.zeros(0), np.zeros(0)
        keys, bins, rows, squares = (np.concatenate(c) for c in zip(*self._parts, strict=True))
        unique, first, place = np.unique(keys, return_index=True, return_inverse=True)
        return unique, bins[first], *_sums_of(place, rows, squares)

    def summary(self, n_bins: int) -> dict[str, object]:
        _, bins, rows, squares = self._merged()
        rmse = np.sqrt(squares / rows)
        parts = [rmse[bins == b] for b in range(n_bins)] + [rmse]
        columns: dict[str, object] = {"n_pairs": [len(part) for part in parts]}
        for q in PERCENTILES:
            columns[f"pair_rmse_p{q}"] = [
                float(np.percentile(part, q)) if len(part) else None for part in parts
            ]
        return columns


def _sums_of(
    place: IntArray, rows: FloatArray, squares: FloatArray
) -> tuple[FloatArray, FloatArray]:
    # Without any row numpy counts in integers.
    counted = np.bincount(place, rows).astype(np.float64)
    return counted, np.bincount(place, squares).astype(np.float64)
