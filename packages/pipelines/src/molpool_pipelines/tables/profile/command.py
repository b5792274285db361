"""From a table to its page and a summary on the screen."""

from __future__ import annotations

from pathlib import Path

from molpool_common import console, write_text
from rich.table import Table as ScreenTable

from molpool_pipelines.tables.profile.drawing import draw_settings
from molpool_pipelines.tables.profile.page import Profile, profile_page
from molpool_pipelines.tables.profile.reading import Described
from molpool_pipelines.tables.profile.repeats import profile_repeats
from molpool_pipelines.tables.profile.scaffolds import profile_scaffolds
from molpool_pipelines.tables.profile.shown import shown_tasks
from molpool_pipelines.tables.profile.tasks import overlap, profile_tasks, quality_mix

_ON_SCREEN = 16


def describe(described: Described) -> Profile:
    """Compute the profile of a table."""
    table = described.table
    tasks = profile_tasks(table)
    return Profile(
        described,
        tasks,
        overlap(table),
        quality_mix(table),
        profile_scaffolds(table),
        profile_repeats(table, tasks),
        draw_settings(table),
    )


def describe_and_report(described: Described, output: Path) -> None:
    """Compute the profile, write its page atomically, and print a summary."""
    profile = describe(described)
    write_text(output, profile_page(profile))
    _print(profile, output)


def _print(profile: Profile, output: Path) -> None:
    out = console()
    for note in profile.described.notes:
        out.print(note, markup=False)
    facts = profile.facts()
    width = max(map(len, facts))
    for name, value in facts.items():
        shown = f"{value:,}" if isinstance(value, int) else value
        out.print(f"{name:<{width}}  {shown}", markup=False)
    order, note = shown_tasks(profile.tasks, limit=_ON_SCREEN)
    table = ScreenTable(box=None, pad_edge=False)
    table.add_column("task", overflow="ellipsis", no_wrap=True)
    for column in ("labels", "min", "median", "max", "differ"):
        table.add_column(column, justify="right")
    differ = {c.name: c.conflicts for c in profile.repeats.by_task}
    for t in order:
        task = profile.tasks[t]
        q = task.quantiles
        numbers = ["–"] * 3 if q is None else [f"{v:.4g}" for v in (q[0], q[2], q[4])]
        table.add_row(task.name, f"{task.labels:,}", *numbers, f"{differ.get(task.name, 0):,}")
    out.print()
    out.print(table)
    if note:
        out.print(note.strip(), style="dim", markup=False)
    out.print(f"\nwrote {output}", soft_wrap=True, markup=False)
