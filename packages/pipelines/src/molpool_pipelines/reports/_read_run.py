"""What the folder of a run holds, as its page needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml
from molpool_common import checked

from molpool_pipelines.reports._parts import records, since_start
from molpool_pipelines.reports._run_figures import TrainedModel
from molpool_pipelines.runs import CONFIG, LOG, SAMPLING, Metrics, read_metrics
from molpool_pipelines.runs import METRICS as METRICS_FILE
from molpool_pipelines.scores import Predictions, read_predictions

SPLITS = {"test": "Test", "val": "Validation", "train": "Training", "all": "All"}
"""What pages call splits, the one that counts first."""


@dataclass(frozen=True)
class ReadRun:
    """What the folder of a run holds."""

    folder: Path
    found: Predictions
    config: Mapping[str, Any]
    metrics: Metrics | None

    @cached_property
    def splits(self) -> dict[str, Predictions]:
        """The rows of each split, the one that counts first."""
        there = self.found.splits
        return {s: self.found.of_split(s) for s in SPLITS if s in there} or {"all": self.found}

    @property
    def is_tabular(self) -> bool:
        """Whether its models are on features."""
        return self.metrics is not None and self.metrics.kind == "tabular"

    @property
    def reported(self) -> str:
        """The split that counts."""
        return next(iter(self.splits))

    @cached_property
    def models(self) -> list[TrainedModel]:
        """Its models with their epochs, a resumed epoch once."""
        by_model: dict[tuple[Any, Any], list[dict[str, Any]]] = {}
        for entry in since_start(records(self.folder / LOG, "epoch")):
            by_model.setdefault((entry.get("member"), entry.get("group")), []).append(entry)
        return [TrainedModel(m, g, epochs) for (m, g), epochs in by_model.items()]

    @cached_property
    def draws(self) -> pl.DataFrame | None:
        """What the sampler drew for the first model, a row per epoch."""
        if not (self.folder / SAMPLING).is_file():
            return None
        frame = pl.read_parquet(checked(self.folder / SAMPLING))
        for which in ("member", "group"):
            if which in frame.columns:
                # The first model stands for all: they share α and curriculum and differ by seed.
                frame = frame.filter(pl.col(which) == pl.col(which).first())
        return frame

    @property
    def units(self) -> dict[str, str]:
        """Unit of the values of each task of which the table says it."""
        if self.metrics is None or not self.metrics.splits:
            return {}
        tasks = self.metrics.of_reported.tasks
        return {task: of.unit for task, of in tasks.items() if of.unit is not None}

    @property
    def trained_rows(self) -> Predictions:
        """Rows that the first model was trained on; all that are not tested, with folds."""
        split = self.found.split
        if split is None:
            return self.found
        # Where no row trains alone, each was left out of a fold, and all trained in the end.
        of_folds = self.found.fold is not None or "train" not in split
        return self.found.take(np.isin(split, ("train", "val") if of_folds else ("train",)))


def read_run(folder: Path) -> ReadRun:
    """Read what a run has left; only its predictions must be there."""
    file = folder / CONFIG
    # Not as a configuration model: a page is written of runs whose keys have since been renamed.
    config = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    metrics = read_metrics(folder) if (folder / METRICS_FILE).is_file() else None
    types = {}
    if metrics is not None and metrics.splits:
        # Kinds as trained; guessed from the values, a regression task with labels 0 and 1 alone
        # would change kind.
        types = {task: of.type for task, of in metrics.of_reported.tasks.items()}
    found = read_predictions(folder, task_types=types)
    if found.smiles is None:
        found = replace(found, noun="bag")
    return ReadRun(folder, found, config, metrics)
