"""A small sparse table, and the covariance of its labels written out pair by pair."""

from __future__ import annotations

from typing import Any

import numpy as np
from molpool_common import FloatArray
from multitask_models._gp_likelihood import Pairs

WIDTHS = [12, 4]
KERNELS = ["tanimoto", "matern52"]


def table(
    seed: int = 0, n: int = 40, n_tasks: int = 3, missing: float = 0.5
) -> tuple[FloatArray, FloatArray]:
    """Return counts beside descriptors [n, 16], and labels [n, n_tasks] in units of their own."""
    rng = np.random.default_rng(seed)
    x = np.hstack([rng.poisson(0.7, (n, 12)), rng.normal(size=(n, 4)) * [1, 10, 0.1, 5]])
    signal = np.sin(x[:, 12]) + 0.3 * x[:, :3].sum(axis=1)
    slopes = rng.normal(size=n_tasks) + 1
    y = signal[:, None] * slopes + 0.3 * rng.normal(size=(n, n_tasks))
    y = y * np.logspace(0, n_tasks - 1, n_tasks) + 5
    y[rng.random(y.shape) < missing] = np.nan
    return np.asarray(x, dtype=np.float64), y


def scales(seed: int = 1, n_tasks: int = 3, rank: int = 2, n_kernels: int = 2) -> dict[str, Any]:
    """Return scales of no particular beauty."""
    rng = np.random.default_rng(seed)
    return {
        "loadings": rng.normal(size=(n_tasks, rank)),
        "specific": rng.uniform(0.1, 0.6, n_tasks),
        "noise": rng.uniform(0.05, 0.4, n_tasks),
        "logits": rng.normal(size=n_kernels),
        "log_ratios": np.append(np.zeros(n_kernels - 1), 0.3),
    }


def pairs_of(y: FloatArray, site: float = np.inf) -> Pairs:
    """Return the labels of a table, standardised; the first with a site of its own."""
    y = (y - np.nanmean(y, axis=0)) / np.nanstd(y, axis=0)
    task, molecule = np.nonzero(np.isfinite(y.T))
    sites = np.full(len(task), np.inf)
    sites[0] = site
    weight = 1 + (np.arange(len(task)) % 3) / 3
    return Pairs(task, molecule, y[molecule, task], weight, np.zeros(len(task), np.int8), sites)


def dense_kernel(a: FloatArray, b: FloatArray, train: FloatArray, given: Any) -> FloatArray:
    """Return the sum of the bank's two kernels, value by value, from their definitions."""
    z = [_standardised(rows[:, 12:], train[:, 12:]) for rows in (train, a, b)]
    pairs = [np.sum((p - q) ** 2) for i, p in enumerate(z[0]) for q in z[0][:i]]
    length = np.sqrt(np.median(pairs)) * np.exp(given["log_ratios"][1])
    weights = np.exp(given["logits"]) / np.exp(given["logits"]).sum()
    out = np.empty((len(a), len(b)))
    for i in range(len(a)):
        for j in range(len(b)):
            low = np.minimum(a[i, :12], b[j, :12]).sum()
            high = np.maximum(a[i, :12], b[j, :12]).sum()
            r = np.sqrt(5 * np.sum((z[1][i] - z[2][j]) ** 2)) / length
            matern = (1 + r + r * r / 3) * np.exp(-r)
            out[i, j] = weights[0] * (low / high if high else 1.0) + weights[1] * matern
    return out


def dense_answers(x: FloatArray, y: FloatArray, new: FloatArray, given: Any) -> dict[str, Any]:
    """Return likelihood, mean, spread and leave-one-out of the Gaussian process by dense algebra.

    Leave-one-out is by leaving out: one solve a label, without the closed form.
    """
    centre, spread = np.nanmean(y, axis=0), np.nanstd(y, axis=0)
    train = x[np.isfinite(y).any(axis=1)]
    rows, tasks = np.nonzero(np.isfinite(y))
    z = ((y - centre) / spread)[rows, tasks]
    b = given["loadings"] @ given["loadings"].T + np.diag(given["specific"])
    kernel, cross = dense_kernel(x, x, train, given), dense_kernel(new, x, train, given)
    c = b[np.ix_(tasks, tasks)] * kernel[np.ix_(rows, rows)] + np.diag(given["noise"][tasks])
    inverse = np.linalg.inv(c)
    mean, std = np.empty((2, len(new), len(b)))
    for t in range(len(b)):
        link = b[t, tasks] * cross[:, rows]
        mean[:, t] = link @ inverse @ z * spread[t] + centre[t]
        std[:, t] = np.sqrt(b[t, t] - np.einsum("ij,jk,ik->i", link, inverse, link)) * spread[t]
    loo_mean, loo_std = np.full((2, *y.shape), np.nan)
    for i, (row, t) in enumerate(zip(rows, tasks, strict=True)):
        rest = np.arange(len(z)) != i
        solved = np.linalg.solve(c[np.ix_(rest, rest)], np.stack([z[rest], c[rest, i]], axis=1))
        loo_mean[row, t] = c[i, rest] @ solved[:, 0] * spread[t] + centre[t]
        loo_std[row, t] = np.sqrt(c[i, i] - c[i, rest] @ solved[:, 1]) * spread[t]
    value = -0.5 * (z @ inverse @ z + np.linalg.slogdet(c)[1] + len(z) * np.log(2 * np.pi))
    return {"value": value, "mean": mean, "std": std, "loo": (loo_mean, loo_std)}


def _standardised(rows: FloatArray, train: FloatArray) -> FloatArray:
    z = (rows - train.mean(axis=0)) / train.std(axis=0)
    return np.asarray(3 * np.tanh(z / 3))
