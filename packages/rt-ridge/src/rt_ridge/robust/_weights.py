"""One pass over the rows: the weight that a fit gives each, and the sums of weighted rows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from molpool_common import BoolArray, FloatArray

from rt_ridge.prediction._summaries import Stage1CoeffSummaries
from rt_ridge.prediction._tails import LOG_2PI, Tails
from rt_ridge.robust._rows import SortedRows, StoredRows
from rt_ridge.statistics._moments import two_sum
from rt_ridge.statistics._sufficient import SufficientStatistics
from rt_ridge.tables._keys import find, unpack

FULL_LEVERAGE = 0.999
"""Leverage from which a row is its own prediction, and nothing is known of it without it."""


@dataclass(frozen=True)
class RowWeights:
    """What a fit makes of rows that it was fitted to.

    Parameters
    ----------
    residual : ndarray, [N]
        Times less what is expected.
    line : ndarray, [N]
        Variance of what is expected.
    sigma2 : ndarray, [N]
        σ².
    weight : ndarray, [N]
        Expected precision of each row's error, over σ⁻²; 0 of rows that are left out.
    """

    residual: FloatArray
    line: FloatArray
    sigma2: FloatArray
    weight: FloatArray

    @property
    def z2(self) -> FloatArray:
        """Expected squared errors over σ², the line's own variance counted in, [N]."""
        return np.asarray((self.residual**2 + self.line) / self.sigma2)

    @property
    def leave_one_out(self) -> tuple[FloatArray, FloatArray]:
        """How far rows are off from the fit to all others, and the sd of that, [N] each.

        NaN where the others say nothing of a row. For a line that is normal given the weights this
        needs no further fit: a row has the leverage h = u x·Cx / σ².
        """
        leverage = self.weight * self.line / self.sigma2
        rest = np.where(leverage < FULL_LEVERAGE, 1 - leverage, np.nan)
        return self.residual / rest, np.sqrt(self.sigma2 + self.line / rest)


def row_weights(
    residual: FloatArray,
    line: FloatArray,
    sigma2: FloatArray,
    tails: Tails,
    leave_out: float | None,
) -> RowWeights:
    """Return the weights of rows.

    Parameters
    ----------
    residual, line, sigma2 : ndarray, [N]
        See `RowWeights`.
    tails : Tails
        Of errors.
    leave_out : float or None
        Rows farther from the fit to all others than so many of its standard deviations weigh 0.
    """
    found = RowWeights(residual, line, sigma2, np.ones_like(residual))
    found = replace(found, weight=tails.weights(found.z2))
    if leave_out is None:
        return found
    off, sd = found.leave_one_out
    # NaN is not off: nothing is known of such a row without it.
    return replace(found, weight=np.where(np.abs(off) > leave_out * sd, 0.0, found.weight))


