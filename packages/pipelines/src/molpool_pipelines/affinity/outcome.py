"""What the command prints at its end: the pairs that stand out, and the groups."""

from __future__ import annotations

import math

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from task_affinity import AffinityResult

from molpool_pipelines.affinity.inputs import Inputs
from molpool_pipelines.affinity.measuring import Groups, cohesion, is_symmetric, pairs_of
from molpool_pipelines.affinity.screen import pair_table
from molpool_pipelines.affinity.words import score_words

_SHOWN = 3


def print_outcome(console: Console, inputs: Inputs, result: AffinityResult, groups: Groups) -> None:
    """Print notes, pairs and groups."""
    for note in inputs.notes:
        console.print(note, markup=False)
    pairs = pairs_of(result, limit=_SHOWN)
    if pairs:
        console.print(
            pair_table(
                pairs, symmetric=is_symmetric(result.config), title="Highest and lowest affinities"
            )
        )
    console.print(_group_table(groups))
    console.print(score_words(groups), markup=False)


def _group_table(groups: Groups) -> Table:
    table = Table(title="Groups", title_justify="left", title_style="bold")
    table.add_column("group", justify="right")
    table.add_column("tasks", overflow="fold")
    table.add_column("together", justify="right")
    shares = cohesion(groups)
    for k, (tasks, share) in enumerate(zip(groups.grouping.groups, shares, strict=True)):
        served = groups.grouping.assignment
        named = [escape(task if served[task] == k else f"({task})") for task in tasks]
        table.add_row(str(k), ", ".join(named), "–" if math.isnan(share) else f"{share:.0%}")
    return table
