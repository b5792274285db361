"""Trees, one model a task: LightGBM, random forests and extremely randomised trees.

A tree learns one task, so that other tasks help it only as features: with ``from_other_tasks``
each task's model also sees what models of the other tasks predict of the molecule. While learning,
a row gets these predictions from models that did not see the row.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import lightgbm
import numpy as np
from molpool_common import BoolArray, FloatArray, IntArray, SignArray, threads
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

from multitask_models._errors import ModelError
from multitask_models._labels import Labels, TaskKind
from multitask_models._protocol import Latent, Limits, MultitaskModel, RowSampler, State

FittedT = TypeVar("FittedT")

_FEW = 10_000
"""Rows below which LightGBM's threads wait for one another, at every leaf, longer than they work:
on a busy machine many times as long. Below, each task has one thread."""

_FOLDS = 5
"""Folds whose models predict the other tasks."""


@dataclass(frozen=True)
class _TaskRows:
    """The rows of one task that have a label: features, labels, bounds, weights."""

    X: NDArray[Any]
    y: FloatArray
    signs: SignArray
    weights: FloatArray
    classification: bool

    def rows(self, rows: BoolArray) -> _TaskRows:
        return _TaskRows(
            self.X[rows], self.y[rows], self.signs[rows], self.weights[rows], self.classification
        )

    def with_features(self, more: FloatArray) -> _TaskRows:
        X = np.hstack([self.X, more])
        return _TaskRows(X, self.y, self.signs, self.weights, self.classification)


class _FittedTask:
    """A fitted model of one task: predictions [N] of rows, and itself as plain arrays."""

    @abstractmethod
    def predict(self, X: NDArray[Any]) -> FloatArray: ...

    def spread(self, X: NDArray[Any]) -> FloatArray | None:
        return None

    @abstractmethod
    def state(self) -> State: ...


class _PerTask(MultitaskModel):
    """Models of one task each, with those of the other tasks before them or without."""

    from_other_tasks: bool
    random_state: int

    @abstractmethod
    def _fit_task(self, rows: _TaskRows, task: int) -> _FittedTask:
        """Fit one task's model."""

    @abstractmethod
    def _read_task(self, state: State) -> _FittedTask:
        """Return the model whose `state` this was."""

    def _fit(self, X: NDArray[Any], labels: Labels, sampler: RowSampler | None) -> None:
        if sampler is not None:
            raise ModelError(
                f"sampler: expected None, as {type(self).__name__} does not learn in epochs; give "
                "sample_weight instead."
            )
        n_tasks = labels.values.shape[1]
        self._before: list[list[_FittedTask]] = []
        others = np.empty((len(X), 0))
        if self.from_other_tasks and n_tasks > 1:
            others = self._fit_before(X, labels)

        def fit(t: int) -> _FittedTask:
            rows = _task_rows(X, labels, t)
            if others.shape[1]:
                rows = rows.with_features(self._others(others, labels, t))
            return self._fit_task(rows, t)

        self._tasks = self._each(fit, range(n_tasks))

    def _each(self, fit: Callable[[int], FittedT], tasks: Sequence[int]) -> list[FittedT]:
        """Return what tasks come to, one after the other: a fit has all threads."""
        return [fit(t) for t in tasks]

    @staticmethod
    def _others(predicted: FloatArray, labels: Labels, task: int) -> FloatArray:
        """Return the other tasks' predictions of the rows that `task` has labels of."""
        return np.delete(predicted, task, axis=1)[labels.present[:, task]]

    def _fit_before(self, X: NDArray[Any], labels: Labels) -> FloatArray:
        """Fit models of folds, and return each task's predictions [N, T] of rows they left out."""
        rng = np.random.default_rng(self.random_state)
        n_labels = labels.present.sum(axis=0)
        # With few labels every fold still holds one.
        folds = [rng.permutation(np.arange(n) % min(_FOLDS, n)) for n in n_labels]

        def fit(t: int) -> list[_FittedTask]:
            rows = _task_rows(X, labels, t)
            return [self._fit_task(rows.rows(folds[t] != i), t) for i in np.unique(folds[t])]

        self._before = self._each(fit, range(len(folds)))
        predicted = np.empty(labels.values.shape)
        for t, (models, fold) in enumerate(zip(self._before, folds, strict=True)):
            present = labels.present[:, t]
            each = np.array([model.predict(X) for model in models])
            predicted[:, t] = each.mean(axis=0)
            predicted[present, t] = each[:, present][fold, np.arange(len(fold))]
        return predicted

    def _latent(self, X: NDArray[Any]) -> Latent:
        others = np.array(
            [np.mean([model.predict(X) for model in models], axis=0) for models in self._before]
        ).T
        means, spreads = [], []
        for t, model in enumerate(self._tasks):
            inputs = np.hstack([X, np.delete(others, t, axis=1)]) if self._before else X
            means.append(model.predict(inputs))
            spreads.append(model.spread(inputs))
        known = [spread for spread in spreads if spread is not None]
        spread = np.array(known).T if len(known) == len(spreads) else None
        return Latent(np.array(means).T, spread, np.full(len(means), np.nan))

    def _state(self) -> State:
        models = {f"task.{t}": model for t, model in enumerate(self._tasks)}
        for t, fold_models in enumerate(self._before):
            models |= {f"before.{t}.{i}": model for i, model in enumerate(fold_models)}
        return {
            f"{place}.{name}": array
            for place, model in models.items()
            for name, array in model.state().items()
        }

    def _restore(self, state: State) -> None:
        places: dict[str, State] = {}
        for key, array in state.items():
            place, name = key.rsplit(".", 1)
            places.setdefault(place, {})[name] = array
        read = {place: self._read_task(part) for place, part in places.items()}
        # Numbers by insertion, which is that of `_state`.
        self._tasks = [model for place, model in read.items() if place.startswith("task.")]
        folds: dict[str, list[_FittedTask]] = {}
        for place, model in read.items():
            if place.startswith("before."):
                folds.setdefault(place.split(".")[1], []).append(model)
        self._before = list(folds.values())


