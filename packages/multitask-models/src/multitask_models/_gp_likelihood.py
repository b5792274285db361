"""Marginal likelihood of a multi-task Gaussian process, its gradient, and how scales are learned.

cov(f_t(x), f_u(x')) = B_tu sum_k s_k K_k(x, x'), B = W W' + diag(v); y = f + noise, its variance by
task over the label's weight. Only observed (molecule, task) pairs enter: n labels, an n x n matrix.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.sparse
from molpool_common import FloatArray, IntArray, SignArray

from multitask_models._errors import ModelError
from multitask_models._kernels import BlockKernel, KernelSum, cholesky_with_jitter

# Weak priors, normal on the parameter named, (mean, sd) on the scale of standardised labels. They
# decide only where the labels do not: a task of six labels, or two blocks that say the same.
NOISE_PRIOR = (np.log(0.2), 1.0)
SPECIFIC_PRIOR = (np.log(0.3), 1.5)
LOADING_PRIOR = (0.0, 1.0)
LOGIT_PRIOR = (0.0, 2.0)
RATIO_PRIOR = (0.0, 1.0)

# Standardised labels: a noise below 1e-3 is finer than any assay, and solves lose digits there.
LOG_VARIANCE_BOUNDS = (np.log(1e-6), np.log(1e2))
RATIO_BOUNDS = (-4.0, 4.0)


@dataclass(frozen=True)
class Pairs:
    """Observed pairs in the order of tasks, then molecules.

    Attributes
    ----------
    task, molecule : IntArray [n]
    y : FloatArray [n]
        Standardised.
    weight : FloatArray [n]
        The noise variance is the task's over this.
    side : SignArray [n]
        -1 or +1 where the true value lies below or above `y`, 0 where it is `y`.
    site : FloatArray [n]
        Variance that stands in the place of the noise where it is finite: that of a censored or an
        outlying label.
    """

    task: IntArray
    molecule: IntArray
    y: FloatArray
    weight: FloatArray
    side: SignArray
    site: FloatArray

    def __len__(self) -> int:
        return len(self.y)

    def take(self, chosen: IntArray) -> Pairs:
        """Return some of the labels; their order stays that of tasks."""
        return Pairs(**{name: values[chosen] for name, values in vars(self).items()})

    def noise(self, by_task: FloatArray) -> FloatArray:
        """Return the noise variance of each label [n] from that of each task [T]."""
        return np.where(np.isfinite(self.site), self.site, by_task[self.task] / self.weight)

    def spans(self, n_tasks: int) -> list[slice]:
        """Return where each task's labels stand."""
        ends = np.searchsorted(self.task, np.arange(n_tasks + 1))
        return [slice(start, end) for start, end in pairwise(ends)]


@dataclass(frozen=True)
class Scales:
    """What the marginal likelihood decides.

    Attributes
    ----------
    loadings : FloatArray [T, R]
        W: how each task follows the shared factors.
    specific : FloatArray [T]
        v: variance of a task that it shares with none.
    noise : FloatArray [T]
        Noise variance.
    logits, log_ratios : FloatArray [K]
        Softmax gives the kernels' weights; log lengthscale over the median distance.
    """

    loadings: FloatArray
    specific: FloatArray
    noise: FloatArray
    logits: FloatArray
    log_ratios: FloatArray

    @property
    def tasks(self) -> FloatArray:
        """B, covariance of tasks [T, T]."""
        return self.loadings @ self.loadings.T + np.diag(self.specific)

    @property
    def weights(self) -> FloatArray:
        """Weights of the kernels [K], sum one."""
        raised = np.exp(self.logits - self.logits.max())
        return np.asarray(raised / raised.sum())

    def kernel(self, blocks: list[BlockKernel]) -> KernelSum:
        """Return the weighted sum of kernels."""
        return KernelSum(blocks, self.weights, self.log_ratios)

    def pack(self) -> FloatArray:
        """Return all as one vector: W, log v, log noise, logits, log ratios."""
        return np.concatenate(
            [
                self.loadings.ravel(),
                np.log(self.specific),
                np.log(self.noise),
                self.logits,
                self.log_ratios,
            ]
        )

    def unpack(self, vector: FloatArray) -> Scales:
        """Return the scales of a vector, shapes as here."""
        n_tasks, rank = self.loadings.shape
        loadings, specific, noise, logits, ratios = np.split(
            vector, np.cumsum([n_tasks * rank, n_tasks, n_tasks, len(self.logits)])
        )
        return Scales(
            loadings.reshape(n_tasks, rank), np.exp(specific), np.exp(noise), logits, ratios
        )


