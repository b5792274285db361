"""Small bags, small models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mil_attn._config import MILConfig
from mil_attn.data._bag_data import BagData
from numpy.typing import NDArray

Settings = Callable[..., MILConfig]
MakeData = Callable[..., BagData]
SMALL = {
    "mol_hidden": 16,
    "mol_layers": 1,
    "inst_hidden": 16,
    "inst_layers": 1,
    "proj_dim": 16,
    "attn_heads": 4,
    "mixer_hidden": 16,
    "mixer_layers": 1,
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def settings() -> Settings:
    """Return a configuration of a small model; keyword arguments are of the training section."""

    def make(
        model: dict[str, Any] | None = None,
        loss: dict[str, Any] | None = None,
        task_kind: str = "classification",
        aux: dict[str, Any] | None = None,
        **training: Any,
    ) -> MILConfig:
        return MILConfig.model_validate(
            {
                "model": {**SMALL, **(model or {})},
                "loss": loss or {},
                "task_kind": task_kind,
                "aux": aux or {},
                "training": {
                    "epochs": 2,
                    "batch_size": 8,
                    "accumulate_grad_batches": 2,
                    "lr": 3e-3,
                    "accelerator": "cpu",
                    **training,
                },
            }
        )

    return make


@pytest.fixture
def make_data() -> MakeData:
    """Return a maker of bags whose second task is decided by one instance; a fifth unlabelled."""

    def make(n: int = 32, seed: int = 0, task_kind: str = "classification", **more: Any) -> BagData:
        rng = np.random.default_rng(seed)
        sizes = rng.integers(1, 6, n)
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        instances = rng.normal(size=(offsets[-1], 12))
        x2d = rng.normal(size=(n, 12))
        largest = np.maximum.reduceat(instances[:, 0], offsets[:-1])
        scores = np.column_stack([x2d[:, 0] + 0.5 * x2d[:, 1], largest - 0.8])
        labels: NDArray[np.float64] = scores
        if task_kind == "classification":
            labels = (scores > 0).astype(float)
        else:
            labels = scores * [10.0, 0.1] + [100.0, -5.0]
        labels[rng.random(labels.shape) < 0.2] = np.nan
        return BagData(
            [f"mol{seed}-{i}" for i in range(n)],
            instances.astype(np.float32),
            offsets,
            x2d.astype(np.float32),
            labels=labels,
            task_names=("a", "b"),
            task_kind=task_kind,  # type: ignore[arg-type]
            **more,
        )

    return make
