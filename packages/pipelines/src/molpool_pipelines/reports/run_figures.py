"""Figures of a run: fits, scores by class, learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from molpool_common import OKABE_ITO, Cell, Figure, FloatArray, Table, new_figure

from molpool_pipelines.reports._parts import page_figure
from molpool_pipelines.scores import Predictions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

COLUMNS = 3
MOST_POINTS = 1000
"""Points of a task that are drawn and listed; of more, every so many in the order of truth."""


def fits(found: Predictions, side: str) -> Figure:
    """Draw predicted against measured values, or the scores of both classes, a panel a task."""
    shown = [t for t in range(len(found.tasks)) if np.isfinite(found.y_true[:, t]).sum() > 1]
    rows: list[list[Cell]] = []
    points = {t: _points(found, t) for t in shown}
    for t, (ids, y, p) in points.items():
        rows += [
            [str(i), found.tasks[t], float(a), float(b)] for i, a, b in zip(ids, y, p, strict=True)
        ]

    def draw() -> Picture:
        columns = max(1, min(COLUMNS, len(shown)))
        lines = -(-max(len(shown), 1) // columns)
        figure = new_figure(3.0 * columns, 2.8 * lines)
        grid = figure.subplots(lines, columns, squeeze=False).ravel().tolist()
        for axes in grid[len(shown) :]:
            axes.set_visible(False)
        for axes, t in zip(grid, shown, strict=False):
            _, y, p = points[t]
            if found.task_types[t] == "classification":
                _classes(axes, y, p)
            else:
                _scatter(axes, y, p)
            axes.set_title(found.tasks[t])
        return figure

    kinds = set(found.task_types)
    words = []
    if "regression" in kinds:
        words.append("predicted against measured values, with the line of equality")
    if "classification" in kinds:
        words.append("how scores of either class are spread")
    text = " and ".join(words)
    return page_figure(
        draw,
        alt=f"{text.capitalize()}, a panel for each of {len(shown)} tasks.",
        caption=f"{text.capitalize()}; {side} rows.",
        data=Table(["id", "task", "measured", "predicted"], rows),
    )


def _points(found: Predictions, t: int) -> tuple[np.ndarray[Any, Any], FloatArray, FloatArray]:
    rows = np.flatnonzero(np.isfinite(found.y_true[:, t]))
    rows = rows[np.argsort(found.y_true[rows, t], kind="stable")]
    rows = rows[:: max(1, -(-len(rows) // MOST_POINTS))]
    return found.ids[rows], found.y_true[rows, t], found.y_pred[rows, t]


def _scatter(axes: Axes, y: FloatArray, p: FloatArray) -> None:
    axes.plot(y, p, ".", markersize=4, alpha=0.6)
    ends = [float(min(y.min(), p.min())), float(max(y.max(), p.max()))]
    axes.plot(ends, ends, color="black", linewidth=0.8)
    axes.set(xlabel="measured", ylabel="predicted")


def _classes(axes: Axes, y: FloatArray, p: FloatArray) -> None:
    bins = np.linspace(min(0.0, float(p.min())), max(1.0, float(p.max())), 21)
    for label, color in ((0.0, OKABE_ITO[0]), (1.0, OKABE_ITO[1])):
        values = p[y == label]
        if len(values):
            weights = np.full(len(values), 1 / len(values))
            name = f"class {label:g} ({len(values)})"
            axes.hist(values, bins=list(bins), weights=weights, alpha=0.6, color=color, label=name)
    axes.set(xlabel="score", ylabel="share of the class")
    axes.legend()


def learning_curves(epochs: Sequence[dict[str, Any]]) -> Figure:
    """Draw training and validation loss by epoch, a line a model."""
    models: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for entry in epochs:
        key = tuple(entry.get(k) for k in ("member", "group", "fold"))
        models.setdefault(key, []).append(entry)

    def draw() -> Picture:
        figure = new_figure(8, 3.6)
        axes = figure.subplots()
        for n, entries in enumerate(models.values()):
            at = [e["epoch"] + 1 for e in entries]
            for key, name, color in (
                ("train_loss", "training", OKABE_ITO[0]),
                ("val_loss", "validation", OKABE_ITO[1]),
            ):
                values = [np.nan if e.get(key) is None else float(e[key]) for e in entries]
                if np.isfinite(values).any():
                    label = name if n == 0 else None
                    axes.plot(at, values, ".-", color=color, linewidth=1, label=label)
        axes.set(xlabel="epoch", ylabel="loss")
        axes.locator_params(axis="x", integer=True)
        axes.legend()
        return figure

    rows: list[list[Cell]] = [
        [_model(key), e["epoch"] + 1, e.get("train_loss"), e.get("val_loss"), e.get("seconds")]
        for key, entries in models.items()
        for e in entries
    ]
    n = len(models)
    return page_figure(
        draw,
        alt=f"Training and validation loss of {n} {'model' if n == 1 else 'models'} by epoch.",
        caption="Loss by epoch" + (f", a line for each of {n} models." if n > 1 else "."),
        data=Table(["model", "epoch", "training", "validation", "seconds"], rows, digits=5),
    )


def _model(key: tuple[Any, ...]) -> str:
    parts = zip(("member", "group", "fold"), key, strict=True)
    return ", ".join(f"{what} {value}" for what, value in parts if value is not None) or "the one"
