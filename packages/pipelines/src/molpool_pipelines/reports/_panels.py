"""Grids of panels whose points say what they are: a figure, and the places of its points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from molpool_common import (
    Figure,
    FloatArray,
    HoverPanel,
    HoverRows,
    IntArray,
    Section,
    axes_box,
    compact_molecules,
    figure_svg,
    new_figure,
    style,
)

from molpool_pipelines.scores import Predictions

COLUMNS = 3
MOST_ROWS = 10_000
"""Rows whose points say what they are: with pictures these weigh about three megabytes."""

REM_PER_INCH = 7
"""Of a figure at its largest: text of 9 points is then that of the page."""


@dataclass(frozen=True)
class Points:
    """Points of a panel, by rows of the predictions.

    Parameters
    ----------
    task : str
        What they are of.
    rows : ndarray of int [n]
        Rows of the predictions.
    x, y : ndarray [n] or None
        Where they are; None: measured along x, predicted along y.
    """

    task: str
    rows: IntArray
    x: FloatArray | None = None
    y: FloatArray | None = None


class Shown:
    """Rows of a page whose points say what they are; of many, evenly spaced ones.

    Parameters
    ----------
    found : Predictions
        Rows of the split that the page is about.
    """

    def __init__(self, found: Predictions) -> None:
        n = len(found)
        self._rows = np.arange(n)
        if n > MOST_ROWS:
            self._rows = np.linspace(0, n - 1, MOST_ROWS).round().astype(np.int64)
        self._number = np.full(n, -1)
        self._number[self._rows] = np.arange(len(self._rows))
        self._found = found

    def rows(self, sections: Sequence[Section]) -> HoverRows | None:
        """Return names, values, intervals and pictures of the rows; None where no figure asks.

        Parameters
        ----------
        sections : sequence of Section
            Of the page.
        """
        # Drawing thousands of molecules takes seconds, and curves of classes have no points.
        parts = [part for section in sections for part in section.parts]
        if not any(isinstance(part, Figure) and part.hover for part in parts):
            return None
        found = self._found.take(self._rows)
        values: dict[str, list[FloatArray]] = {}
        for t, task in enumerate(found.tasks):
            values[task] = [found.y_true[:, t], found.y_pred[:, t]]
            if found.lower is not None and found.upper is not None:
                values[task] += [found.lower[:, t], found.upper[:, t]]
        return HoverRows(
            [str(name) for name in found.ids],
            values,
            None if found.smiles is None else compact_molecules(found.smiles.tolist()),
            found.level,
        )

    def panel(self, axes: Any, points: Points) -> HoverPanel:
        """Return the points of axes whose figure has been saved."""
        there = np.flatnonzero(self._number[points.rows] >= 0)
        return HoverPanel(
            points.task,
            axes_box(axes),
            axes.get_xlim(),
            axes.get_ylim(),
            self._number[points.rows[there]],
            None if points.x is None else points.x[there],
            None if points.y is None else points.y[there],
        )


def grid(
    n: int,
    draw: Callable[[Any, int], Points | None],
    *,
    shown: Shown | None = None,
    columns: int = COLUMNS,
    height: float = 3.1,
) -> tuple[str, list[HoverPanel]]:
    """Return `n` panels as SVG, and their points where `shown` knows the rows.

    Parameters
    ----------
    n : int
        Panels.
    draw : callable
        ``draw(axes, i)`` fills the i-th, and returns the points that it has drawn.
    shown : Shown, optional
        What points say.
    columns : int
        Panels beside one another at most.
    height : float
        Of a panel, in inches.
    """
    columns = min(n, columns)
    rows = -(-n // columns)
    with style():
        figure = new_figure(3 * columns, height * rows)
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        points = [draw(axes[i], i) for i in range(n)]
        for unused in axes[n:]:
            unused.set_visible(False)
        svg = figure_svg(figure, whole=True)
    hover = [
        shown.panel(panel, of)
        for panel, of in zip(axes, points, strict=False)
        if shown is not None and of is not None
    ]
    return sized(svg, 3 * columns), hover


def sized(svg: str, inches: float) -> str:
    """Return a figure no wider than its text is worth."""
    widest = REM_PER_INCH * inches
    # A narrow figure keeps its size on a phone too, where wide ones scroll from 34rem on.
    size = f"max-width: {widest:.0f}rem; min-width: min(34rem, {widest:.0f}rem)"
    return svg.replace("<svg ", f'<svg style="{size}" ', 1)
