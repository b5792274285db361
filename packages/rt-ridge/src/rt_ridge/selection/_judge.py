"""How well a model predicts rows that were left out, from sums alone.

The statistics of a fold's rows are taken from those of all rows, the model is solved again at its
scales, and the fold's rows are scored: the sum of squared errors of a line over rows is exact from
their sums, and their mean predictive variance is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from molpool_common import FloatArray, IntArray

from rt_ridge.hierarchy._hierarchy import Hierarchy
from rt_ridge.hierarchy._messages import Spectra
from rt_ridge.posterior._artefact import pair_coefficients
from rt_ridge.selection._held_out import HeldOut
from rt_ridge.statistics._sufficient import SufficientStatistics, standardised, without
from rt_ridge.tables._keys import find

FOLLOW = (1.0, 0.5, 0.0)
"""Shares of a slope that are tried beyond the range of the other runs."""

LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Scores:
    """Predictions of the cells of all folds: rows of one pair in one fold.

    Parameters
    ----------
    squared : ndarray, [F, K]
        Sum of squared errors of each cell, for each share that slopes are followed by.
    variance : ndarray, [F, K]
        Mean predictive variance of its rows.
    log_density : ndarray, [F, K]
        Log predictive density of its rows, as they are weighted: exact for cells of one row, as a
        run has of a compound; rows of others share a variance.
    lines : ndarray, [K, D]
        Mean coefficients of each cell's pair, by the rows of the other folds.
    """

    squared: FloatArray
    variance: FloatArray
    log_density: FloatArray
    lines: FloatArray


class Judge:
    """Folds, prepared for models to be scored on.

    Parameters
    ----------
    stats : SufficientStatistics
        Of all rows, in the user's units.
    held_out : sequence of HeldOut
        Rows of each fold; all of pairs in `stats`. Where rows are weighted, errors are those of
        each row alike: those to come have no weights yet.
    scale : ndarray, [P]
        What regressors are divided by.
    """

    def __init__(
        self, stats: SufficientStatistics, held_out: Sequence[HeldOut], scale: FloatArray
    ) -> None:
        self.stats, self.scale = standardised(stats, scale), scale
        self.folds = [_Fold.of(self.stats, fold, scale) for fold in held_out]
        self.n = np.concatenate([fold.part.n for fold in self.folds]).astype(np.float64)
        counts = [fold.part.G for fold in self.folds]
        self.fold = np.repeat(np.arange(len(counts)), counts)
        kinds = np.unique([fold.kind for fold in held_out], return_inverse=True)[1]
        self.kind = np.repeat(kinds, counts)

    def score(self, hierarchy: Hierarchy, point: FloatArray) -> Scores:
        """Return how a model at given scales predicts each fold from the others.

        Parameters
        ----------
        hierarchy : Hierarchy
            A model of `stats`.
        point : ndarray
            Its scales.
        """
        found = [fold.score(hierarchy, point) for fold in self.folds]
        return Scores(
            np.concatenate([s.squared for s in found], axis=1),
            np.concatenate([s.variance for s in found], axis=1),
            np.concatenate([s.log_density for s in found], axis=1),
            np.concatenate([s.lines for s in found]),
        )

    def squared_errors(self, lines: FloatArray, follow: float) -> FloatArray:
        """Return the sum of squared errors of each cell, [K], by coefficients [K, D]."""
        parts = [f.squared_errors(lines[self.fold == b], follow) for b, f in enumerate(self.folds)]
        return np.concatenate(parts)


@dataclass(frozen=True)
class _Fold:
    """One fold: the sums of its rows, and of the others.

    Parameters
    ----------
    name : str
        Of the fold.
    others : SufficientStatistics
        Of the rows that are not left out.
    spectra : Spectra
        Theirs at equal precisions: the same for most candidates.
    part : SufficientStatistics
        Of regressors and of what lies beyond, of the rows left out.
    weighted : SufficientStatistics or None
        The same as they are weighted, where they are.
    at : ndarray of int64
        Pairs of its cells.
    """

    name: str
    others: SufficientStatistics
    spectra: Spectra
    part: SufficientStatistics
    weighted: SufficientStatistics | None
    at: IntArray

    @classmethod
    def of(cls, stats: SufficientStatistics, held_out: HeldOut, scale: FloatArray) -> _Fold:
        part, P = standardised(held_out.stats, np.tile(scale, 2)), held_out.n_regressors
        weighted = held_out.weighted and standardised(held_out.weighted, np.tile(scale, 2))
        others = without(stats, leading(weighted or part, P, stats.covariates))
        # What no candidate can know would drown what they differ by.
        seen = np.isin(part.compound_ids, others.compound_ids[others.n > 0])
        part = part.subset(seen) if seen.any() else part
        spectra = Spectra(others.sxx, others.sxy, others.mean_x, np.ones(P))
        at = np.searchsorted(stats.keys, part.keys)
        return cls(held_out.name, others, spectra, part, weighted, at)

    def score(self, hierarchy: Hierarchy, point: FloatArray) -> Scores:
        refitted = hierarchy.on(self.others, self.spectra)
        state = refitted.state(point)
        mean, cov = pair_coefficients(refitted, state)
        mean, cov, noise = mean[self.at], cov[self.at], state.sigma2[self.at]
        found = [self._errors(mean, cov, follow) for follow in FOLLOW]
        squared = np.stack([squared for squared, _ in found])
        variance = np.stack([noise + variance for _, variance in found])
        if self.weighted is None:
            return Scores(squared, variance, _density(self.part.mass, squared, variance), mean)
        # Of rows that weigh nothing, 0.
        density = np.zeros_like(squared)
        place = find(self.part.keys, self.weighted.keys)
        part, place = self.weighted.subset(place >= 0), place[place >= 0]
        fold = replace(self, part=part)
        for row, follow in enumerate(FOLLOW):
            heavy = fold._errors(mean[place], cov[place], follow)[0]
            density[row, place] = _density(part.mass, heavy, variance[row, place])
        return Scores(squared, variance, density, mean)

    def squared_errors(self, lines: FloatArray, follow: float) -> FloatArray:
        """Return the sum of squared errors of each cell, by coefficients [K, D]."""
        return self._errors(lines, np.zeros((*lines.shape, lines.shape[1])), follow)[0]

    def _errors(
        self, mean: FloatArray, cov: FloatArray, follow: float
    ) -> tuple[FloatArray, FloatArray]:
        """Return squared errors, summed, and mean variances of the line in each cell."""
        s, P = self.part, self.part.P // 2
        b, w = mean[:, 0], mean[:, 1:]
        # Regressors [z, e] become z - (1 - follow) e.
        turn = np.concatenate([np.eye(P), (follow - 1) * np.eye(P)])
        mean_x, sxy = s.mean_x @ turn, s.sxy @ turn
        sxx = np.matmul(turn.T, np.matmul(s.sxx, turn))
        off = s.mean_y - b - np.einsum("gp,gp->g", mean_x, w)
        squared = s.syy - 2 * np.einsum("gp,gp->g", w, sxy) + np.einsum("gp,gpq,gq->g", w, sxx, w)
        # Rounding may take the scatter about a perfect line below 0.
        squared = np.maximum(squared, 0.0) + s.mass * off**2
        x = np.concatenate([np.ones((len(b), 1)), mean_x], axis=1)
        variance = np.einsum("gd,gde,ge->g", x, cov, x)
        variance += np.einsum("gpq,gpq->g", cov[:, 1:, 1:], sxx) / s.mass
        unsure = 0.0 if follow == 1 else 1 / 12 + (0.5 - follow) ** 2
        if unsure:
            e = s.mean_x[:, P:]
            second = s.sxx[:, P:, P:] / s.mass[:, None, None] + e[:, :, None] * e[:, None, :]
            spread = cov[:, 1:, 1:] + w[:, :, None] * w[:, None, :]
            variance += unsure * np.einsum("gpq,gpq->g", spread, second)
        return squared, np.maximum(variance, 0.0)


def _density(n: FloatArray, squared: FloatArray, variance: FloatArray) -> FloatArray:
    """Return log densities of n rows that share a variance."""
    return np.asarray(-(n * (LOG_2PI + np.log(variance)) + squared / variance) / 2)


def leading(stats: SufficientStatistics, size: int, names: tuple[str, ...]) -> SufficientStatistics:
    """Return the statistics of the first regressors alone."""
    low = stats.mean_low
    if low is not None:
        low = np.concatenate([low[:, :size], low[:, -1:]], axis=1)
    return replace(
        stats,
        mean_x=stats.mean_x[:, :size],
        sxx=stats.sxx[:, :size, :size],
        sxy=stats.sxy[:, :size],
        covariates=names,
        mean_low=low,
    )


def subset_of(stats: SufficientStatistics, most: int) -> SufficientStatistics:
    """Return at most about `most` pairs: all of evenly spaced compounds, or groups.

    Those of whichever there are more of, so that what is shared by pairs is kept.
    """
    if most >= stats.G:
        return stats
    ids = max(stats.compound_ids, stats.group_ids, key=lambda i: len(np.unique(i)))
    unique = np.unique(ids)
    keep = max(2, int(len(unique) * most / stats.G))
    chosen = unique[np.unique(np.linspace(0, len(unique) - 1, keep).round().astype(np.int64))]
    return stats.subset(np.isin(ids, chosen))
