"""Kernel ridge and support vector machines on a matrix of similarities, tuned on rows left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from molpool_common import FloatArray, IntArray, TaskType

HeadName = Literal["ridge", "svm"]

_RIDGES = tuple(10.0 ** (k / 2) for k in range(-6, 4))
_COSTS = (0.3, 1.0, 3.0, 10.0, 100.0)
_FOLDS = 5
_STEPS = 50

_NO_SIGMOID = (np.nan, np.nan)


@dataclass(frozen=True, eq=False)
class Machine:
    """A function of similarities to n training rows: ``K @ coefficients + intercept``.

    Parameters
    ----------
    coefficients : ndarray [n]
        0 of rows that play no part.
    intercept : float
        What is added.
    left_out : ndarray [n]
        What it says of each training row when that is left out.
    loss : float
        Mean squared error of `left_out`; of classes that of probabilities.
    sigmoid : tuple of float, length 2
        Slope and intercept of the logit of class 1 over what it says; NaN for values.
    inverse : ndarray [n, n] or None
        Of the kernel with its ridge, for the spread of a Gaussian process of values.
    scale, ridge : float
        Prior variance of that process, and that of labels over it.
    """

    coefficients: FloatArray
    intercept: float
    left_out: FloatArray
    loss: float
    sigmoid: tuple[float, float]
    inverse: FloatArray | None = None
    scale: float = np.nan
    ridge: float = np.nan

    def values(self, near: FloatArray) -> FloatArray:
        """Return what it says of rows by their similarities [N, n]: values, or probabilities."""
        return self.reported(near @ self.coefficients + self.intercept)

    def reported(self, said: FloatArray) -> FloatArray:
        """Return values as they are, and what is said of classes as probabilities."""
        slope, intercept = self.sigmoid
        if np.isnan(slope):
            return said
        # Twice half an angle: no exponential that overflows.
        return np.asarray(0.5 + 0.5 * np.tanh(0.5 * (slope * said + intercept)))

    def sd(self, near: FloatArray) -> FloatArray:
        """Return the standard deviation of new labels; NaN where there is no such process."""
        if self.inverse is None:
            return np.full(len(near), np.nan)
        explained = np.einsum("ij,jk,ik->i", near, self.inverse, near, optimize=True)
        # A bag is 1 like itself.
        return np.asarray(np.sqrt(self.scale * (np.maximum(1 - explained, 0) + self.ridge)))


class Head(Protocol):
    """Machines of one matrix of similarities, for tasks that are labelled on the same rows."""

    def machines(self, y: FloatArray) -> Iterator[Machine]:
        """Yield machines of several strengths."""


def make_head(
    name: HeadName, similar: FloatArray, weights: FloatArray, kind: TaskType, seed: int
) -> Head:
    """Return what fits machines to labels.

    Parameters
    ----------
    name : {"ridge", "svm"}
        Kernel ridge: the mean of a Gaussian process of this kernel and, of classes, a least-squares
        support vector machine; all rows are left out in turn, exactly. A support vector machine
        leaves out folds.
    similar : ndarray [n, n]
        Positive semidefinite, 1 on the diagonal.
    weights : ndarray [n]
        Of the labels, above 0.
    kind : {"regression", "classification"}
        What the labels are.
    seed : int
        Of the folds.
    """
    if name == "ridge":
        return _Ridge(similar, weights, kind)
    return _Vectors(similar, weights, kind, seed)


class _Ridge:
    def __init__(self, similar: FloatArray, weights: FloatArray, kind: TaskType) -> None:
        self._classes, self._weights = kind == "classification", weights
        self._root = np.sqrt(weights / weights.mean())
        # A constant added to the kernel is an intercept that hardly costs anything.
        whole = (similar + self._classes) * np.outer(self._root, self._root)
        self._values, self._vectors = np.linalg.eigh(whole)

    def machines(self, y: FloatArray) -> Iterator[Machine]:
        centre = 0.0 if self._classes else float(np.average(y, weights=self._weights))
        target = 2 * y - 1 if self._classes else y - centre
        for ridge in _RIDGES:
            inverse = (self._vectors / (np.maximum(self._values, 0) + ridge)) @ self._vectors.T
            dual = inverse @ (self._root * target)
            coefficients = self._root * dual
            # Rows left out in closed form: Rasmussen and Williams, "Gaussian Processes for Machine
            # Learning" (2006), equation 5.12.
            left_out = target - dual / np.diag(inverse) / self._root + centre
            if self._classes:
                loss, sigmoid = _sigmoid(left_out, y, self._weights)
                intercept = float(coefficients.sum())
                yield Machine(coefficients, intercept, left_out, loss, sigmoid)
            else:
                loss = float(np.average((left_out - y) ** 2, weights=self._weights))
                whole = inverse * np.outer(self._root, self._root)
                scale = float(target @ coefficients / len(y))
                yield Machine(
                    coefficients, centre, left_out, loss, _NO_SIGMOID, whole, scale, ridge
                )


class _Vectors:
    def __init__(self, similar: FloatArray, weights: FloatArray, kind: TaskType, seed: int) -> None:
        self._similar, self._weights, self._seed = similar, weights, seed
        self._classes = kind == "classification"

    def machines(self, y: FloatArray) -> Iterator[Machine]:
        folds = self._folds(y)
        for cost in _COSTS:
            coefficients, intercept = self._fitted(np.arange(len(y)), y, cost)
            # Of a class of one row nothing can be left out.
            left_out = self._similar @ coefficients + intercept
            for train, test in folds:
                of_fold, offset = self._fitted(train, y, cost)
                left_out[test] = self._similar[test] @ of_fold + offset
            if self._classes:
                loss, sigmoid = _sigmoid(left_out, y, self._weights)
            else:
                loss = float(np.average((left_out - y) ** 2, weights=self._weights))
                sigmoid = _NO_SIGMOID
            yield Machine(coefficients, intercept, left_out, loss, sigmoid)

    def _folds(self, y: FloatArray) -> list[tuple[IntArray, IntArray]]:
        from sklearn.model_selection import KFold, StratifiedKFold

        least = int(min(y.sum(), (1 - y).sum())) if self._classes else len(y)
        if least < 2:
            return []
        kind = StratifiedKFold if self._classes else KFold
        split = kind(min(_FOLDS, least), shuffle=True, random_state=self._seed)
        return list(split.split(self._similar, y))

    def _fitted(self, rows: IntArray, y: FloatArray, cost: float) -> tuple[FloatArray, float]:
        """Return coefficients of all rows, and the intercept, of a machine of some."""
        from sklearn.svm import SVC, SVR

        labels, machine, centre, spread = y[rows], SVC, 0.0, 1.0
        if not self._classes:
            # Cost and tube are of labels of spread 1.
            machine, centre, spread = SVR, float(labels.mean()), float(labels.std()) or 1.0
        fitted: Any = machine(kernel="precomputed", C=cost).fit(
            self._similar[np.ix_(rows, rows)],
            (labels - centre) / spread,
            sample_weight=self._weights[rows],
        )
        coefficients = np.zeros(len(y))
        coefficients[rows[fitted.support_]] = fitted.dual_coef_[0] * spread
        return coefficients, float(fitted.intercept_[0]) * spread + centre


def _sigmoid(
    said: FloatArray, y: FloatArray, weights: FloatArray
) -> tuple[float, tuple[float, float]]:
    """Return the squared error of probabilities, and slope and intercept of their logit.

    Platt, "Probabilistic outputs for support vector machines" (1999), by Newton's method.
    """
    share = float(np.average(y, weights=weights))
    start = float(np.log(share / (1 - share)))
    unit = max(float(np.abs(said).mean()), 1e-12)
    x = np.column_stack([said / unit, np.ones(len(y))])
    # As if one label of each class were in doubt: else classes that are apart have no finite slope.
    n_1, n_0 = y.sum(), (1 - y).sum()
    target = np.where(y == 1, (n_1 + 1) / (n_1 + 2), 1 / (n_0 + 2))
    theta = np.array([0.0, start])
    for _ in range(_STEPS):
        p = 0.5 + 0.5 * np.tanh(0.5 * (x @ theta))
        curvature = (x * (weights * p * (1 - p))[:, None]).T @ x + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, x.T @ (weights * (target - p)))
        # Whole steps may overshoot from where the sigmoid is flat.
        theta += step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-8:
            break
    if theta[0] <= 0:
        # Where nothing is learnt, what is left out is predicted as the other class, by its mean:
        # a sigmoid upside down would read that as knowledge.
        return share * (1 - share), (0.0, start)
    loss = float(np.average((0.5 + 0.5 * np.tanh(0.5 * (x @ theta)) - y) ** 2, weights=weights))
    return loss, (float(theta[0]) / unit, float(theta[1]))
