"""What a trained model says of every bag, and how well it says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from mil_attn import BagData, MILModule, fold_score, predict
from mil_attn import SplitName as Side
from molpool_common import MetricTable, task_metrics
from numpy.typing import NDArray

from molpool_pipelines.fitting.config import TrainMILConfig
from molpool_pipelines.fitting.mil.inputs import MILInputs


@dataclass(frozen=True)
class Decisions:
    """Right and wrong of one task's decisions at its threshold."""

    task: str
    threshold: float
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def precision(self) -> float | None:
        """Share of the called that are positive; None where nothing is called."""
        return _share(self.true_positives, self.false_positives)

    @property
    def recall(self) -> float | None:
        """Share of the positives that are called; None where there is none."""
        return _share(self.true_positives, self.false_negatives)

    @property
    def accuracy(self) -> float | None:
        """Share of right decisions."""
        right = self.true_positives + self.true_negatives
        return _share(right, self.false_positives + self.false_negatives)


@dataclass(frozen=True)
class MILResults:
    """Predictions of all bags and metrics by side.

    Parameters
    ----------
    predictions : DataFrame
        A row a bag: ``id, side, instances``, of each task ``TASK``, ``TASK predicted`` and, of
        classes, ``TASK decision`` at the threshold chosen on validation data.
    metrics : mapping of str to MetricTable
        By side.
    decisions : list of Decisions
        On the test side; empty for regression.
    scores : mapping of str to float or None
        By side: (1 - min_w) · macro AP + min_w · least AP; None where no task defines it.
    """

    predictions: pl.DataFrame
    metrics: Mapping[str, MetricTable]
    decisions: list[Decisions]
    scores: Mapping[str, float | None]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        sides: dict[str, Any] = {
            side: {**table.to_dict(), "fold_score": self.scores.get(side)}
            for side, table in self.metrics.items()
        }
        sides["test"]["decisions"] = {
            d.task: {**vars(d), "precision": d.precision, "recall": d.recall}
            for d in self.decisions
        }
        return sides


def evaluate(config: TrainMILConfig, inputs: MILInputs, module: MILModule) -> MILResults:
    """Predict and score every side."""
    frames = []
    metrics: dict[str, MetricTable] = {}
    scores: dict[str, float | None] = {}
    decisions: list[Decisions] = []
    for side in inputs.sides:
        data = inputs.side(side)
        assert data.labels is not None
        p = predict(module, data)
        frames.append(_frame(data, side, p, module))
        kinds = [config.task_kind] * len(module.task_names)
        metrics[side] = task_metrics(data.labels, p, module.task_names, kinds)
        scores[side] = _fold_score(metrics[side], config.training.min_w)
        if side == "test" and module.is_classifier:
            decisions = [
                _decisions(task, module.thresholds[t], data.labels[:, t], p[:, t])
                for t, task in enumerate(module.task_names)
            ]
    return MILResults(pl.concat(frames), metrics, decisions, scores)


def predictions_of(module: MILModule, data: BagData) -> pl.DataFrame:
    """Return predictions of bags without labels."""
    columns: dict[str, Any] = {"id": data.ids}
    p = predict(module, data)
    for t, task in enumerate(module.task_names):
        columns[f"{task} predicted"] = p[:, t]
        if module.is_classifier:
            columns[f"{task} decision"] = p[:, t] >= module.thresholds[t]
    return pl.DataFrame(columns)


def _frame(data: BagData, side: Side, p: NDArray[np.float64], module: MILModule) -> pl.DataFrame:
    assert data.labels is not None
    columns: dict[str, Any] = {"id": data.ids, "side": [side] * len(data), "instances": data.sizes}
    if data.smiles is not None:
        columns["SMILES"] = data.smiles
    for t, task in enumerate(module.task_names):
        columns[task] = pl.Series(task, data.labels[:, t]).fill_nan(None)
        columns[f"{task} predicted"] = p[:, t]
        if module.is_classifier:
            columns[f"{task} decision"] = p[:, t] >= module.thresholds[t]
    return pl.DataFrame(columns)


def _fold_score(table: MetricTable, min_w: float) -> float | None:
    values = [task.values.get("average_precision") for task in table.tasks]
    defined = [v for v in values if v is not None]
    return fold_score(float(np.mean(defined)), min(defined), min_w) if defined else None


def _decisions(
    task: str, threshold: float, y: NDArray[np.float64], p: NDArray[np.float64]
) -> Decisions:
    called = p >= threshold
    return Decisions(
        task,
        float(threshold),
        int((called & (y == 1)).sum()),
        int((called & (y == 0)).sum()),
        int((~called & (y == 1)).sum()),
        int((~called & (y == 0)).sum()),
    )


def _share(part: int, rest: int) -> float | None:
    return part / (part + rest) if part + rest else None
