"""Models whose packages are optional, one model a task: XGBoost, CatBoost and TabICL."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from molpool_common import FloatArray, threads
from numpy.typing import NDArray

from multitask_models._errors import MissingPackageError, ModelError
from multitask_models._labels import Labels, TaskKind
from multitask_models._protocol import Limits, RowSampler, State
from multitask_models._trees import _FittedTask, _one_sided, _PerTask, _TaskRows

Library = Literal["xgboost", "catboost"]

_INSTALL = {
    "xgboost": "pip install 'multitask-models[xgboost]'",
    "catboost": "pip install 'catboost>=1.2.7'",
    "tabicl": "pip install 'tabicl>=2'",
}


class _Optional(_PerTask):
    """Models by a package that may be missing."""

    @abstractmethod
    def check(self, kinds: Sequence[TaskKind]) -> None:
        """Raise unless tasks of these kinds can be learned here.

        Raises
        ------
        MissingPackageError
            If a package is not installed.
        ModelError
            If a file is not there, or a parameter unknown.
        """

    def _fit(self, X: NDArray[Any], labels: Labels, sampler: RowSampler | None) -> None:
        self.check(np.where(labels.classification, "classification", "regression").tolist())
        super()._fit(X, labels, sampler)


def _imported(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise MissingPackageError(
            f"model {package}: expected the package {package!r}; found it not installed or broken "
            f"({error}). {_INSTALL[package]}"
        ) from error


class MultitaskBoosting(_Optional):
    """Gradient boosting by XGBoost or CatBoost, one model a task.

    A task is learned as the library's own estimator with the same parameters learns it. With
    bounds, XGBoost's squared error counts only what lies outside them; CatBoost learns a bound as
    the value at which it stands.

    Parameters
    ----------
    library : {"xgboost", "catboost"}
    n_estimators : int
        Trees of a task.
    learning_rate : float
    max_depth : int
        Of a tree.
    colsample : float
        Share of the features that a tree (XGBoost) or a split (CatBoost) sees.
    subsample : float
        Share of the rows that a tree sees.
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
        library: Library = "xgboost",
        n_estimators: int = 500,
        learning_rate: float = 0.03,
        max_depth: int = 6,
        colsample: float = 0.2,
        subsample: float = 0.8,
        from_other_tasks: bool = False,
        n_jobs: int | None = None,
        task_kinds: TaskKind | Sequence[TaskKind] = "regression",
        limits: Limits = "auto",
        random_state: int = 0,
    ) -> None:
        self.library = library
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.max_depth = max_depth
        self.colsample = colsample
        self.subsample = subsample
        self.from_other_tasks = from_other_tasks
        self.n_jobs = n_jobs
        self.task_kinds = task_kinds
        self.limits = limits
        self.random_state = random_state

    def check(self, kinds: Sequence[TaskKind]) -> None:
        if self.library not in _FIT:
            raise ModelError(f"library: expected {' or '.join(_FIT)}; found {self.library!r}.")
        _imported(self.library)

    def parameters(self) -> dict[str, Any]:
        """Return the parameters as the library's own estimators take them."""
        common = {
            "n_estimators": self.n_estimators,
            "learning_rate": self.learning_rate,
            "max_depth": self.max_depth,
            "subsample": self.subsample,
            "random_state": self.random_state,
        }
        jobs = self.n_jobs or threads()
        if self.library == "xgboost":
            return {**common, "colsample_bytree": self.colsample, "n_jobs": jobs}
        quiet = {"verbose": False, "allow_writing_files": False, "allow_const_label": True}
        sampled = {"rsm": self.colsample, "bootstrap_type": "MVS"}
        return {**common, **quiet, **sampled, "thread_count": jobs}

    def _fit_task(self, rows: _TaskRows, task: int) -> _FittedTask:
        # A class that a fold lacks: both libraries would refuse a single one.
        if rows.classification and len(np.unique(rows.y)) == 1:
            return _Boosted(self.library, b"", float(rows.y[0]), True)
        return _FIT[self.library](rows, self.parameters())

    def _read_task(self, state: State) -> _FittedTask:
        content, classes = state["content"].tobytes(), bool(state["classification"])
        return _Boosted(self.library, content, float(state["offset"]), classes)


def _fit_xgboost(rows: _TaskRows, parameters: Mapping[str, Any]) -> _Boosted:
    import xgboost

    offset = 0.0
    if rows.classification:
        model = xgboost.XGBClassifier(**parameters)
    elif (rows.signs != 0).any():
        loss, offset = _one_sided(rows.signs), float(np.average(rows.y, weights=rows.weights))

        def objective(y: FloatArray, said: FloatArray, sample_weight: FloatArray) -> Any:
            return loss(y, said, sample_weight)

        model = xgboost.XGBRegressor(**parameters, objective=objective, base_score=0.0)
    else:
        model = xgboost.XGBRegressor(**parameters)
    model.fit(rows.X, rows.y - offset, sample_weight=rows.weights)
    content = bytes(model.get_booster().save_raw("ubj"))
    return _Boosted("xgboost", content, offset, rows.classification)


