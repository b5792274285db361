"""Figures of scores: fit, calibration of uncertainty, curves of classes, strata."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from molpool_common import LABELS, OKABE_ITO, mean_label, new_figure, style

from molpool_pipelines.runs import MACRO
from molpool_pipelines.scores import Predictions, Scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL = 3.2
"""Side of a panel, in inches."""

MOST_PANELS = 12
GREY = "#888888"


def score_figures(found: Predictions, scores: Scores) -> dict[str, Figure]:
    """Return the figures that the scores have data for, by file name."""
    kinds = dict(zip(found.tasks, found.task_types, strict=True))
    # As many panels as stay legible; the tables have all tasks.
    regression = [t for t in found.tasks if kinds[t] == "regression"][:MOST_PANELS]
    classes = [t for t in scores.classes if scores.classes[t].roc][:MOST_PANELS]
    uncertain = list(scores.uncertainty)[:MOST_PANELS]
    figures: dict[str, Figure] = {}
    with style():
        if regression:
            figures["fit.png"] = _panels(regression, lambda a, t: _fit(a, found, t))
        if uncertain:
            figures["calibration.png"] = _panels(uncertain, lambda a, t: _coverage(a, scores, t))
            figures["error_by_uncertainty.png"] = _panels(
                uncertain, lambda a, t: _errors(a, scores, t)
            )
        if classes:
            figures["roc.png"] = _panels(classes, lambda a, t: _roc(a, scores, t))
            figures["precision_recall.png"] = _panels(classes, lambda a, t: _pr(a, scores, t))
            figures["reliability.png"] = _panels(classes, lambda a, t: _reliability(a, scores, t))
        if scores.strata:
            figures["strata.png"] = strata_figure(scores)
    return figures


def _panels(tasks: Sequence[str], draw: Callable[[Any, str], None]) -> Figure:
    columns = min(3, len(tasks))
    rows = -(-len(tasks) // columns)
    figure = new_figure(PANEL * columns, PANEL * rows)
    axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    for axis, task in zip(axes, tasks, strict=False):
        draw(axis, task)
        axis.set_title(task if len(task) < 32 else f"{task[:30]}…", fontsize=9)
    for axis in axes[len(tasks) :]:
        axis.remove()
    return figure


def _fit(axis: Any, found: Predictions, task: str) -> None:
    t = found.tasks.index(task)
    there = np.isfinite(found.y_true[:, t]) & np.isfinite(found.y_pred[:, t])
    y, p = found.y_true[there, t], found.y_pred[there, t]
    axis.scatter(y, p, s=9, alpha=0.5, linewidths=0, color=OKABE_ITO[0], rasterized=True)
    if len(y):
        # One range for both axes, so that the diagonal is the line of right predictions.
        ends = [float(min(y.min(), p.min())), float(max(y.max(), p.max()))]
        axis.plot(ends, ends, color=GREY, linewidth=1)
    axis.set(xlabel="measured", ylabel="predicted")


def _coverage(axis: Any, scores: Scores, task: str) -> None:
    u = scores.uncertainty[task]
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    axis.plot(u.levels, u.observed, color=OKABE_ITO[0])
    axis.fill_between(u.levels, u.levels, u.observed, color=OKABE_ITO[0], alpha=0.2)
    axis.text(0.04, 0.92, f"area {u.miscalibration_area:.3f}", fontsize=8)
    axis.set(xlabel="stated coverage", ylabel="observed coverage", xlim=(0, 1), ylim=(0, 1))


def _errors(axis: Any, scores: Scores, task: str) -> None:
    u = scores.uncertainty[task]
    stated, found = (np.array([b[i] for b in u.bins]) for i in (0, 1))
    top = float(max(stated.max(), found.max())) * 1.05
    axis.plot([0, top], [0, top], color=GREY, linewidth=1)
    axis.plot(stated, found, marker="o", markersize=4, color=OKABE_ITO[0])
    axis.set(xlabel="stated uncertainty (sd)", ylabel="error (RMSE)", xlim=(0, None), ylim=(0, top))


def _roc(axis: Any, scores: Scores, task: str) -> None:
    curve = scores.classes[task].roc
    assert curve is not None
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    axis.plot(curve.x, curve.y, color=OKABE_ITO[0], drawstyle="default")
    axis.text(0.96, 0.06, _said(scores, task, "roc_auc"), fontsize=8, ha="right")
    axis.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1.02))


def _pr(axis: Any, scores: Scores, task: str) -> None:
    c = scores.classes[task]
    assert c.precision_recall is not None
    # The precision of a random order is the prevalence, which is the base line here as the diagonal
    # is for ROC.
    axis.axhline(c.positives / c.n, color=GREY, linewidth=1)
    # Steps, as average precision sums them: straight lines between points would be too optimistic
    # (Davis and Goadrich 2006).
    axis.plot(c.precision_recall.x, c.precision_recall.y, color=OKABE_ITO[0], drawstyle="steps-pre")
    axis.text(0.96, 0.94, _said(scores, task, "average_precision"), fontsize=8, ha="right")
    axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))


def _reliability(axis: Any, scores: Scores, task: str) -> None:
    c = scores.classes[task]
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    if c.bins:
        p, share, n = (np.array([b[i] for b in c.bins], dtype=float) for i in range(3))
        axis.plot(p, share, color=OKABE_ITO[0], linewidth=1)
        axis.scatter(p, share, s=10 + 60 * n / n.max(), color=OKABE_ITO[0])
    axis.set(xlabel="probability", ylabel="share of positives", xlim=(0, 1), ylim=(0, 1.02))


def _said(scores: Scores, task: str, metric: str) -> str:
    s = scores.of(task, metric)
    return "" if s is None or s.value is None else f"{LABELS[metric]} {s.value:.3f}"


def strata_figure(scores: Scores) -> Figure:
    """Return the leading metric's mean over tasks, with its interval, by stratum."""
    metric = next(
        m for m in ("ma_rae", "average_precision") if any(s.metric == m for s in scores.overall)
    )
    rows = []
    for stratum in scores.strata:
        found = stratum.summary(metric)
        if found is not None and found.value is not None:
            rows.append((f"{stratum.kind}: {stratum.name}", found.value, found.interval))
    figure = new_figure(6.0, 0.8 + 0.3 * max(len(rows), 1))
    axis = figure.subplots()
    for y, (_, value, interval) in enumerate(rows):
        if interval is not None:
            axis.plot([interval.low, interval.high], [y, y], color=OKABE_ITO[0], linewidth=2)
        axis.plot([value], [y], "o", color=OKABE_ITO[0])
    axis.set_yticks(range(len(rows)), [name for name, *_ in rows])
    axis.invert_yaxis()
    several = any(s.task == MACRO for s in scores.overall)
    axis.set_xlabel(f"{mean_label(metric)}, mean over tasks" if several else LABELS[metric])
    return figure
