"""What the page says of groups of tasks: which they are, and what made them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from molpool_common import Cell, Facts, Part, Section, Table, Text

from molpool_pipelines.affinity import Affinity, affinity_sections
from molpool_pipelines.fitting import TrainChempropConfig
from molpool_pipelines.reports.training_ensemble import MemberRun


def section(
    config: TrainChempropConfig, members: Sequence[MemberRun], affinity: Affinity | None
) -> list[Section]:
    """Return the section about groups, none where all tasks share one head."""
    groups, assignment = _groups(config, affinity)
    if not groups:
        return []
    parts: list[Part] = [Text(_meaning(config)), _group_table(groups, assignment, members)]
    if affinity is not None:
        parts += _affinity_parts(affinity)
    return [Section("Task groups", parts)]


def _groups(
    config: TrainChempropConfig, affinity: Affinity | None
) -> tuple[Sequence[Sequence[str]], dict[str, int]]:
    if affinity is not None:
        return affinity.grouping.groups, affinity.grouping.assignment
    groups = config.groups or []
    given = config.group_assignment or {}
    assignment = {task: k for k, group in enumerate(groups) for task in group}
    return groups, assignment | given


def _meaning(config: TrainChempropConfig) -> str:
    origin = "measured" if config.task_affinity.enabled else "given by hand"
    if config.sharing == "separate":
        return (
            f"Groups are {origin}. Each has a model of its own, trained on the rows that have a "
            "label of its tasks; a task is predicted by the group that serves it."
        )
    return (
        f"Groups are {origin}. All share one encoder; each has a head of its own, with an output "
        "for every task that it serves."
    )


def _group_table(
    groups: Sequence[Sequence[str]], assignment: dict[str, int], members: Sequence[MemberRun]
) -> Table:
    models = [m for m in members if m.trainee.group is not None]
    one_each = len(models) == len(groups)
    rows: list[list[Cell]] = []
    for k, group in enumerate(groups):
        served = [task for task in group if assignment[task] == k]
        row: list[Cell] = [str(k), ", ".join(group), ", ".join(served)]
        if one_each:
            run = models[k]
            row += [len(run.trainee.tables.train), len(run.records), run.best_epoch, run.best_loss]
        rows.append(row)
    more = ["training rows", "epochs", "best epoch", "best loss"] if one_each else []
    return Table(["group", "tasks", "served", *more], rows, caption="The groups.")


def _affinity_parts(affinity: Affinity) -> list[Part]:
    sections = affinity_sections(affinity)
    return [Facts(_facts(affinity)), Text(_READING), *(p for s in sections for p in s.parts)]


_READING = (
    "Affinities are read by rank and error bar: cosines of real assays lie between about 0 and "
    "0.3, so a threshold from elsewhere says little. They were measured on training rows alone, "
    "with a model that was then thrown away."
)


def _facts(affinity: Affinity) -> dict[str, Cell]:
    result, grouping = affinity.result, affinity.grouping
    how = result.config
    score = grouping.score if np.isfinite(grouping.score) else None
    facts: dict[str, Cell] = {
        "Affinity": f"{how.affinity_type}, {result.estimator}",
        "Steps measured": f"{result.n_measured} of {result.n_steps}",
        "Grouped by": f"{grouping.method}, n_groups {how.n_groups}",
        "TAG score" if grouping.method == "tag" else "Silhouette": score,
    }
    if grouping.silhouettes:
        tried = sorted(grouping.silhouettes.items())
        facts["Silhouettes tried"] = ", ".join(f"{n} groups {s:.3f}" for n, s in tried)
    if affinity.stability is not None:
        n = affinity.stability.n_bootstrap
        facts[f"Agreement of {n} resamples (adjusted Rand)"] = affinity.stability.agreement
    return facts