def _task_rows(X: NDArray[Any], labels: Labels, task: int) -> _TaskRows:
    present = labels.present[:, task]
    return _TaskRows(
        X if present.all() else X[present],
        labels.values[present, task],
        labels.signs[present, task],
        labels.weights[present],
        bool(labels.classification[task]),
    )


class MultitaskLightGBM(_PerTask):
    """Gradient boosting by LightGBM, one model a task.

    A task without bounds is learned as ``lightgbm.LGBMRegressor`` or ``LGBMClassifier`` with the
    same parameters learns it. With bounds, the squared error counts only what lies outside them.

    Parameters
    ----------
    n_estimators : int
        Trees of a task.
    learning_rate : float
    num_leaves : int
    min_child_samples : int
        Fewest rows of a leaf.
    colsample_bytree : float
        Share of the features that a tree sees.
    subsample : float
        Share of the rows that a tree sees.
    max_bin : int
        Values that are told apart in a feature. LightGBM's own 255 take twice the time where many
        features are embeddings, and told no better on Biogen, AqSolDB and ExpansionRx.
    from_other_tasks : bool
        Give each task's model also the other tasks' predictions; six times the work.
    n_jobs : int or None
        Threads; None: as many as there may be, by `molpool_common.threads`.
    task_kinds, limits
        As for every model.
    random_state : int
        Seed.
    """

    def __init__(
        self,
        *,
        n_estimators: int = 500,
        learning_rate: float = 0.03,
        num_leaves: int = 31,
        min_child_samples: int = 10,
        colsample_bytree: float = 0.2,
        subsample: float = 0.8,
        max_bin: int = 63,
        from_other_tasks: bool = False,
        n_jobs: int | None = None,
        task_kinds: TaskKind | Sequence[TaskKind] = "regression",
        limits: Limits = "auto",
        random_state: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.min_child_samples = min_child_samples
        self.colsample_bytree = colsample_bytree
        self.subsample = subsample
        self.max_bin = max_bin
        self.from_other_tasks = from_other_tasks
        self.n_jobs = n_jobs
        self.task_kinds = task_kinds
        self.limits = limits
        self.random_state = random_state

    def parameters(self) -> dict[str, Any]:
        """Return the parameters as LightGBM's own estimators take them."""
        return {
            "n_estimators": self.n_estimators,
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_child_samples": self.min_child_samples,
            "colsample_bytree": self.colsample_bytree,
            "subsample": self.subsample,
            "subsample_freq": 1,
            "max_bin": self.max_bin,
            "random_state": self.random_state,
            "n_jobs": self.n_jobs or threads(),
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }

    def _each(self, fit: Callable[[int], FittedT], tasks: Sequence[int]) -> list[FittedT]:
        """Return what tasks come to, as many at once as there are threads."""
        workers = self.n_jobs or threads()
        self._threads_of_fit = max(1, workers // len(tasks))
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(fit, tasks))

    def _fit_task(self, rows: _TaskRows, task: int) -> _FittedTask:
        parameters = self.parameters()
        parameters["n_jobs"] = 1 if len(rows.y) < _FEW else self._threads_of_fit
        if rows.classification:
            model = lightgbm.LGBMClassifier(**parameters)
            # A class that a fold lacks: LightGBM would refuse a single one.
            if len(np.unique(rows.y)) == 1:
                return _Boosted(None, float(rows.y[0]))
            model.fit(rows.X, rows.y.astype(int), sample_weight=rows.weights)
            return _Boosted(model.booster_.model_to_string(), 0.0)
        bounded = bool((rows.signs != 0).any())
        centre = float(np.average(rows.y, weights=rows.weights)) if bounded else 0.0
        if bounded:
            # An own objective has no model without a feature, which LightGBM's has: the mean.
            if not np.ptp(rows.X, axis=0).any():
                return _Boosted(None, centre)
            # Else rows too few for two leaves would leave it none.
            parameters |= {"objective": _one_sided(rows.signs), "feature_pre_filter": False}
        model = lightgbm.LGBMRegressor(**parameters)
        model.fit(rows.X, rows.y - centre, sample_weight=rows.weights)
        return _Boosted(model.booster_.model_to_string(), centre)

    def _read_task(self, state: State) -> _FittedTask:
        text = state["text"].tobytes().decode()
        return _Boosted(text or None, float(state["offset"]))


def _one_sided(signs: SignArray) -> Any:
    """Return squared error as LightGBM's objective, where a bound costs what lies outside it."""

    def objective(
        y: FloatArray, predicted: FloatArray, weight: FloatArray | None
    ) -> tuple[FloatArray, FloatArray]:
        error = predicted - y
        outside = np.where(signs * error > 0, 0.0, error)
        # The second derivative stays: a leaf of satisfied bounds must not have none.
        curvature = np.ones_like(error) if weight is None else weight
        return outside * curvature, curvature

    return objective


class _Boosted(_FittedTask):
    """A LightGBM model by its text, or a constant where `text` is None."""

    def __init__(self, text: str | None, offset: float) -> None:
        self._text, self._offset = text, offset
        self._booster = None if text is None else lightgbm.Booster(model_str=text)

    def predict(self, X: NDArray[Any]) -> FloatArray:
        if self._booster is None:
            return np.full(len(X), self._offset)
        return self._offset + np.asarray(self._booster.predict(X), dtype=np.float64)

    def state(self) -> State:
        text = (self._text or "").encode()
        return {"text": np.frombuffer(text, dtype=np.uint8), "offset": np.array(self._offset)}

    def __getstate__(self) -> dict[str, Any]:
        return {"text": self._text, "offset": self._offset}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(state["text"], state["offset"])  # type: ignore[misc]


class MultitaskForest(_PerTask):
    """Random forest or extremely randomised trees by scikit-learn, one forest a task.

    Labels at a limit are learned as the limit: a leaf's mean cannot leave their range.
    `return_std` gives the spread of the trees.

    Parameters
    ----------
    kind : {"random", "extra"}
        Random forest (Breiman 2001) or extremely randomised trees (Geurts et al. 2006).
    n_estimators : int
        Trees of a task.
    max_features : float
        Share of the features among which a split is looked for.
    min_samples_leaf : int
        Fewest rows of a leaf.
    from_other_tasks : bool
        Give each task's forest also the other tasks' predictions; six times the work.
    n_jobs : int or None
        Threads; None: as many as there may be, by `molpool_common.threads`.
    task_kinds, limits
        As for every model.
    random_state : int
        Seed.
    """

    def __init__(
        self,
        *,
        kind: Literal["random", "extra"] = "extra",
        n_estimators: int = 200,
        max_features: float = 0.2,
        min_samples_leaf: int = 2,
        from_other_tasks: bool = False,
        n_jobs: int | None = None,
        task_kinds: TaskKind | Sequence[TaskKind] = "regression",
        limits: Limits = "auto",
        random_state: int = 0,
    ) -> None:
        self.kind = kind
        self.n_estimators = n_estimators
        self.max_features = max_features
        self.min_samples_leaf = min_samples_leaf
        self.from_other_tasks = from_other_tasks
        self.n_jobs = n_jobs
        self.task_kinds = task_kinds
        self.limits = limits
        self.random_state = random_state

    def _fit_task(self, rows: _TaskRows, task: int) -> _FittedTask:
        kinds = {"random": RandomForestRegressor, "extra": ExtraTreesRegressor}
        if self.kind not in kinds:
            raise ModelError(f"kind: expected 'random' or 'extra'; found {self.kind!r}.")
        # Squared error of 0 and 1 splits as Gini's index does, and a leaf's mean is its share of 1.
        forest = kinds[self.kind](
            n_estimators=self.n_estimators,
            max_features=self.max_features,
            min_samples_leaf=self.min_samples_leaf,
            n_jobs=self.n_jobs or threads(),
            random_state=self.random_state,
        )
        # Weights of 1 would draw other bootstrap samples than none do.
        weights = None if np.ptp(rows.weights) == 0 else rows.weights
        return _Forest.of(forest.fit(rows.X, rows.y, sample_weight=weights))

    def _read_task(self, state: State) -> _FittedTask:
        return _Forest(**state)


@dataclass(frozen=True)
class _Forest(_FittedTask):
    """Trees as arrays over all their nodes.

    Parameters
    ----------
    roots : ndarray of int [trees]
        Node at which each tree starts.
    children : ndarray of int [nodes, 2]
        Where a node's rows go if the feature is at most the threshold, and else; a leaf's own.
    feature : ndarray of int [nodes]
    threshold, value : ndarray [nodes]
    missing_right : ndarray of bool [nodes]
        Whether rows without the feature go to the second child.
    """

    roots: IntArray
    children: IntArray
    feature: IntArray
    threshold: FloatArray
    value: FloatArray
    missing_right: BoolArray

    @classmethod
    def of(cls, forest: Any) -> _Forest:
        """Return the trees of a fitted forest of scikit-learn."""
        trees = [estimator.tree_ for estimator in forest.estimators_]
        roots = np.cumsum([0, *(tree.node_count for tree in trees)])
        children = []
        for first, tree in zip(roots[:-1], trees, strict=True):
            pair = np.stack([tree.children_left, tree.children_right], axis=1).astype(np.int64)
            itself = np.arange(tree.node_count)[:, None]
            children.append(first + np.where(pair < 0, itself, pair))
        return cls(
            roots[:-1],
            np.concatenate(children),
            # A leaf has no feature: any will do, as both its ways lead to itself.
            np.maximum(np.concatenate([tree.feature for tree in trees]), 0),
            np.concatenate([tree.threshold for tree in trees]),
            np.concatenate([tree.value[:, 0, 0] for tree in trees]),
            np.concatenate([tree.missing_go_to_left == 0 for tree in trees]),
        )

    def predict(self, X: NDArray[Any]) -> FloatArray:
        """Return the mean over trees, [N]."""
        total = np.zeros(len(X))
        for values in self._trees(X):
            total += values
        return total / len(self.roots)

    def spread(self, X: NDArray[Any]) -> FloatArray | None:
        """Return the standard deviation over trees, [N]; None of a single tree."""
        if len(self.roots) == 1:
            return None
        return np.asarray(np.std(list(self._trees(X)), axis=0, ddof=1))

    def _trees(self, X: NDArray[Any]) -> Any:
        """Yield each tree's values of rows [N, F]."""
        # The trees were grown on float32.
        inputs, rows = X.astype(np.float32), np.arange(len(X))
        for root in self.roots:
            node = np.full(len(X), root)
            while True:
                value = inputs[rows, self.feature[node]]
                right = np.where(
                    np.isnan(value), self.missing_right[node], value > self.threshold[node]
                )
                after = self.children[node, right.astype(np.int64)]
                if (after == node).all():
                    break
                node = after
            yield self.value[node]

    def state(self) -> State:
        """Return the arrays."""
        return dict(vars(self))