def first_scales(pairs: Pairs, n_tasks: int, rank: int, n_kernels: int) -> Scales:
    """Return where the search starts: the leading factors of the tasks' correlations.

    Correlations of few common molecules are drawn to 0. The start, unlike a random one, is the
    same model whatever the order of tasks.
    """
    table = np.zeros((n_tasks, int(pairs.molecule.max(initial=-1)) + 1))
    there = np.zeros_like(table)
    table[pairs.task, pairs.molecule] = pairs.y
    there[pairs.task, pairs.molecule] = 1
    common = there @ there.T
    correlation = np.clip(table @ table.T / (common + 10), -0.95, 0.95)
    np.fill_diagonal(correlation, 1.0)
    values, vectors = np.linalg.eigh(correlation)
    leading = slice(None, -rank - 1, -1) if rank else slice(0, 0)
    loadings = vectors[:, leading] * np.sqrt(np.maximum(values[leading], 0.01))
    loadings *= np.sqrt(0.6 / np.maximum((loadings**2).sum(axis=1, keepdims=True), 0.6))
    flat = np.zeros(n_kernels)
    return Scales(loadings, np.full(n_tasks, 0.3), np.full(n_tasks, 0.25), flat, flat)


class Likelihood:
    """Exact log marginal likelihood of labels by Cholesky, and its gradient.

    An evaluation costs n^3 multiply-adds and two n x n matrices.

    Parameters
    ----------
    blocks : list of BlockKernel
    prepared : sequence of FloatArray [M, F_k]
        The molecules as each block's kernel takes them.
    pairs : Pairs
    """

    def __init__(
        self, blocks: list[BlockKernel], prepared: Sequence[FloatArray], pairs: Pairs
    ) -> None:
        used, molecule = np.unique(pairs.molecule, return_inverse=True)
        self.pairs = replace(pairs, molecule=molecule)
        self.blocks = blocks
        self.bases = [
            block.base(part[used], part[used]) for block, part in zip(blocks, prepared, strict=True)
        ]
        for block, base in zip(blocks, self.bases, strict=True):
            np.fill_diagonal(base, 1.0 if block.kind == "tanimoto" else 0.0)
        n = len(pairs)
        ones = np.ones(n)
        self._by_molecule = scipy.sparse.csr_array((ones, (molecule, np.arange(n))))

    def kernels(self, scales: Scales) -> list[FloatArray]:
        """Return each block's kernel between the labels' molecules [M, M]."""
        return [
            block.value(base, ratio)
            for block, base, ratio in zip(self.blocks, self.bases, scales.log_ratios, strict=True)
        ]

    def evaluate(self, scales: Scales) -> tuple[float, FloatArray]:
        """Return the log marginal likelihood and its gradient by `Scales.pack`'s vector."""
        pairs, n = self.pairs, len(self.pairs)
        values = self.kernels(scales)
        kernel = np.tensordot(scales.weights, values, axes=1)
        by_label = kernel[np.ix_(pairs.molecule, pairs.molecule)]
        between = scales.tasks[np.ix_(pairs.task, pairs.task)]
        noise = pairs.noise(scales.noise)
        covariance = by_label * between
        covariance[np.diag_indices(n)] += noise
        factor, _ = cholesky_with_jitter(covariance, "covariance of labels")
        alpha = scipy.linalg.cho_solve((factor, True), pairs.y, check_finite=False)
        value = -0.5 * pairs.y @ alpha - np.log(factor.diagonal()).sum()
        value -= 0.5 * n * np.log(2 * np.pi)
        # d value / d covariance, called `push` as it says where the likelihood wants to go.
        push = np.outer(alpha, alpha) - inverse_of_factor(factor)
        push *= 0.5
        return float(value), self._gradient(scales, values, push, by_label, between, noise)

    def _gradient(
        self,
        scales: Scales,
        values: list[FloatArray],
        push: FloatArray,
        by_label: FloatArray,
        between: FloatArray,
        noise: FloatArray,
    ) -> FloatArray:
        pairs, n_tasks = self.pairs, len(scales.noise)
        learned = np.where(np.isfinite(pairs.site), 0.0, push.diagonal() * noise)
        by_noise = np.bincount(pairs.task, learned, n_tasks)
        by_label *= push
        ends = [span.start for span in pairs.spans(n_tasks)]
        by_tasks = _block_sums(by_label, np.asarray(ends), len(pairs))
        between *= push
        molecules = self._by_molecule @ (self._by_molecule @ between).T
        weights = scales.weights
        by_weight = np.array([(molecules * value).sum() for value in values])
        slopes = [
            block.slope(base, ratio)
            for block, base, ratio in zip(self.blocks, self.bases, scales.log_ratios, strict=True)
        ]
        by_ratio = [0.0 if slope is None else (molecules * slope).sum() for slope in slopes]
        return np.concatenate(
            [
                (2 * by_tasks @ scales.loadings).ravel(),
                by_tasks.diagonal() * scales.specific,
                by_noise,
                weights * (by_weight - weights @ by_weight),
                weights * np.array(by_ratio),
            ]
        )


