"""Whether errors have heavy tails: a fit with them against the normal one, on runs left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from molpool_common import FloatArray

from rt_ridge.prediction._summaries import Stage1CoeffSummaries
from rt_ridge.robust._rows import StoredRows
from rt_ridge.robust._weights import weighed
from rt_ridge.selection._choice import TIE, Choice
from rt_ridge.selection._held_out import RunFold
from rt_ridge.tables._features import FeatureMap
from rt_ridge.tables._keys import find

EXCESS = 0.5
"""Excess kurtosis from which heavy tails are tried: that of a t of 16 degrees of freedom."""

MOST_LOST = 0.02
"""Of log RMSE by heavy tails that gain in mean error."""

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


def predicts_better(
    other: Choice, one: Choice, folds: Sequence[RunFold], rows: StoredRows, features: FeatureMap
) -> bool:
    """Whether a choice errs less on rows left out than another, and by RMSE hardly more.

    Heavy tails fit the bulk of the rows closely, which may cost the others: runs that are off as a
    whole have little weight.

    Parameters
    ----------
    other, one : Choice
        Made from these rows, weighted or not; each row counts alike here.
    folds : sequence of RunFold
        Runs that were left out together.
    rows : StoredRows
        With their runs.
    features : FeatureMap
        From covariates to regressors.
    """
    errors = [_errors(choice, folds, rows, features) for choice in (other, one)]
    both = np.isfinite(errors).all(axis=0)
    e, f = (found[both] for found in errors)
    if not (e.any() and f.any()):
        return False
    rmse = np.log((e**2).mean() / (f**2).mean()) / 2
    mae = np.log(np.abs(e).mean() / np.abs(f).mean())
    return bool(rmse < MOST_LOST and rmse + mae < -2 * TIE)


def _errors(
    choice: Choice, folds: Sequence[RunFold], rows: StoredRows, features: FeatureMap
) -> FloatArray:
    """Return the errors of rows left out, [N], fold by fold; NaN of pairs that are not judged."""
    judge, members = choice.judge, {fold.name: fold for fold in folds}
    assert judge is not None
    lines = choice.lines
    found = []
    for part in rows:
        assert part.run is not None
        for number, cells in enumerate(judge.folds):
            fold = members[cells.name]
            out = part.take(fold.rows(part.run, np.repeat(part.keys, part.n)))
            place = np.repeat(find(cells.part.keys, out.keys), out.n)
            z = fold.regressors(out.covariates, features)
            inside, beyond = np.split(z, 2, axis=1)
            x = (inside - (1 - choice.follow) * beyond) / judge.scale
            line = lines[judge.fold == number][place]
            error = out.y - line[:, 0] - np.einsum("np,np->n", x, line[:, 1:])
            found.append(np.where(place >= 0, error, np.nan))
    return np.concatenate(found)
