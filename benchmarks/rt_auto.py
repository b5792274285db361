"""Claim: a structure chosen and fitted for 125 000 pairs and 5 covariates in at most 20 seconds.

From rows to the artefact, best of two. The peer is one REML fit of the same rows by
`PartialPoolingRidge`: a candidate costs at most three of them. Exit status 1 if either fails.
Arguments: groups, compounds, rows of a pair.

Physical limit: the artefact of 125 000 pairs of 6 coefficients is 42 numbers a pair, 42 MB; one
eigendecomposition of 125 000 matrices of 5 by 5 is a second.
"""

from __future__ import annotations

import sys
from functools import partial

import numpy as np
from claims import Claim, in_turn, settle
from rt_ridge import AutoRidge, PartialPoolingRidge

CLAIM_SECONDS, CLAIM_RATIO, ROUNDS = 20.0, 3.0, 2
GROUPS, COMPOUNDS, ROWS, COVARIATES, RUNS = 125_000, 1, 6, 5, 60


def main(groups: int, compounds: int, rows: int) -> int:
    X, y, ids, runs = simulate(groups, compounds, rows)
    model = AutoRidge()
    plain = PartialPoolingRidge(method="reml", lambda_slopes="estimate")
    works = {
        "ours": partial(model.fit, X, y, ids, runs=runs),
        "one fit": partial(plain.fit, X, y, ids),
    }
    times = in_turn(works, ROUNDS)
    tried = len(model.structure_.names)
    total, one = (float(times[name].min()) for name in works)
    print(f"{len(y):,} rows, {groups * compounds:,} pairs; {tried} candidates: {model.notes_[-2:]}")
    print(f"chosen and fitted in {total:.2f} s; one REML fit {one:.2f} s")
    return settle(
        Claim("seconds", total, CLAIM_SECONDS, at_most=True, ours=f"{total:.2f} s", peer="none"),
        Claim("a candidate over one REML fit", total / tried / one, CLAIM_RATIO, at_most=True),
    )


def simulate(groups: int, compounds: int, rows: int) -> tuple[np.ndarray, ...]:
    """Return covariates, times, ids and runs; slopes differ by pair."""
    rng = np.random.default_rng(0)
    group, compound = np.divmod(np.arange(groups * compounds), compounds)
    pair = np.repeat(np.arange(len(group)), rows)
    drift = rng.normal(size=(RUNS, COVARIATES)) @ rng.normal(size=(COVARIATES, COVARIATES))
    runs = rng.integers(0, RUNS, len(pair))
    X = drift[runs]
    slopes = 0.1 + 0.05 * rng.normal(size=(len(group), COVARIATES))
    y = 5 + rng.normal(size=len(group))[pair] + np.einsum("np,np->n", X, slopes[pair])
    ids = np.stack([group[pair], compound[pair], group[pair] // 50], axis=1)
    return X, y + 0.05 * rng.normal(size=len(y)), ids, runs


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(*given, *(GROUPS, COMPOUNDS, ROWS)[len(given) :]))
