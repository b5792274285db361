"""The page of a training run, from its folder alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from molpool_common import Cell, Facts, InputError, Part, Section, Table, Text, render_report

from molpool_pipelines.reports._config import ReportConfig
from molpool_pipelines.reports._parts import configuration, picture, records, since_start
from molpool_pipelines.reports.run_figures import fits, learning_curves
from molpool_pipelines.reports.run_scores import SIDES, Resampling, metric_table, sides_of
from molpool_pipelines.runs import PREDICTIONS
from molpool_pipelines.scores import Predictions, read_predictions

WORST = 20
"""Rows of the table of largest errors."""

PICTURES = {
    "affinity_heatmap.png": "Affinity of each pair of tasks, as a matrix of colours",
    "affinity_dendrogram.png": "How tasks were grouped by affinity, as a tree",
}


def run_page(folder: Path, name: str, config: ReportConfig) -> str:
    """Return the page as self-contained HTML.

    Raises
    ------
    InputError
        If the folder holds no predictions, or a file in it cannot be read.
    """
    if not (folder / PREDICTIONS).is_file():
        raise InputError(
            "--run",
            expected=f"a run folder with {PREDICTIONS}",
            found=f"{str(folder)!r} without it",
            hint="A run writes its predictions when it ends.",
        )
    found = read_predictions(folder)
    sides = sides_of(found)
    side, rows = next(iter(sides.items()))
    how = Resampling(config.level, config.n_bootstrap, config.seed)
    tables: list[Part] = [metric_table(side, rows, how)]
    tables += [metric_table(s, of, None) for s, of in list(sides.items())[1:]]
    sections = [
        Section("Summary", _summary(found, sides, side)),
        Section("Metrics by task", tables),
        Section("Predicted against measured", [fits(rows, SIDES[side].lower())]),
        *_worst(rows, side),
        *_curves(folder),
        *_pictures(folder),
        configuration(folder, ["config.resolved.yaml"]),
    ]
    return render_report(name, f"Training run, {len(found.tasks)} tasks", sections)


def _summary(found: Predictions, sides: dict[str, Predictions], side: str) -> list[Part]:
    facts: dict[str, Cell] = {f"{SIDES[s]} rows": len(of) for s, of in sides.items()}
    facts["Tasks"] = ", ".join(found.tasks)
    facts["Uncertainty"] = "none" if found.sd is None else "standard deviation of the members"
    parts: list[Part] = [Facts(facts)]
    if side == "train":
        parts.append(
            Text("All rows were trained on: these scores say nothing of others.", note=True)
        )
    elif side == "val":
        parts.append(
            Text(
                "No row was kept for test. Validation rows chose the epoch, so that their scores "
                "are somewhat too good.",
                note=True,
            )
        )
    bounds = int(found.n_bounds.sum())
    if bounds:
        parts.append(Text(f"{bounds} labels that are bounds are left out of all metrics.", True))
    return parts


def _worst(rows: Predictions, side: str) -> list[Section]:
    """List the largest errors of regression tasks, in units of each task's spread."""
    entries: list[tuple[float, list[Cell]]] = []
    for t, task in enumerate(rows.tasks):
        labelled = np.flatnonzero(np.isfinite(rows.y_true[:, t]))
        if rows.task_types[t] != "regression" or len(labelled) < 2:
            continue
        spread = float(rows.y_true[labelled, t].std()) or 1.0
        for i in labelled.tolist():
            y, p = float(rows.y_true[i, t]), float(rows.y_pred[i, t])
            smiles = None if rows.smiles is None else rows.smiles[i]
            far = abs(p - y) / spread
            entries.append((far, [str(rows.ids[i]), task, y, p, p - y, far, smiles]))
    if not entries:
        return []
    entries.sort(key=lambda e: (-e[0], str(e[1][:2])))
    heads = ["id", "task", "measured", "predicted", "error", "error / sd", "SMILES"]
    table = Table(
        heads,
        [row for _, row in entries[:WORST]],
        caption=f"The {min(WORST, len(entries))} largest errors of {SIDES[side].lower()} rows, by "
        "the standard deviation of the task's measured values. Look at these first: a wrong "
        "label and a molecule unlike the others both stand here.",
    )
    return [Section("Largest errors", [table])]


def _curves(folder: Path) -> list[Section]:
    epochs = since_start(records(folder / "log.jsonl", "epoch"))
    return [Section("Learning curves", [learning_curves(epochs)])] if epochs else []


def _pictures(folder: Path) -> list[Section]:
    there = {n: alt for n, alt in PICTURES.items() if (folder / n).is_file()}
    if not there:
        return []
    parts: list[Part] = [picture(folder / n, alt + ".", alt + ".") for n, alt in there.items()]
    return [Section("Task affinity", [*parts, *_affinities(folder)])]


def _affinities(folder: Path) -> list[Part]:
    file = folder / "affinity.csv"
    if not file.is_file():
        return []
    import polars as pl

    frame = pl.read_csv(file)
    rows = [list(row) for row in frame.iter_rows()]
    return [Table(["task", *frame.columns[1:]], rows, caption="The numbers of the pictures.")]
