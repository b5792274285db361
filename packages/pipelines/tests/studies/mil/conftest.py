"""A small table of bags, and studies of it that train in a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from molpool_common import validate_values
from molpool_pipelines.studies.mil._config import HPOMILConfig

MakeConfig = Callable[..., HPOMILConfig]
N_BAGS = 80
SMALL = {
    "use_2d": False,
    "inst_hidden": 16,
    "inst_layers": 1,
    "attn_heads": 4,
    "mixer_hidden": 16,
    "mixer_layers": 1,
    "proj_dim": 16,
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def bag_table() -> pl.DataFrame:
    """80 bags of 1 to 5 instances whose first feature decides two tasks, one of them rare."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 6, N_BAGS)
    bag = np.repeat(np.arange(N_BAGS), sizes)
    features = rng.normal(size=(len(bag), 6))
    largest = np.array([features[bag == b, 0].max() for b in range(N_BAGS)])
    return pl.DataFrame(
        {
            "bag_id": [f"mol{b}" for b in bag],
            "easy": (largest > 0.7).astype(int)[bag],
            "rare": (largest > np.quantile(largest, 0.8)).astype(int)[bag],
            "value": (3 * largest + 10)[bag],
            "fold": (np.arange(N_BAGS) % 4)[bag],
            **{f"f{j + 1}": features[:, j] for j in range(6)},
        }
    )


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bags") / "bags.csv"
    bag_table().write_csv(path)
    return path


@pytest.fixture(scope="session")
def config(table: Path) -> MakeConfig:
    """Return a study's configuration; keyword arguments replace or add keys of sections."""

    def make(path: Path = table, **sections: Any) -> HPOMILConfig:
        values: dict[str, Any] = {
            "data_path": str(path),
            "data": {"kind": "bags", "target_columns": ["easy", "rare"]},
            "split": {"split_type": "multilabel", "n_folds": 4},
            "model": SMALL,
            "training": {
                "epochs": 3,
                "lr": 5e-3,
                "batch_size": 16,
                "accumulate_grad_batches": 1,
                "accelerator": "cpu",
            },
            "sampling": {"rare_prev_thr": 0.3},
            "study": {"n_folds": 3},
        }
        for name, given in sections.items():
            both = isinstance(given, dict) and isinstance(values.get(name), dict)
            values[name] = {**values[name], **given} if both else given
        return validate_values(HPOMILConfig, values)

    return make
