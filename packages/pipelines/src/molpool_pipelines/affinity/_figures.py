"""Pictures of a measurement, as files and as figures of the page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from molpool_common import new_figure, style
from task_affinity import plot_task_affinity_heatmap, plot_task_dendrogram

from molpool_pipelines.affinity._group import Affinity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

TITLES = {
    "cosine": "Cosine of the tasks' gradients",
    "dot_product": "Normalised product of the tasks' gradients",
    "lookahead": "Share of a task's loss that a step on another removes",
}
MAX_TASKS_PLOTTED = 200
"""Tasks up to which heatmap and dendrogram of a training run are plotted."""
_WRITTEN_UP_TO = 20
"""Tasks up to which shares are written into the picture."""
_NAMED_UP_TO = 100
"""Tasks up to which rows and columns of shares are named; more names take a minute to lay out."""


def heatmap(affinity: Affinity, path: Path | None = None) -> Figure:
    """Return the matrix with standard errors as a figure, and write it where `path` says."""
    result = affinity.result
    return plot_task_affinity_heatmap(
        result.matrix,
        result.task_names,
        title=TITLES[result.config.affinity_type],
        save_path=path,
        standard_errors=result.standard_errors,
    )


def dendrogram(affinity: Affinity, path: Path | None = None) -> Figure:
    """Return the tree of tasks, coloured by groups where those are cuts of it."""
    return plot_task_dendrogram(
        affinity.result.matrix,
        affinity.result.task_names,
        title="Average linkage of the tasks",
        save_path=path,
        n_groups=affinity.grouping.n_groups if affinity.is_tree else None,
    )


def co_assignment(affinity: Affinity) -> Figure:
    """Return the shares of resamples in which tasks share a group, as a figure.

    Tasks are in the order of the groups that serve them, with a line between groups.
    """
    stability = affinity.stability
    assert stability is not None
    names = list(stability.task_names)
    served = np.array([affinity.grouping.assignment[name] for name in names])
    order = np.argsort(served, kind="stable")
    written = len(names) <= _WRITTEN_UP_TO
    # Inches per task and per letter of the longest name, so that labels neither overlap nor shrink.
    width = (0.5 if written else 0.17) * min(len(names), _NAMED_UP_TO) + 0.08 * max(map(len, names))
    with style():
        figure = new_figure(max(width + 1.2, 4.5), max(width + 0.4, 3.5))
        axes = figure.add_subplot()
        shares = stability.co_assignment[np.ix_(order, order)]
        image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
        bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=25)
        bar.outline.set_visible(False)
        bar.set_label("share of resamples")
        _label(axes, [names[i] for i in order] if len(names) <= _NAMED_UP_TO else [])
        for edge in np.flatnonzero(np.diff(served[order])) + 0.5:
            axes.axhline(edge, color="black", linewidth=1)
            axes.axvline(edge, color="black", linewidth=1)
        if written:
            _write_shares(axes, shares)
    return figure


def _label(axes: Axes, names: list[str]) -> None:
    size = 9.0 if len(names) <= _WRITTEN_UP_TO else 6.0
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=size)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _write_shares(axes: Axes, shares: NDArray[np.float64]) -> None:
    for (i, j), share in np.ndenumerate(shares):
        if i != j:
            # From there on `Blues` is too dark for black text.
            colour = "white" if share > 0.6 else "black"
            axes.text(j, i, f"{share:.0%}", ha="center", va="center", fontsize=8, color=colour)
