"""The page of a profile, and its summary on the screen."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from molpool_common import (
    Cell,
    Facts,
    IntArray,
    MoleculeTable,
    Part,
    Section,
    Table,
    Text,
    answer,
    console,
    free_memory,
    listed,
    render_report,
    write_text,
)
from rich.table import Table as ScreenTable

from molpool_pipelines.runs import write_rejected
from molpool_pipelines.tables._assay_limits import assay_limits, limits_in_words
from molpool_pipelines.tables._given_split import is_unused
from molpool_pipelines.tables._table_config import TaskType
from molpool_pipelines.tables.profile._figures import (
    class_shares,
    label_counts,
    overlap_heatmap,
    quality_shares,
    sampling_parts,
    selected_tasks,
    value_histograms,
)
from molpool_pipelines.tables.profile._reading import Described
from molpool_pipelines.tables.profile._statistics import (
    FREQUENT,
    DuplicateProfile,
    SamplingSetting,
    ScaffoldProfile,
    TaskProfile,
    overlap,
    profile_duplicates,
    profile_scaffolds,
    profile_tasks,
    quality_mix,
    sampling_settings,
)

_LISTED = 20
"""Rows up to which a table stands open on the page."""


@dataclass(frozen=True)
class Profile:
    """All that the page and the screen are made from.

    Parameters
    ----------
    described : Described
        The table.
    tasks : list of TaskProfile
        Its T tasks.
    common : ndarray of int64 [T, T]
        Molecules labelled in both tasks.
    qualities : (list of str, ndarray of int64 [T, Q])
        Quality labels, and labels of each by task.
    scaffolds : ScaffoldProfile
        Scaffolds of the molecules.
    duplicates : DuplicateProfile
        Duplicate labels.
    settings : list of SamplingSetting
        Joint sampling.
    """

    described: Described
    tasks: list[TaskProfile]
    common: IntArray
    qualities: tuple[list[str], IntArray]
    scaffolds: ScaffoldProfile
    duplicates: DuplicateProfile
    settings: list[SamplingSetting]

    @property
    def table(self) -> MoleculeTable:
        """The molecules."""
        return self.described.table

    def facts(self) -> dict[str, Cell]:
        """Return the figures that page and screen begin with."""
        targets = self.table.targets
        labels = np.isfinite(targets)
        within = self.duplicates.within
        return {
            "Rows": len(self.table),
            "Rows whose SMILES do not parse": int((~is_unused(self.table.dropped)).sum()),
            **_without_split(self.table),
            "Rows without a label": int((~labels.any(axis=1)).sum()),
            "Molecules": self.scaffolds.n_molecules,
            "Tasks": len(self.tasks),
            "Labels": int(labels.sum()),
            "Cells with a label": f"{100 * labels.mean():.1f} %",
            "Scaffolds": self.scaffolds.n_scaffolds,
            "Duplicate labels": f"{within.n_repeated:,}, {within.n_conflicts:,} of them differ",
        }


def _without_split(table: MoleculeTable) -> dict[str, Cell]:
    n = int(is_unused(table.dropped).sum())
    return {"Rows that the given split does not name": n} if n else {}


def profile_page(profile: Profile) -> str:
    """Return the page as self-contained HTML."""
    named = profile.described.name
    notes: list[Part] = [Text(note) for note in profile.described.notes]
    sections = [
        Section("Summary", [Facts(profile.facts()), *notes, *_bad_smiles(profile.table)]),
        *_read_as(profile.described),
        Section("Labels", [label_counts(profile.tasks, len(profile.table))]),
        Section("Values", _values(profile)),
        *_overlap(profile),
        *_quality(profile),
        Section("Scaffolds", _scaffolds(profile.scaffolds)),
        Section("Duplicates", _duplicates(profile)),
        Section("Joint sampling", _sampling(profile)),
    ]
    subtitle = f"Profile of {len(profile.table):,} rows and {len(profile.tasks):,} tasks"
    return render_report(named, subtitle, sections)


def _read_as(described: Described) -> list[Section]:
    if not described.facts:
        return []
    return [Section("How it was read", [Facts(dict(described.facts))])]


def _bad_smiles(table: MoleculeTable) -> list[Part]:
    bad = table.dropped.filter(~is_unused(table.dropped))
    if bad.is_empty():
        return []
    rows = [[r["source"], r["row"], r["SMILES"], r["reason"]] for r in bad.head(10).to_dicts()]
    caption = f"The first of {bad.height:,} rows whose SMILES do not parse; they are left out."
    return [Table(["source", "row", "SMILES", "reason"], rows, caption=caption)]


def _values(profile: Profile) -> list[Part]:
    said = (scale_note(profile.tasks), limits_note(profile.table, profile.tasks))
    parts: list[Part] = [Text(text, note=True) for text in said if text is not None]
    parts += _frequent_values(profile.tasks)
    histograms = value_histograms(profile.table, profile.tasks)
    classes = class_shares(profile.tasks)
    parts += [figure for figure in (histograms, classes) if figure is not None]
    measured = [task for task in profile.tasks if task.positives is None]
    order, note = selected_tasks(measured, limit=_LISTED)
    if order:
        parts.append(_value_table([measured[t] for t in order], note))
    return parts


def scale_note(tasks: Sequence[TaskProfile]) -> str | None:
    """Return which tasks have long tails, and the flag that learns them on another scale."""
    skewed = [task for task in tasks if task.scale != "none"]
    if not skewed:
        return None
    flags = " ".join(shlex.quote(f"{task.name}={task.scale}") for task in skewed)
    return (
        f"Values with a long tail: {listed([task.name for task in skewed])}. Large ones would "
        "decide what a model learns; on another scale they do not, and predictions come back in "
        f"the table's unit: --data.transform {flags}"
    )


def limits_note(table: MoleculeTable, tasks: Sequence[TaskProfile]) -> str | None:
    """Return which labels stand at a floor or a ceiling of their assay, and what models do."""
    kinds: list[TaskType] = [
        "regression" if task.positives is None else "classification" for task in tasks
    ]
    said = limits_in_words(assay_limits(["auto"], table, kinds), table, kinds)
    if not said:
        return None
    return (
        f"Limits of assays: {said}. The truth is there or beyond: models of molecules learn such "
        "labels as bounds (--limits), and molpool-evaluate predict --latent says what lies beyond."
    )


def _frequent_values(tasks: Sequence[TaskProfile]) -> list[Part]:
    rows: list[list[Cell]] = [
        [task.name, f"{s.value:g}", 100 * s.share, s.place, s.source or None]
        for task in tasks
        for s in task.frequent_values
    ]
    if not rows:
        return []
    more = f" The first {_LISTED} of {len(rows)}." if len(rows) > _LISTED else ""
    return [
        Text(
            f"More than {100 * FREQUENT:.0f} % of a source's labels of a task have one value. At "
            "the floor or the ceiling it may be a limit of the measurement rather than a value.",
            note=True,
        ),
        Table(
            ["task", "value", "of its labels %", "place", "source"],
            rows[:_LISTED],
            caption=f"Values that many labels have.{more}",
            digits=1,
        ),
    ]


def _value_table(tasks: Sequence[TaskProfile], note: str) -> Table:
    rows: list[list[Cell]] = []
    for task in tasks:
        quantiles: list[Cell] = [None] * 5 if task.quantiles is None else task.quantiles.tolist()
        rows.append([task.name, task.labels, *quantiles, task.sd])
    return Table(
        ["task", "labels", "min", "25 %", "median", "75 %", "max", "sd"],
        rows,
        caption=f"Values of each task, as read; sd: standard deviation.{note}",
    )


def _overlap(profile: Profile) -> list[Section]:
    if len(profile.tasks) < 2:
        return []
    return [Section("Task overlap", [overlap_heatmap(profile.tasks, profile.common)])]


def _quality(profile: Profile) -> list[Section]:
    names, counts = profile.qualities
    if not names:
        return []
    return [Section("Quality mix", [quality_shares(profile.tasks, names, counts)])]


def _scaffolds(scaffolds: ScaffoldProfile) -> list[Part]:
    facts: dict[str, Cell] = {
        "Scaffolds": scaffolds.n_scaffolds,
        "Scaffolds of one molecule": scaffolds.n_singletons,
        "Molecules without a ring": scaffolds.n_acyclic,
        "Molecules per scaffold": (scaffolds.n_molecules - scaffolds.n_acyclic)
        / max(scaffolds.n_scaffolds, 1),
    }
    if not scaffolds.largest:
        return [Facts(facts, digits=2)]
    rows: list[list[Cell]] = [
        [smiles, n, 100 * n / scaffolds.n_molecules] for smiles, n in scaffolds.largest
    ]
    caption = "The largest Bemis-Murcko scaffolds; a molecule counts once."
    return [
        Facts(facts, digits=2),
        Table(["scaffold", "molecules", "of all %"], rows, caption=caption, digits=1),
    ]


def _duplicates(profile: Profile) -> list[Part]:
    duplicates, within = profile.duplicates, profile.duplicates.within
    facts: dict[str, Cell] = {
        "Molecules with several rows": within.n_molecules,
        "Their rows": within.n_rows,
        "Duplicate labels (molecule and task)": within.n_repeated,
        "Duplicates that agree": within.n_agree,
        "Duplicates that differ": within.n_conflicts,
    }
    # Otherwise both counts are the same.
    if profile.qualities[0] or not profile.table.hold_out.all():
        across = duplicates.across
        facts["Duplicates over all qualities and sources"] = across.n_repeated
        facts["Of these, differ"] = across.n_conflicts
    parts: list[Part] = [
        Text(
            "Rows are one molecule where the first block of their parents' InChIKey is equal, so "
            "stereoisomers count as one, and so do a salt and its base. Rows of different quality "
            "are not compared unless said. "
            "Training merges them with --duplicates mean or median, and stops at conflicts with "
            "--duplicates error."
        ),
        Facts(facts),
    ]
    if within.n_conflicts:
        parts += [_conflicts_by_task(profile), _worst_conflicts(profile)]
    return parts


def _conflicts_by_task(profile: Profile) -> Table:
    every = profile.duplicates.by_task
    rows = [
        [c.name, c.conflicts, c.median_spread, c.largest_spread, c.relative]
        for c in every[:_LISTED]
    ]
    more = f" The first {_LISTED} of {len(every)} tasks." if len(every) > _LISTED else ""
    return Table(
        ["task", "molecules that differ", "median spread", "largest spread", "median in sd"],
        rows,
        caption="Spread: largest less smallest label of a molecule; sd: standard deviation of the "
        f"task.{more}",
    )


def _worst_conflicts(profile: Profile) -> Table:
    rows: list[list[Cell]] = []
    for conflict, relative in profile.duplicates.worst:
        values = listed([f"{v:g}" for v in conflict.values], 5)
        places = _places(profile.table, conflict.rows)
        task = profile.tasks[conflict.task].name
        rows.append([task, relative, values, conflict.smiles, places])
    return Table(
        ["task", "spread in sd", "values", "molecule", "rows"],
        rows,
        caption=f"The {len(rows)} largest conflicts, by spread in standard deviations of the task.",
        digits=2,
    )


def _places(table: MoleculeTable, rows: Sequence[int]) -> str:
    """Return row numbers, with names where there are any, after the source where there are more."""
    by_source: dict[str, list[str]] = {}
    for origin in table.origin[list(rows)].to_dicts():
        number = str(origin["row"])
        name = "" if origin["id"] in (None, number) else f" ({origin['id']})"
        by_source.setdefault(origin["source"], []).append(number + name)
    single = table.origin["source"].n_unique() == 1
    return "; ".join(
        listed(numbers, 5) if single else f"{source} {listed(numbers, 5)}"
        for source, numbers in by_source.items()
    )


def _sampling(profile: Profile) -> list[Part]:
    labelled = int(np.isfinite(profile.table.targets).any(axis=1).sum())
    return sampling_parts(profile.settings, profile.tasks, labelled)


_ON_SCREEN = 16


def describe(described: Described) -> Profile:
    """Compute the profile of a table."""
    table = described.table
    free_memory()  # of reading
    tasks = profile_tasks(table)
    common, qualities = overlap(table), quality_mix(table)
    scaffolds, duplicates = profile_scaffolds(table), profile_duplicates(table, tasks)
    free_memory()  # of sorting
    settings = sampling_settings(table)
    return Profile(described, tasks, common, qualities, scaffolds, duplicates, settings)


def describe_and_report(described: Described, output: Path) -> None:
    """Compute the profile, write its page atomically, and print a summary."""
    profile = describe(described)
    write_text(output, profile_page(profile))
    lost = write_rejected(output, profile.table.dropped)
    _print(profile, [output, *([lost] if lost else [])])


def _print(profile: Profile, files: Sequence[Path]) -> None:
    out = console()
    for note in profile.described.notes:
        out.print(note, markup=False)
    facts = {**profile.described.facts, **profile.facts()}
    answer(files=files, notes=profile.described.notes, profile=facts)
    width = max(map(len, facts))
    for name, value in facts.items():
        shown = f"{value:,}" if isinstance(value, int) else value
        out.print(f"{name:<{width}}  {shown}", markup=False)
    order, note = selected_tasks(profile.tasks, limit=_ON_SCREEN)
    table = ScreenTable(box=None, pad_edge=False)
    table.add_column("task")
    for column in ("labels", "min", "median", "max", "differ"):
        table.add_column(column, justify="right")
    differ = {c.name: c.conflicts for c in profile.duplicates.by_task}
    for t in order:
        task = profile.tasks[t]
        q = task.quantiles
        numbers = ["–"] * 3 if q is None else [f"{v:.4g}" for v in (q[0], q[2], q[4])]
        table.add_row(task.name, f"{task.labels:,}", *numbers, f"{differ.get(task.name, 0):,}")
    out.print()
    out.print(table)
    if note:
        out.print(note.strip(), style="dim", markup=False)
    for text in (limits_note(profile.table, profile.tasks), scale_note(profile.tasks)):
        if text is not None:
            # To be copied by hand, as the command below.
            out.print(f"\n{text}", soft_wrap=True, markup=False)
    training = profile.described.training
    for line in () if training is None else ("", *training.lines):
        # To be copied by hand: never broken over lines.
        out.print(line, soft_wrap=True, markup=False)
    out.print(f"\nwrote {', '.join(map(str, files))}", soft_wrap=True, markup=False)
