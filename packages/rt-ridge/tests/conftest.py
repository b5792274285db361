"""A three-level Gaussian model small enough for dense algebra, and artefacts made from it."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from molpool_common import FloatArray
from rt_ridge.prediction._backoff import CoefficientPredictor, CompoundEffect, NoiseVariance
from rt_ridge.prediction._effects import BackoffLevel
from rt_ridge.prediction._summaries import Stage1CoeffSummaries
from rt_ridge.tables._features import FeatureMap
from rt_ridge.tables._keys import GroupParents
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

Ints = npt.NDArray[np.int64]


@dataclass
class DenseHierarchy:
    """beta_k = T + S[s] + M[g] + E[k], each normal; y = x·beta_k + noise; posterior by inversion.

    Groups g < 2 S lie in parent g // 2; pairs are (g, c) with c < 3, some without any row.
    """

    seed: int
    n_parents: int = 3
    size: int = 2
    sigma2: float = 0.3
    scales: dict[str, FloatArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        d, self.n_groups = self.size, 2 * self.n_parents
        for name in "TSME":
            root = rng.normal(size=(d, d))
            self.scales[name] = root @ root.T + 0.01 * np.eye(d)
        counts = rng.integers(0, 4, size=(self.n_groups, 3))
        counts[0, 0] = 2
        self.group, self.compound = (a.astype(np.int64) for a in np.nonzero(counts))
        self.counts = counts[self.group, self.compound]
        # Location T, then parents, groups and pairs, each a block of d.
        blocks = ["T"] + ["S"] * self.n_parents + ["M"] * self.n_groups + ["E"] * len(self.group)
        prior = np.zeros((len(blocks) * d,) * 2)
        for i, name in enumerate(blocks):
            prior[i * d : (i + 1) * d, i * d : (i + 1) * d] = self.scales[name]
        rows = np.repeat(np.arange(len(self.group)), self.counts)
        x = np.concatenate([np.ones((len(rows), 1)), rng.normal(size=(len(rows), d - 1))], axis=1)
        design = np.stack([x[i] @ self._pick(pair=k) for i, k in enumerate(rows)])
        y = design @ rng.multivariate_normal(np.zeros(len(prior)), prior)
        y += rng.normal(size=len(y)) * np.sqrt(self.sigma2)
        precision = np.linalg.inv(prior) + design.T @ design / self.sigma2
        self.post_cov = np.linalg.inv(precision)
        self.post_mean = self.post_cov @ design.T @ y / self.sigma2

    def _pick(
        self, pair: int | None = None, group: int | None = None, parent: int | None = None
    ) -> FloatArray:
        """Return the matrix that adds the blocks of a node and of all above it, [d, blocks d]."""
        if pair is not None:
            group = int(self.group[pair])
        if group is not None:
            parent = group // 2
        chosen = [0]
        chosen += [] if parent is None else [1 + parent]
        chosen += [] if group is None else [1 + self.n_parents + group]
        chosen += [] if pair is None else [1 + self.n_parents + self.n_groups + pair]
        width = 1 + self.n_parents + self.n_groups + len(self.group)
        matrix = np.zeros((self.size, width * self.size))
        for i in chosen:
            matrix[:, i * self.size : (i + 1) * self.size] = np.eye(self.size)
        return matrix

    def moments(self, below: str = "", **node: int) -> tuple[FloatArray, FloatArray]:
        """Return mean and covariance of a node plus new effects of the levels named `below`."""
        pick = self._pick(**node)
        cov = pick @ self.post_cov @ pick.T + sum(
            (self.scales[name] for name in below), np.zeros((self.size, self.size))
        )
        return pick @ self.post_mean, (cov + cov.T) / 2

    def level(self, name: str, below: str, count: int) -> BackoffLevel:
        nodes: list[dict[str, int]] = [{name: i} for i in range(count)]
        if name == "global":
            nodes = [{}]
        means, covs = zip(*(self.moments(below, **node) for node in nodes), strict=True)
        return BackoffLevel(name, np.arange(len(nodes)), np.stack(means), np.stack(covs))

    def summaries(self) -> Stage1CoeffSummaries:
        pairs = [self.moments(pair=k) for k in range(len(self.group))]
        effect = CompoundEffect(
            np.array([1]),
            np.full((1, self.size), 0.5),
            np.full((1, self.size, self.size), 0.01),
            np.eye(self.size) * 0.2,
        )
        coefficients = CoefficientPredictor(
            (self.group << 32) + self.compound,
            np.stack([mean for mean, _ in pairs]),
            np.stack([cov for _, cov in pairs]),
            (
                self.level("group", "E", self.n_groups),
                self.level("parent", "ME", self.n_parents),
                self.level("global", "SME", 1),
            ),
            effect if self.seed % 2 else None,
            GroupParents(np.arange(self.n_groups), np.arange(self.n_groups) // 2),
        )
        names = tuple(f"is_{j}" for j in range(1, self.size))
        return Stage1CoeffSummaries(
            group_col="species",
            features=FeatureMap.plain(names),
            coefficients=coefficients,
            noise=NoiseVariance(self.sigma2, np.array([1, 3]), np.array([0.1, 0.9])),
            n=self.counts,
            method="dense",
        )


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices of a handful of rows are multiplied faster than threads are woken."""
    with threadpool_limits(1), pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="session")
def dense_hierarchy() -> Callable[..., DenseHierarchy]:
    return DenseHierarchy


# Test files are imported on their own and see no neighbour, so the bank is handed out from here.
BANK = runpy.run_path(str(Path(__file__).with_name("bank.py")))


@pytest.fixture(params=BANK["LEGAL"])
def legal_table(request: pytest.FixtureRequest) -> pl.DataFrame:
    built: pl.DataFrame = BANK["LEGAL"][request.param]()
    return built


@pytest.fixture(params=BANK["ILLEGAL"])
def illegal_table(request: pytest.FixtureRequest) -> tuple[pl.DataFrame, tuple[str, ...]]:
    build, phrases = BANK["ILLEGAL"][request.param]
    return build(), phrases


@pytest.fixture(scope="session")
def make_table() -> Callable[..., pl.DataFrame]:
    table: Callable[..., pl.DataFrame] = BANK["table"]
    return table
