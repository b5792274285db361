"""Figures of a fit, an evaluation and the covariate-shift study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from molpool_common import OKABE_ITO, FloatArray, IntArray, new_figure, style

from rt_ridge._errors import RTRidgeError, did_you_mean
from rt_ridge.prediction._conformal import SUPPORT_EDGES
from rt_ridge.prediction._parents import parent_expectation
from rt_ridge.studies._evaluation import COVERAGES
from rt_ridge.tables._keys import unpack

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rt_ridge.prediction._summaries import Stage1CoeffSummaries
    from rt_ridge.studies._shift import ShiftResult


_MARKERS = "osD^vP*X"
"""One a method besides its colour, for readers who see none."""

_SHORT = 3
"""Letters of a tick that stands upright."""

_MOST_POINTS = 20_000
"""Points of a scatter; of more an even selection."""


def plot_shrinkage(
    own: FloatArray,
    pooled: Stage1CoeffSummaries,
    coefficient: str | None = None,
    *,
    unit: str = "min",
) -> Figure:
    """Show where pooling moves the estimates of pairs, and how much their parents weigh in them.

    Parameters
    ----------
    own : ndarray, [G, D]
        Intercept and slopes of every pair of `pooled` by its own rows alone; NaN where these are
        too few.
    pooled : Stage1CoeffSummaries
        The pooled fit of the same table.
    coefficient : str or None
        A regressor, "intercept", or None for the first regressor.
    unit : str
        Of the retention times.
    """
    names = _coefficients(pooled)
    if own.shape != pooled.mean.shape:
        raise RTRidgeError(
            f"own: expected estimates {list(pooled.mean.shape)}; found {list(own.shape)}"
        )
    j = _place(coefficient or names[min(1, len(names) - 1)], names)
    both = np.flatnonzero(np.isfinite(own[:, j]) & np.isfinite(own[:, 0]))
    if not len(both):
        raise RTRidgeError("own: expected pairs with estimates of their own; found none")
    above = parent_expectation(pooled)
    with style():
        figure = new_figure(9.0, 3.9)
        left, right = figure.subplots(1, 2)
        few = both[:: max(1, -(-len(both) // _MOST_ARROWS))]
        _draw_moves(left, own, pooled, above.mean, few, j)
        expected = f"expected time, {unit}"
        if names[j] == "intercept":
            left.set(xlabel=expected, ylabel=f"time less that of the parent, {unit}")
        else:
            left.set(xlabel=expected, ylabel=_coefficient_label(names[j]))
        left.set_title("from own rows alone to pooled")
        rows = _thinned(np.arange(len(pooled.n)))
        n, share = pooled.n[rows], above.shrinkage(pooled)[rows, j]
        if np.isfinite(share).any():
            right.scatter(n, share, s=8, alpha=0.3, color=OKABE_ITO[0], rasterized=len(rows) > 2000)
            right.plot(*_medians(n, share), color=OKABE_ITO[5], marker="o")
        ticks = [v for v in (1, 2, 5, 10, 20, 50, 100, 1000, 10000) if n.min() <= v <= n.max()]
        ticks = ticks if len(ticks) > 1 else sorted({int(n.min()), int(n.max())})
        right.set(xscale="log", xlabel="training rows of the pair", ylim=(-0.03, 1.03))
        right.set_xticks(ticks, [str(v) for v in ticks])
        right.set_xticks([], minor=True)
        right.set_ylabel("share of the parent")
        right.set_title("what the parent weighs (line: median)")
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


_MOST_ARROWS = 80
"""Pairs that have an arrow; of more an even selection."""


def _draw_moves(
    axes: Axes,
    own: FloatArray,
    pooled: Stage1CoeffSummaries,
    parents: FloatArray,
    rows: IntArray,
    j: int,
) -> None:
    """Draw an arrow from the own estimate of each pair to the pooled one, and its parent."""
    start, end, parent = own[rows], pooled.mean[rows], parents[rows]
    if j:
        x, y = (start[:, 0], end[:, 0]), (start[:, j], end[:, j])
        at = (end[:, 0], parent[:, j])
    else:
        # Against the time itself no move would be seen.
        known = np.where(np.isfinite(parent[:, 0]), parent[:, 0], end[:, 0].mean())
        x, y = (end[:, 0], end[:, 0]), (start[:, 0] - known, end[:, 0] - known)
        at = (end[:, 0], np.zeros(len(rows)))
    axes.plot(*at, "_", color="0.55", markersize=9, zorder=1, label="parent")
    axes.plot(x[0], y[0], "o", color=OKABE_ITO[5], markersize=3, zorder=2, label="own rows alone")
    axes.plot(x[1], y[1], "o", color=OKABE_ITO[0], markersize=3.5, zorder=4, label="pooled")
    ends: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1.0}
    shape: dict[str, Any] = {"width": 0.003, "headwidth": 5.0, "color": "0.35", "zorder": 3}
    axes.quiver(x[0], y[0], x[1] - x[0], y[1] - y[0], **ends, **shape)
    # Estimates of a few rows may lie anywhere: those far outside would hide all others.
    seen = np.concatenate([*y, at[1][np.isfinite(at[1])]])
    low, high = np.percentile(seen, [2, 98])
    least, most = min(low, y[1].min()), max(high, y[1].max())
    room = 0.12 * (most - least) or 1.0
    axes.set_ylim(least - room, most + room)


def plot_support(tables: Mapping[str, pl.DataFrame], *, unit: str = "min") -> Figure:
    """Show error and interval coverage by the number of training rows.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        `SupportMetrics.table` of each artefact, by name.
    unit : str
        Of the retention times.
    """
    first = next(iter(tables.values()), None)
    if first is None:
        raise RTRidgeError("tables: expected at least one; found none")
    bins = first["support"].to_list()[:-1]
    with style():
        figure = new_figure(9.0, 3.9)
        left, right = figure.subplots(1, 2)
        for k, (name, table) in enumerate(tables.items()):
            look = _look(k)
            left.plot(bins, _column(table, "rmse"), label=name, **look)
            for coverage, line in zip(COVERAGES, (":", "--", "-"), strict=True):
                found = _column(table, f"coverage_{coverage * 100:.0f}")
                right.plot(bins, 100 * found, linestyle=line, **look)
        for coverage in COVERAGES:
            right.axhline(100 * coverage, color="0.4", linewidth=1)
        left.set(ylabel=f"RMSE, {unit}", title="error", xlabel="training rows of the pair")
        left.set_ylim(bottom=0)
        right.set(ylim=(0, 104), ylabel="rows inside, %", xlabel="training rows of the pair")
        right.set_title("coverage of 50, 80 and 95 % intervals")
        for axes in (left, right):
            axes.tick_params(axis="x", rotation=35)
        names = left.get_legend_handles_labels()
        figure.legend(*names, loc="outside lower center", ncols=min(len(tables), 4))
    return figure


def plot_slopes(
    summaries: Stage1CoeffSummaries,
    coefficient: str | None = None,
    labels: Mapping[int, str] | None = None,
) -> Figure:
    """Show the slopes of pairs, supercategory by supercategory.

    Parameters
    ----------
    summaries : Stage1CoeffSummaries
        The fit; the group itself stands for the supercategory where it has no parents.
    coefficient : str or None
        A regressor, "intercept", or None for the first regressor.
    labels : mapping of int to str, or None
        Names of supercategories, or of groups where these stand for them; the rest have their id.
    """
    names = _coefficients(summaries)
    j = _place(coefficient or names[min(1, len(names) - 1)], names)
    group = unpack(summaries.keys)[0]
    parents = summaries.coefficients.parents
    parent = group if parents is None else parents.of(group)
    ids, counts = np.unique(parent, return_counts=True)
    # More boxes than a page can hold: those with the most pairs.
    largest = np.sort(ids[np.argsort(-counts, kind="stable")[:40]])
    values = [summaries.mean[parent == i, j] for i in largest]
    with style():
        figure = new_figure(max(5.0, 1.5 + 0.32 * len(largest)), 3.9)
        axes = figure.subplots()
        axes.axhline(0, color="0.4", linewidth=1)
        axes.boxplot(
            values,
            widths=0.6,
            patch_artist=True,
            boxprops={"facecolor": OKABE_ITO[4], "alpha": 0.6},
            medianprops={"color": OKABE_ITO[5]},
            flierprops={"markersize": 3, "alpha": 0.5},
        )
        ticks = [(labels or {}).get(int(i), str(i)) for i in largest]
        # Names side by side would run into each other.
        turned: dict[str, Any] = {"rotation": 35, "ha": "right"}
        turned = turned if max(map(len, ticks)) > _SHORT else {}
        axes.set_xticks(range(1, len(largest) + 1), ticks, **turned)
        axes.set(xlabel=_parent_label(summaries), ylabel=_coefficient_label(names[j]))
        rest = len(ids) - len(largest)
        left_out = f", {rest} smaller ones left out" if rest else ""
        axes.set_title(f"pairs of each {_parent_label(summaries)}{left_out}")
    return figure


def plot_drift(
    run: npt.ArrayLike,
    observed: npt.ArrayLike,
    predicted: npt.ArrayLike,
    intercept: npt.ArrayLike,
    *,
    unit: str = "min",
) -> Figure:
    """Show the drift of runs, and what the covariates explain of it.

    Parameters
    ----------
    run : array_like, [N]
        Run of each row: numbers, or names in the order of measurement. Counted from 1.
    observed, predicted : array_like, [N]
        Measured and predicted retention times; rows with NaN are left out.
    intercept : array_like, [N]
        Prediction at the centre of the covariates: what the row would be without drift.
    unit : str
        Of the retention times.
    """
    columns = [np.asarray(column) for column in (observed, predicted, intercept)]
    complete = ~np.isnan(np.stack([column.astype(np.float64) for column in columns])).any(axis=0)
    named = np.asarray(run)[complete]
    _, first, place = np.unique(named, return_index=True, return_inverse=True)
    if named.dtype.kind not in "iuf":
        # Run 10 is not before run 9, as their names are.
        place = np.argsort(np.argsort(first))[place]
    y, mean, base = (column[complete] for column in columns)
    counts = np.bincount(place)
    observed_shift, predicted_shift = (np.bincount(place, v - base) / counts for v in (y, mean))
    at = np.arange(1, len(first) + 1)
    with style():
        figure = new_figure(9.0, 4.6)
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
        top.plot(at, observed_shift, ".", markersize=4, color=OKABE_ITO[0], label="measured")
        top.plot(
            at, predicted_shift, color=OKABE_ITO[5], linewidth=1, label="predicted by the standards"
        )
        top.axhline(0, color="0.4", linewidth=1)
        top.set_ylabel(f"shift of the run, {unit}")
        top.set_title("mean over the rows of each run", loc="left")
        top.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2)
        bottom.axhline(0, color="0.4", linewidth=1)
        bottom.plot(at, observed_shift - predicted_shift, ".", markersize=4, color=OKABE_ITO[2])
        bottom.set(xlabel="run, in order", ylabel=f"left over, {unit}")
        bottom.locator_params(axis="x", integer=True)
    return figure


def plot_run_residuals(
    mean: npt.ArrayLike,
    low: npt.ArrayLike,
    high: npt.ArrayLike,
    flagged: npt.ArrayLike,
    *,
    unit: str = "min",
) -> Figure:
    """Show the residuals of runs one after the other.

    Parameters
    ----------
    mean, low, high : array_like, [R]
        Mean of the residuals of each run, and the range that holds most of them.
    flagged : array_like of int, [R]
        Peaks of each run that are far off.
    unit : str
        Of the retention times.
    """
    centre, least, most = (np.asarray(v, dtype=np.float64) for v in (mean, low, high))
    counts = np.asarray(flagged)
    at = np.arange(1, len(centre) + 1)
    with style():
        figure = new_figure(9.0, 4.2)
        any_flagged = bool(counts.any())
        grid = figure.subplots(
            1 + any_flagged, 1, sharex=True, squeeze=False, height_ratios=[3, 1][: 1 + any_flagged]
        )[:, 0]
        top, last = grid[0], grid[-1]
        top.axhline(0, color="0.4", linewidth=1)
        top.vlines(at, least, most, color=OKABE_ITO[4], linewidth=1.2, label="5 to 95 % of rows")
        top.plot(at, centre, ".", color=OKABE_ITO[0], markersize=5, label="mean")
        top.set_ylabel(f"residual, {unit}")
        top.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2)
        if any_flagged:
            last.bar(at, counts, width=0.9, color=OKABE_ITO[5])
            last.set(ylabel="flagged", ylim=(0, 1.1 * counts.max()))
            last.locator_params(axis="y", integer=True, nbins=3)
        last.set_xlabel("run, in the order of the table")
        last.locator_params(axis="x", integer=True)
    return figure


def plot_shift(result: ShiftResult, *, unit: str = "min") -> Figure:
    """Show the error by distance of the run, a panel for each number of anchors.

    Parameters
    ----------
    result : ShiftResult
        The study.
    unit : str
        Of the retention times.
    """
    import polars as pl

    summary = result.summary()
    anchors = summary["anchors"].unique(maintain_order=True).to_list()
    at = np.arange(len(result.bins))
    with style():
        figure = new_figure(1.5 + 3.0 * len(anchors), 3.7)
        panels = figure.subplots(1, len(anchors), sharey=True, squeeze=False)[0]
        for axes, number in zip(panels, anchors, strict=True):
            part = summary.filter(pl.col("anchors") == number)
            for k, (method, rows) in enumerate(_by_method(part)):
                x = at + 0.08 * (k - 1)
                spread = _column(rows, "mae_95")
                axes.errorbar(x, _column(rows, "mae"), spread, capsize=2, label=method, **_look(k))
            axes.set_xticks(at, result.bins, rotation=35)
            axes.set(title=f"{number} anchors", xlabel="percentile of distance")
            axes.set_ylim(bottom=0)
        panels[0].set_ylabel(f"MAE, {unit} (± 95 %)")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _by_method(summary: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    parts = summary.partition_by("method", as_dict=True, maintain_order=True)
    return [(str(key[0]), part) for key, part in parts.items()]


def _look(k: int) -> dict[str, Any]:
    marker = _MARKERS[k % len(_MARKERS)]
    return {"color": OKABE_ITO[k % len(OKABE_ITO)], "marker": marker, "markersize": 4}


def _column(table: pl.DataFrame, name: str) -> FloatArray:
    """Return a column without the row of all bins, NaN where it is null."""
    bins = table.filter(table["support"] != "all") if "support" in table.columns else table
    return np.asarray(bins[name].to_numpy(), dtype=np.float64)


def _coefficients(summaries: Stage1CoeffSummaries) -> tuple[str, ...]:
    return ("intercept", *summaries.features.regressors)


def _place(name: str, names: Sequence[str]) -> int:
    if name not in names:
        raise RTRidgeError(f"coefficient: unknown {name!r}. {did_you_mean(name, names)}")
    return list(names).index(name)


def _coefficient_label(name: str) -> str:
    return name if name == "intercept" else f"slope of {name}"


def _parent_label(summaries: Stage1CoeffSummaries) -> str:
    return summaries.group_col if summaries.coefficients.parents is None else "supercategory"


def _medians(n: npt.NDArray[np.int64], values: FloatArray) -> tuple[list[float], list[float]]:
    """Return the middle of each bin of support, and the median of the values in it."""
    bins = np.searchsorted(SUPPORT_EDGES, n, side="right")
    there = np.unique(bins)
    middle = [float(np.exp(np.log(n[bins == b]).mean())) for b in there]
    return middle, [float(np.median(values[bins == b])) for b in there]


def _thinned(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    if not len(rows):
        raise RTRidgeError("keys: expected pairs that both artefacts have; found none")
    return rows[:: max(1, len(rows) // _MOST_POINTS)]
