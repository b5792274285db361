"""What drawing rows by task gains the rarest one, and costs in effective rows."""

from __future__ import annotations

from collections.abc import Sequence

from molpool_common import OKABE_ITO, Cell, Figure, Part, Table, Text, figure_svg, new_figure, style

from molpool_pipelines.tables.profile.drawing import Drawing
from molpool_pipelines.tables.profile.shown import rarest_task, short_name, shown_tasks
from molpool_pipelines.tables.profile.tasks import TaskProfile


def sampling_parts(
    drawings: Sequence[Drawing], tasks: Sequence[TaskProfile], labelled: int
) -> list[Part]:
    """Return what the page says of drawing rows by task.

    Parameters
    ----------
    drawings : sequence of Drawing
        Each mode and α.
    tasks : sequence of TaskProfile
        All tasks.
    labelled : int
        Rows with a label.
    """
    if not drawings:
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
        for d in drawings
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
        sampling_trade(drawings, tasks),
        Table(
            [
                "mode",
                "α",
                "effective rows",
                "of labelled rows %",
                "distinct rows an epoch",
                "rarest task in 1,000 draws",
            ],
            rows,
            caption="Effective rows: 1/Σp². An epoch is as many draws as there are labelled rows.",
            totals=1,
            digits=1,
        ),
    ]


def sampling_trade(settings: Sequence[Drawing], tasks: Sequence[TaskProfile]) -> Figure:
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
    order, note = shown_tasks(tasks, limit=40)
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
