"""What the page of an ensemble says besides: its members, their spread and what that is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from chemprop_multitask import EpochRecord
from matplotlib.ticker import MaxNLocator
from molpool_common import (
    IN_UNITS,
    LABELS,
    OKABE_ITO,
    Cell,
    Figure,
    Part,
    Section,
    Table,
    Text,
    UndefinedMetricError,
    figure_svg,
    new_figure,
    spearman,
    style,
)
from numpy.typing import NDArray

from molpool_pipelines.fitting import SHOWN, Results, Trainee
from molpool_pipelines.reports.fit_figures import grid

MOST = 24
"""Panels of the figure; the table has all tasks."""


@dataclass(frozen=True)
class MemberRun:
    """A trained model and the epochs that made it."""

    trainee: Trainee
    records: Sequence[EpochRecord]

    @property
    def label(self) -> str:
        """What tables call it: member, group or both, from 1."""
        member, group = self.trainee.member, self.trainee.group
        words = [] if member is None else [str(member.number + 1)]
        if group is not None:
            words.append(f"group {group.number + 1}")
        return ", ".join(words) or "1"

    @property
    def best_epoch(self) -> int | None:
        """Epoch, from 1, whose weights were kept; None without validation."""
        losses = [r.val_loss for r in self.records if r.val_loss is not None]
        return int(np.argmin(losses)) + 1 if losses else None

    @property
    def best_loss(self) -> float | None:
        """Lowest validation loss; None without validation."""
        return min((r.val_loss for r in self.records if r.val_loss is not None), default=None)


def section(members: Sequence[MemberRun], results: Results) -> Section:
    """Return the section about an ensemble's members and spread."""
    side = results.reported_side
    text = (
        "A prediction is the mean of the members, its spread (TASK_sd in predictions.parquet) "
        "their sample standard deviation. The spread says how much the members disagree, not how "
        "far off they may all be."
    )
    parts: list[Part] = [Text(text), _members(members, results)]
    spreads = _spreads(results, side)
    if spreads:
        parts += [_spread_table(spreads, side), _spread_figure(spreads, side)]
    return Section("Ensemble", parts)


def _members(members: Sequence[MemberRun], results: Results) -> Table:
    # Metrics are of all tasks, and a group's model has only some.
    alone = results.by_member if members[0].trainee.group is None else ()
    kinds = {score.task_type for table in alone for score in table.tasks}
    names = [n for kind, shown in SHOWN.items() if kind in kinds for n in shown]
    names = [n for n in names if n not in IN_UNITS]
    rows: list[list[Cell]] = []
    for i, member in enumerate(members):
        plan = member.trainee.member
        assert plan is not None
        row: list[Cell] = [
            member.label,
            str(plan.seed_number + 1),
            str(plan.fold + 1),
            len(member.records),
            member.best_epoch,
            member.best_loss,
        ]
        if alone:
            row += _macro(alone[i], names)
        rows.append(row)
    if alone:
        mean = _macro(results.metrics[results.reported_side], names)
        rows.append(["mean of all", None, None, None, None, None, *mean])
    return Table(
        [
            "member",
            "seed",
            "fold",
            "epochs",
            "best epoch",
            "best loss",
            *(LABELS[n] for n in names),
        ],
        rows,
        caption=f"The members, and means over tasks on the {results.reported_side} molecules: of "
        "each alone, and of the mean of their predictions."
        if alone
        else "The models of the members.",
        totals=1 if alone else 0,
    )


def _macro(table: Any, names: Sequence[str]) -> list[Cell]:
    macro = table.macro()
    return [macro[n].mean if n in macro else None for n in names]


@dataclass(frozen=True)
class _Spread:
    """Spread and absolute error of a task's exact labels."""

    task: str
    sd: NDArray[np.float64]
    error: NDArray[np.float64]


def _spreads(results: Results, side: str) -> list[_Spread]:
    frame = results.predictions.filter(pl.col("side") == side)
    found = []
    for score in results.metrics[side].tasks:
        task, modifier = score.task, f"{score.task} modifier"
        rows = frame.filter(pl.col(modifier) == "=") if modifier in frame.columns else frame
        rows = rows.drop_nulls([task, f"{task}_sd"])
        if len(rows):
            error = (rows[task] - rows[f"{task} predicted"]).abs().to_numpy()
            found.append(_Spread(task, rows[f"{task}_sd"].to_numpy(), error))
    return found