def log_prior(scales: Scales) -> tuple[float, FloatArray]:
    """Return the weak priors' log density, without constants, and its gradient by the vector."""
    vector = scales.pack()
    counts = [scales.loadings.size, len(scales.noise), len(scales.noise), *[len(scales.logits)] * 2]
    priors = np.array([LOADING_PRIOR, SPECIFIC_PRIOR, NOISE_PRIOR, LOGIT_PRIOR, RATIO_PRIOR])
    mean, sd = np.repeat(priors, counts, axis=0).T
    z = (vector - mean) / sd
    return float(-0.5 * z @ z), -z / sd


def learn_scales(likelihood: Likelihood, start: Scales, max_iter: int) -> tuple[Scales, int]:
    """Return the scales of highest posterior density, and the iterations that took.

    The density is the marginal likelihood times weak priors.

    By L-BFGS, exact gradients, at most `max_iter` iterations.
    """
    free = start.loadings.size
    n_tasks, n_kernels = len(start.noise), len(start.logits)
    bounds = [(-10.0, 10.0)] * free + [LOG_VARIANCE_BOUNDS] * (2 * n_tasks)
    bounds += [(-12.0, 12.0)] * n_kernels + [RATIO_BOUNDS] * n_kernels

    def loss(vector: FloatArray) -> tuple[float, FloatArray]:
        scales = start.unpack(vector)
        value, gradient = likelihood.evaluate(scales)
        prior, prior_gradient = log_prior(scales)
        return -(value + prior), -(gradient + prior_gradient)

    found = scipy.optimize.minimize(
        loss,
        start.pack(),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": max_iter},
    )
    if not np.isfinite(found.fun):
        raise ModelError("Y: expected labels with a finite likelihood; found one that is not")
    return start.unpack(found.x), int(found.nit)


def some_pairs(pairs: Pairs, x: FloatArray, n_tasks: int, size: int, seed: int) -> IntArray:
    """Return which labels the scales are learned from [<= about size]: all, or whole molecules.

    Half of them go to molecules at large, then the rarest tasks come first, so that a task with few
    labels has its scales from all of them. Which molecules is drawn by a checksum of their
    features: the order of rows does not matter.
    """
    if len(pairs) <= size:
        return np.arange(len(pairs))
    order = by_checksum(x, seed)
    per_molecule = np.bincount(pairs.molecule, minlength=len(x))
    chosen = np.zeros(len(x), dtype=bool)

    def add(candidates: IntArray, most: int, limit: float) -> None:
        room = limit - per_molecule[chosen].sum()
        within = np.cumsum(per_molecule[candidates]) <= room
        chosen[candidates[within][: max(most, 0)]] = True

    add(order, len(x), size / 2)
    has = np.zeros((n_tasks, len(x)), dtype=bool)
    has[pairs.task, pairs.molecule] = True
    quota = int(size / 2 / n_tasks)
    for task in np.argsort(has.sum(axis=1), kind="stable"):
        missing = quota - int((has[task] & chosen).sum())
        add(order[has[task][order] & ~chosen[order]], missing, size)
    add(order[~chosen[order]], len(x), size)
    return np.flatnonzero(chosen[pairs.molecule])


def by_checksum(x: FloatArray, seed: int) -> IntArray:
    """Return an order of rows [N] that looks random, and depends on no order of rows."""
    keys = np.array([zlib.crc32(np.ascontiguousarray(row).tobytes(), seed) for row in x])
    return np.argsort(keys, kind="stable")


def inverse_of_factor(factor: FloatArray) -> FloatArray:
    """Return the inverse [n, n] of the matrix whose lower Cholesky factor is given."""
    inverse, info = scipy.linalg.lapack.dpotri(factor, lower=1)
    if info:
        raise ModelError(f"covariance of labels: cannot be inverted (LAPACK says {info})")
    lower = np.tril(inverse)
    lower += np.tril(lower, -1).T
    return np.asarray(lower)


def _block_sums(matrix: FloatArray, starts: IntArray, n: int) -> FloatArray:
    """Return the sums of blocks [T, T] of a matrix whose rows and columns stand by task."""
    bounds = np.append(starts, n)
    rows = np.stack([matrix[start:end].sum(axis=0) for start, end in pairwise(bounds)])
    columns = [rows[:, a:b].sum(axis=1) for a, b in pairwise(bounds)]
    return np.stack(columns, axis=1)
