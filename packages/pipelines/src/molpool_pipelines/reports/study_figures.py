"""Figures of a study: the best so far, and the score by parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from molpool_common import OKABE_ITO, Cell, Figure, Table, new_figure

from molpool_pipelines.reports._parts import drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

COLUMNS, MOST = 3, 12
WIDE = 50.0
"""Largest over smallest value above which an axis is logarithmic."""


def history(trials: pl.DataFrame, done: pl.DataFrame, direction: str) -> Figure:
    """Draw the score of each complete trial in order, and the best so far."""
    best = done["value"].cum_max() if direction == "maximize" else done["value"].cum_min()

    def draw() -> Picture:
        figure = new_figure(8, 3.4)
        axes = figure.subplots()
        axes.plot(done["number"], done["value"], "o", markersize=5, label="complete")
        axes.step(done["number"], best, where="post", color="black", label="best so far")
        for n, (state, color) in enumerate((("pruned", OKABE_ITO[1]), ("failed", OKABE_ITO[5]))):
            at = trials.filter(pl.col("state") == state)["number"]
            if len(at):
                y = np.full(len(at), -0.02 * n)
                axes.plot(
                    at, y, "|", color=color, label=state, transform=axes.get_xaxis_transform()
                )  # fmt: skip
        axes.set(xlabel="trial", ylabel="inner score")
        axes.locator_params(axis="x", integer=True)
        figure.legend(loc="outside upper right", ncols=4)
        return figure

    rows: list[list[Cell]] = [
        [n, v, b] for n, v, b in zip(done["number"], done["value"], best, strict=True)
    ]
    return drawn(
        draw,
        alt=f"Inner score of {done.height} complete trials in order; the best goes from "
        f"{best[0]:.4f} to {best[-1]:.4f}.",
        caption="A point a complete trial, the mean over its inner folds. Marks on the axis: "
        "trials without a score.",
        data=Table(["trial", "score", "best so far"], rows, digits=4),
    )


def slices(done: pl.DataFrame, names: Sequence[str], prefix: str) -> Figure:
    """Draw the score against each parameter."""
    shown = list(names[:MOST])

    def draw() -> Picture:
        columns = min(COLUMNS, len(shown))
        lines = -(-len(shown) // columns)
        figure = new_figure(2.9 * columns, 2.5 * lines)
        grid = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel().tolist()
        for axes in grid[len(shown) :]:
            axes.set_visible(False)
        for axes, name in zip(grid, shown, strict=False):
            having = done.filter(pl.col(name).is_not_null())
            values = having[name]
            if values.dtype.is_numeric():
                axes.plot(values, having["value"], "o", markersize=4)
                numbers = np.asarray(values, dtype=float)
                if numbers.min() > 0 and numbers.max() / numbers.min() > WIDE:
                    axes.set_xscale("log")
            else:
                texts = values.cast(pl.String)
                order = sorted(set(texts.to_list()))
                axes.plot([order.index(t) for t in texts], having["value"], "o", markersize=4)
                axes.set_xticks(range(len(order)), order, rotation=20)
                axes.margins(x=0.2)
            axes.set_title(_short(name.removeprefix(prefix)), fontsize=8)
        figure.supylabel("inner score", fontsize=9)
        return figure

    left = f" The first {len(shown)} of {len(names)}." if len(names) > len(shown) else ""
    rows = [
        [v if v is None or isinstance(v, int | float | str) else str(v) for v in row]
        for row in done.select("number", "value", *shown).iter_rows()
    ]
    return drawn(
        draw,
        alt=f"Inner score of complete trials against each of {len(shown)} parameters.",
        caption=f"A point a complete trial.{left}",
        data=Table(["trial", "score", *(n.removeprefix(prefix) for n in shown)], rows, digits=4),
    )


def _short(name: str) -> str:
    """Return the last two parts of a dotted name, which fit above a panel."""
    return ".".join(name.split(".")[-2:])
