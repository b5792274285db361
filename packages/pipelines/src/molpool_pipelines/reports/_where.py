"""Where a model errs and how far to trust it: residuals against what may explain them, coverage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from molpool_common import (
    OKABE_ITO,
    BoolArray,
    Cell,
    Figure,
    FloatArray,
    InputError,
    Part,
    Section,
    Table,
    Text,
    parse_smiles,
    parse_times,
    shortened,
)

from molpool_pipelines.reports._panels import Points, Shown, grid
from molpool_pipelines.scores import Coverage, Predictions, range_names, score_coverage

MOST = 6
"""Tasks with panels of residuals; of more, those with most labels."""
TIME = "time, in order"
_LEAST = 20
"""Labels of which a rolling mean says something."""


def residuals(rows: Predictions, shown: Shown) -> list[Section]:
    """Draw the errors against the prediction, time, weight and similarity, a row per task.

    Parameters
    ----------
    rows : Predictions
        Of the split that counts.
    shown : Shown
        What points say.
    """
    against = _against(rows)
    for name, values in against.items():
        shown.add(name, values)
    labels = np.isfinite(rows.y_true) & np.isfinite(rows.y_pred)
    tasks = [
        t
        for t, kind in enumerate(rows.task_types)
        if kind == "regression" and labels[:, t].sum() >= _LEAST
    ]
    tasks = sorted(sorted(tasks, key=lambda t: -labels[:, t].sum())[:MOST])
    if not tasks:
        return []
    names = ["predicted", *against]
    places = [(t, name) for t in tasks for name in names]

    def draw(axes: Any, i: int) -> Points | None:
        t, name = places[i]
        x = rows.y_pred[:, t] if name == "predicted" else against[name]
        at = np.flatnonzero(labels[:, t] & np.isfinite(x))
        error = rows.y_pred[at, t] - rows.y_true[at, t]
        axes.axhline(0, color="black", lw=0.8)
        alpha = 0.3 if len(at) > 500 else 0.6
        axes.plot(x[at], error, ".", color=OKABE_ITO[0], ms=4, mew=0, alpha=alpha, rasterized=True)
        _rolling(axes, x[at], error)
        axes.set_xlabel(name, fontsize=8)
        axes.locator_params(axis="x", nbins=4)
        if name == TIME and rows.times is not None:
            ends = [shortened(str(t), 12) for t in _ends_in_time(rows, x)]
            axes.set_xticks([0, 1], ends)
            axes.get_xticklabels()[0].set_ha("left")
            axes.get_xticklabels()[1].set_ha("right")
        axes.tick_params(labelsize=7)
        if i % len(names) == 0:
            axes.set_ylabel(f"{rows.tasks[t]}\nerror", fontsize=8)
        return Points(rows.tasks[t], name, "error")

    svg, hover = grid(len(places), draw, columns=len(names), height=2.3)
    figure = Figure(
        svg,
        alt=f"Errors of {len(tasks)} tasks against {', '.join(names)}.",
        caption="Predicted less measured: above the line the prediction is too high. Orange: the "
        f"size of the error, up and down, as a rolling mean over a tenth of the {rows.noun}s. "
        "Where it widens, predictions are worth less; points that are mostly on one side are a "
        "bias.",
        hover=hover,
    )
    near = _errors_by_similarity(rows)
    return [Section("Where it errs", [figure, *([near] if near else [])])]


def _against(rows: Predictions) -> dict[str, FloatArray]:
    """Return what errors are plotted against besides the prediction, by name."""
    found = {
        TIME: _times(rows),
        "molecular weight": _weights(rows),
        "similarity to training": rows.similarity,
    }
    return {name: values for name, values in found.items() if values is not None}


def _times(rows: Predictions) -> FloatArray | None:
    """Return the order in which rows were measured; None where that is not known."""
    if rows.times is None:
        return None
    there = np.flatnonzero([time is not None for time in rows.times])
    try:
        when = parse_times(rows.times[there].tolist())
    except InputError:
        return None
    found = np.full(len(rows), np.nan)
    # As places in time: dates, days and numbers of batches have no unit in common, and bursts of
    # work would leave most of an axis empty.
    order = np.searchsorted(np.sort(when), when, side="left")
    found[there] = order / max(int(order.max(initial=0)), 1)
    return found


def _ends_in_time(rows: Predictions, places: FloatArray) -> list[object]:
    """Return the earliest and the latest time, as written."""
    assert rows.times is not None
    return [rows.times[int(np.nanargmin(places))], rows.times[int(np.nanargmax(places))]]


def _weights(rows: Predictions) -> FloatArray | None:
    if rows.smiles is None:
        return None
    from rdkit.Chem.rdMolDescriptors import CalcExactMolWt

    mols = parse_smiles(rows.smiles.tolist()).mols
    return np.array([np.nan if mol is None else CalcExactMolWt(mol) for mol in mols])


def _rolling(axes: Any, x: FloatArray, error: FloatArray) -> None:
    width = max(_LEAST // 2, len(x) // 10)
    if len(x) < 2 * width:
        return
    order = np.argsort(x, kind="stable")
    window = np.ones(width) / width
    size = np.convolve(np.abs(error[order]), window, mode="valid")
    where = np.convolve(x[order], window, mode="valid")
    for sign in (1, -1):
        axes.plot(where, sign * size, color=OKABE_ITO[1], lw=1.4)


def intervals(rows: Predictions) -> list[Section]:
    """Say how often the intervals of the split hold, over each task and within it.

    Parameters
    ----------
    rows : Predictions
        Of the split that counts.
    """
    found = score_coverage(rows)
    if not found:
        return []
    level = rows.level
    parts: list[Part] = [Text(_sentence(found, level, rows.noun)), _table(found)]
    drawn = {task: of for task, of in found.items() if len(of.by_prediction) > 1}
    if drawn:
        parts.append(_figure(drawn, level, rows.noun))
    near = _by_similarity(found, level)
    return [Section("Intervals", [*parts, *([near] if near else [])])]


def _sentence(found: Mapping[str, Coverage], level: float | None, noun: str) -> str:
    n = sum(of.n for of in found.values())
    inside = sum(of.n * of.inside for of in found.values()) / n
    asked = "" if level is None else f", {100 * level:g} % were asked for"
    return (
        f"{100 * inside:.1f} % of {n:,} measured values are within their intervals{asked}. The "
        f"width of an interval comes from {noun}s that the models had not seen, and is larger "
        f"where these were predicted worse. It speaks of {noun}s like those: of others, such as "
        "a new series, it may hold less often."
    )


def _table(found: Mapping[str, Coverage]) -> Table:
    rows: list[list[Cell]] = []
    several = any(of.further for of in found.values())
    for task, first in found.items():
        for of in (first, *first.further):
            level = of.level
            asked = [None if level is None else 100 * level] if several else []
            chance = [None, None] if level is None else [100 * e for e in _by_chance(level, of.n)]
            rows.append([task, of.n, *asked, 100 * of.inside, *chance, of.median_width])
    asked_for = ["asked for, %"] if several else []
    heads = ["task", "labels", *asked_for, "inside, %", "by chance from", "to", "median width"]
    caption = "By chance: where 95 % of such shares lie when the intervals are right."
    return Table(heads, rows, caption=caption, digits=1)


def _by_chance(level: float, n: int) -> tuple[float, float]:
    from scipy.stats import binom

    return float(binom.ppf(0.025, n, level)) / n, float(binom.ppf(0.975, n, level)) / n


def _figure(found: Mapping[str, Coverage], level: float | None, noun: str) -> Figure:
    tasks = list(found)

    def draw(axes: Any, i: int) -> None:
        parts = found[tasks[i]].by_prediction
        at = np.array([(p.low + p.high) / 2 for p in parts])
        inside = np.array([p.inside for p in parts])
        if level is not None:
            ends = np.array([_by_chance(level, p.n) for p in parts])
            axes.fill_between(at, *(100 * ends.T), color="#dddddd", lw=0)
            axes.axhline(100 * level, color="black", lw=0.8)
        axes.plot(at, 100 * inside, marker=".", color=OKABE_ITO[0])
        axes.set(ylim=(min(40.0, 100 * float(inside.min()) - 5), 102))
        axes.set(xlabel="predicted", ylabel="inside, %")
        axes.set_title(tasks[i], fontsize=9)

    rows: list[list[Cell]] = [
        [task, p.low, p.high, p.n, 100 * p.inside, p.median_width]
        for task, of in found.items()
        for p in of.by_prediction
    ]
    heads = ["task", "predicted from", "to", "labels", "inside, %", "median width"]
    return Figure(
        grid(len(tasks), draw, height=2.4)[0],
        alt=f"Share of values within their intervals by prediction, {len(tasks)} tasks.",
        caption=f"Share within the intervals for each tenth of the {noun}s by prediction. Line: "
        "what was asked for; grey: where chance puts 95 % of such shares.",
        data=Table(heads, rows, digits=2),
    )


def _by_similarity(found: Mapping[str, Coverage], level: float | None) -> Table | None:
    """Return the share inside over all tasks, whose widths have no common unit."""
    every = [part for of in found.values() for part in of.by_similarity]
    rows: list[list[Cell]] = []
    for name in dict.fromkeys(part.name for part in sorted(every, key=lambda p: p.low)):
        parts = [part for part in every if part.name == name]
        n = sum(p.n for p in parts)
        inside = sum(p.n * p.inside for p in parts) / n
        chance = [None, None] if level is None else [100 * e for e in _by_chance(level, n)]
        rows.append([name, n, 100 * inside, *chance])
    heads = ["similarity", "labels", "inside, %", "by chance from", "to"]
    caption = "By Tanimoto similarity to the nearest training molecule, all tasks together."
    return Table(heads, rows, caption=caption, digits=1) if rows else None


def _errors_by_similarity(
    rows: Predictions, ends: Sequence[float] = (0.3, 0.5, 0.7)
) -> Table | None:
    """Return the mean absolute error of each task by similarity to training."""
    if rows.similarity is None:
        return None
    bins = np.searchsorted(ends, rows.similarity, side="right")
    names = range_names(ends, closed=1.0)
    table: list[list[Cell]] = []
    for t, task in enumerate(rows.tasks):
        if rows.task_types[t] != "regression":
            continue
        error = np.abs(rows.y_pred[:, t] - rows.y_true[:, t])
        cells: list[Cell] = [task]
        for k in range(len(names)):
            at: BoolArray = np.isfinite(error) & (bins == k) & np.isfinite(rows.similarity)
            cells.append(float(error[at].mean()) if at.sum() >= _LEAST // 2 else None)
        table.append(cells)
    heads = ["task", *names]
    caption = (
        "Mean absolute error by Tanimoto similarity to the nearest training molecule; a dash: "
        f"fewer than {_LEAST // 2} labels."
    )
    return Table(heads, table, caption=caption) if table else None
