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


@dataclass(frozen=True)
class Points:
    """Points of a panel: what they are of, and what stands along the axes (`HoverPanel`)."""

    task: str
    x: str = "measured"
    y: str = "predicted"


class Shown:
    """Rows of a page whose points say what they are; of many, evenly spaced ones.

    Parameters
    ----------
    found : Predictions
        Rows of the split that the page is about.
    """

    def __init__(self, found: Predictions) -> None:
        n = len(found)
        rows = np.arange(n)
        if n > MOST_ROWS:
            rows = np.linspace(0, n - 1, MOST_ROWS).round().astype(np.int64)
        self._rows = rows
        self._found = found.take(rows)
        self._columns: dict[str, FloatArray] = {}

    def add(self, name: str, values: FloatArray) -> None:
        """Name a column [N] of all rows that points are plotted against."""
        self._columns[name] = values[self._rows]

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
        found = self._found
        values: dict[str, list[FloatArray]] = {}
        for t, task in enumerate(found.tasks):
            values[task] = [found.y_true[:, t], found.y_pred[:, t]]
            if found.lower is not None and found.upper is not None:
                values[task] += [found.lower[:, t], found.upper[:, t]]
        return HoverRows(
            [str(name) for name in found.ids],
            values,
            self._columns,
            None if found.smiles is None else compact_molecules(found.smiles.tolist()),
            found.level,
        )


def grid(
    n: int,
    draw: Callable[[Any, int], Points | None],
    *,
    columns: int = COLUMNS,
    height: float = 3.1,
) -> tuple[str, list[HoverPanel]]:
    """Return `n` panels as SVG, and their points.

    Parameters
    ----------
    n : int
        Panels.
    draw : callable
        ``draw(axes, i)`` fills the i-th, and returns the points that it has drawn.
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
        HoverPanel(of.task, axes_box(at), at.get_xlim(), at.get_ylim(), of.x, of.y)
        for at, of in zip(axes, points, strict=False)
        if of is not None
    ]
    return svg, hover
