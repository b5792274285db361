"""The page of a measurement: groups, affinities with their errors, and how to read them."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from molpool_common import (
    Cell,
    Code,
    Facts,
    Figure,
    Part,
    Section,
    Table,
    Text,
    dump_config,
    figure_svg,
    render_report,
)
from numpy.typing import NDArray
from task_affinity import AffinityResult

from molpool_pipelines.affinity import pictures
from molpool_pipelines.affinity.config import AffinityCommandConfig
from molpool_pipelines.affinity.inputs import Inputs
from molpool_pipelines.affinity.measuring import Groups, cohesion, is_symmetric, pairs_of
from molpool_pipelines.affinity.partners import best_partners
from molpool_pipelines.affinity.words import ADVICE, measured_words, score_words

_PAIRS_UP_TO = 200
_FROM_EACH_END = 50
_NUMBERS_UP_TO = 50
"""Tasks up to which the page holds the numbers of a matrix; those of a larger one are in files."""


@dataclass(frozen=True)
class Measurement:
    """All that the page is made from."""

    config: AffinityCommandConfig
    inputs: Inputs
    result: AffinityResult
    groups: Groups
    seconds: float
    arguments: Sequence[str]


def affinity_report(measurement: Measurement) -> str:
    """Return the page of a measurement as self-contained HTML."""
    result, groups = measurement.result, measurement.groups
    notes: list[Part] = [Text(note, note=True) for note in measurement.inputs.notes]
    sections = [
        Section("Groups", [*notes, *_groups(groups)]),
        Section("Affinities", _figures(result, groups)),
        Section("Pairs", _pairs(result)),
        *([Section("Best partners", [_partners(result)])] if len(result.task_names) > 1 else []),
        *([Section("Stability", [_stability(groups)])] if groups.stability else []),
        Section("How to read this", [Text(words) for words in ADVICE]),
        Section("How it was measured", _method(measurement)),
    ]
    subtitle = (
        f"{len(result.task_names)} tasks, {measurement.inputs.frame.height:,} molecules,"
        f" {result.config.affinity_type}, seed {result.config.seed}"
    )
    return render_report("Task affinity", subtitle, sections)


def _groups(groups: Groups) -> list[Part]:
    # Names and values wrap, which the cells of a table do not: a group may have hundreds of tasks.
    served = groups.grouping.assignment
    facts: dict[str, Cell] = {}
    for k, (tasks, share) in enumerate(zip(groups.grouping.groups, cohesion(groups), strict=True)):
        helped = ", ".join(task for task in tasks if served[task] == k)
        others = ", ".join(task for task in tasks if served[task] != k)
        along = f"; trained along: {others}" if others else ""
        facts[f"Group {k}"] = helped + along + ("" if math.isnan(share) else f" ({share:.0%})")
    shares = (
        " In brackets the share of the resamples in which two of a group's tasks stand in one"
        " group, on average over its pairs."
        if groups.stability
        else ""
    )
    return [Facts(facts), Text(score_words(groups) + shares)]


def _figures(result: AffinityResult, groups: Groups) -> list[Part]:
    names = result.task_names
    symmetric = is_symmetric(result.config)
    parts: list[Part] = [
        Figure(
            figure_svg(pictures.heatmap(result)),
            f"Heatmap of the affinities of {len(names)} tasks.",
            "Affinity of each pair with its standard error over batches; colours are centred at 0,"
            " tasks in the order of the dendrogram."
            + ("" if symmetric else " The row receives from the column."),
            _numbers("task" if symmetric else "receives", names, result.matrix),
        )
    ]
    if len(names) > 1:
        parts.append(
            Figure(
                figure_svg(pictures.dendrogram(result, groups)),
                f"Dendrogram of {len(names)} tasks.",
                "Average linkage on 1 - affinity: where two branches meet, the mean over pairs of"
                " their tasks.",
            )
        )
    return parts


def _pairs(result: AffinityResult) -> list[Part]:
    limit = None if _n_pairs(result) <= _PAIRS_UP_TO else _FROM_EACH_END
    pairs = pairs_of(result, limit)
    if not pairs:
        return [Text("A single task has no pair.")]
    between = "\N{EN DASH}" if is_symmetric(result.config) else "\N{LEFTWARDS ARROW}"
    rows: list[list[Cell]] = [
        [
            f"{p.receiver} {between} {p.giver}",
            p.affinity,
            _or_none(p.error),
            p.batches,
            p.reading,
            p.rank,
        ]
        for p in pairs
    ]
    shown = "" if limit is None else f" The {limit} highest and {limit} lowest of all pairs."
    return [
        Table(
            ["pair", "affinity", "± s.e.", "batches", "reading", "rank"],
            rows,
            "Reading: agree or conflict where an affinity is more than two standard errors from 0,"
            f" otherwise unclear.{shown}",
        )
    ]


def _n_pairs(result: AffinityResult) -> int:
    n = len(result.task_names)
    return n * (n - 1) // (2 if is_symmetric(result.config) else 1)


def _partners(result: AffinityResult) -> Table:
    rows: list[list[Cell]] = [
        [p.task, p.best, p.affinity, _or_none(p.error), p.second, p.lead, p.reading]
        for p in best_partners(result)
    ]
    return Table(
        ["task", "best partner", "affinity", "± s.e.", "second", "lead", "reading"],
        rows,
        "The task that each agrees with most, and its lead over the second: clear where that is"
        " more than two standard errors of the difference.",
    )


def _stability(groups: Groups) -> Figure:
    stability = groups.stability
    assert stability is not None
    return Figure(
        figure_svg(pictures.co_assignment(groups)),
        "Shares of resamples in which two tasks share a group.",
        f"How often {stability.n_bootstrap} resamples of the batches put two tasks into one group."
        " Lines divide the groups above.",
        _numbers("task", stability.task_names, stability.co_assignment),
    )


def _numbers(head: str, names: Sequence[str], matrix: NDArray[np.float64]) -> Table | None:
    if len(names) > _NUMBERS_UP_TO:
        return None
    rows: list[list[Cell]] = [
        [name, *row] for name, row in zip(names, matrix.tolist(), strict=True)
    ]
    return Table([head, *names], rows)


def _method(measurement: Measurement) -> list[Part]:
    result = measurement.result
    labels = Table(
        ["task", "labels", "batches"],
        [
            [name, measurement.inputs.labels[name], int(result.counts[t, t])]
            for t, name in enumerate(result.task_names)
        ],
        "Labels of each task, and measured batches that had some.",
    )
    facts: dict[str, Cell] = {
        "Training steps": result.n_steps,
        "Measured steps": result.n_measured,
        "Estimator": result.estimator,
        "Seconds": measurement.seconds,
    }
    return [
        Text(measured_words(result)),
        Facts(facts, digits=1),
        labels,
        Code("Command", shlex.join(measurement.arguments)),
        Code("Configuration", dump_config(measurement.config)),
    ]


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