def _rank_correlation(spread: _Spread) -> float | None:
    try:
        return spearman(spread.error, spread.sd)
    except UndefinedMetricError:
        return None


def _spread_table(spreads: Sequence[_Spread], side: str) -> Table:
    rows: list[list[Cell]] = [
        [
            s.task,
            len(s.sd),
            float(s.sd.mean()),
            float(s.error.mean()),
            _rank_correlation(s),
            round(100 * float((s.error <= 2 * s.sd).mean())),
        ]
        for s in spreads
    ]
    return Table(
        ["task", "labels", "mean sd", "MAE", "Spearman, sd and error", "error within 2 sd, %"],
        rows,
        caption=f"Spread of the members on the {side} molecules. A rank correlation above 0: where "
        "members disagree, the mean is further off. Were the spread all there is to the error, "
        "about 95 % would lie within 2 sd.",
    )


def _spread_figure(spreads: Sequence[_Spread], side: str) -> Figure:
    shown = sorted(spreads, key=lambda s: -len(s.sd))[:MOST] if len(spreads) > MOST else spreads

    def draw(axes: Any, i: int) -> None:
        spread = shown[i]
        top = 1.04 * max(float(spread.error.max()), 2 * float(spread.sd.max()), 1e-9)
        right = 1.04 * float(spread.sd.max()) or 1.0
        axes.plot((0, min(right, top / 2)), (0, 2 * min(right, top / 2)), color="black", lw=0.8)
        alpha = 0.3 if len(spread.sd) > 500 else 0.6
        points = {"ms": 5, "alpha": alpha, "mew": 0, "rasterized": True}
        axes.plot(spread.sd, spread.error, ".", color=OKABE_ITO[0], **points)
        axes.set(xlim=(0, right), ylim=(0, top), xlabel="spread (sd)", ylabel="absolute error")
        axes.set_title(f"{spread.task}\n{len(spread.sd)} labels", fontsize=9)

    return Figure(
        grid(len(shown), draw),
        alt=f"Absolute error against the members' spread, {len(shown)} tasks, {side} molecules.",
        caption="Each point is a molecule; below the line its error is less than 2 sd.",
    )


def learning_curves(members: Sequence[MemberRun]) -> Figure:
    """Draw training and validation loss of each model; circles mark the epochs kept."""
    what = "member" if members[0].trainee.group is None else "model"
    with style():
        figure = new_figure(8, 4)
        axes = figure.subplots()
        for i, member in enumerate(members):
            epochs = [r.epoch + 1 for r in member.records]
            val = [np.nan if r.val_loss is None else r.val_loss for r in member.records]
            thin: dict[str, Any] = {"lw": 1.0, "alpha": 0.7}
            train = [r.train_loss for r in member.records]
            label = ("training", "validation", "best, kept") if i == 0 else (None,) * 3
            axes.plot(epochs, train, color=OKABE_ITO[0], label=label[0], **thin)
            if (best := member.best_epoch) is not None:
                axes.plot(epochs, val, color=OKABE_ITO[1], label=label[1], **thin)
                circle: dict[str, Any] = {"ms": 7, "mfc": "none", "mec": "black"}
                axes.plot(best, val[best - 1], "o", label=label[2], **circle)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel("loss (standardised targets)")
        axes.legend(loc="upper right")
        svg = figure_svg(figure)
    return Figure(
        svg,
        alt=f"Training and validation loss an epoch, a line each for {len(members)} {what}s.",
        caption=f"Loss an epoch, a line a {what}. Circles mark the weights that were kept.",
        data=Table(
            [what, "epoch", "training", "validation", "learning rate", "seconds"],
            [
                [member.label, r.epoch + 1, r.train_loss, r.val_loss, r.learning_rate, r.seconds]
                for member in members
                for r in member.records
            ],
            digits=5,
        ),
    )
