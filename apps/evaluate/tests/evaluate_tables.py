"""Predictions to compare: three models of known error on the same molecules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from molpool_pipelines.scores import Predictions

TASKS = ("LogD", "KSOL", "hERG")
NOISE = {"good": 0.5, "alike": 0.5, "poor": 1.2}


def predictions(
    name: str, *, n: int = 120, noise: float | None = None, seed: int = 0, folds: int = 0
) -> Predictions:
    """Return rows of a model; `folds` repeats of 5 folds, or one test set."""
    truth = np.random.default_rng(seed)
    y = truth.normal(size=(n, 3)) * [1.0, 2.0, 1.0]
    y[:, 2] = y[:, 2] > 0.3
    y[truth.random((n, 3)) < 0.2] = np.nan
    own = np.random.default_rng([seed, *name.encode()])
    ids = np.array([f"M{i:03d}" for i in range(n)], dtype=object)
    repeats = max(folds, 1)
    p = np.concatenate(
        [np.nan_to_num(y) + own.normal(0, noise or NOISE[name], (n, 3)) for _ in range(repeats)]
    )
    p[:, 2] = 1 / (1 + np.exp(-p[:, 2]))
    fold = np.concatenate([np.random.default_rng(r).permutation(n) % 5 for r in range(repeats)])
    return Predictions(
        name=name,
        ids=np.tile(ids, repeats),
        tasks=TASKS,
        task_types=("regression", "regression", "classification"),
        y_true=np.tile(y, (repeats, 1)),
        y_pred=p,
        repeat=np.repeat(np.arange(repeats), n) if folds else None,
        fold=fold if folds else None,
    )


def frame(found: Predictions, split: str | None = "test") -> pl.DataFrame:
    """Return the table that a run would write."""
    column = None if split is None else np.full(len(found), split, dtype=object)
    return replace(found, split=column).to_frame()


def shuffled(found: Predictions, seed: int = 0) -> Predictions:
    """Return the rows in another order."""
    return found.take(np.random.default_rng(seed).permutation(len(found)))


def three(folds: int = 0, names: Sequence[str] = ("good", "alike", "poor")) -> list[Predictions]:
    """Return three models."""
    return [predictions(name, folds=folds) for name in names]
