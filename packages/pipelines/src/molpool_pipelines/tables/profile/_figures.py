"""Figures of a profile, each with words and numbers beside it, legible for hundreds of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from molpool_common import (
    OKABE_ITO,
    Cell,
    Figure,
    FloatArray,
    IntArray,
    MoleculeTable,
    Part,
    Table,
    Text,
    figure_svg,
    new_figure,
    style,
)

from molpool_pipelines.tables.profile._statistics import SamplingSetting, TaskProfile

MOST_TASKS = 24
"""Tasks that a figure can show legibly; of more, those with the most and the fewest labels."""


def selected_tasks(tasks: Sequence[TaskProfile], limit: int = MOST_TASKS) -> tuple[list[int], str]:
    """Return the tasks to draw, most labels first, and a sentence if they are not all.

    Parameters
    ----------
    tasks : sequence of TaskProfile
        All of them.
    limit : int
        Most to draw.
    """
    order = sorted(range(len(tasks)), key=lambda t: -tasks[t].labels)
    if len(order) <= limit:
        return order, ""
    half = limit // 2
    note = (
        f" Of {len(order)} tasks, the {half} with the most and the {half} with the fewest labels."
    )
    return order[:half] + order[-half:], note


def rarest_task(tasks: Sequence[TaskProfile]) -> int:
    """Return the task with the fewest labels, of those that have any."""
    return min((t for t in range(len(tasks)) if tasks[t].labels), key=lambda t: tasks[t].labels)


def short_name(name: str, limit: int = 34) -> str:
    """Return a name cut in its middle: names of a family differ at their ends."""
    if len(name) <= limit:
        return name
    head = limit // 2
    return f"{name[:head]}…{name[head + 1 - limit :]}"


_NUMBERED = 12
"""Tasks up to which a heatmap has room for numbers."""


def label_counts(tasks: Sequence[TaskProfile], n_rows: int) -> Figure:
    """Draw the labels of each task as bars."""
    order, note = selected_tasks(tasks)
    counts = [tasks[t].labels for t in order]
    names = [tasks[t].name for t in order]
    svg = _bars(names, counts, [f"{n:,}" for n in counts], "labels", OKABE_ITO[0], 0.1)
    every = sorted(tasks, key=lambda task: -task.labels)
    return Figure(
        svg,
        alt=f"Bars of the number of labels of {len(order)} tasks.",
        caption=f"Labels of each task.{note}",
        data=Table(
            ["task", "labels", "molecules", "rows labelled %"],
            [[t.name, t.labels, t.molecules, 100 * t.labels / n_rows] for t in every],
            digits=1,
        ),
    )


def _bars(
    names: Sequence[str],
    lengths: Sequence[float],
    texts: Sequence[str],
    label: str,
    colour: str,
    margin: float,
) -> str:
    """Draw a bar for each task, a text at its end, and return the figure as SVG."""
    with style():
        figure = new_figure(8, 1.0 + 0.27 * len(names))
        axes = figure.subplots()
        bars = axes.barh(range(len(names)), lengths, 0.7, color=colour)
        axes.bar_label(bars, list(texts), padding=3, fontsize=8)
        axes.set_yticks(range(len(names)), [short_name(name) for name in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.margins(x=margin)
        axes.set_xlabel(label)
        axes.grid(axis="y", visible=False)
        return figure_svg(figure)


def overlap_heatmap(tasks: Sequence[TaskProfile], common: IntArray) -> Figure:
    """Draw for each pair of tasks the share of the rarer one's molecules that both label.

    Parameters
    ----------
    tasks : sequence of TaskProfile
        The T tasks.
    common : ndarray of int64 [T, T]
        Molecules labelled in both.
    """
    order, note = selected_tasks(tasks)
    part = common[np.ix_(order, order)]
    # Over the rarer task, so that a small assay inside a large one shows as 100 %.
    own = np.diag(part)
    rarer = np.minimum.outer(own, own)
    share = np.divide(100.0 * part, rarer, out=np.zeros(part.shape), where=rarer > 0)
    names = [short_name(tasks[t].name) for t in order]
    size = max(8.0, 3.4 + 0.28 * len(order))
    with style():
        figure = new_figure(size, 0.85 * size)
        axes = figure.subplots()
        image = axes.imshow(share, vmin=0, vmax=100, cmap="Blues")
        axes.set_xticks(range(len(order)), [short_name(name, 20) for name in names], rotation=90)
        axes.set_yticks(range(len(order)), names)
        axes.grid(visible=False)
        if len(order) <= _NUMBERED:
            _write_counts(axes, part, share)
        figure.colorbar(image, ax=axes, label="of the rarer task's molecules, %", shrink=0.8)
        svg = figure_svg(figure)
    return Figure(
        svg,
        alt=f"Heatmap of the molecules that {len(order)} tasks have in common.",
        caption="Molecules with labels of both tasks, as a share of the rarer task's."
        + (" Numbers count the molecules." if len(order) <= _NUMBERED else "")
        + note,
        data=_overlap_numbers(tasks, common),
    )


def _write_counts(axes: Any, counts: IntArray, share: FloatArray) -> None:
    for i, j in np.ndindex(*counts.shape):
        # From there on `Blues` is too dark for black text.
        ink = "white" if share[i, j] > 55 else "black"
        axes.text(j, i, f"{counts[i, j]}", ha="center", va="center", color=ink, fontsize=7)


def _overlap_numbers(tasks: Sequence[TaskProfile], common: IntArray) -> Table:
    """Return the matrix, or for many tasks the closest and the usual partner of each."""
    names = [task.name for task in tasks]
    if len(tasks) <= MOST_TASKS:
        rows: list[list[Cell]] = [
            [name, *map(int, row)] for name, row in zip(names, common, strict=True)
        ]
        return Table(["task", *names], rows, caption="Molecules labelled in both tasks.")
    others = common.copy()
    np.fill_diagonal(others, -1)
    # Hundreds of columns are unreadable; two numbers per task say what matters.
    best = others.argmax(axis=1)
    middle = [float(np.median(np.delete(row, t))) for t, row in enumerate(common)]
    return Table(
        ["task", "molecules", "most in common with", "molecules in common", "median over tasks"],
        [
            [names[t], int(common[t, t]), names[b], int(common[t, b]), middle[t]]
            for t, b in enumerate(best)
        ],
        caption="Molecules in common with the closest task, and with the median task.",
        digits=1,
    )


def quality_shares(tasks: Sequence[TaskProfile], names: Sequence[str], counts: IntArray) -> Figure:
    """Draw the quality mix of each task as stacked bars.

    Parameters
    ----------
    tasks : sequence of TaskProfile
        The T tasks.
    names : sequence of str
        The Q quality labels.
    counts : ndarray of int64 [T, Q]
        Labels.
    """
    order, note = selected_tasks(tasks)
    part = counts[order].astype(float)
    shares = 100 * part / np.maximum(part.sum(axis=1, keepdims=True), 1)
    with style():
        figure = new_figure(8, 1.3 + 0.27 * len(order))
        axes = figure.subplots()
        left = np.zeros(len(order))
        for q, name in enumerate(names[: len(OKABE_ITO)]):
            axes.barh(range(len(order)), shares[:, q], 0.7, left, color=OKABE_ITO[q], label=name)
            left += shares[:, q]
        axes.set_yticks(range(len(order)), [short_name(tasks[t].name) for t in order])
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.set_xlim(0, 100)
        axes.set_xlabel("share of the task's labels, %")
        axes.grid(axis="y", visible=False)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4)
        svg = figure_svg(figure)
    mix: list[list[Cell]] = [
        [t.name, *map(int, row), t.labels] for t, row in zip(tasks, counts, strict=True)
    ]
    return Figure(
        svg,
        alt=f"Stacked bars of the qualities of the labels of {len(order)} tasks.",
        caption=f"Quality of each task's labels.{note}",
        data=Table(["task", *names, "all"], mix),
    )


def value_histograms(table: MoleculeTable, tasks: Sequence[TaskProfile]) -> Figure | None:
    """Draw a histogram of each task, frequent values marked; None if all tasks are 0/1."""
    wanted = [t for t, task in enumerate(tasks) if task.positives is None and task.labels]
    chosen, note = selected_tasks([tasks[t] for t in wanted])
    order = [wanted[i] for i in chosen]
    if not order:
        return None
    columns = min(3, len(order))
    rows = -(-len(order) // columns)
    with style():
        labelled = 0.2 if any(tasks[t].unit for t in order) else 0.0
        figure = new_figure(8, 0.4 + (1.9 + labelled) * rows)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(order) :]:
            axes.set_visible(False)
        for axes, t in zip(grid.flat, order, strict=False):
            _histogram(axes, table.targets[:, t], tasks[t])
        svg = figure_svg(figure)
    marked = any(task.frequent_values for task in tasks)
    return Figure(
        svg,
        alt=f"Histograms of the values of {len(order)} tasks.",
        caption="Values of each task, as read."
        + (
            " A dashed line marks a value that more than 10 % of a source's labels have."
            if marked
            else ""
        )
        + note,
    )


def _histogram(axes: Any, column: FloatArray, task: TaskProfile) -> None:
    labels = column[np.isfinite(column)]
    # The square-root rule, bounded: five bars at least, and no more than the width resolves.
    bins = int(np.clip(np.sqrt(labels.size), 5, 40))
    axes.hist(labels, bins=bins, color=OKABE_ITO[0])
    for value in task.frequent_values:
        axes.axvline(value.value, color=OKABE_ITO[5], ls="--", lw=1)
    axes.set_title(short_name(task.name, 30), fontsize=9)
    if task.unit is not None:
        axes.set_xlabel(task.unit, fontsize=8)
    axes.tick_params(labelsize=7)
    axes.locator_params(nbins=4)


def class_shares(tasks: Sequence[TaskProfile]) -> Figure | None:
    """Draw the share of positives of each 0/1 task; None if there is none."""
    binary = [task for task in tasks if task.positives is not None]
    if not binary:
        return None
    order, note = selected_tasks(binary)
    shares = [100 * (binary[t].positives or 0) / binary[t].labels for t in order]
    texts = [f"{s:.1f} % of {binary[t].labels:,}" for s, t in zip(shares, order, strict=True)]
    names = [binary[t].name for t in order]
    svg = _bars(names, shares, texts, "positives, % of the labels", OKABE_ITO[2], 0.25)
    return Figure(
        svg,
        alt=f"Bars of the share of positives of {len(order)} tasks.",
        caption=f"Share of labels that are 1, for tasks of 0 and 1.{note}",
        data=Table(
            ["task", "labels", "positives", "positives %"],
            [
                [t.name, t.labels, t.positives, 100 * (t.positives or 0) / t.labels]
                for t in sorted(binary, key=lambda t: -t.labels)
            ],
            digits=2,
        ),
    )


def sampling_parts(
    settings: Sequence[SamplingSetting], tasks: Sequence[TaskProfile], labelled: int
) -> list[Part]:
    """Return what the page says of drawing rows by task.

    Parameters
    ----------
    settings : sequence of SamplingSetting
        Each mode and α.
    tasks : sequence of TaskProfile
        All tasks.
    labelled : int
        Rows with a label.
    """
    if not settings:
        return [Text("No row has a label.")]
    rarest = rarest_task(tasks)
    task = tasks[rarest]
    rows: list[list[Cell]] = [
        [
            d.mode,
            f"{d.alpha:g}",
            d.effective_rows,
            100 * d.effective_rows / labelled,
            d.distinct_rows,
            1000 * float(d.task_share[rarest]),
        ]
        for d in settings
    ]
    rows.append(
        [
            "plain shuffling",
            "",
            float(labelled),
            100.0,
            float(labelled),
            1000 * task.labels / labelled,
        ]
    )
    return [
        Text(
            "multiplicative weighs a row by the label count of its rarest task to the power -α; "
            "hierarchical draws a task, then a row of it. Without a curriculum, over the whole "
            f"table. The rarest task is {task.name} with {task.labels:,} labels."
        ),
        sampling_trade(settings, tasks),
        Table(
            [
                "mode",
                "α",
                "effective rows",
                "of labelled rows %",
                "distinct rows per epoch",
                "rarest task in 1,000 draws",
            ],
            rows,
            caption="Effective rows: 1/Σp². An epoch is as many draws as there are labelled rows.",
            totals=1,
            digits=1,
        ),
    ]


def sampling_trade(settings: Sequence[SamplingSetting], tasks: Sequence[TaskProfile]) -> Figure:
    """Draw effective rows against the share of draws that label the rarest task."""
    rarest = rarest_task(tasks)
    with style():
        figure = new_figure(8, 3.8)
        axes = figure.subplots()
        for mode, colour, marker, above in (
            ("multiplicative", OKABE_ITO[0], "o", 4),
            ("hierarchical", OKABE_ITO[5], "s", -10),
        ):
            own = [s for s in settings if s.mode == mode]
            x = [s.effective_rows for s in own]
            y = [100 * s.task_share[rarest] for s in own]
            axes.plot(x, y, marker=marker, color=colour, label=mode)
            for setting, px, py in zip(own, x, y, strict=True):
                axes.annotate(
                    f"α {setting.alpha:g}",
                    (px, py),
                    (5, above),
                    textcoords="offset points",
                    fontsize=8,
                )
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.margins(0.1)
        axes.set_xlabel("effective rows")
        axes.set_ylabel(f"draws with a label of\n{short_name(tasks[rarest].name, 30)}, %")
        axes.legend()
        svg = figure_svg(figure)
    order, note = selected_tasks(tasks, limit=40)
    return Figure(
        svg,
        alt="Effective rows against the share of draws that label the rarest task, by mode and α.",
        caption="More draws of the rarest task cost effective rows. The table gives, for each task,"
        f" how many of 1,000 drawn rows have a label of it.{note}",
        data=Table(
            ["task", "labels", *(f"{s.mode[:5]}. α {s.alpha:g}" for s in settings)],
            [
                [tasks[t].name, tasks[t].labels, *(1000 * float(s.task_share[t]) for s in settings)]
                for t in order
            ],
            digits=1,
        ),
    )
