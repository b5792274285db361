"""Two classics of multiple-instance learning, as references for `bags.py`: MI-SVM, Fisher vectors.

Both call classes of one task, see instances alone, and choose their cost by three folds of the bags
they are fitted to. What they say is a sigmoid of the distance to the margin, so that 0.5 is on it.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from mil_attn import BagData, FeatureScaler
from molpool_common import FloatArray, IntArray
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.svm import SVC

COSTS, FOLDS, STEPS = (0.3, 1.0, 10.0, 100.0), 3, 20
COMPONENTS, EXPLAINED = (1, 2, 4), 0.95
"""Gaussians of a mixture that are tried; variance that is left of the instances."""


class _Reference:
    """What both share: scaled instances, and predictions that look like those of other members."""

    _scaler: FeatureScaler

    def predict_with_sd(self, data: BagData) -> tuple[FloatArray, FloatArray]:
        """Return what looks like probabilities [N, 1], and NaN."""
        margin = self._margin(_rows(self._scaler.transform(data)), data.bounds)
        said = 0.5 + 0.5 * np.tanh(0.5 * margin[:, None])
        return said, np.full(said.shape, np.nan)

    def _margin(self, x: FloatArray, bounds: IntArray) -> FloatArray:
        raise NotImplementedError


class MISVM(_Reference):
    """A support vector machine of the likeliest instance of each positive bag.

    Andrews, Tsochantaridis and Hofmann, "Support vector machines for multiple-instance learning"
    (NIPS 2002): from the mean of each positive bag on, fit, take the instance that scores highest,
    and fit again until the choice stays. A bag scores as its highest instance.
    """

    def fit(self, train: BagData, seed: int) -> Self:
        """Fit with the cost that calls most bags right out of fold."""
        assert train.labels is not None
        y = train.labels[:, 0]
        self._scaler = FeatureScaler.fit(train)
        right = []
        for cost in COSTS:
            parts = StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(y, y)
            right.append(sum(self._right(train, y, kept, held, cost) for kept, held in parts))
        x = _rows(self._scaler.transform(train))
        self._machine = _alternated(x, train.bounds, y, COSTS[int(np.argmax(right))])
        return self

    def _right(
        self, data: BagData, y: FloatArray, kept: IntArray, held: IntArray, cost: float
    ) -> int:
        some, others = (self._scaler.transform(data.take(rows)) for rows in (kept, held))
        machine = _alternated(_rows(some), some.bounds, y[kept], cost)
        return int(((_highest(machine, _rows(others), others.bounds) > 0) == y[held]).sum())

    def _margin(self, x: FloatArray, bounds: IntArray) -> FloatArray:
        return _highest(self._machine, x, bounds)


def _alternated(x: FloatArray, bounds: IntArray, y: FloatArray, cost: float) -> Any:
    positive = np.flatnonzero(y == 1)
    of_bag = np.repeat(np.arange(len(y)), np.diff(bounds))
    negative = x[y[of_bag] == 0]
    chosen = np.stack([x[bounds[b] : bounds[b + 1]].mean(axis=0) for b in positive])
    labels = np.r_[np.ones(len(positive)), np.zeros(len(negative))]
    before: list[int] = []
    for _ in range(STEPS):
        machine = SVC(C=cost, class_weight="balanced").fit(np.vstack([chosen, negative]), labels)
        said = machine.decision_function(x)
        picked = [int(bounds[b] + said[bounds[b] : bounds[b + 1]].argmax()) for b in positive]
        if picked == before:
            break
        before, chosen = picked, x[picked]
    return machine


def _highest(machine: Any, x: FloatArray, bounds: IntArray) -> FloatArray:
    return np.asarray(np.maximum.reduceat(machine.decision_function(x), bounds[:-1]))


class FisherVectors(_Reference):
    """A linear support vector machine on the Fisher vectors of bags under a mixture of Gaussians.

    Wei, Wu and Zhou, "Scalable algorithms for multi-instance learning" (IEEE TNNLS 28, 2017), whose
    miFV this is; vectors as Sánchez et al., International Journal of Computer Vision 105 (2013).
    """

    def fit(self, train: BagData, seed: int) -> Self:
        """Fit with the number of Gaussians and the cost that call most bags right out of fold."""
        assert train.labels is not None
        self._scaler = FeatureScaler.fit(train)
        x = _rows(self._scaler.transform(train))
        self._turn = PCA(EXPLAINED, svd_solver="full").fit(x)
        best = -1.0
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
        for n in COMPONENTS:
            mixture = GaussianMixture(n, covariance_type="diag", reg_covar=1e-3, random_state=seed)
            mixture.fit(self._turn.transform(x))
            search = GridSearchCV(SVC(kernel="linear"), {"C": COSTS}, cv=folds)
            search.fit(self._vectors(mixture, x, train.bounds), train.labels[:, 0])
            if search.best_score_ > best:
                best, self._mixture, self._machine = search.best_score_, mixture, search
        return self

    def _vectors(self, mixture: GaussianMixture, x: FloatArray, bounds: IntArray) -> FloatArray:
        """Return gradients of the mixture's likelihood by its means and deviations [N, 2 K F]."""
        turned = self._turn.transform(x)
        shares = mixture.predict_proba(turned)
        sizes = np.diff(bounds)[:, None]
        found = []
        for k, weight in enumerate(mixture.weights_):
            off = (turned - mixture.means_[k]) / np.sqrt(mixture.covariances_[k])
            for part, scale in ((off, weight), (off**2 - 1, 2 * weight)):
                sums = np.add.reduceat(shares[:, k, None] * part, bounds[:-1])
                found.append(sums / sizes / np.sqrt(scale))
        vectors = np.hstack(found)
        vectors = np.sign(vectors) * np.sqrt(np.abs(vectors))
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.where(length > 0, length, 1))

    def _margin(self, x: FloatArray, bounds: IntArray) -> FloatArray:
        vectors = self._vectors(self._mixture, x, bounds)
        return np.asarray(self._machine.decision_function(vectors))


def _rows(scaled: BagData) -> FloatArray:
    assert scaled.instances is not None
    return np.asarray(scaled.instances.astype(np.float64))
