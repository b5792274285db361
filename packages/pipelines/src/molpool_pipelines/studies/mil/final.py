"""After a study of bags: the configuration of the final training, and several models as one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mil_attn import task_columns

from molpool_pipelines.studies.kinds import Numbers, StudyKind, Values, middle_epoch
from molpool_pipelines.studies.mil.config import HPOMILConfig
from molpool_pipelines.studies.mil.problem import resolve
from molpool_pipelines.studies.mil.tabular import mil_outer, mil_tabular
from molpool_pipelines.studies.scoring import MacroScore

_THRESHOLD = "threshold "


def mil_kind(config: HPOMILConfig) -> StudyKind:
    """Return what retraining needs to know of a study of bags."""
    tasks = tuple(task_columns(config.data, config))
    return StudyKind(
        name="mil",
        tasks=tasks,
        seed=config.seed,
        resolve=partial(resolve, config),
        final=final_values,
        score=partial(_score, len(tasks)),
        tabular=partial(mil_tabular, config),
        outer=partial(mil_outer, config),
        join=join,
    )


def final_values(values: Values, folds: Sequence[Numbers]) -> Values:
    """Return the configuration that trains on all bags but those of the outer test.

    Nothing validates then: the number of epochs is the median over the inner folds of the best,
    and each decision threshold the median of those chosen on inner validation bags.

    Parameters
    ----------
    values : dict
        A whole configuration.
    folds : sequence of mapping
        Numbers that each inner fold of the trial kept.
    """
    epochs = middle_epoch(folds)
    training: Mapping[str, Any] = values["training"]
    return {
        **values,
        "split": {**values["split"], "val_ratio": 0},
        "training": {**training, "epochs": epochs or training["epochs"], "patience": None},
        "thresholds": {**_thresholds(folds), **values["thresholds"]},
    }


def _thresholds(folds: Sequence[Numbers]) -> dict[str, float]:
    names = [n for n in (folds[0] if folds else {}) if n.startswith(_THRESHOLD)]
    return {
        name.removeprefix(_THRESHOLD): float(np.median([fold[name] for fold in folds]))
        for name in names
    }


def _score(n_tasks: int, values: Values) -> MacroScore:
    if values["task_kind"] == "regression":
        return MacroScore(("ma_rae",) * n_tasks)
    return MacroScore(("average_precision",) * n_tasks, float(values["training"]["min_w"]))


def join(runs: Sequence[Path], folder: Path) -> None:
    """Copy the models of run folders to ``member-000.pt`` and so on."""
    for i, run in enumerate(runs):
        shutil.copyfile(run / "model.pt", folder / f"member-{i:03d}.pt")
