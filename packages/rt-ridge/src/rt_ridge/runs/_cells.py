"""What the rows of each run say of each pair: the sums that effects of runs are found from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from molpool_common import FloatArray, IntArray

from rt_ridge.robust._rows import StoredRows
from rt_ridge.statistics._sufficient import SufficientStatistics
from rt_ridge.tables._features import FeatureMap
from rt_ridge.tables._keys import find


@dataclass(frozen=True, eq=False)
class RunCells:
    """Sums over the rows of a pair in a run, about the means of the pair.

    Parameters
    ----------
    pair, run : ndarray of int64, [M]
        Place of the pair in the statistics, and number of the run.
    n : ndarray, [M]
        Rows.
    x : ndarray, [M, P]
        Σ (x - x̄).
    y : ndarray, [M]
        Σ (y - ȳ).
    n_runs : int
        Runs, R.
    """

    pair: IntArray
    run: IntArray
    n: FloatArray
    x: FloatArray
    y: FloatArray
    n_runs: int

    @classmethod
    def of(
        cls,
        stats: SufficientStatistics,
        rows: StoredRows,
        features: FeatureMap,
        n_runs: int,
        scale: FloatArray | None = None,
    ) -> RunCells:
        """Sum up rows by pair and run, in one pass.

        Parameters
        ----------
        stats : SufficientStatistics
            Of these rows; rows of pairs that it lacks are passed over.
        rows : StoredRows
            With their runs.
        features : FeatureMap
            From covariates to the regressors of `stats`.
        n_runs : int
            Runs, R.
        scale : ndarray, [P], or None
            What the model divides regressors by.
        """
        codes, parts = list[IntArray](), list[FloatArray]()
        for part in rows:
            known = part.of(find(stats.keys, part.keys) >= 0)
            assert known.run is not None
            pair = np.repeat(np.searchsorted(stats.keys, known.keys), known.n)
            off = np.column_stack(
                [
                    np.ones(len(pair)),
                    features.transform(known.covariates) - stats.mean_x[pair],
                    known.y - stats.mean_y[pair],
                ]
            )
            code, place = np.unique(pair * n_runs + known.run, return_inverse=True)
            sums = np.zeros((len(code), off.shape[1]))
            np.add.at(sums, place, off)
            codes.append(code)
            parts.append(sums)
        code, place = np.unique(np.concatenate(codes), return_inverse=True)
        total = np.zeros((len(code), stats.P + 2))
        np.add.at(total, place, np.concatenate(parts))
        pair, run = np.divmod(code, n_runs)
        x = total[:, 1:-1] if scale is None else total[:, 1:-1] / scale
        return cls(pair, run, total[:, 0], x, total[:, -1], n_runs)

    def take(self, pairs: IntArray, runs: IntArray) -> RunCells:
        """Return the cells of some pairs and runs, given by their numbers in ascending order."""
        pair, run = find(pairs, self.pair), find(runs, self.run)
        kept = (pair >= 0) & (run >= 0)
        parts = (self.n[kept], self.x[kept], self.y[kept])
        return RunCells(pair[kept], run[kept], *parts, len(runs))

    def without(self, stats: SufficientStatistics, effects: FloatArray) -> SufficientStatistics:
        """Return the statistics of times less the effects of their runs, [R]."""
        G, of_cell = stats.G, effects[self.run]
        mean = np.bincount(self.pair, self.n * of_cell, G) / stats.mass
        sxy = stats.sxy.copy()
        np.add.at(sxy, self.pair, -self.x * of_cell[:, None])
        syy = stats.syy + np.bincount(self.pair, of_cell * (self.n * of_cell - 2 * self.y), G)
        syy -= stats.mass * mean**2
        # A sum of squares is not negative, whatever rounding leaves.
        return replace(stats, mean_y=stats.mean_y - mean, sxy=sxy, syy=np.maximum(syy, 0.0))
