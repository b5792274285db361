"""The page of a measurement: groups, affinities with their errors, and how to read them."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from molpool_common import (
    Cell,
    Code,
    Facts,
    Figure,
    FloatArray,
    Part,
    Section,
    Table,
    Text,
    dump_config,
    figure_svg,
    render_report,
)
from task_affinity import AffinityResult

from molpool_pipelines.affinity import _figures as figures
from molpool_pipelines.affinity._config import AffinityCommandConfig
from molpool_pipelines.affinity._figures import MAX_TASKS_PLOTTED
from molpool_pipelines.affinity._group import Affinity, best_partners, n_pairs
from molpool_pipelines.affinity._inputs import Inputs
from molpool_pipelines.affinity._words import ADVICE, measured_words, score_words

_PAIRS_UP_TO = 200
_FROM_EACH_END = 50
_NUMBERS_UP_TO = 50
"""Tasks up to which the page holds the numbers of a matrix; those of a larger one are in files."""


@dataclass(frozen=True)
class Measurement:
    """All that the page is made from."""

    config: AffinityCommandConfig
    inputs: Inputs
    affinity: Affinity
    seconds: float
    arguments: Sequence[str]


def affinity_report(measurement: Measurement) -> str:
    """Return the page of a measurement as self-contained HTML."""
    affinity = measurement.affinity
    result = affinity.result
    notes: list[Part] = [Text(note, note=True) for note in measurement.inputs.notes]
    sections = [
        Section("Groups", [*notes, *_groups(affinity)]),
        *affinity_sections(affinity),
        Section("How to read this", [Text(words) for words in ADVICE]),
        Section("How it was measured", _method(measurement)),
    ]
    subtitle = (
        f"{len(result.task_names)} tasks, {len(measurement.inputs.table):,} molecules,"
        f" {result.config.affinity_type}, seed {result.config.seed}"
    )
    return render_report("Task affinity", subtitle, sections)


def affinity_sections(affinity: Affinity) -> list[Section]:
    """Return what the pages of a measurement and of a run say of affinities."""
    result, several = affinity.result, len(affinity.result.task_names) > 1
    return [
        Section("Affinities", _figures(affinity)),
        Section("Pairs", _pairs(affinity)),
        *([Section("Best partners", [_partners(result)])] if several else []),
        *([Section("Stability", [_stability(affinity)])] if affinity.stability else []),
    ]


def _groups(affinity: Affinity) -> list[Part]:
    # Names and values wrap, which the cells of a table do not: a group may have hundreds of tasks.
    served = affinity.grouping.assignment
    facts: dict[str, Cell] = {}
    for k, (tasks, share) in enumerate(
        zip(affinity.grouping.groups, affinity.cohesion(), strict=True)
    ):
        helped = ", ".join(task for task in tasks if served[task] == k)
        others = ", ".join(task for task in tasks if served[task] != k)
        along = f"; trained along: {others}" if others else ""
        facts[f"Group {k}"] = helped + along + ("" if math.isnan(share) else f" ({share:.0%})")
    shares = (
        " In brackets the share of the resamples in which two of a group's tasks stand in one"
        " group, on average over its pairs."
        if affinity.stability
        else ""
    )
    return [Facts(facts), Text(score_words(affinity) + shares)]


def _figures(affinity: Affinity) -> list[Part]:
    names, symmetric = affinity.result.task_names, affinity.is_symmetric
    if len(names) > MAX_TASKS_PLOTTED:
        return [Text("Pictures of so many tasks say little; the matrix is in its files.")]
    parts: list[Part] = [
        Figure(
            figure_svg(figures.heatmap(affinity)),
            f"Heatmap of the affinities of {len(names)} tasks.",
            "Affinity of each pair with its standard error over batches; colours are centred at 0"
            " (blue: gradients agree, red: they oppose each other), tasks in the order of the"
            " dendrogram." + ("" if symmetric else " The row receives from the column."),
            _numbers("task" if symmetric else "receives", names, affinity.result.matrix),
        )
    ]
    if len(names) > 1:
        how = affinity.grouping.method
        parts.append(
            Figure(
                figure_svg(figures.dendrogram(affinity)),
                f"Dendrogram of {len(names)} tasks.",
                "Average linkage on 1 - affinity: where two branches meet, the mean over pairs of"
                " their tasks."
                + ("" if affinity.is_tree else f" The groups are by {how}, not cut from it."),
            )
        )
    return parts


def _pairs(affinity: Affinity) -> list[Part]:
    limit = None if n_pairs(affinity.result) <= _PAIRS_UP_TO else _FROM_EACH_END
    pairs = affinity.pairs(limit)
    if not pairs:
        return [Text("A single task has no pair.")]
    between = "\N{EN DASH}" if affinity.is_symmetric else "\N{LEFTWARDS ARROW}"
    rows: list[list[Cell]] = []
    for p in pairs:
        row: list[Cell] = [f"{p.receiver} {between} {p.giver}", p.affinity, _or_none(p.error)]
        row += [p.batches, p.reading, p.rank]
        if p.together is not None:
            row.append(round(100 * p.together))
        rows.append(row)
    heads = ["pair", "affinity", "± s.e.", "batches", "reading", "rank"]
    if affinity.stability is not None:
        heads.append("resamples in one group, %")
    shown = "" if limit is None else f" The {limit} highest and {limit} lowest of all pairs."
    return [
        Table(
            heads,
            rows,
            "Reading: agree or conflict where an affinity is more than two standard errors from 0,"
            f" otherwise unclear.{shown}",
        )
    ]


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


def _stability(affinity: Affinity) -> Figure:
    stability = affinity.stability
    assert stability is not None
    return Figure(
        figure_svg(figures.co_assignment(affinity)),
        "Shares of resamples in which two tasks share a group.",
        f"How often {stability.n_bootstrap} resamples of the batches put two tasks into one group."
        " Lines divide the groups above.",
        _numbers("task", stability.task_names, stability.co_assignment),
    )


def _numbers(head: str, names: Sequence[str], matrix: FloatArray) -> Table | None:
    if len(names) > _NUMBERS_UP_TO:
        return None
    rows: list[list[Cell]] = [
        [name, *row] for name, row in zip(names, matrix.tolist(), strict=True)
    ]
    return Table([head, *names], rows)


def _method(measurement: Measurement) -> list[Part]:
    result = measurement.affinity.result
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
