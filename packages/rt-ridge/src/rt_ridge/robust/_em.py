"""Fits with errors of heavy tails: rows are weighted by the fit, and fitted again, until they stay.

A step of the EM algorithm for a scale mixture of normals (Dempster, Laird & Rubin 1980), with the
posterior of the lines normal and independent of that of the rows' precisions: weights count the
lines' own variance, and neither the bound of the marginal likelihood ever falls nor is a row held.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from molpool_common import FloatArray, told

from rt_ridge._config import RidgeConfig
from rt_ridge.prediction._summaries import Stage1CoeffSummaries
from rt_ridge.prediction._tails import NORMAL, Tails
from rt_ridge.robust._rows import StoredRows
from rt_ridge.robust._weights import Reweighted, reweighted
from rt_ridge.statistics._sufficient import SufficientStatistics
from rt_ridge.tables._keys import find

MOST_PASSES = 50
"""Over the rows; a table that has not settled after them is said to have not."""

SETTLED = 1e-4
"""Change of log σ, of ν's logarithm and, over σ, of intercepts at which weights stand."""

ABOUT = 1e-2
"""The same where weights are only to start from."""

UNMASKING = Tails("student_t", 4.0)
"""Errors by which rows are weighted before any is left out."""

Fit = Callable[[SufficientStatistics], Stage1CoeffSummaries]
Widened = Callable[[SufficientStatistics, SufficientStatistics], Stage1CoeffSummaries]


@dataclass(frozen=True)
class Settled:
    """A fit whose weights stand.

    Attributes
    ----------
    summaries : Stage1CoeffSummaries
        The fit.
    stats : SufficientStatistics
        Of the weighted rows.
    log_density : float
        What the errors' distribution adds to the log likelihood of weighted rows.
    n_left_out : int
        Rows that weigh nothing.
    passes : int
        Over the rows.
    notes : tuple of str
        For the reader.
    """

    summaries: Stage1CoeffSummaries
    stats: SufficientStatistics
    log_density: float
    n_left_out: int
    passes: int
    notes: tuple[str, ...]


def settled_fit(
    plain: SufficientStatistics,
    rows: StoredRows,
    config: RidgeConfig,
    fit: Fit,
    widened: Widened,
    known: Tails | None = None,
    start: Settled | None = None,
    settled: float = SETTLED,
) -> Settled:
    """Fit, weigh and fit again.

    Parameters
    ----------
    plain : SufficientStatistics
        Of the rows unweighted.
    rows : StoredRows
        The rows.
    config : RidgeConfig
        The distribution of errors, and the rule by which rows are left out.
    fit : callable
        From the statistics of weighted rows to about a fit.
    widened : callable
        From them, and from the same of rows that say as much as they do of the lines where errors
        have heavy tails, to the fit: its scales and means by the first, covariances by the second.
    known : Tails or None
        The distribution of errors, where it is not to be estimated.
    start : Settled or None
        A fit of a model that is much the same, to these rows: where weights start.
    settled : float
        Change at which weights stand.
    """
    tails = known or Tails.start(config.errors, config.nu)
    if start is not None and known is None:
        tails = start.summaries.tails
    first = fit(plain if start is None else start.stats)
    passes = _Passes(plain, rows, fit, first, settled)
    if start is None and config.leave_out is not None and config.errors == "gaussian":
        # From the normal fit itself: peaks that are off hide one another.
        passes.go(UNMASKING, None, lambda tails, _: tails)
    fixed = known is not None or config.nu is not None
    prior = config.method not in ("ml", "reml")
    passes.go(
        tails,
        config.leave_out,
        lambda tails, sums: tails if fixed else tails.updated(sums, prior=prior),
    )
    last, tails = passes.last, passes.tails
    assert last is not None
    stats = last.statistics()
    summaries = widened(stats, scaled(stats, tails.information))
    return Settled(
        replace(summaries, tails=tails, leave_out=config.leave_out),
        stats,
        last.log_density,
        last.n_left_out,
        passes.count,
        _sentences(last.n_left_out, config, settled=passes.change <= settled),
    )


@dataclass
class _Passes:
    """Passes over the rows, each by the fit that the one before led to."""

    plain: SufficientStatistics
    rows: StoredRows
    fit: Fit
    summaries: Stage1CoeffSummaries
    settled: float
    tails: Tails = NORMAL
    last: Reweighted | None = None
    count: int = 0
    change: float = np.inf

    def go(
        self,
        tails: Tails,
        leave_out: float | None,
        better: Callable[[Tails, FloatArray], Tails],
    ) -> None:
        """Go over the rows until their weights stand."""
        self.tails, self.change = tails, np.inf
        for _ in told(range(MOST_PASSES), "Weighing rows, at most", MOST_PASSES, "passes"):
            before = replace(self.summaries, tails=self.tails, leave_out=leave_out)
            self.last = reweighted(self.plain, self.rows, before)
            self.summaries = self.fit(self.last.statistics())
            moved = better(self.tails, self.last.sums)
            by_tails = abs(float(np.log(moved.variance / self.tails.variance)))
            self.change = max(_change(before, self.summaries), by_tails)
            self.tails, self.count = moved, self.count + 1
            if self.change <= self.settled:
                break


def scaled(stats: SufficientStatistics, share: float) -> SufficientStatistics:
    """Return statistics of rows that weigh a share of what they do."""
    if share == 1:
        return stats
    sums = {name: share * getattr(stats, name) for name in ("sxx", "sxy", "syy")}
    return replace(stats, weight=share * stats.mass, **sums)


def _change(before: Stage1CoeffSummaries, after: Stage1CoeffSummaries) -> float:
    """Return by how much a fit differs from another, in units of σ."""
    by_sigma = abs(float(np.log(after.sigma2_mean / before.sigma2_mean))) / 2
    place = find(before.keys, after.keys)
    if (place < 0).any() or len(before.keys) != len(after.keys):
        return float(np.inf)
    moved = (after.mean[:, 0] - before.mean[place, 0]) ** 2
    return max(by_sigma, float(np.sqrt(np.average(moved, weights=after.n) / after.sigma2_mean)))


def _sentences(n_left_out: int, config: RidgeConfig, *, settled: bool) -> tuple[str, ...]:
    said = []
    if config.leave_out is not None:
        rows = f"{n_left_out} row{'s' * (n_left_out != 1)} left out"
        said.append(f"{rows}, over {config.leave_out:g} σ off from the fit to all others")
    if not settled:
        said.append(f"weights of rows still move after {MOST_PASSES} passes")
    return tuple(said)
