"""Squares of covariates: tried where errors bend, taken where runs left out gain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rt_ridge import AutoRidge, looks_curved, predicts_closer
from rt_ridge._estimators import to_rows


def lab(bend: Any, n_compounds: int = 6, n_runs: int = 30) -> dict[str, Any]:
    """Return runs of some compounds whose times bend with the second of two covariates."""
    rng = np.random.default_rng(0)
    runs = np.repeat(np.arange(n_runs), n_compounds)
    compound = np.tile(np.arange(n_compounds), n_runs)
    X = rng.normal([1e3, 2.0], [10.0, 1.0], size=(n_runs, 2))[runs]
    y = 4 + compound + 0.3 * X[:, 1] + np.asarray(bend)[compound] * (X[:, 1] - 2) ** 2
    ids = np.stack([np.zeros_like(compound), compound], axis=1)
    y = y + 0.05 * rng.normal(size=len(runs))
    return {"X": X, "y": y, "groups": ids, "runs": runs}


def thin(bend: float) -> dict[str, Any]:
    """Return pairs of four rows, too few for a bend of their own."""
    table = lab(np.full(30, bend), n_compounds=30)
    keep = (7 * table["groups"][:, 1] + table["runs"]) % 30 < 4
    return {name: values[keep] for name, values in table.items()}


def curved(table: dict[str, Any]) -> bool:
    model = AutoRidge(likelihood="gaussian").fit(**table)
    rows = to_rows(table["X"], table["y"], table["groups"])
    return looks_curved(rows, model.summaries_)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (lab(np.zeros(6)), False),
        (lab(np.full(6, 0.1)), True),
        # Bends of either sign, which cancel over all rows.
        (lab([0.1, -0.1, 0.1, -0.1, 0.1, -0.1]), True),
        (thin(0.1), True),
        (thin(0.0), False),
    ],
)
def test_bends_are_seen_whatever_their_sign(table, expected):
    assert curved(table) is expected


def test_of_two_choices_the_one_that_errs_less_on_the_same_runs():
    table = lab(np.full(6, 0.1))
    line = AutoRidge(likelihood="gaussian").fit(**table)
    table["X"] = np.column_stack([table["X"], (table["X"][:, 1] - 2) ** 2])
    bent = AutoRidge(likelihood="gaussian").fit(**table)
    assert predicts_closer(bent.choice_, line.choice_)
    assert not predicts_closer(line.choice_, bent.choice_)
    assert not predicts_closer(line.choice_, line.choice_)
