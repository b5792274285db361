"""Baselines beside a study: under its folds, kept in its folder, and on its outer test."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from molpool_common import RunFolder
from rich.console import Console

from molpool_pipelines.studies.baselines import BASELINES, inner_scores, predict_tasks
from molpool_pipelines.studies.errors import HPOError
from molpool_pipelines.studies.kinds import StudyKind, study_kind
from molpool_pipelines.studies.optimism import Contender
from molpool_pipelines.studies.outer import TestSide, with_predictions
from molpool_pipelines.studies.results import BASELINE_FILE, read_baselines
from molpool_pipelines.studies.tabular import Tabular


def write_baselines(run: RunFolder, kind: str, metric: str) -> None:
    """Score the baselines under the inner folds of a study, unless that was done.

    Parameters
    ----------
    run : RunFolder
        The study's, with its configuration.
    kind : str
        Of the study.
    metric : str
        Name of its score.
    """
    if (run.path / BASELINE_FILE).is_file():
        return
    model = study_kind(kind, run.path)
    tabular = model.tabular()
    _say(tabular, f"{len(tabular.folds)} inner folds")
    scores = inner_scores(tabular, seed=model.seed, threads=os.cpu_count() or 1)
    known: dict[str, Any] = {
        "metric": metric,
        "features": tabular.features,
        "models": [{"name": s.name, "inner": s.value, "folds": list(s.folds)} for s in scores],
    }
    run.write_json(BASELINE_FILE, known)
    run.log("baselines", **{s.name: s.value for s in scores})


def outer_baselines(
    run: RunFolder, study: Path, kind: StudyKind, side: TestSide
) -> list[Contender]:
    """Train the baselines on all rows but the outer test, and predict that.

    Parameters
    ----------
    run : RunFolder
        Where ``NAME/predictions.parquet`` goes, as a training run writes it.
    study : Path
        Folder of the study, which may know their scores on the inner folds.
    kind : StudyKind
        Rows and tasks.
    side : TestSide
        The outer test as another model has predicted it.

    Raises
    ------
    HPOError
        If the rows are others, which would be a fault of ours.
    """
    tabular, outer = kind.tabular(), kind.outer()
    if not np.array_equal(outer.test.labels, side.labels, equal_nan=True):
        raise HPOError("retrain: expected baselines to be tested on the same rows.")
    threads = os.cpu_count() or 1
    known = read_baselines(study)
    folds = "" if known else f"{len(tabular.folds)} inner folds and "
    _say(tabular, f"{folds}the outer test")
    if known is not None:
        inner = {m["name"]: tuple(m["folds"]) for m in known["models"]}
    else:
        inner = {s.name: s.folds for s in inner_scores(tabular, seed=kind.seed, threads=threads)}
    contenders = []
    for name in BASELINES:
        predictions = predict_tasks(
            name,
            tabular.rest,
            outer.test.features,
            tabular.task_types,
            seed=kind.seed,
            threads=threads,
        )
        contenders.append(Contender(name, np.nan_to_num(predictions), inner[name]))
        folder = run.path / name.lower().replace(" ", "-")
        folder.mkdir(exist_ok=True)
        frame = with_predictions(side, kind.tasks, contenders[-1].predictions)
        run.write_frame(f"{folder.name}/predictions.parquet", frame)
    return contenders


def _say(tabular: Tabular, where: str) -> None:
    """Say what takes minutes on large tables."""
    names = " and ".join(BASELINES)
    Console().print(
        f"Training {names}: {where}, {len(tabular.rest)} rows, {len(tabular.task_names)} tasks.",
        highlight=False,
    )
