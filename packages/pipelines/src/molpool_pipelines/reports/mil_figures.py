"""Figures of the report of `molpool-train mil`, each with words and numbers beside it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
from matplotlib.ticker import MaxNLocator
from mil_attn import FitResult
from molpool_common import OKABE_ITO, Cell, Figure, Table, figure_svg, new_figure, style

SHOWN_TASKS = 6


def learning_curves(result: FitResult) -> Figure:
    """Draw losses, and average precision where there are classes, by epoch."""
    records, best = result.records, result.best_epoch
    epochs = [r.epoch + 1 for r in records]
    classes = records[0].val_macro_ap is not None
    with style():
        figure = new_figure(8, 3.6)
        panels = figure.subplots(1, 2 if classes else 1, squeeze=False)[0]
        panels[0].plot(epochs, [r.train_loss for r in records], label="training", marker=".")
        if records[0].val_loss is not None:
            panels[0].plot(epochs, [r.val_loss for r in records], label="validation", marker=".")
        panels[0].set_ylabel("loss")
        if classes:
            several = len(result.module.task_names) > 1
            scores = {"mean of tasks" if several else "validation": "val_macro_ap"}
            if several:
                scores["worst task"] = "val_min_ap"
            for label, name in scores.items():
                panels[1].plot(epochs, [getattr(r, name) for r in records], label=label, marker=".")
            panels[1].set_ylabel("validation AP")
        for axes in panels:
            axes.axvline(best + 1, color="#9aa5b1", lw=1, ls="--")
            axes.set_xlim(0.5, len(epochs) + 0.5)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.legend()
        svg = figure_svg(figure)
    rows: list[list[Cell]] = [
        [r.epoch + 1, r.train_loss, r.val_loss, r.val_macro_ap, r.val_min_ap, r.seconds]
        for r in records
    ]
    return Figure(
        svg,
        alt=f"Losses and validation scores over {len(records)} epochs; best epoch {best + 1}.",
        caption="By epoch. The dashed line marks the epoch whose weights were kept.",
        data=Table(
            ["epoch", "training loss", "validation loss", "macro AP", "min AP", "seconds"],
            rows,
            digits=5,
        ),
    )


def attention(frame: pl.DataFrame) -> Figure:
    """Draw how far the largest attention of a bag is from even attention, by task.

    Parameters
    ----------
    frame : DataFrame
        Of `mil_attn.export_attention`, bags of several instances.
    """
    times = frame.group_by("molecule_id", "task", maintain_order=True).agg(
        (pl.col("attention").max() * pl.len()).alias("times")
    )
    tasks = times["task"].unique(maintain_order=True).to_list()[:SHOWN_TASKS]
    edges = np.linspace(1, max(float(times["times"].max() or 1), 1.1), 31)  # type: ignore[arg-type]
    counts = {t: np.histogram(times.filter(task=t)["times"].to_numpy(), edges)[0] for t in tasks}
    with style():
        figure = new_figure(8, 3.4)
        axes = figure.subplots()
        for i, task in enumerate(tasks):
            axes.stairs(
                counts[task], edges, label=task, color=OKABE_ITO[i % len(OKABE_ITO)], lw=1.6
            )
        axes.set_xlabel("largest attention of a bag, times even attention")
        axes.set_ylabel("test bags")
        axes.legend()
        svg = figure_svg(figure)
    rows: list[list[Cell]] = [
        [low, high, *(int(counts[t][i]) for t in tasks)]
        for i, (low, high) in enumerate(pairwise(edges.tolist()))
    ]
    return Figure(
        svg,
        alt="Histogram over test bags of the largest attention times the number of instances.",
        caption="How pointed attention is: 1 is even attention, n all attention on one of n.",
        data=Table(["from", "to", *tasks], rows),
    )
