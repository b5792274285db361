"""Figures of the training report, each with words and numbers beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import polars as pl
from chemprop_multitask import EpochRecord
from matplotlib.ticker import MaxNLocator
from molpool_common import OKABE_ITO, Cell, Figure, Table, figure_svg, new_figure, style


def learning_curves(records: Sequence[EpochRecord], phases: Sequence[str]) -> Figure:
    """Draw training and validation loss, with the curriculum's phases as bands.

    Parameters
    ----------
    records : sequence of EpochRecord
        One an epoch.
    phases : sequence of str
        Phase of each epoch; empty without a curriculum.
    """
    epochs = [r.epoch + 1 for r in records]
    val = [np.nan if r.val_loss is None else r.val_loss for r in records]
    with style():
        figure = new_figure(8, 4)
        axes = figure.subplots()
        axes.plot(epochs, [r.train_loss for r in records], label="training", marker=".")
        if np.isfinite(val).any():
            axes.plot(epochs, val, label="validation", marker=".")
            best = int(np.nanargmin(val))
            axes.plot(
                epochs[best], val[best], "o", ms=9, mfc="none", mec="black", label="best, kept"
            )
        _phase_bands(axes, phases)
        _epoch_axis(axes, len(epochs))
        axes.set_ylabel("loss (standardised targets)")
        axes.legend(loc="upper right")
        svg = figure_svg(figure)
    changes = ", ".join(name for name, _ in groupby(phases))
    return Figure(
        svg,
        alt=f"Training and validation loss over {len(records)} epochs"
        + (f"; curriculum phases: {changes}." if phases else "."),
        caption="Loss an epoch. The circle marks the weights that were kept."
        + (" Bands are the phases of the curriculum." if phases else ""),
        data=Table(
            ["epoch", "training", "validation", "learning rate", "seconds"],
            [[r.epoch + 1, r.train_loss, r.val_loss, r.learning_rate, r.seconds] for r in records],
            digits=5,
        ),
    )


def _epoch_axis(axes: Any, n: int) -> None:
    axes.set_xlim(0.5, n + 0.5)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _phase_bands(axes: Any, phases: Sequence[str]) -> None:
    start = 0
    for i, (name, epochs) in enumerate(groupby(phases)):
        length = len(list(epochs))
        left, right = start + 0.5, start + length + 0.5
        axes.axvspan(left, right, color=OKABE_ITO[i % 4], alpha=0.10, lw=0)
        axes.annotate(
            name,
            ((left + right) / 2, 1.01),
            xycoords=axes.get_xaxis_transform(),
            ha="center",
            fontsize=9,
        )
        start += length


def drawn_against_held(
    frame: pl.DataFrame, held: Mapping[str, int], prefix: str, what: str
) -> Figure:
    """Draw, by name, the share of the average epoch's draws beside the share of the table.

    Parameters
    ----------
    frame : DataFrame
        A row an epoch, with columns ``PREFIXname``.
    held : mapping of str to int
        Counts of the training table under the same column names.
    prefix, what : str
        Which columns, and what they count.
    """
    columns = sorted((c for c in held if c.startswith(prefix)), key=lambda c: held[c])
    names = [c.removeprefix(prefix) for c in columns]
    table = np.array([held[c] for c in columns], dtype=float)
    drawn = frame.select(columns).mean().to_numpy()[0]
    shares = 100 * np.vstack([table / table.sum(), drawn / drawn.sum()])
    with style():
        figure = new_figure(8, 1.2 + 0.42 * len(names))
        axes = figure.subplots()
        y = np.arange(len(names))
        axes.barh(y + 0.19, shares[0], 0.36, label="in the table", color="#9aa5b1")
        axes.barh(y - 0.19, shares[1], 0.36, label="drawn", color=OKABE_ITO[0])
        axes.set_yticks(y, names)
        axes.set_xlabel(f"share of all {what.split()[0]}, %")
        axes.grid(axis="y", visible=False)
        axes.legend(loc="lower right")
        svg = figure_svg(figure)
    rows: list[list[Cell]] = [
        [name, int(n), float(d), float(a), float(b)]
        for name, n, d, a, b in zip(names, table, drawn, shares[0], shares[1], strict=True)
    ]
    return Figure(
        svg,
        alt=f"Bars comparing the {what} in the table with those drawn in an average epoch.",
        caption=f"Share of the {what}: in the training table and in an average epoch's draws.",
        data=Table(["name", "in table", "drawn an epoch", "table %", "drawn %"], rows[::-1]),
    )


def quality_by_epoch(frame: pl.DataFrame) -> Figure:
    """Draw the share of each quality among an epoch's draws.

    Parameters
    ----------
    frame : DataFrame
        A row an epoch, with columns ``quality: LABEL`` and ``phase``.
    """
    columns = [c for c in frame.columns if c.startswith("quality: ")]
    counts = frame.select(columns).to_numpy().astype(float)
    shares = 100 * counts / counts.sum(axis=1, keepdims=True)
    epochs = (frame["epoch"] + 1).to_list()
    with style():
        figure = new_figure(8, 3.4)
        axes = figure.subplots()
        for column, share in zip(columns, shares.T, strict=True):
            axes.plot(epochs, share, marker=".", label=column.removeprefix("quality: "))
        phases = [p for p in frame["phase"].to_list() if p is not None]
        _phase_bands(axes, phases)
        axes.set_ylim(0, 100)
        _epoch_axis(axes, len(epochs))
        axes.set_ylabel("share of the draws, %")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
        svg = figure_svg(figure)
    heads = ["epoch", *(c.removeprefix("quality: ") + " %" for c in columns)]
    return Figure(
        svg,
        alt="Share of each quality label among the rows drawn in each epoch.",
        caption="Quality of the rows drawn, epoch by epoch.",
        data=Table(heads, [[e, *map(float, s)] for e, s in zip(epochs, shares, strict=True)]),
    )
