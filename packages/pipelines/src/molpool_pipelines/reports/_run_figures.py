"""Figures of a run's page, each with words and numbers beside it, from what its folder holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import polars as pl
from matplotlib.ticker import MaxNLocator
from molpool_common import (
    OKABE_ITO,
    Cell,
    Figure,
    FloatArray,
    IntArray,
    Part,
    Table,
    Text,
    figure_svg,
    new_figure,
    style,
)

from molpool_pipelines.reports._panels import Points, grid
from molpool_pipelines.scores import Predictions, score_classes

MOST = 24
"""Panels of a figure; of more tasks, those with most labels are plotted."""
MOST_POINTS = 500
"""Points of a task that are listed; of more, every so many in the order of truth."""
MOST_BARS = 150
"""Points of a task up to which their intervals are drawn."""
SHOWN_TASKS = 6

Epoch = Mapping[str, Any]


@dataclass(frozen=True)
class TrainedModel:
    """A model of the run and the epochs that made it.

    Parameters
    ----------
    member, group : int or None
        Which of them it is, from 0; None where the run has no such.
    epochs : sequence of mapping
        As log.jsonl records them, the first first.
    """

    member: int | None
    group: int | None
    epochs: Sequence[Epoch]

    @property
    def label(self) -> str:
        """What tables call it."""
        parts = (("member", self.member), ("group", self.group))
        return ", ".join(f"{what} {n}" for what, n in parts if n is not None) or "the one"

    @property
    def best(self) -> int | None:
        """Place of the epoch whose weights were saved; None without validation."""
        losses = self.values("val_loss")
        if not np.isfinite(losses).any():
            return None
        # As `mil_attn` monitors it, and lower loss otherwise: the circle has to be at the epoch
        # whose weights were saved.
        precision = self.values("val_macro_ap")  # MIL classifiers are kept by it
        if np.isfinite(precision).any():
            return int(np.nanargmax(precision))
        return int(np.nanargmin(losses))

    def values(self, key: str) -> FloatArray:
        """Return a number of each epoch, NaN where there is none."""
        found = [e.get(key) for e in self.epochs]
        return np.array([np.nan if v is None else v for v in found], dtype=np.float64)


@dataclass(frozen=True)
class Panel:
    """Labels of a task with their predictions, in the order of the labels.

    Parameters
    ----------
    task : str
        Its name.
    rows : ndarray of int [n]
        Rows of the predictions.
    truth, guess : ndarray [n]
        Measured and predicted.
    """

    task: str
    rows: IntArray
    truth: FloatArray
    guess: FloatArray


@dataclass(frozen=True)
class _How:
    """What all figures of predictions are told: the split, and the numbers."""

    split: str
    data: Table | None
    units: Mapping[str, str]

    def axis(self, word: str, task: str) -> str:
        """Return a word for an axis, with the unit of a task where it has one."""
        return f"{word}, {self.units[task]}" if task in self.units else word


def fits(found: Predictions, split: str, units: Mapping[str, str] | None = None) -> list[Part]:
    """Return predicted against measured values, and ROC curves and scores of both classes.

    Parameters
    ----------
    found : Predictions
        Rows of a split.
    split : str
        Its name.
    units : mapping of str to str, optional
        Of tasks that have one.
    """
    parts: list[Part] = []
    for kind, draws in (
        ("regression", [_parity]),
        ("classification", [_roc, _classes, _reliability]),
    ):
        panels, rows = _panels(found, kind)
        if len(panels) > MOST:
            parts.append(Text(f"The {MOST} of {len(panels)} {kind} tasks with most labels."))
        data = Table(["id", "task", "measured", "predicted"], rows)
        for n, draw in enumerate(draws if panels else []):
            how = _How(split, data if n == 0 else None, units or {})
            parts.append(draw(found, panels[:MOST], how))
    return parts or [Text("No labels to compare with.")]


def _panels(found: Predictions, kind: str) -> tuple[list[Panel], list[list[Cell]]]:
    panels: list[Panel] = []
    rows: list[list[Cell]] = []
    for t, task in enumerate(found.tasks):
        at = np.flatnonzero(np.isfinite(found.y_true[:, t]))
        if found.task_types[t] != kind or not len(at):
            continue
        # In the order of truth, so that every so many rows of it cover the range.
        at = at[np.argsort(found.y_true[at, t], kind="stable")]
        panels.append(Panel(task, at, found.y_true[at, t], found.y_pred[at, t]))
        rows += [
            [str(found.ids[i]), task, float(found.y_true[i, t]), float(found.y_pred[i, t])]
            for i in at[:: max(1, -(-len(at) // MOST_POINTS))].tolist()
        ]
    if len(panels) > MOST:
        # Stable, and only of too many: otherwise tasks keep the order of the table.
        panels.sort(key=lambda panel: -len(panel.rows))
    return panels, rows


def _parity(found: Predictions, panels: Sequence[Panel], how: _How) -> Figure:
    def draw(axes: Any, i: int) -> Points:
        panel = panels[i]
        truth, guess = panel.truth, panel.guess
        low, high = min(truth.min(), guess.min()), max(truth.max(), guess.max())
        # 1 where all values are equal, as axes need a width.
        pad = 0.04 * (high - low) or 1.0
        ends = (low - pad, high + pad)
        axes.plot(ends, ends, color="black", lw=0.8)
        _bars(axes, found, panel)
        # Thousands of points as vectors would weigh megabytes.
        points = {"ms": 5, "alpha": 0.3 if len(truth) > 500 else 0.6, "mew": 0}
        axes.plot(truth, guess, ".", color=OKABE_ITO[0], rasterized=True, **points)
        axes.set(xlim=ends, ylim=ends, aspect="equal")
        axes.set(xlabel=how.axis("measured", panel.task), ylabel=how.axis("predicted", panel.task))
        axes.set_title(f"{panel.task}\n{len(truth)} labels", fontsize=9)
        return Points(panel.task)

    svg, hover = grid(len(panels), draw)
    return Figure(
        svg,
        alt=f"Predicted against measured values of {len(panels)} tasks, {how.split} rows.",
        caption=f"Each point is a {found.noun}; on the line the prediction is right. Lines through "
        "points, where these are few, are their intervals.",
        data=how.data,
        hover=hover,
    )


def _bars(axes: Any, found: Predictions, panel: Panel) -> None:
    """Draw the intervals of few points; those of many would cover them."""
    if found.lower is None or found.upper is None or len(panel.rows) > MOST_BARS:
        return
    t = found.tasks.index(panel.task)
    low, high = found.lower[panel.rows, t], found.upper[panel.rows, t]
    there = np.isfinite(low) & np.isfinite(high)
    axes.vlines(panel.truth[there], low[there], high[there], color=OKABE_ITO[0], alpha=0.25, lw=1)


def _roc(found: Predictions, panels: Sequence[Panel], how: _How) -> Figure:
    # Pages of regression tasks do without scikit-learn, which takes a second to import.
    from sklearn.metrics import roc_curve

    def draw(axes: Any, i: int) -> None:
        name, truth, guess = panels[i].task, panels[i].truth, panels[i].guess
        axes.plot((0, 1), (0, 1), color="#9aa5b1", lw=0.8)
        # The panel stays, empty but for the diagonal: a missing one would look like an oversight.
        if 0 < truth.sum() < len(truth):
            false, true, _ = roc_curve(truth, guess)
            axes.plot(false, true, color=OKABE_ITO[0])
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.set(xlabel="false positive rate", ylabel="true positive rate")
        axes.set_title(f"{name}\n{int(truth.sum())} of {len(truth)} positive", fontsize=9)

    return Figure(
        grid(len(panels), draw)[0],
        alt=f"ROC curves of {len(panels)} tasks, {how.split} rows.",
        caption="The further above the diagonal, the better positives are ranked before negatives. "
        "A task with one class here has no curve.",
        data=how.data,
    )


def _classes(found: Predictions, panels: Sequence[Panel], how: _How) -> Figure:
    def draw(axes: Any, i: int) -> None:
        name, truth, guess = panels[i].task, panels[i].truth, panels[i].guess
        bins = np.linspace(min(0.0, float(guess.min())), max(1.0, float(guess.max())), 21)
        for label, color in ((0.0, OKABE_ITO[0]), (1.0, OKABE_ITO[1])):
            values = guess[truth == label]
            if len(values):
                # Shares of each class: a rare one would vanish beside the other as counts.
                weights = np.full(len(values), 1 / len(values))
                said = f"class {label:g} ({len(values)})"
                bars: dict[str, Any] = {"alpha": 0.6, "color": color, "label": said}
                axes.hist(values, bins=list(bins), weights=weights, **bars)
        axes.set(xlabel="score", ylabel="share of the class")
        axes.set_title(name, fontsize=9)
        axes.legend(loc="best")

    return Figure(
        grid(len(panels), draw)[0],
        alt=f"Scores of either class, {len(panels)} tasks, {how.split} rows.",
        caption="How the scores of either class are spread.",
        data=how.data,
    )


def _reliability(found: Predictions, panels: Sequence[Panel], how: _How) -> Figure:
    def draw(axes: Any, i: int) -> None:
        scores = score_classes(panels[i].truth, panels[i].guess)
        axes.plot((0, 1), (0, 1), color="#9aa5b1", lw=0.8)
        if scores is not None and scores.bins:
            p, share, n = (np.array(of, dtype=float) for of in zip(*scores.bins, strict=True))
            axes.plot(p, share, color=OKABE_ITO[0], lw=1)
            axes.scatter(p, share, s=10 + 60 * n / n.max(), color=OKABE_ITO[0])
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.set(xlabel="predicted probability", ylabel="share of positives")
        axes.set_title(panels[i].task, fontsize=9)

    return Figure(
        grid(len(panels), draw)[0],
        alt=f"Share of positives by predicted probability, {len(panels)} tasks, {how.split} rows.",
        caption="Whether probabilities are shares: on the diagonal they are, below it they are too "
        f"high. Larger dots are more {found.noun}s.",
    )


def learning_curves(models: Sequence[TrainedModel], phases: Sequence[str]) -> Figure:
    """Draw training and validation loss, and average precision where MIL records it.

    Parameters
    ----------
    models : sequence of TrainedModel
        All of the run.
    phases : sequence of str
        Phase of each epoch, plotted as bands of a single model; empty without a curriculum.
    """
    with_ap = any(np.isfinite(m.values("val_macro_ap")).any() for m in models)
    many = len(models) > 1
    with style():
        figure = new_figure(8, 4)
        panels = figure.subplots(1, 2 if with_ap else 1, squeeze=False)[0]
        for n, model in enumerate(models):
            _draw_losses(panels[0], model, labelled=n == 0, thin=many)
            if with_ap:
                _draw_precision(panels[1], model, labelled=n == 0)
        # Bands of the phases are of one model; others change phase at other epochs.
        if not many:
            _phase_bands(panels[0], phases)
        for axes in panels:
            _epoch_axis(axes, max(len(m.epochs) for m in models))
        for axes in panels:
            axes.legend(loc="best")
        svg = figure_svg(figure)
    changes = ", ".join(name for name, _ in groupby(phases))
    said = f"; curriculum phases: {changes}" if phases else ""
    each = f", a line for each of {len(models)} models" if many else ""
    return Figure(
        svg,
        alt=f"Training and validation loss of {len(models)} models by epoch{said}.",
        caption=f"Loss by epoch{each}. Circles mark the weights that were kept."
        + (" Bands are the phases of the curriculum." if phases and not many else ""),
        data=_epoch_table(models, with_ap),
    )


def _draw_losses(axes: Any, model: TrainedModel, *, labelled: bool, thin: bool) -> None:
    at = [e["epoch"] + 1 for e in model.epochs]
    how: dict[str, Any] = {"lw": 1.0, "alpha": 0.7} if thin else {"marker": "."}
    for key, name, color in (("train_loss", "training", 0), ("val_loss", "validation", 1)):
        values = model.values(key)
        if np.isfinite(values).any():
            label = name if labelled else None
            axes.plot(at, values, color=OKABE_ITO[color], label=label, **how)
    if (best := model.best) is not None:
        # On the loss also where average precision chose the epoch: it is the one axis that all
        # models have.
        circle: dict[str, Any] = {"ms": 8, "mfc": "none", "mec": "black"}
        label = "best, kept" if labelled else None
        axes.plot(at[best], model.values("val_loss")[best], "o", label=label, **circle)
    axes.set_ylabel("loss")


def _draw_precision(axes: Any, model: TrainedModel, *, labelled: bool) -> None:
    at = [e["epoch"] + 1 for e in model.epochs]
    for key, name in (("val_macro_ap", "mean of tasks"), ("val_min_ap", "worst task")):
        axes.plot(at, model.values(key), marker=".", label=name if labelled else None)
    axes.set_ylabel("validation AP")


def _epoch_table(models: Sequence[TrainedModel], with_ap: bool) -> Table:
    keys = {"train_loss": "training", "val_loss": "validation"}
    keys |= {"val_macro_ap": "macro AP", "val_min_ap": "min AP"} if with_ap else {}
    keys |= {"learning_rate": "learning rate", "seconds": "seconds"}
    rows: list[list[Cell]] = [
        [model.label, e["epoch"] + 1, *(e.get(key) for key in keys)]
        for model in models
        for e in model.epochs
    ]
    return Table(["model", "epoch", *keys.values()], rows, digits=5)


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
        A row per epoch, with columns ``PREFIXname``.
    held : mapping of str to int
        Counts of the training table under the same column names.
    prefix, what : str
        Which columns, and what they count.
    """
    # By labels in the table: sampling by α changes rare tasks most, which so stand together.
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
        axes.barh(y - 0.19, shares[1], 0.36, label="sampled", color=OKABE_ITO[0])
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
        data=Table(["name", "in table", "drawn per epoch", "table %", "drawn %"], rows[::-1]),
    )


