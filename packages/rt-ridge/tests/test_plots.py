from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from matplotlib.quiver import Quiver
from molpool_common import figure_svg
from rt_ridge._config import SimulateConfig
from rt_ridge._errors import RTRidgeError
from rt_ridge._estimators import PartialPoolingRidge
from rt_ridge._plots import (
    plot_drift,
    plot_run_residuals,
    plot_shift,
    plot_shrinkage,
    plot_slopes,
    plot_support,
)
from rt_ridge.prediction._parents import parent_expectation
from rt_ridge.prediction._summaries import Prediction
from rt_ridge.statistics._sufficient import SufficientStatistics
from rt_ridge.studies._baselines import GroupwiseRidge
from rt_ridge.studies._evaluation import SupportMetrics
from rt_ridge.studies._shift import METHODS, ShiftResult
from rt_ridge.studies._simulate import simulate

CONFIG = SimulateConfig(n_species=8, n_compounds=10, rare_pairs=10, unseen_pairs=10)


@pytest.fixture(scope="module")
def fits() -> tuple[Any, Any]:
    train = simulate(CONFIG).train
    stats = SufficientStatistics.from_frame(train, covariates=CONFIG.covariates)
    pooled = PartialPoolingRidge(intercept_prior="comp_hier_supercat").fit(stats).summaries_
    return GroupwiseRidge().fit(stats).summaries_, pooled


def test_arrows_go_from_own_estimates_to_pooled_ones(fits: Any) -> None:
    own, pooled = fits
    left, right = plot_shrinkage(own.mean, pooled, "run_covariate_2").axes
    (arrows,) = [c for c in left.collections if isinstance(c, Quiver)]
    start, move = np.asarray(arrows.get_offsets()), np.stack([arrows.U, arrows.V], axis=1)
    np.testing.assert_allclose(start, own.mean[:, [0, 3]])
    np.testing.assert_allclose(start + move, pooled.mean[:, [0, 3]])
    # In data coordinates: an arrow of screen units would end anywhere.
    assert (arrows.angles, arrows.scale_units, arrows.scale) == ("xy", "xy", 1.0)
    assert (left.get_xlabel(), left.get_ylabel()) == (
        "expected time, min",
        "slope of run_covariate_2",
    )
    share = parent_expectation(pooled).shrinkage(pooled)[:, 3]
    shown = np.asarray(right.collections[0].get_offsets())
    np.testing.assert_allclose(shown, np.stack([pooled.n, share], axis=1))
    # The rare pairs' two rows.
    assert np.asarray(right.lines[0].get_xdata())[0] == pytest.approx(2.0)
    assert np.asarray(right.lines[0].get_ydata())[0] == pytest.approx(
        np.median(share[pooled.n == 2])
    )


def test_intercepts_are_drawn_about_their_parents(fits: Any) -> None:
    own, pooled = fits
    left, _ = plot_shrinkage(own.mean, pooled, "intercept").axes
    (arrows,) = [c for c in left.collections if isinstance(c, Quiver)]
    parent = parent_expectation(pooled).mean[:, 0]
    start = np.asarray(arrows.get_offsets())
    np.testing.assert_allclose(start[:, 0], pooled.mean[:, 0])
    np.testing.assert_allclose(start[:, 1], own.mean[:, 0] - parent)
    np.testing.assert_allclose(start[:, 1] + np.asarray(arrows.V), pooled.mean[:, 0] - parent)


def test_shrinkage_needs_pairs_with_estimates_of_their_own(fits: Any) -> None:
    own, pooled = fits
    with pytest.raises(RTRidgeError, match=r"coefficient: unknown 'run_covariate'\. Did you mean"):
        plot_shrinkage(own.mean, pooled, "run_covariate")
    with pytest.raises(RTRidgeError, match="expected pairs with estimates of their own"):
        plot_shrinkage(np.full_like(own.mean, np.nan), pooled)
    with pytest.raises(RTRidgeError, match="own: expected estimates"):
        plot_shrinkage(own.mean[:-1], pooled)
    some = own.mean.copy()
    some[3:] = np.nan
    left, _ = plot_shrinkage(some, pooled).axes
    (arrows,) = [c for c in left.collections if isinstance(c, Quiver)]
    assert len(np.asarray(arrows.get_offsets())) == 3


def test_a_pair_that_stays_put_can_be_drawn(fits: Any) -> None:
    figure = plot_shrinkage(fits[1].mean, fits[1])
    assert "training rows" in figure_svg(figure)


