"""Whether errors have heavy tails: a fit with them against the normal one, on runs left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from molpool_common import FloatArray

from rt_ridge.prediction._summaries import Stage1CoeffSummaries
from rt_ridge.robust._rows import SortedRows, StoredRows
from rt_ridge.robust._weights import weighed
from rt_ridge.selection._choice import TIE, Choice
from rt_ridge.selection._held_out import RunFold
from rt_ridge.tables._features import FeatureMap
from rt_ridge.tables._keys import find

EXCESS = 0.5
"""Excess kurtosis from which heavy tails are tried: that of a t of 16 degrees of freedom."""

LEFT = (2 / 3, 0.75, 0.85, 1.0)
"""Shares of what rows of equal weight say of a line: one of them is taken, below which a fit with
heavy tails does not speak. Of six rows of a pair one may be another peak; a share of .85 would then
cost a tenth of the accuracy that heavy tails gain."""

LONE = 0.02
"""Share of the rows of whose lines too little may be left, where rows that are off are taken for
other peaks, each by itself."""

MOST_LOST = 0.02
"""Of log RMSE by heavy tails that gain in mean error, where rows that are off lie alone: nobody can
predict them, and they decide the RMSE, which then says little to a hundredth. Elsewhere a tie."""

CLEAR = 3.0
"""Standard errors that it is over 0."""


def looks_heavy(rows: StoredRows, summaries: Stage1CoeffSummaries) -> bool:
    """Whether the kurtosis of errors over their σ is not that of a normal; one pass over the rows.

    Parameters
    ----------
    rows : StoredRows
        Of pairs that were fitted.
    summaries : Stage1CoeffSummaries
        Their fit with normal errors.
    """
    n = second = fourth = 0.0
    for block in (block for part in rows for block in part.blocks()):
        z2 = weighed(block, summaries.features.transform(block.covariates), summaries).z2
        n, second, fourth = n + z2.size, second + z2.sum(), fourth + (z2 * z2).sum()
    if second == 0:
        return False
    return bool(n * fourth / second**2 - 3 > max(EXCESS, CLEAR * np.sqrt(24 / n)))


@dataclass(frozen=True)
class LeftOut:
    """Errors on rows left out, by fits that did not weigh them.

    Parameters
    ----------
    heavy, normal : ndarray, [N]
        Errors of the lines with heavy tails and with normal errors, NaN where there is none.
    share : ndarray, [N]
        What weights leave of each row's line; see `Stage1CoeffSummaries.share_left`.
    """

    heavy: FloatArray
    normal: FloatArray
    share: FloatArray

    @classmethod
    def joined(cls, parts: Sequence[LeftOut]) -> LeftOut:
        """Return the rows of several."""
        names = ("heavy", "normal", "share")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def speaks_from(self) -> float | None:
        """Return from what share heavy tails speak, so that rows gain and RMSE does not lose.

        Heavy tails fit the bulk of the rows closely, which may cost the others: runs that are off
        as a whole have little weight.

        Returns
        -------
        float or None
            One of `LEFT`; None where rows left out gain nothing.
        """
        both = np.isfinite([self.heavy, self.normal]).all(axis=0)
        e, f, share = self.heavy[both], self.normal[both], self.share[both]
        if not (e.any() and f.any()):
            return None
        lost, gain = {}, {}
        for left in LEFT:
            of_both = np.where(share < left, f, e)
            lost[left] = float(np.log((of_both**2).mean() / (f**2).mean()) / 2)
            gain[left] = -lost[left] - float(np.log(np.abs(of_both).mean() / np.abs(f).mean()))
        most = MOST_LOST if (share < LEFT[0]).mean() < LONE else TIE
        best = max((left for left in LEFT if lost[left] < most), key=gain.__getitem__, default=None)
        return best if best is not None and gain[best] > 2 * TIE else None


def rows_of(fold: RunFold, part: SortedRows, *, out: bool = True) -> SortedRows:
    """Return the rows that a fold leaves out, or all others."""
    assert part.run is not None
    there = fold.rows(part.run, np.repeat(part.keys, part.n))
    return part.take(there if out else ~there)


def errors_of(
    choice: Choice, number: int, fold: RunFold, out: SortedRows, features: FeatureMap
) -> FloatArray:
    """Return the errors of rows that a judge left out, [N]; NaN of pairs that are not judged.

    Parameters
    ----------
    choice : Choice
        Whose lines are meant.
    number : int
        Of the fold among the judge's.
    fold : RunFold
        The fold.
    out : SortedRows
        Its rows.
    features : FeatureMap
        From covariates to regressors.
    """
    judge = choice.judge
    assert judge is not None
    place = np.repeat(find(judge.folds[number].part.keys, out.keys), out.n)
    inside, beyond = np.split(fold.regressors(out.covariates, features), 2, axis=1)
    x = (inside - (1 - choice.follow) * beyond) / judge.scale
    line = choice.lines[judge.fold == number][place]
    error = out.y - line[:, 0] - np.einsum("np,np->n", x, line[:, 1:])
    return np.where(place >= 0, error, np.nan)
