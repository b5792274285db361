"""Multi-task Gaussian process on blocks of features, for sparse and censored labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np
from molpool_common import FloatArray, listed
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from multitask_models._errors import ModelError
from multitask_models._gp_likelihood import (
    Likelihood,
    Pairs,
    Scales,
    by_checksum,
    first_scales,
    learn_scales,
    some_pairs,
)
from multitask_models._gp_sites import settle_sites
from multitask_models._gp_solver import (
    DenseSolver,
    InducingPoints,
    Solver,
    cost,
    exact_factors,
    inducing_factors,
    memory,
)
from multitask_models._kernels import BlockKernel, build_blocks
from multitask_models._labels import Labels, TaskKind
from multitask_models._protocol import Latent, Limits, MultitaskModel, RowSampler, State

BATCH = 256
"""Molecules that are predicted at a time."""


class MultitaskGP(MultitaskModel):
    """Gaussian process of several tasks that share what they know about molecules.

    cov(f_t(x), f_u(x')) = B_tu sum_k s_k K_k(x, x') over the observed (molecule, task) pairs, with
    B = W W' + diag(v) and a noise variance for each task; K_k is the Tanimoto kernel on a block of
    counts or bits, a radial one on any other. The scales (W, v, noise, s, lengthscales) maximise
    the marginal likelihood times weak priors, on about `learning_labels` labels. Given the scales,
    means and variances are exact and from all labels, up to `exact_labels` of them and where
    memory allows; beyond, they are those of inducing molecules (FITC). `solver_` says which.

    Bounds have the likelihood Phi(+-(f - bound) / noise), by Laplace's approximation. A row's
    weight divides the noise variance of its labels. Classes are learned as the numbers 0 and 1.
    `return_std` gives the standard deviation of the function; that of a label about it is `noise_`.

    Parameters
    ----------
    blocks : sequence of int or None
        Widths of the blocks that the features consist of, in order; None: one block.
    kernels : str or sequence of str
        `tanimoto`, `rbf`, `matern32`, `matern52` or `auto`, for all blocks or by block; `auto` is
        Tanimoto for counts and bits, Matern of 5/2 else.
    rank : int
        Factors that tasks share (columns of W), at most the number of tasks less one.
    scales : mapping of str to array_like, or None
        Scales of another fit of the same tasks and blocks (its `scales_`), used as they are; None:
        learned.
    learning_labels : int
        Labels, about, from which scales are learned; an iteration costs their cube.
    max_iter : int
        Iterations of that search.
    degrees_of_freedom : float or None
        Of Student's t noise; None: normal noise.
    exact_labels : int
        Labels above which inducing molecules are used.
    inducing : int
        How many.
    memory_limit : float
        GiB that the factors of an exact solve may take; beyond, inducing molecules are used.
    task_kinds, limits
        As for every model.
    random_state : int
        Seed of the choice of molecules that scales are learned from, and of inducing ones.

    Attributes
    ----------
    scales_ : dict of str to ndarray
        `loadings` W [T, R], `specific` v [T], `noise` variances [T], `logits` [K] of the kernels'
        weights, `log_ratios` [K] of lengthscales to median distances; for standardised labels of
        the tasks whose labels vary.
    solver_ : str
        `dense`, `factors` (both exact) or `inducing`.
    n_iter_ : int
        Iterations that the search for scales took; not there where scales are given.
    noise_ : ndarray [T]
        Standard deviation of a label about the function, in the labels' units.
    """

    def __init__(
        self,
        *,
        blocks: Sequence[int] | None = None,
        kernels: str | Sequence[str] = "auto",
        rank: int = 2,
        scales: Mapping[str, Any] | None = None,
        learning_labels: int = 2000,
        max_iter: int = 50,
        degrees_of_freedom: float | None = None,
        exact_labels: int = 30_000,
        inducing: int = 1000,
        memory_limit: float = 3.0,
        task_kinds: TaskKind | Sequence[TaskKind] = "regression",
        limits: Limits = "auto",
        random_state: int = 0,
    ) -> None:
        self.blocks = blocks
        self.kernels = kernels
        self.rank = rank
        self.scales = scales
        self.learning_labels = learning_labels
        self.max_iter = max_iter
        self.degrees_of_freedom = degrees_of_freedom
        self.exact_labels = exact_labels
        self.inducing = inducing
        self.memory_limit = memory_limit
        self.task_kinds = task_kinds
        self.limits = limits
        self.random_state = random_state

    @property
    def scales_(self) -> dict[str, FloatArray]:
        """The scales as a mapping, to be given to another model."""
        return dict(vars(self._scales))

    @property
    def noise_(self) -> FloatArray:
        """Standard deviation of a label about the function [T]."""
        return np.asarray(np.sqrt(self._scales.noise) * self._spread)

    def _fit(self, X: NDArray[Any], labels: Labels, sampler: RowSampler | None) -> None:
        self._check_parameters()
        if sampler is not None:
            raise ModelError("sampler: expected None, as no epochs are drawn; found a sampler.")
        x = X.astype(np.float64)
        self._classification = labels.classification
        self._centre, self._spread = _mean_and_deviation(labels)
        pairs = _observed(labels, self._centre, self._spread)
        self._blocks = build_blocks(x, self.blocks, self.kernels)
        self._prepared = [block.prepare(x) for block in self._blocks]
        self._scales = self._learned(pairs) if self.scales is None else self._given(self.scales)
        self._pairs, self._alpha, solver = settle_sites(
            self._factorise, pairs, self._scales.noise, self.degrees_of_freedom
        )
        self.solver_ = solver.name
        # That of censored labels is made when standard deviations are asked for.
        self._solver: Solver | None = None if pairs.side.any() else solver

    def _check_parameters(self) -> None:
        for name in ("rank", "max_iter"):
            if getattr(self, name) < 0:
                raise ModelError(f"{name}: expected 0 or more; found {getattr(self, name)}.")
        for name in ("learning_labels", "inducing", "exact_labels"):
            if getattr(self, name) < 1:
                raise ModelError(f"{name}: expected 1 or more; found {getattr(self, name)}.")
        freedom = self.degrees_of_freedom
        if freedom is not None and not freedom > 0:
            raise ModelError(f"degrees_of_freedom: expected more than 0; found {freedom}.")

    def _given(self, scales: Mapping[str, Any]) -> Scales:
        expected = [field.name for field in fields(Scales)]
        if sorted(scales) != sorted(expected):
            raise ModelError(f"scales: expected {listed(expected)}; found {listed(list(scales))}.")
        given = Scales(**{k: np.asarray(v, dtype=np.float64) for k, v in scales.items()})
        n_tasks, n_kernels = len(self._spread), len(self._blocks)
        found = [values.shape for values in vars(given).values()]
        rank = found[0][1:]
        if found != [(n_tasks, *rank), (n_tasks,), (n_tasks,), (n_kernels,), (n_kernels,)] or (
            len(rank) != 1
        ):
            raise ModelError(
                f"scales: expected those of {n_tasks} tasks and {n_kernels} blocks; found shapes"
                f" {found}."
            )
        if not (given.specific > 0).all() or not (given.noise > 0).all():
            raise ModelError("scales: expected variances above 0; found one that is not.")
        return given

    def _learned(self, pairs: Pairs) -> Scales:
        """Return scales from some labels; censored and outlying ones are replaced soon."""
        n_tasks = len(self._spread)
        features = np.hstack(self._prepared)
        chosen = pairs.take(
            some_pairs(pairs, features, n_tasks, self.learning_labels, self.random_state)
        )
        likelihood = Likelihood(self._blocks, self._prepared, chosen)
        start = first_scales(chosen, n_tasks, min(self.rank, n_tasks - 1), len(self._blocks))
        plain = not chosen.side.any() and self.degrees_of_freedom is None
        first = self.max_iter if plain else self.max_iter // 5
        scales, self.n_iter_ = learn_scales(likelihood, start, first)
        if plain:
            return scales
        kernel = np.tensordot(scales.weights, likelihood.kernels(scales), axes=1)
        likelihood.pairs, *_ = settle_sites(
            partial(DenseSolver, kernel, scales),
            likelihood.pairs,
            scales.noise,
            self.degrees_of_freedom,
        )
        scales, more = learn_scales(likelihood, scales, self.max_iter - first)
        self.n_iter_ += more
        return scales

    def _factorise(self, pairs: Pairs) -> Solver:
        """Return the cheapest exact solver that memory allows, else that of inducing molecules."""
        n_molecules, rank = len(self._prepared[0]), self._scales.loadings.shape[1]
        by_task = np.bincount(pairs.task, minlength=len(self._spread))
        costs = cost(len(pairs), by_task, n_molecules, rank)
        needs = memory(len(pairs), by_task, n_molecules, rank)
        roads = [road for road in costs if needs[road] <= self.memory_limit * 2**30]
        kernel = self._scales.kernel(self._blocks)
        if not roads or len(pairs) > self.exact_labels:
            order = by_checksum(np.hstack(self._prepared), self.random_state)
            chosen = np.sort(order[: self.inducing])
            self._inducing = InducingPoints(kernel, self._prepared, chosen)
            return inducing_factors(self._inducing.training, self._scales, pairs)
        matrix = kernel.square(self._prepared)
        if min(roads, key=costs.__getitem__) == "dense":
            return DenseSolver(matrix, self._scales, pairs)
        return exact_factors(matrix, self._scales, pairs)

    def _ready(self) -> Solver:
        """Return the solver, computed anew after loading."""
        if self._solver is None:
            self._solver = self._factorise(self._pairs)
        return self._solver

    def _cross(self, X: NDArray[Any]) -> Iterator[FloatArray]:
        """Yield the kernel of training molecules and batches of others [M, N]."""
        kernel = self._scales.kernel(self._blocks)
        if self.solver_ == "inducing":
            self._ready()
        for start in range(0, len(X), BATCH):
            prepared = kernel.prepare(X[start : start + BATCH].astype(np.float64))
            if self.solver_ != "inducing":
                yield kernel.matrix(self._prepared, prepared)
            else:
                yield self._inducing.training @ self._inducing.factor(prepared).T

    def _pull(self) -> FloatArray:
        """Return what each training molecule adds to each task's mean [M, T], a unit of kernel."""
        alpha = np.zeros((len(self._prepared[0]), len(self._spread)))
        alpha[self._pairs.molecule, self._pairs.task] = self._alpha
        return np.asarray(alpha @ self._scales.tasks)

    def _latent_mean(self, X: NDArray[Any]) -> FloatArray:
        pull = self._pull()
        return self._in_units(np.concatenate([cross.T @ pull for cross in self._cross(X)]))

    def _latent(self, X: NDArray[Any]) -> Latent:
        pull, solver, prior = self._pull(), self._ready(), self._scales.tasks.diagonal()
        means, variances = [], []
        for cross in self._cross(X):
            means.append(cross.T @ pull)
            variances.append(prior - solver.explained(cross).T)
        # Rounding may leave a molecule that was measured exactly a hair below nothing.
        variance = np.maximum(np.concatenate(variances), 1e-12 * prior)
        mean = self._in_units(np.concatenate(means))
        return Latent(mean, np.sqrt(variance) * self._spread, self.noise_)

    def _in_units(self, mean: FloatArray) -> FloatArray:
        mean = mean * self._spread + self._centre
        return np.where(self._classification, np.clip(mean, 0.0, 1.0), mean)

    def loo(self) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation of each label as predicted from all others.

        Closed form at the scales learned from all labels: y_i - alpha_i / (C^-1)_ii with variance
        1 / (C^-1)_ii (Rasmussen and Williams 2006, eq. 5.12). A label's own molecule keeps its
        labels of other tasks. For a bound it is the function and noise without that bound.

        Returns
        -------
        mean, std : ndarray [N, T], or [N] where the labels were
            Rows as in `fit`; NaN where there is no label, or all of a task's are equal. The
            standard deviation is that of a label, noise included.

        Raises
        ------
        ModelError
            If no task had labels that vary, so that nothing was learned.
        """
        self._check_learned("loo")
        pairs, shape = self._pairs, (self._n_rows, len(self.single_values_))
        inverse = self._ready().inverse_diagonal()
        noise = pairs.noise(self._scales.noise)
        measured = self._scales.noise[pairs.task] / pairs.weight
        variance = np.maximum(1 / inverse - noise, 0.0) + measured
        mean, std = np.full(shape, np.nan), np.full(shape, np.nan)
        where = self._rows[pairs.molecule], np.flatnonzero(self._varying)[pairs.task]
        spread = self._spread[pairs.task]
        mean[where] = (pairs.y - self._alpha / inverse) * spread + self._centre[pairs.task]
        std[where] = np.sqrt(variance) * spread
        return self._shaped(mean), self._shaped(std)

    def log_marginal_likelihood(self) -> float:
        """Return the log density of all labels, standardised, at the learned scales.

        Exact where `solver_` is `dense` or `factors`; that of the FITC model else. With bounds or
        Student's t it is that of the normal labels which stand for them.

        Raises
        ------
        ModelError
            If no task had labels that vary, so that nothing was learned.
        """
        self._check_learned("log_marginal_likelihood")
        quadratic = float(self._pairs.y @ self._alpha)
        constant = len(self._pairs) * np.log(2 * np.pi)
        return -0.5 * float(quadratic + self._ready().log_determinant() + constant)

    def _check_learned(self, asked: str) -> None:
        check_is_fitted(self, "single_values_")
        if not self._varying.any():
            raise ModelError(
                f"{asked}: expected a task whose labels vary; found none, and nothing was learned."
            )

    def _state(self) -> State:
        state: State = {
            "centre": self._centre,
            "spread": self._spread,
            "classification": self._classification,
            "alpha": self._alpha,
            "rows": self._rows,
            "n_rows": np.array(self._n_rows),
            "solver": np.array(self.solver_),
            "kinds": np.array([block.kind for block in self._blocks]),
        }
        for name, record in (("pairs", self._pairs), ("scales", self._scales)):
            state.update({f"{name}.{k}": v for k, v in vars(record).items()})
        for i, (block, part) in enumerate(zip(self._blocks, self._prepared, strict=True)):
            state[f"block{i}.x"] = _narrow(part)
            for name in ("columns", "centre", "scale", "width"):
                state[f"block{i}.{name}"] = np.asarray(getattr(block, name))
        return state

    def _restore(self, state: State) -> None:
        self._centre, self._spread = state["centre"], state["spread"]
        self._classification, self._alpha = state["classification"], state["alpha"]
        self._rows, self._n_rows = state["rows"], int(state["n_rows"])
        self.solver_, self._solver = str(state["solver"]), None
        self._pairs = Pairs(**{f.name: state[f"pairs.{f.name}"] for f in fields(Pairs)})
        self._scales = Scales(**{f.name: state[f"scales.{f.name}"] for f in fields(Scales)})
        self._blocks, self._prepared = [], []
        for i, kind in enumerate(state["kinds"]):
            columns, centre, scale = (
                state[f"block{i}.{name}"] for name in ("columns", "centre", "scale")
            )
            width = float(state[f"block{i}.width"])
            kernel = BlockKernel(f"block {i}", columns, str(kind), centre, scale, width)
            self._blocks.append(kernel)
            self._prepared.append(state[f"block{i}.x"].astype(np.float64))


def _mean_and_deviation(labels: Labels) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation of each task's labels [T], of classes too."""
    n, values = labels.n_labels, labels.values
    centre = np.where(labels.present, values, 0.0).sum(axis=0) / n
    squares = np.where(labels.present, (values - centre) ** 2, 0.0).sum(axis=0)
    return centre, np.sqrt(squares / n)


def _observed(labels: Labels, centre: FloatArray, spread: FloatArray) -> Pairs:
    """Return the labels that are there, standardised, by task."""
    task, molecule = np.nonzero(labels.present.T)
    return Pairs(
        task,
        molecule,
        ((labels.values - centre) / spread)[molecule, task],
        labels.weights[molecule],
        labels.signs[molecule, task],
        np.full(len(task), np.inf),
    )


def _narrow(values: FloatArray) -> NDArray[Any]:
    """Return the same numbers in the smallest type that holds them exactly."""
    for kind in (np.uint8, np.uint16, np.float32):
        with np.errstate(invalid="ignore", over="ignore"):
            smaller = values.astype(kind)
        if np.array_equal(smaller, values):
            return smaller
    return values
