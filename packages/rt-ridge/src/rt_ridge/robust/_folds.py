"""Sums of runs left out, their rows weighted as in the training, to be taken from its sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rt_ridge.prediction._summaries import Stage1CoeffSummaries
from rt_ridge.robust._rows import StoredRows
from rt_ridge.robust._weights import Reweighted, weighed
from rt_ridge.selection._held_out import HeldOut, RunFold
from rt_ridge.tables._keys import find


def weighted_folds(
    held_out: Sequence[HeldOut],
    folds: Sequence[RunFold],
    rows: StoredRows,
    summaries: Stage1CoeffSummaries,
) -> list[HeldOut]:
    """Return the sums of weighted rows of each fold, in one pass over the rows.

    Parameters
    ----------
    held_out : sequence of HeldOut
        Of the rows unweighted.
    folds : sequence of RunFold
        Those of the same names, among others.
    rows : StoredRows
        With the runs that folds are of.
    summaries : Stage1CoeffSummaries
        The fit to all rows that weighs them.
    """
    found = {held.name: Reweighted(held.stats) for held in held_out}
    of_name = {fold.name: fold for fold in folds}
    for part in rows:
        for name, sums in found.items():
            known = part.of(find(sums.plain.keys, part.keys) >= 0)
            assert known.run is not None
            fold = of_name[name]
            out_of_fold = fold.rows(known.run, np.repeat(known.keys, known.n))
            for out in known.take(out_of_fold).blocks():
                z = fold.regressors(out.covariates, summaries.features)
                x = summaries.features.transform(out.covariates)
                sums.add(out, z, weighed(out, x, summaries), summaries.tails)
    return [HeldOut(h.name, h.stats, found[h.name].statistics(), h.kind) for h in held_out]