def test_residuals_of_runs_are_in_order() -> None:
    mean, low, high = [0.1, -0.2, 0.3], [-1.0, -2.0, -3.0], [1.0, 2.0, 3.0]
    (only,) = plot_run_residuals(mean, low, high, [0, 0, 0]).axes
    assert np.asarray(only.lines[1].get_ydata()).tolist() == mean
    top, bottom = plot_run_residuals(mean, low, high, [0, 2, 0]).axes
    (ranges,) = top.collections
    ends = [segment[:, 1].tolist() for segment in ranges.get_segments()]  # type: ignore[attr-defined]
    assert ends == [list(pair) for pair in zip(low, high, strict=True)]
    bars: Any = bottom.patches
    assert [bar.get_height() for bar in bars] == [0, 2, 0]


def test_support_shows_the_table() -> None:
    rng = np.random.default_rng(0)
    metrics = SupportMetrics()
    n = 500
    prediction = Prediction(rng.normal(size=n), np.ones(n), np.ones(n), np.zeros(n, dtype=np.int8))
    metrics.update(rng.normal(size=n), prediction, rng.integers(1, 30, n), np.arange(n))
    table = metrics.table()
    figure = plot_support({"one": table, "two": table})
    left, right = figure.axes
    shown = np.asarray(left.lines[1].get_ydata())
    np.testing.assert_array_equal(shown, table["rmse"].to_numpy()[:-1])
    assert np.isnan(shown[0])  # No unseen pair.
    assert [np.asarray(line.get_ydata())[0] for line in right.lines[-3:]] == [50, 80, 95]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["one", "two"]
    with pytest.raises(RTRidgeError, match="tables: expected at least one"):
        plot_support({})


def test_slopes_are_boxed_by_supercategory(fits: Any) -> None:
    pooled = fits[1]
    (named,) = plot_slopes(pooled, labels={0: "plasma", 2: "liver"}).axes
    assert [t.get_text() for t in named.get_xticklabels()] == ["plasma", "1", "liver", "3"]
    (axes,) = plot_slopes(pooled).axes
    assert [t.get_text() for t in axes.get_xticklabels()] == ["0", "1", "2", "3"]
    medians = [
        np.asarray(line.get_ydata())[0] for line in axes.lines if line.get_color() == "#D55E00"
    ]
    parent = pooled.coefficients.parents.of(pooled.keys >> 32)
    expected = [np.median(pooled.mean[parent == s, 1]) for s in range(4)]
    np.testing.assert_allclose(medians, expected, rtol=1e-12)


def test_drift_is_the_mean_over_the_rows_of_a_run() -> None:
    run = [2, 1, 1, 2, 1]
    observed = [6.0, 5.2, 5.4, 8.0, 9.0]
    predicted = [5.5, 5.1, 5.3, 7.0, np.nan]
    top, bottom = plot_drift(run, observed, predicted, [5.0] * 5).axes
    np.testing.assert_allclose(np.asarray(top.lines[0].get_ydata()), [0.3, 2.0])
    np.testing.assert_allclose(np.asarray(top.lines[1].get_ydata()), [0.2, 1.25])
    np.testing.assert_allclose(np.asarray(bottom.lines[1].get_ydata()), [0.1, 0.75])
    assert np.asarray(top.lines[0].get_xdata()).tolist() == [1, 2]


def test_runs_with_names_stay_in_the_order_of_measurement() -> None:
    run = ["run 9", "run 9", "run 10", "run 11"]
    top, _ = plot_drift(run, [1.0, 3.0, 5.0, 6.0], [0.0] * 4, [0.0] * 4).axes
    assert np.asarray(top.lines[0].get_ydata()).tolist() == [2.0, 5.0, 6.0]
    assert np.asarray(top.lines[0].get_xdata()).tolist() == [1, 2, 3]


def test_shift_has_a_panel_for_each_number_of_anchors() -> None:
    rows = [
        {"anchors": a, "method": m, "bin": b, "replicate": r, "mae": 1.0 + r}
        for a in (0, 3)
        for m in METHODS
        for r in (0, 1)
        for b in ("0-60", "60-100")
    ]
    filler = [pl.lit(0.5).alias(c) for c in ("coverage_95", "z_mean", "z_sd", "missing", "n")]
    result = ShiftResult(pl.DataFrame(rows).with_columns(filler), ("0-60", "60-100"))
    figure = plot_shift(result)
    assert [axes.get_title() for axes in figure.axes] == ["0 anchors", "3 anchors"]
    assert [len(axes.containers) for axes in figure.axes] == [3, 3]
    bars: Any = figure.axes[0].containers[0]
    np.testing.assert_allclose(bars.lines[0].get_ydata(), [1.5, 1.5])
    assert [t.get_text() for t in figure.legends[0].get_texts()] == list(METHODS)
