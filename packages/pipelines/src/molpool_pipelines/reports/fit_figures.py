"""How predictions lie against measurements: parity by task, or ROC curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from molpool_common import OKABE_ITO, Figure, MetricTable, Part, Text, figure_svg, new_figure, style
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from molpool_pipelines.fitting import Results

COLUMNS = 3
MOST = 24
"""Panels a figure; of more tasks, those with most labels are drawn."""

Panel = tuple[str, NDArray[np.float64], NDArray[np.float64]]


def fits(results: Results) -> list[Part]:
    """Return the figures of the reported side, one for each kind of task."""
    side = results.reported_side
    table = results.metrics[side]
    frame = results.predictions.filter(pl.col("side") == side)
    parts: list[Part] = []
    for kind, draw in (("regression", _parity), ("classification", _roc)):
        panels = _panels(frame, table, kind)
        if len(panels) > MOST:
            parts.append(Text(f"The {MOST} of {len(panels)} {kind} tasks with most labels."))
        if panels:
            parts.append(draw(panels[:MOST], side))
    return parts


def _panels(frame: pl.DataFrame, table: MetricTable, kind: str) -> list[Panel]:
    """Return name, truth and prediction of the tasks of a kind that have labels here."""
    panels = []
    for score in table.tasks:
        if score.task_type != kind or score.n == 0:
            continue
        exact = frame
        if f"{score.task} modifier" in frame.columns:
            exact = frame.filter(pl.col(f"{score.task} modifier") == "=")
        pair = exact.select(score.task, f"{score.task} predicted").drop_nulls(score.task)
        truth, guess = pair.to_numpy().T
        panels.append((score.task, truth, guess))
    return sorted(panels, key=lambda panel: -len(panel[1])) if len(panels) > MOST else panels


def grid(n: int, draw: Any) -> str:
    """Return `n` panels, `COLUMNS` a row, as SVG; ``draw(axes, i)`` fills each."""
    rows = -(-n // COLUMNS)
    with style():
        figure = new_figure(9, 3.1 * rows)
        axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
        for i in range(n):
            draw(axes[i], i)
        for unused in axes[n:]:
            unused.set_visible(False)
        return figure_svg(figure)


def _parity(panels: Sequence[Panel], side: str) -> Figure:
    def draw(axes: Any, i: int) -> None:
        name, truth, guess = panels[i]
        low, high = min(truth.min(), guess.min()), max(truth.max(), guess.max())
        pad = 0.04 * (high - low) or 1.0
        ends = (low - pad, high + pad)
        axes.plot(ends, ends, color="black", lw=0.8)
        # Thousands of points as vectors would weigh megabytes.
        points = {"ms": 5, "alpha": 0.3 if len(truth) > 500 else 0.6, "mew": 0}
        axes.plot(truth, guess, ".", color=OKABE_ITO[0], rasterized=True, **points)
        axes.set(xlim=ends, ylim=ends, aspect="equal", xlabel="measured", ylabel="predicted")
        axes.set_title(f"{name}\n{len(truth)} labels", fontsize=9)

    return Figure(
        grid(len(panels), draw),
        alt=f"Predicted against measured values of {len(panels)} tasks, {side} molecules.",
        caption="Each point is a molecule; on the line the prediction is right. Values as trained "
        "on, after conversions. The numbers are in predictions.parquet.",
    )


def _roc(panels: Sequence[Panel], side: str) -> Figure:
    def draw(axes: Any, i: int) -> None:
        name, truth, guess = panels[i]
        axes.plot((0, 1), (0, 1), color="#9aa5b1", lw=0.8)
        if 0 < truth.sum() < len(truth):
            false, true, _ = roc_curve(truth, guess)
            axes.plot(false, true, color=OKABE_ITO[0])
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.set(xlabel="false positive rate", ylabel="true positive rate")
        axes.set_title(f"{name}\n{int(truth.sum())} of {len(truth)} positive", fontsize=9)

    return Figure(
        grid(len(panels), draw),
        alt=f"ROC curves of {len(panels)} tasks, {side} molecules.",
        caption="The further above the diagonal, the better positives are ranked before negatives. "
        "A task with one class here has no curve.",
    )
