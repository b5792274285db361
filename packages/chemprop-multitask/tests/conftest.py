"""Small molecules, small models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from chemprop_multitask import ChempropConfig, MoleculeData
from numpy.typing import NDArray

SMILES = [
    "C",
    "CCO",
    "CC(=O)O",
    "CC(C)N",
    "CCCCCC",
    "CC#N",
    "C1CCCCC1",
    "c1ccccc1",
    "Cc1ccccc1",
    "Oc1ccccc1",
    "Nc1ccccc1",
    "Clc1ccccc1",
    "Brc1ccc(O)cc1",
    "c1ccncc1",
    "c1ccsc1",
    "c1cc[nH]c1",
    "CC(=O)Nc1ccc(O)cc1",
    "CC(=O)Oc1ccccc1C(=O)O",
    "CN1C=NC2=C1C(=O)N(C)C(=O)N2C",
    "ClCCCl",
    "FC(F)(F)c1ccccc1",
    "CS(=O)(=O)N",
    "C1COCCN1",
    "O=C1CCCN1",
    "NCC(=O)O",
    "c1ccc2ccccc2c1",
    "CCOC(=O)C=C",
    "ClC(Cl)Cl",
    "CC(C)(C)O",
    "OCC(O)CO",
    "N#Cc1ccc(Cl)cc1",
    "CCN(CC)CC",
]
TASKS = ("a", "b", "c")

Settings = Callable[..., ChempropConfig]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def smiles() -> list[str]:
    return list(SMILES)


@pytest.fixture
def table() -> NDArray[np.float64]:
    """32 x 3 values, 40 % of them missing, in units far from 0 and 1."""
    rng = np.random.default_rng(7)
    values = rng.normal(size=(len(SMILES), 3)) * [1.0, 30.0, 0.01] + [5.0, -100.0, 0.0]
    values[rng.random(values.shape) < 0.4] = np.nan
    return values


@pytest.fixture
def classes() -> NDArray[np.float64]:
    """32 x 2 classes that the structure decides: a chlorine, a ring."""
    return np.array([[float("Cl" in s), float("c1" in s)] for s in SMILES])


@pytest.fixture
def data(smiles: list[str], table: NDArray[np.float64]) -> MoleculeData:
    return MoleculeData(smiles, table, task_names=TASKS)


@pytest.fixture
def settings() -> Settings:
    """Return a configuration of a small model; keyword arguments are of the training section."""

    def make(
        groups: list[list[str]] | None = None,
        model: dict[str, Any] | None = None,
        width: int = 16,
        **training: Any,
    ) -> ChempropConfig:
        return ChempropConfig.model_validate(
            {
                "model": {
                    "message_passing": {"hidden_size": width},
                    "ffn": {"hidden_size": width},
                    **(model or {}),
                },
                "training": {
                    "epochs": 2,
                    "batch_size": 8,
                    "warmup_epochs": 1,
                    "accelerator": "cpu",
                    **training,
                },
                "groups": groups,
            }
        )

    return make