def _fit_catboost(rows: _TaskRows, parameters: Mapping[str, Any]) -> _Boosted:
    import catboost

    kind = catboost.CatBoostClassifier if rows.classification else catboost.CatBoostRegressor
    try:
        model = kind(**parameters).fit(rows.X, rows.y, sample_weight=rows.weights)
    except catboost.CatBoostError as error:
        if "constant" not in str(error):
            raise
        mean = float(np.average(rows.y, weights=rows.weights))
        return _Boosted("catboost", b"", mean, rows.classification)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "model.cbm"
        model.save_model(str(file))
        return _Boosted("catboost", file.read_bytes(), 0.0, rows.classification)


_FIT = {"xgboost": _fit_xgboost, "catboost": _fit_catboost}


@dataclass(frozen=True)
class _Boosted(_FittedTask):
    """A model in its library's own format, or a constant where `content` is empty."""

    library: Library
    content: bytes
    offset: float
    classification: bool

    @cached_property
    def _model(self) -> Any:
        library = _imported(self.library)
        if self.library == "xgboost":
            return library.Booster(model_file=bytearray(self.content))
        return library.CatBoost().load_model(blob=self.content)

    def predict(self, X: NDArray[Any]) -> FloatArray:
        if not self.content:
            return np.full(len(X), self.offset)
        if self.library == "xgboost":
            said = self._model.inplace_predict(X)
        elif self.classification:
            said = self._model.predict(X, prediction_type="Probability")[:, 1]
        else:
            said = self._model.predict(X)
        return self.offset + np.asarray(said, dtype=np.float64)

    def state(self) -> State:
        return {
            "content": np.frombuffer(self.content, dtype=np.uint8),
            "offset": np.array(self.offset),
            "classification": np.array(self.classification),
        }


class MultitaskTabICL(_Optional):
    """TabICL (Qu et al. 2025, arXiv:2502.05564), which is shown the rows of a task, one at a time.

    The network was trained on made tables and learns nothing here: it reads the training rows with
    each prediction. They are kept with the model; of its weights only the path is, so that the
    files have to stay where they are. Bounds are learned as values, and weights are refused.

    Parameters
    ----------
    classifier, regressor : str or None
        Files of TabICL's weights for tasks of that kind; nothing is downloaded.
    n_estimators : int
        Orders of the features whose mean predicts.
    n_jobs : int or None
        Threads; None: as many as there may be, by `molpool_common.threads`.
    task_kinds, limits
        As for every model.
    random_state : int
        Seed.
    """

    from_other_tasks = False

    def __init__(
        self,
        *,
        classifier: str | None = None,
        regressor: str | None = None,
        n_estimators: int = 8,
        n_jobs: int | None = None,
        task_kinds: TaskKind | Sequence[TaskKind] = "regression",
        limits: Limits = "auto",
        random_state: int = 0,
    ) -> None:
        self.classifier = classifier
        self.regressor = regressor
        self.n_estimators = n_estimators
        self.n_jobs = n_jobs
        self.task_kinds = task_kinds
        self.limits = limits
        self.random_state = random_state

    def check(self, kinds: Sequence[TaskKind]) -> None:
        _imported("tabicl")
        needed = {"classification": "classifier", "regression": "regressor"}
        for kind, name in needed.items():
            path = getattr(self, name)
            if kind in kinds and (path is None or not Path(path).is_file()):
                raise ModelError(
                    f"{name}: expected the file of TabICL's weights for {kind}; found "
                    f"{'none given' if path is None else repr(path)}, and nothing is downloaded."
                )

    def _fit_task(self, rows: _TaskRows, task: int) -> _FittedTask:
        if np.ptp(rows.weights):
            raise ModelError("sample_weight: expected equal ones for TabICL; found others.")
        return self._shown(rows.X, rows.y, rows.classification)

    def _read_task(self, state: State) -> _FittedTask:
        classes = bool(state["classification"])
        self.check(["classification" if classes else "regression"])
        return self._shown(state["X"], state["y"], classes)

    def _shown(self, X: NDArray[Any], y: FloatArray, classification: bool) -> _FittedTask:
        import tabicl

        kind = tabicl.TabICLClassifier if classification else tabicl.TabICLRegressor
        model = kind(
            model_path=self.classifier if classification else self.regressor,
            allow_auto_download=False,
            n_estimators=self.n_estimators,
            n_jobs=self.n_jobs or threads(),
            random_state=self.random_state,
        )
        return _InContext(model.fit(X, y), X, y, classification)


@dataclass(frozen=True)
class _InContext(_FittedTask):
    """TabICL with the rows of a task."""

    model: Any
    X: NDArray[Any]
    y: FloatArray
    classification: bool

    def predict(self, X: NDArray[Any]) -> FloatArray:
        said = self.model.predict_proba(X)[:, 1] if self.classification else self.model.predict(X)
        return np.asarray(said, dtype=np.float64)

    def state(self) -> State:
        return {"X": self.X, "y": self.y, "classification": np.array(self.classification)}
