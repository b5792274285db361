"""Figures of a comparison: differences with intervals, similarity, and each model's values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from molpool_common import LABELS, METRICS, OKABE_ITO, new_figure

from molpool_pipelines.scores import NOT_SIGNIFICANT, Comparison, Pair

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3
"""Panels beside one another."""

MOST_PAIRS = 10
"""Pairs that a panel shows; of more, those with the best model."""

MOST_NAMED = 6
"""Models up to which a panel of similarity has numbers in it."""

BEST, WORSE, OPEN = OKABE_ITO[0], OKABE_ITO[5], "#888888"
"""Of the model of the best value, of those significantly worse, and of the rest."""


def summary_figure(found: Comparison) -> Figure:
    """Draw the differences of the first metric, the one that is displayed alone."""
    return differences_figure(found, shown_metrics(found)[0])


def shown_metrics(found: Comparison) -> list[str]:
    """Return the first metric of each kind of task."""
    first: dict[str, str] = {}
    for name in found.metrics:
        # The first asked for decides; a figure for each of seven metrics would hide it.
        first.setdefault(METRICS[name].task_type, name)
    return list(first.values())


def shown_pairs(found: Comparison, task: str, metric: str) -> list[Pair]:
    """Return the pairs of a panel; of many, those with the best model."""
    pairs = found.pairs_of(task, metric)
    if len(pairs) <= MOST_PAIRS:
        return pairs
    top = best_model(found, task, metric)
    return [p for p in pairs if top in (p.a, p.b)]


def best_model(found: Comparison, task: str, metric: str) -> str | None:
    """Return the model of the best value, or None where none has any."""
    sign = 1 if METRICS[metric].higher_is_better else -1
    known = [
        (sign * v.value, v.model) for v in found.values_of(task, metric) if v.value is not None
    ]
    return max(known, key=lambda of: of[0])[1] if known else None


def differences_figure(found: Comparison, metric: str) -> Figure:
    """Draw the difference of each pair with its interval, a panel per task.

    The plot of confidence intervals of Ash et al. (2024).
    """
    tasks = _tasks(found, metric)
    shown = [[(p.a, p.b) for p in shown_pairs(found, task, metric)] for task in tasks]
    # Axes are shared only where each panel has the same pairs in the same order.
    same = all(pairs == shown[0] for pairs in shown)
    figure, panels = _grid(len(tasks), height=0.9 + 0.28 * max(map(len, shown)), same_rows=same)
    for axes, task in zip(panels, tasks, strict=True):
        _differences(axes, found, task, metric)
    higher = METRICS[metric].higher_is_better
    figure.supxlabel(
        f"difference of {LABELS[metric]}, first less second ({'above' if higher else 'below'} 0: "
        "the first is better)",
        fontsize=10,
    )
    return figure


def _differences(axes: Axes, found: Comparison, task: str, metric: str) -> None:
    pairs = shown_pairs(found, task, metric)
    threshold = found.practical.get(metric)
    if threshold is not None:
        axes.axvspan(-threshold, threshold, color="#dddddd", zorder=0)
    axes.axvline(0, color="black", linewidth=0.8)
    for y, pair in enumerate(pairs):
        if pair.difference is None:
            continue
        color = OPEN if pair.winner == NOT_SIGNIFICANT else BEST if pair.winner == pair.a else WORSE
        if pair.low is not None and pair.high is not None:
            axes.plot([pair.low, pair.high], [y, y], color=color, linewidth=2)
        axes.plot(pair.difference, y, "o", color=color, markersize=5)
    axes.set_yticks(range(len(pairs)), [f"{p.a} − {p.b}" for p in pairs])
    axes.set_ylim(len(pairs) - 0.5, -0.5)
    axes.set_title(task)
    axes.locator_params(axis="x", nbins=5)
    axes.grid(axis="y", visible=False)


def similarity_figure(found: Comparison, metric: str) -> Figure:
    """Draw each difference as a colour, and what is significant as stars, a panel per task.

    The plot of multiple comparisons by similarity (MCSim) of Ash et al. (2024); blue: the model of
    the row is better. A star: the difference is significant; a dot: it is not.
    """
    tasks = _tasks(found, metric)
    size = 1.3 + 0.5 * len(found.models)
    figure, panels = _grid(len(tasks), height=size)
    sign = 1 if METRICS[metric].higher_is_better else -1
    for axes, task in zip(panels, tasks, strict=True):
        gains, marks = _matrix(found, task, metric, sign)
        # Centred at 0 and scaled per panel, as errors of different tasks have no common range; 1
        # where no model differs, since 0 is no range.
        largest = np.nanmax(np.abs(gains), initial=0) or 1.0
        axes.imshow(gains, cmap="RdBu", vmin=-largest, vmax=largest)
        axes.set_xticks(range(len(found.models)), found.models, rotation=45, ha="right")
        axes.set_yticks(range(len(found.models)), found.models)
        axes.set_title(task)
        axes.grid(visible=False)
        for i, j in np.argwhere(np.isfinite(gains)).tolist():
            if i != j:
                dark = abs(gains[i, j]) > 0.6 * largest
                text = marks[i][j]
                if len(found.models) <= MOST_NAMED:
                    text = f"{sign * gains[i, j]:.3f}\n{text}"
                axes.text(
                    j, i, text, ha="center", va="center", fontsize=7,
                    color="white" if dark else "black",
                )  # fmt: skip
    return figure


def _matrix(
    found: Comparison, task: str, metric: str, sign: int
) -> tuple[np.ndarray[Any, Any], list[list[str]]]:
    place = {name: i for i, name in enumerate(found.models)}
    gains = np.full((len(place), len(place)), np.nan)
    np.fill_diagonal(gains, 0.0)
    marks = [[""] * len(place) for _ in place]
    for pair in found.pairs_of(task, metric):
        i, j = place[pair.a], place[pair.b]
        if pair.difference is not None:
            gains[i, j], gains[j, i] = sign * pair.difference, -sign * pair.difference
        marks[i][j] = marks[j][i] = stars(pair)
    return gains, marks


def stars(pair: Pair) -> str:
    """Return stars by the adjusted p-value of a significant difference, else a dot."""
    if pair.winner == NOT_SIGNIFICANT:
        return "·"
    # The larger of both: a win needs both tests, so that stars follow the weaker evidence.
    p = max(pair.p_adjusted or 0.0, pair.p_guard or 0.0)
    return "***" if p < 0.001 else "**" if p < 0.01 else "*"


def values_figure(found: Comparison, metric: str) -> Figure:
    """Draw each model's value with its interval, a panel per task.

    On folds the intervals are simultaneous: two models differ by Tukey's test where theirs are
    apart (Hochberg and Tamhane 1987, section 3.2).
    """
    tasks = _tasks(found, metric)
    figure, panels = _grid(len(tasks), height=0.9 + 0.28 * len(found.models))
    for axes, task in zip(panels, tasks, strict=True):
        best = best_model(found, task, metric)
        # By the verdicts, not by whether the intervals overlap: paired differences are sharper than
        # these.
        beaten = {
            p.b if p.winner == p.a else p.a
            for p in found.pairs_of(task, metric)
            if p.winner == best and best is not None
        }
        for y, value in enumerate(found.values_of(task, metric)):
            if value.value is None:
                continue
            color = BEST if value.model == best else WORSE if value.model in beaten else OPEN
            if value.low is not None and value.high is not None:
                axes.plot([value.low, value.high], [y, y], color=color, linewidth=2)
            axes.plot(value.value, y, "o", color=color, markersize=5)
        axes.set_yticks(range(len(found.models)), found.models)
        axes.set_ylim(len(found.models) - 0.5, -0.5)
        axes.locator_params(axis="x", nbins=5)
        axes.set_title(task)
        axes.grid(axis="y", visible=False)
    figure.supxlabel(LABELS[metric], fontsize=10)
    return figure


def _tasks(found: Comparison, metric: str) -> list[str]:
    """Return the tasks of a metric, their mean first."""
    tasks = [task for task, name in found.places if name == metric]
    # The mean over tasks is the only name that is no task.
    return [*(t for t in tasks if t not in found.tasks), *(t for t in tasks if t in found.tasks)]


def _grid(n: int, height: float, *, same_rows: bool = True) -> tuple[Figure, Sequence[Axes]]:
    columns = min(n, COLUMNS)
    rows = -(-n // columns)
    figure = new_figure(1.2 + (3.2 if same_rows else 4.2) * columns, 0.4 + height * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=same_rows).ravel().tolist()
    for unused in panels[n:]:
        unused.set_visible(False)
    return figure, panels[:n]
