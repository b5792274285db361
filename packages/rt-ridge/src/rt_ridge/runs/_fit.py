"""Fits with effects of runs: scales on a part of many runs, then everything given them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from molpool_common import BoolArray, IntArray

from rt_ridge.hierarchy._hierarchy import Hierarchy
from rt_ridge.posterior._artefact import summarise
from rt_ridge.prediction._run_effects import RunEffects
from rt_ridge.prediction._summaries import Stage1CoeffSummaries
from rt_ridge.prediction._tails import NORMAL
from rt_ridge.robust._rows import StoredRows
from rt_ridge.robust._weights import Reweighted, RowWeights
from rt_ridge.runs._cells import RunCells
from rt_ridge.runs._system import solve_runs
from rt_ridge.scales._posterior import ScalePosterior
from rt_ridge.statistics._sufficient import SufficientStatistics
from rt_ridge.tables._features import FeatureMap

FOR_SCALES = 200
"""Runs that scales are found on: more say the same, and cost their cube."""


def part_of_runs(n_runs: int, prior: str) -> IntArray:
    """Return the runs that scales are found on: evenly spaced, or neighbours where they walk."""
    # A spline has few coefficients of however many runs, and its knots are those of all.
    if n_runs <= FOR_SCALES or prior == "spline":
        return np.arange(n_runs)
    if prior == "random_walk":
        return np.arange(FOR_SCALES) + (n_runs - FOR_SCALES) // 2
    return np.linspace(0, n_runs - 1, FOR_SCALES).round().astype(np.int64)


def of_runs(
    stats: SufficientStatistics, rows: StoredRows, features: FeatureMap, runs: BoolArray
) -> SufficientStatistics:
    """Return the statistics of the rows of some runs, given as a mask [R]."""
    sums = Reweighted(stats)
    for part in rows:
        for block in part.take(runs[part.run]).blocks():
            zero = np.zeros((len(block.keys), int(block.n[0])))
            whole = RowWeights(zero, zero, zero + 1, zero + 1)
            sums.add(block, features.transform(block.covariates), whole, NORMAL)
    return replace(sums.statistics(), weight=None)


def summarised(
    hierarchy: Hierarchy,
    cells: RunCells,
    scales: ScalePosterior,
    features: FeatureMap,
    runs: tuple[Sequence[str], str],
) -> Stage1CoeffSummaries:
    """Return the artefact of a model with effects of runs, at the mode of its scales.

    Parameters
    ----------
    hierarchy : Hierarchy
        The model of all else.
    cells : RunCells
        Of its rows.
    scales : ScalePosterior
        From `find_with_runs`.
    features : FeatureMap
        From covariates to regressors.
    runs : tuple
        Their names, and their column.

    Notes
    -----
    Given the scales all means are linear in the times: those of everything are what the model
    without runs makes of times less the effects. The covariance of each pair's coefficients counts
    that these are uncertain; back-off levels, whose means hardly depend on single runs, do not.
    """
    prior = hierarchy.config.run_effects
    assert prior != "none"
    point, tau = scales.mean[:-1], float(scales.mean[-1])
    found = solve_runs(hierarchy, hierarchy.state(point), cells, tau)
    inner = replace(scales, names=scales.names[:-1], points=point[None])
    less = hierarchy.on(cells.without(hierarchy.stats, found.mean))
    summaries = summarise(less, inner, features)
    wide = replace(summaries.coefficients, cov=summaries.coefficients.cov + found.added)
    names, column = runs
    effects = RunEffects(column, tuple(names), found.mean, found.variance, tau**2, prior)
    return replace(summaries, coefficients=wide, runs=effects)
