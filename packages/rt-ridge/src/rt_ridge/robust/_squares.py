"""Whether squares of covariates are worth a try, and whether a fit with them predicts better."""

from __future__ import annotations

import numpy as np
from molpool_common import FloatArray, IntArray

from rt_ridge.prediction._summaries import Stage1CoeffSummaries
from rt_ridge.robust._rows import SortedRows, StoredRows
from rt_ridge.robust._weights import weighed
from rt_ridge.selection._choice import TIE, Choice, log_errors
from rt_ridge.selection._judge import Judge

CLEAR = 4.0
"""Standard errors that what squares explain is over what they explain by chance."""


def looks_curved(rows: StoredRows, summaries: Stage1CoeffSummaries) -> bool:
    """Whether squares of regressors explain errors within pairs; one pass over the rows.

    Held against the errors of each pair by itself, whose bends may have any sign, and of all
    together, which pairs of a few rows are enough for.

    Parameters
    ----------
    rows : StoredRows
        Of pairs that were fitted.
    summaries : Stage1CoeffSummaries
        Their fit by linear terms alone.
    """
    P = summaries.mean.shape[1] - 1
    scale = np.ones(P) if summaries.features.scale is None else summaries.features.scale
    scale = np.where(scale > 0, scale, 1.0)
    together, own = np.zeros((2 * P + 2, 2 * P + 2)), _OfPairs(P)
    for block in (block for part in rows for block in part.blocks()):
        z, found = _errors(block, summaries)
        z /= scale
        design = np.concatenate([np.ones((*z.shape[:2], 1)), z, z**2, found[..., None]], axis=2)
        flat = design.reshape(-1, design.shape[2])
        together += flat.T @ flat
        own.add(design[..., : P + 1], design[..., P + 1 : -1], found)
    return bool(own.clear or _together(together, P))


def _errors(block: SortedRows, summaries: Stage1CoeffSummaries) -> tuple[FloatArray, FloatArray]:
    """Return regressors [K, n, P] and errors over σ [K, n] of rows."""
    z = summaries.features.transform(block.covariates)
    found = weighed(block, z, summaries)
    shape = found.residual.shape
    return z.reshape(*shape, -1), found.residual / np.sqrt(found.sigma2)


class _OfPairs:
    """What squares explain of each pair's own errors, summed up over pairs.

    Parameters
    ----------
    P : int
        Number of regressors.
    """

    def __init__(self, P: int) -> None:
        self.explained, self.count = np.zeros(P), np.zeros(P)
        self.left = self.freedom = 0.0

    def add(self, lines: FloatArray, squares: FloatArray, errors: FloatArray) -> None:
        """Add pairs: columns of their lines [K, n, 1 + P], squares [K, n, P], errors [K, n]."""
        K, n, D = lines.shape
        if n <= D + 1:
            return
        q, _ = np.linalg.qr(lines)
        both = np.concatenate([squares, errors[..., None]], axis=2)
        left = both - q @ (q.transpose(0, 2, 1) @ both)
        bend, error = left[..., :-1], left[..., -1]
        size = (bend**2).sum(axis=1)
        # Two readings have no bend, whatever rounding leaves.
        seen = size > 1e-8 * (squares**2).sum(axis=1)
        along = np.einsum("knp,kn->kp", bend, error) ** 2
        self.explained += np.divide(along, size, out=np.zeros_like(along), where=seen).sum(axis=0)
        self.count += seen.sum(axis=0)
        self.left, self.freedom = self.left + float((error**2).sum()), self.freedom + K * (n - D)

    @property
    def clear(self) -> bool:
        """Whether that is more than chance."""
        if not self.left or not self.count.any():
            return False
        count = np.maximum(self.count, 1)
        chance = 1 + CLEAR * np.sqrt(2 / count)
        return bool((self.explained / count > chance * self.left / self.freedom).any())


def _together(sums: FloatArray, P: int) -> bool:
    """Whether squares explain errors of all rows, from sums of products [2 P + 2, 2 P + 2]."""
    line, bend, last = np.arange(P + 1), np.arange(P + 1, 2 * P + 1), -1
    n = sums[0, 0]
    turn = np.linalg.lstsq(sums[np.ix_(line, line)], sums[line], rcond=None)[0]
    left = sums - sums[:, line] @ turn
    size, along = np.diagonal(left)[bend], left[bend, last]
    seen = size > 1e-8 * np.diagonal(sums)[bend]
    t2 = np.divide(along**2, size, out=np.zeros(P), where=seen)
    return bool((t2 > CLEAR**2 * left[last, last] / n).any())


def predicts_closer(one: Choice, other: Choice) -> bool:
    """Whether a choice errs less on the same runs left out than another.

    By more than a tie, and than the standard error over folds.

    Parameters
    ----------
    one, other : Choice
        Judged on the same runs; compared are pairs that both were judged on.
    """
    if one.judge is None or other.judge is None:
        return False
    mine, theirs = _by_fold(one, one.judge), _by_fold(other, other.judge)
    parts = []
    for name in (name for name in mine if name in theirs):
        (keys, squared, n), (others, squared_by_other, _) = mine[name], theirs[name]
        _, i, j = np.intersect1d(keys, others, assume_unique=True, return_indices=True)
        if len(i):
            parts.append((np.stack([squared[i], squared_by_other[j]]), n[i]))
    if len(parts) < 2:
        return False
    by_fold = [_gain(squared, n) for squared, n in parts]
    unsure = float(np.std(by_fold, ddof=1)) / len(by_fold) ** 0.5
    every = (np.concatenate(found, axis=-1) for found in zip(*parts, strict=True))
    return bool(_gain(*every) > max(TIE, unsure))


def _gain(squared: FloatArray, n: FloatArray) -> float:
    """Return by how much the first of two errs less, from squared errors [2, K] of n rows."""
    mine, theirs = log_errors(squared, n)
    return float(theirs - mine)


def _by_fold(choice: Choice, judge: Judge) -> dict[str, tuple[IntArray, FloatArray, FloatArray]]:
    """Return pairs, squared errors and rows of the cells of each fold."""
    squared = judge.squared_errors(choice.lines, choice.follow)
    of = {fold.name: judge.fold == b for b, fold in enumerate(judge.folds)}
    return {f.name: (f.part.keys, squared[of[f.name]], judge.n[of[f.name]]) for f in judge.folds}