def quality_by_epoch(frame: pl.DataFrame) -> Figure:
    """Draw the share of each quality among an epoch's draws.

    Parameters
    ----------
    frame : DataFrame
        A row per epoch, with columns ``quality: LABEL`` and ``phase``.
    """
    columns = [c for c in frame.columns if c.startswith("quality: ")]
    counts = frame.select(columns).to_numpy().astype(float)
    # Rows drawn with replacement vary in number of labels; shares compare epochs.
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


@dataclass(frozen=True)
class Spread:
    """Spread and absolute error of a task's exact labels."""

    task: str
    sd: FloatArray
    error: FloatArray


def spread_figure(
    spreads: Sequence[Spread], rows: str, units: Mapping[str, str] | None = None
) -> Figure:
    """Draw absolute errors against the spread of the members, a panel per task.

    Parameters
    ----------
    spreads : sequence of Spread
        Of the tasks.
    rows : str
        What points are, in the plural.
    units : mapping of str to str, optional
        Of tasks that have one.
    """
    shown = sorted(spreads, key=lambda s: -len(s.sd))[:MOST] if len(spreads) > MOST else spreads

    def draw(axes: Any, i: int) -> None:
        spread = shown[i]
        # Room for the line of 2 sd as well as for the largest error.
        top = 1.04 * max(float(spread.error.max()), 2 * float(spread.sd.max()), 1e-9)
        right = 1.04 * float(spread.sd.max()) or 1.0
        axes.plot((0, min(right, top / 2)), (0, 2 * min(right, top / 2)), color="black", lw=0.8)
        alpha = 0.3 if len(spread.sd) > 500 else 0.6
        points = {"ms": 5, "alpha": alpha, "mew": 0, "rasterized": True}
        axes.plot(spread.sd, spread.error, ".", color=OKABE_ITO[0], **points)
        unit = f", {units[spread.task]}" if units and spread.task in units else ""
        axes.set(xlim=(0, right), ylim=(0, top))
        axes.set(xlabel=f"spread (sd){unit}", ylabel=f"absolute error{unit}")
        axes.set_title(f"{spread.task}\n{len(spread.sd)} labels", fontsize=9)

    return Figure(
        grid(len(shown), draw)[0],
        alt=f"Absolute error against the members' spread, {len(shown)} tasks, {rows}.",
        caption=f"Points are {rows}; below the line the error is less than 2 sd.",
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
    # From 1, even attention: the largest of n shares cannot be less than 1/n.
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
