"""What every model is held against: the mean of a task, and the nearest measured neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from molpool_common import BoolArray, FloatArray
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from multitask_models._errors import ModelError
from multitask_models._labels import Labels, TaskKind
from multitask_models._protocol import Latent, Limits, MultitaskModel, RowSampler, State

_CHUNK = 512
"""Rows whose similarities are computed at a time."""


def _without_sampler(model: MultitaskModel, sampler: RowSampler | None) -> None:
    if sampler is not None:
        raise ModelError(
            f"sampler: expected None, as {type(model).__name__} does not learn in epochs; give "
            "sample_weight instead."
        )


class TaskMean(MultitaskModel):
    """The weighted mean of each task's labels, whatever the features.

    `return_std` gives the labels' standard deviation.

    Parameters
    ----------
    task_kinds, limits
        As for every model.
    """

    def __init__(
        self,
        *,
        task_kinds: TaskKind | Sequence[TaskKind] = "regression",
        limits: Limits = None,
    ) -> None:
        self.task_kinds = task_kinds
        self.limits = limits

    def _fit(self, X: NDArray[Any], labels: Labels, sampler: RowSampler | None) -> None:
        _without_sampler(self, sampler)
        weights = labels.weights[:, None] * labels.present
        values = np.nan_to_num(labels.values, nan=0.0)
        total = weights.sum(axis=0)
        self._means = (weights * values).sum(axis=0) / total
        squares = weights * (values - self._means) ** 2
        self._deviation = np.sqrt(squares.sum(axis=0) / total)

    def _latent(self, X: NDArray[Any]) -> Latent:
        shape = (len(X), len(self._means))
        spread = np.broadcast_to(self._deviation, shape)
        return Latent(np.broadcast_to(self._means, shape), spread, np.zeros(shape[1]))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags

    def _state(self) -> State:
        return {"mean": self._means, "deviation": self._deviation}

    def _restore(self, state: State) -> None:
        self._means, self._deviation = state["mean"], state["deviation"]


class TanimotoNeighbours(MultitaskModel):
    """The measured molecules most similar by Tanimoto's coefficient of counts, min / max.

    A prediction is the mean over a task's `n_neighbours` most similar labels, each with weight
    similarity^`power`; where nothing is similar, the task's mean. `return_std` gives their
    weighted standard deviation. Bounds count as values.

    Parameters
    ----------
    n_neighbours : int
        Labels of a task that are averaged.
    power : float
        0: all neighbours weigh the same.
    columns : tuple of int or None
        First and last + 1 of the features that are counts; None: all.
    task_kinds, limits
        As for every model.
    """

    def __init__(
        self,
        *,
        n_neighbours: int = 5,
        power: float = 3.0,
        columns: tuple[int, int] | None = None,
        task_kinds: TaskKind | Sequence[TaskKind] = "regression",
        limits: Limits = None,
    ) -> None:
        self.n_neighbours = n_neighbours
        self.power = power
        self.columns = columns
        self.task_kinds = task_kinds
        self.limits = limits

    def _counts(self, X: NDArray[Any]) -> csr_matrix:
        first, last = self.columns if self.columns is not None else (0, X.shape[1])
        counts = np.nan_to_num(X[:, first:last], nan=0.0)
        if (counts < 0).any() or (counts != np.floor(counts)).any():
            raise ModelError(
                f"features {first} to {last - 1}: expected counts, whole numbers from 0 on; found "
                "others. Name the columns that are counts in `columns`."
            )
        return csr_matrix(counts)

    def _fit(self, X: NDArray[Any], labels: Labels, sampler: RowSampler | None) -> None:
        _without_sampler(self, sampler)
        if self.n_neighbours < 1:
            raise ModelError(f"n_neighbours: expected 1 or more; found {self.n_neighbours}.")
        self._known, self._labels = self._counts(X), labels.values
        self._weights = labels.weights
        self._means = np.nanmean(labels.values, axis=0)

    def _latent(self, X: NDArray[Any]) -> Latent:
        counts = self._counts(X)
        mean = np.empty((len(X), len(self._means)))
        spread = np.empty_like(mean)
        for start in range(0, len(X), _CHUNK):
            rows = slice(start, start + _CHUNK)
            similarity = tanimoto(counts[rows], self._known)
            for t in range(len(self._means)):
                mean[rows, t], spread[rows, t] = self._neighbours(similarity, t)
        return Latent(mean, spread, np.zeros(len(self._means)))

    def _neighbours(self, similarity: FloatArray, task: int) -> tuple[FloatArray, FloatArray]:
        """Return weighted mean and deviation of the nearest labels of a task, [N] each."""
        known = ~np.isnan(self._labels[:, task])
        near, labels = similarity[:, known], self._labels[known, task]
        k = min(self.n_neighbours, len(labels))
        # A stable order: of equally similar molecules the first ones, on every machine.
        nearest = np.argsort(-near, axis=1, kind="stable")[:, :k]
        weights = np.take_along_axis(near, nearest, axis=1) ** self.power
        weights *= self._weights[known][nearest]
        values, total = labels[nearest], weights.sum(axis=1)
        found: BoolArray = total > 0
        total = np.where(found, total, 1.0)
        mean = np.where(found, (weights * values).sum(axis=1) / total, self._means[task])
        squares = (weights * (values - mean[:, None]) ** 2).sum(axis=1) / total
        return mean, np.sqrt(np.where(found, squares, np.var(labels)))

    def _state(self) -> State:
        known = self._known
        return {
            "data": known.data,
            "indices": known.indices,
            "indptr": known.indptr,
            "width": np.array(known.shape[1]),
            "labels": self._labels,
            "weights": self._weights,
            "mean": self._means,
        }

    def _restore(self, state: State) -> None:
        self._labels, self._weights = state["labels"], state["weights"]
        self._means = state["mean"]
        shape = (len(state["indptr"]) - 1, int(state["width"]))
        self._known = csr_matrix((state["data"], state["indices"], state["indptr"]), shape=shape)


def tanimoto(left: csr_matrix, right: csr_matrix) -> FloatArray:
    """Return Tanimoto's coefficient of count vectors, [N, M].

    Sum of minima over sum of maxima; 0 of two vectors without a count. min(a, b) is the number of
    levels v >= 1 that both reach, so that each level is one product of sparse matrices.
    """
    highest = int(min(left.max(), right.max())) if left.nnz and right.nnz else 0
    shared = np.zeros((left.shape[0], right.shape[0]))
    for level in range(1, highest + 1):
        reach_left, reach_right = (_reaching(part, level) for part in (left, right))
        shared += (reach_left @ reach_right.T).toarray()
    sums = [np.asarray(part.sum(axis=1)).ravel() for part in (left, right)]
    either = sums[0][:, None] + sums[1][None, :] - shared
    return np.divide(shared, either, out=np.zeros_like(shared), where=either > 0)


def _reaching(counts: csr_matrix, level: int) -> csr_matrix:
    reached = counts.copy()
    reached.data = (counts.data >= level).astype(np.float64)
    reached.eliminate_zeros()
    return reached
