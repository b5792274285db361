"""Predictions made of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from molpool_pipelines.scores._predictions import Predictions


@pytest.fixture
def made() -> Callable[..., Predictions]:
    """Return predictions of truth and prediction [N, T]; all regression by default."""

    def make(y: Any, p: Any, **more: Any) -> Predictions:
        y, p = np.asarray(y, dtype=float), np.asarray(p, dtype=float)
        tasks = tuple(f"t{i}" for i in range(y.shape[1]))
        return Predictions(
            name="model",
            ids=np.array([f"m{i}" for i in range(len(y))], dtype=object),
            tasks=tasks,
            task_types=more.pop("task_types", ("regression",) * len(tasks)),
            y_true=y,
            y_pred=p,
            n_bounds=np.zeros(len(tasks), dtype=np.int64),
            **more,
        )

    return make