@dataclass
class Reweighted:
    """Sums of weighted rows.

    Parameters
    ----------
    plain : SufficientStatistics
        Of the rows unweighted: their pairs, and the means that sums are about.
    """

    plain: SufficientStatistics
    n_left_out: int = 0
    log_density: float = 0.0
    sums: FloatArray = field(default_factory=lambda: np.zeros(4))

    def __post_init__(self) -> None:
        G, Q = self.plain.G, self.plain.P + 1
        self._n = np.zeros(G, dtype=np.int64)
        self._mass, self._first = np.zeros(G), np.zeros((G, Q))
        self._second = np.zeros((G, Q, Q))

    def add(self, part: SortedRows, z: FloatArray, found: RowWeights, tails: Tails) -> None:
        """Add rows of known pairs.

        Parameters
        ----------
        part : SortedRows
            The rows: n of each of K pairs.
        z : ndarray, [K n, P]
            Their regressors.
        found : RowWeights
            Their weights, [K, n].
        tails : Tails
            That gave them.
        """
        root, at = np.sqrt(found.weight), np.searchsorted(self.plain.keys, part.keys)
        values = np.empty((*root.shape, self.plain.P + 1))
        np.subtract(z.reshape(*root.shape, -1), self.plain.mean_x[at, None], out=values[..., :-1])
        np.subtract(part.y.reshape(root.shape), self.plain.mean_y[at, None], out=values[..., -1])
        if self.plain.mean_low is not None:
            values -= self.plain.mean_low[at, None]
        values *= root[..., None]
        there = found.weight > 0
        self._n[at] += there.sum(axis=1)
        self._mass[at] += found.weight.sum(axis=1)
        self._first[at] += np.matmul(root[:, None], values)[:, 0]
        self._second[at] += np.matmul(values.transpose(0, 2, 1), values)
        self.n_left_out += int((~there).sum())
        u, z2 = found.weight[there], found.z2[there]
        self.sums += tails.sums(z2)
        # What the errors' own distribution adds to the normal one of weighted rows.
        gain = tails.log_density(z2) + (LOG_2PI + u * z2) / 2
        self.log_density += float(gain.sum())

    def statistics(self) -> SufficientStatistics:
        """Return the statistics of weighted rows, of pairs that have any."""
        seen = self._n > 0
        plain = self.plain.subset(seen)
        mass, first = self._mass[seen], self._first[seen]
        shift = first / mass[:, None]
        mean = np.concatenate([plain.mean_x, plain.mean_y[:, None]], axis=1)
        off = shift if plain.mean_low is None else shift + plain.mean_low
        mean, low = two_sum(mean, off)
        scatter = self._second[seen] - first[:, :, None] * shift[:, None, :]
        # A single row has no scatter, whatever rounding leaves.
        scatter[self._n[seen] == 1] = 0.0
        return replace(
            plain,
            n=self._n[seen],
            mean_x=np.ascontiguousarray(mean[:, :-1]),
            mean_y=mean[:, -1].copy(),
            sxx=np.ascontiguousarray(scatter[:, :-1, :-1]),
            sxy=np.ascontiguousarray(scatter[:, :-1, -1]),
            syy=np.maximum(scatter[:, -1, -1], 0.0),
            mean_low=low,
            weight=mass,
        )


def reweighted(
    plain: SufficientStatistics, rows: StoredRows, summaries: Stage1CoeffSummaries
) -> Reweighted:
    """Go through the rows once and weigh each by a fit.

    Parameters
    ----------
    plain : SufficientStatistics
        Of the rows unweighted; rows of pairs that it lacks are passed over.
    rows : StoredRows
        The rows.
    summaries : Stage1CoeffSummaries
        The fit, its distribution of errors and its rule by which rows are left out.
    """
    found = Reweighted(plain)
    for part in rows:
        for block in part.of(find(plain.keys, part.keys) >= 0).blocks():
            z = summaries.features.transform(block.covariates)
            found.add(block, z, weighed(block, z, summaries), summaries.tails)
    return found


def weighed(block: SortedRows, z: FloatArray, summaries: Stage1CoeffSummaries) -> RowWeights:
    """Return the weights that a fit gives rows.

    Parameters
    ----------
    block : SortedRows
        The rows: n of each of K pairs.
    z : ndarray, [K n, P]
        Their regressors.
    summaries : Stage1CoeffSummaries
        The fit.

    Returns
    -------
    RowWeights
        [K, n].
    """
    groups, compounds = unpack(block.keys)
    design = np.ones((len(block.keys), int(block.n[0]), 1 + z.shape[1]))
    design[..., 1:] = z.reshape(*design.shape[:2], -1)
    # A pair that lost all its rows is expected where its levels say.
    located = summaries.coefficients.locate(groups, compounds, None)
    mean, line = summaries.coefficients.moments_by_pair(design, located)
    nothing: BoolArray = np.isnan(mean)
    # Where no level says anything, neither does the row's distance from it.
    residual = np.where(nothing, 0.0, block.y.reshape(mean.shape) - mean)
    line = np.where(nothing, 0.0, line)
    sigma2 = np.broadcast_to(summaries.noise.of(groups)[:, None], mean.shape)
    return row_weights(residual, line, sigma2, summaries.tails, summaries.leave_out)
