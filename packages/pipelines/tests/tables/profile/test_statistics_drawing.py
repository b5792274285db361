"""Row distributions against the definitions, written out over rows."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from molpool_common import MoleculeTable
from molpool_pipelines.tables.profile._statistics import ALPHAS, draw_settings

NAN = math.nan
TARGETS = np.array(
    [[1, NAN, NAN], [1, 1, NAN], [1, NAN, NAN], [NAN, 1, 1], [NAN, NAN, NAN], [1, NAN, NAN]]
)
SMILES = ["C", "CC", "CCC", "CCCC", "CCCCC", "CCCCCC"]


def rows_multiplicative(alpha: float) -> np.ndarray:
    counts = np.isfinite(TARGETS).sum(axis=0)
    weights = []
    for row in TARGETS:
        own = counts[np.isfinite(row)]
        weights.append((own.min() + 1e-6) ** -alpha if own.size else 0.0)
    return np.array(weights) / sum(weights)


def rows_hierarchical(alpha: float) -> np.ndarray:
    held = np.isfinite(TARGETS)
    counts = held.sum(axis=0)
    p_task = counts**-alpha / (counts**-alpha).sum()
    p: np.ndarray = (held / counts * p_task).sum(axis=1)
    return p


def test_both_modes_at_every_alpha(make_table: Callable[..., MoleculeTable]) -> None:
    settings = draw_settings(make_table(SMILES, TARGETS))
    assert [(s.mode, s.alpha) for s in settings] == [
        (mode, alpha) for mode in ("multiplicative", "hierarchical") for alpha in ALPHAS
    ]
    for setting in settings:
        rows = {"multiplicative": rows_multiplicative, "hierarchical": rows_hierarchical}
        p = rows[setting.mode](setting.alpha)
        # Closed forms over six rows: only rounding lies between.
        assert setting.effective_rows == pytest.approx(1 / (p**2).sum(), rel=1e-9)
        np.testing.assert_allclose(setting.task_share, p @ np.isfinite(TARGETS), rtol=1e-9)
        # Five rows have a label, and an epoch has as many draws.
        assert setting.distinct_rows == pytest.approx((1 - (1 - p) ** 5).sum(), rel=1e-9)


def test_alpha_0_of_the_multiplicative_mode_is_uniform(
    make_table: Callable[..., MoleculeTable],
) -> None:
    first = draw_settings(make_table(SMILES, TARGETS))[0]
    assert first.effective_rows == pytest.approx(5, rel=1e-12)


def test_one_labelled_row(make_table: Callable[..., MoleculeTable]) -> None:
    (first, *_) = draw_settings(make_table(["C", "CC"], [[1.0], [NAN]]))
    assert (first.effective_rows, first.distinct_rows) == (1.0, 1.0)


def test_no_label(make_table: Callable[..., MoleculeTable]) -> None:
    assert draw_settings(make_table(["C"], [[NAN]])) == []
