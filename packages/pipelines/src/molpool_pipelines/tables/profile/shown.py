"""Which tasks a page shows, and under what names."""

from __future__ import annotations

from collections.abc import Sequence

from molpool_pipelines.tables.profile.tasks import TaskProfile

SHOWN = 24
"""Tasks that a figure can show legibly; of more, those with the most and the fewest labels."""


def shown_tasks(tasks: Sequence[TaskProfile], limit: int = SHOWN) -> tuple[list[int], str]:
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
