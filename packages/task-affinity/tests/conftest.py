"""A network with an encoder and heads that is small enough to check by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from molpool_common import FloatArray
from torch import Tensor, nn

Batch = tuple[Tensor, Tensor]


class Network(nn.Module):
    """Two layers that all tasks share, and a linear head of each."""

    def __init__(self, n_tasks: int, *, width: int, dropout: float, batch_norm: bool) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(4, width),
            nn.BatchNorm1d(width) if batch_norm else nn.Identity(),
            nn.Tanh(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
        )
        self.heads = nn.Linear(width, n_tasks)

    def forward(self, x: Tensor) -> Tensor:
        return self.heads(torch.tanh(self.encoder(x)))


def masked_losses(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Mean squared error of each task over its labels."""
    x, y = batch
    known = y.isfinite()
    errors = torch.where(known, (model(x) - y.nan_to_num()) ** 2, 0.0)
    counts = known.sum(0)
    return errors.sum(0) / counts.clamp(min=1), counts > 0


class Toy(NamedTuple):
    model: Network
    batches: list[Batch]
    losses: Callable[[nn.Module, Batch], tuple[Tensor, Tensor]]


MakeToy = Callable[..., Toy]
PairCosines = Callable[..., FloatArray]


@pytest.fixture
def make_toy() -> MakeToy:
    """Return a maker of a network, batches of random labels, and their losses."""

    def make(
        n_tasks: int = 3,
        n_batches: int = 4,
        *,
        size: int = 12,
        missing: float = 0.3,
        width: int = 6,
        seed: int = 0,
        **kwargs: Any,
    ) -> Toy:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            settings = {"dropout": 0.0, "batch_norm": False} | kwargs
            model = Network(n_tasks, width=width, **settings).double()
            batches = []
            for _ in range(n_batches):
                x = torch.randn(size, 4, dtype=torch.float64)
                y = torch.randn(size, n_tasks, dtype=torch.float64)
                y[torch.rand(size, n_tasks) < missing] = torch.nan
                y[0] = 0.0  # each task has a label in each batch, unless a test takes it away
                batches.append((x, y))
        return Toy(model, batches, masked_losses)

    return make


@pytest.fixture
def pair_cosines() -> PairCosines:
    """Return an estimator of the cosines [N] of N pairs from their derivatives [N, 2, K].

    50 pairs at a time as 100 tasks: the cosine of two tasks does not depend on the others.
    """

    def each(
        estimate: Callable[..., FloatArray],
        derivatives: FloatArray,
        exact: FloatArray | None = None,
    ) -> FloatArray:
        blocks = () if exact is None else (np.kron(np.eye(50), exact),)
        found = [
            estimate(some.reshape(100, -1), *blocks)[::2, 1::2].diagonal()
            for some in np.split(derivatives, len(derivatives) // 50)
        ]
        return np.concatenate(found)

    return each


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
