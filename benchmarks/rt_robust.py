"""Claim: errors with heavy tails cost at most six times the normal model, rows to artefact.

Rows of pairs with five covariates, a hundredth of them peaks of something else; ν is estimated.
The peer is the same model with normal errors on the same rows. Best of two of either, in CPU
seconds. Exit status 1 if it is slower, or if σ is not within a tenth of that of the rows without
the peaks. Arguments: groups, compounds, rows of a pair.

Physical limit: a pass is some 60 products a row, and rows settle in about ten: a second for five
million.
"""

from __future__ import annotations

import sys
from functools import partial
from time import process_time
from typing import Any

import numpy as np
from claims import Claim, in_turn, settle
from rt_ridge import PartialPoolingRidge

CLAIM_RATIO, TOLERANCE, ROUNDS = 6.0, 0.1, 2
GROUPS, COMPOUNDS, ROWS, COVARIATES = 200, 50, 50, 5
MODEL: dict[str, Any] = {
    "lambda_slopes": "estimate",
    "slope_head_mode": "global",
    "compound_slopes": True,
}


def main(groups: int, compounds: int, rows: int) -> int:
    X, y, ids, off = simulate(groups, compounds, rows)
    clean = PartialPoolingRidge(**MODEL).fit(X[~off], y[~off], ids[~off])
    normal = PartialPoolingRidge(**MODEL)
    model = PartialPoolingRidge(likelihood="contaminated", **MODEL)
    works = {name: partial(of.fit, X, y, ids) for name, of in (("one", normal), ("all", model))}
    one, total = (float(t.min()) for t in in_turn(works, ROUNDS, clock=process_time).values())
    sigma, expected = (m.scales_["sigma"]["mean"] for m in (model, clean))
    print(f"{len(y):,} rows, {groups * compounds:,} pairs, {model.weighted_.passes} passes")
    print(f"normal {one:.2f} s, heavy tails {total:.2f} s; sigma {sigma:.4f}, clean {expected:.4f}")
    seconds = {"ours": f"{total:.2f} s", "peer": f"normal errors {one:.2f} s"}
    return settle(
        Claim("times the normal model", total / one, CLAIM_RATIO, at_most=True, **seconds),
        Claim("sigma off that of clean rows", abs(sigma / expected - 1), TOLERANCE, at_most=True),
    )


def simulate(groups: int, compounds: int, rows: int) -> tuple[np.ndarray, ...]:
    """Return covariates, times, ids, and which rows are of another peak."""
    rng = np.random.default_rng(0)
    pair = np.repeat(np.arange(groups * compounds), rows)
    group, compound = np.divmod(pair, compounds)
    X = rng.normal(size=(len(pair), COVARIATES))
    slopes = 0.1 + 0.05 * rng.normal(size=(compounds, COVARIATES))
    y = 5 + compound * 0.1 + np.einsum("np,np->n", X, slopes[compound])
    y += 0.05 * rng.normal(size=len(y))
    off = rng.uniform(size=len(y)) < 0.01
    y[off] = rng.uniform(0, 12, size=off.sum())
    return X, y, np.stack([group, compound], axis=1), off


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(*given, *(GROUPS, COMPOUNDS, ROWS)[len(given) :]))
