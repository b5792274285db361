"""A small table of molecules, and studies of it that train in a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from molpool_common import validate_values
from molpool_pipelines.studies.chemprop._config import HPOChempropConfig

MakeConfig = Callable[..., HPOChempropConfig]
TASKS = ["a", "b", "c"]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def molecules() -> pl.DataFrame:
    """72 alcohols, amines and ethers of growing chains, with three tasks, tiers, days and folds."""
    rng = np.random.default_rng(5)
    ends = ["O", "N", "OC", "C(=O)O", "Cl", "c1ccccc1"]
    smiles = ["C" * (i // 6 + 1) + ends[i % 6] for i in range(72)]
    size = np.array([len(s) for s in smiles], dtype=float)
    values = np.column_stack([size, 30 - size, size**2]) + rng.normal(size=(72, 3))
    values[rng.random(values.shape) < 0.2] = np.nan
    return pl.DataFrame(
        {
            "SMILES": smiles,
            **{task: pl.Series(values[:, t]).fill_nan(None) for t, task in enumerate(TASKS)},
            "Quality": [("high", "medium", "low")[i % 3] for i in range(72)],
            "Day": rng.permutation(72),
            "Fold": ["xyz"[i % 3] for i in range(72)],
        }
    )


@pytest.fixture
def table(molecules: pl.DataFrame, tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    molecules.write_csv(path)
    return path


@pytest.fixture
def make_config(table: Path) -> MakeConfig:
    """Return a study of the table; sections given are merged into those of a small model."""

    def make(**sections: Any) -> HPOChempropConfig:
        small: dict[str, Any] = {
            "data_path": str(table),
            "data": {
                "target_columns": TASKS,
                "split_ratios": [0.6, 0.2, 0.2],
                "time_column": "Day",
                "cache_dir": "none",
            },
            "model": {
                "message_passing": {"hidden_size": 8, "depth": 2},
                "ffn": {"hidden_size": 8, "num_layers": 1},
            },
            "training": {"epochs": 3, "batch_size": 16, "warmup_epochs": 1, "accelerator": "cpu"},
            "task_affinity": {"affinity_batch_size": 16},
            "study": {"n_folds": 2},
        }
        for name, section in sections.items():
            old = small.get(name)
            small[name] = old | section if isinstance(old, dict) else section
        return validate_values(HPOChempropConfig, small)

    return make
