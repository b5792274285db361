"""Models on kernels between bags."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from molpool_common import FloatArray, IntArray, TaskType, atomic_path, read_npz
from numpy.typing import NDArray

from mil_attn._errors import MILError
from mil_attn.data._bag_data import BagData
from mil_attn.sets._kernel_heads import Head, HeadName, Machine, make_head
from mil_attn.sets._representation import (
    BagKernelName,
    Representation,
    Similarity,
    Views,
    views_from_arrays,
    views_to_arrays,
)

_WIDEST, _N_WIDTHS = 2.0**-5, 9
"""Widths tried, each the double of the one before, over one over the median squared distance."""

_LIMITS = (None, 2.0)
"""Bounds tried of features, in standard deviations."""

_FORMAT = 2
_META = "model.json"

_PARAMETERS = ("kernel", "head", "most_bags", "seed")
_ARRAYS = tuple(field.name for field in fields(Machine))


@dataclass(frozen=True, eq=False)
class _Task:
    """One task: a machine over some of the training bags, or a constant where labels are equal."""

    constant: float
    width: float = np.nan
    rows: IntArray | None = None
    machine: Machine | None = None


class _Fit(NamedTuple):
    """Tasks fitted to the training bags as one representation shows them."""

    representation: Representation
    views: Views
    similarity: Similarity
    tasks: list[_Task]

    @property
    def loss(self) -> float:
        """Mean logarithm over tasks, whose values may have any units."""
        losses = [task.machine.loss for task in self.tasks if task.machine is not None]
        return float(np.mean(np.log(np.maximum(losses, np.finfo(float).tiny)))) if losses else 0.0


class BagKernelModel:
    """Kernel ridge regression, or a support vector machine, on a kernel between bags.

    Width of the kernel and strength of the ridge (or cost) of each task are those whose training
    bags, left out, are predicted best, and so is, for all tasks together, whether features far
    from their mean are drawn in; classes get probabilities by a sigmoid of the same.

    Parameters
    ----------
    kernel : str
        ``statistics``: Gaussian of the least and largest value of each feature (minimax kernel);
        ``set``: normalised set kernel, a mean of Gaussians over pairs of instances; ``boltzmann``:
        the same with instances weighed by energy; ``mi_graph``: the same with instances that are
        alike weighed down; ``mean_map``: Gaussian of the maximum mean discrepancy; ``mean_min``,
        ``hausdorff``: Gaussian of the bag's distances to the training bags.
    head : {"ridge", "svm"}
        Kernel ridge, which for values is the mean of a Gaussian process and has its spread, or a
        support vector machine.
    most_bags : int
        Bags to learn from at most, drawn at random: matrices are of so many rows.
    seed : int
        Of draws and folds.
    """

    def __init__(
        self,
        kernel: BagKernelName = "statistics",
        *,
        head: HeadName = "ridge",
        most_bags: int = 3000,
        seed: int = 0,
    ) -> None:
        self.kernel: BagKernelName = kernel
        self.head: HeadName = head
        self.most_bags = most_bags
        self.seed = seed

    def fit(self, train: BagData) -> Self:
        """Fit every task.

        Parameters
        ----------
        train : BagData
            With labels, not scaled; NaN where one is missing.

        Raises
        ------
        MILError
            If a task has no label, the kernel is unknown, or ``boltzmann`` has no energies.
        """
        if train.labels is None:
            raise MILError("training bags: expected labels; found none.")
        lacking = np.flatnonzero(np.isnan(train.labels).all(axis=0))
        if len(lacking):
            name = train.task_names[lacking[0]]
            raise MILError(f"training bags: expected a label of task {name!r}; found none.")
        if len(train) > self.most_bags:
            drawn = np.random.default_rng(self.seed).permutation(len(train))[: self.most_bags]
            train = train.take(np.sort(drawn))
        self.task_names_ = tuple(train.task_names)
        self.task_kind_: TaskType = train.task_kind
        learnt = Representation.fit(self.kernel, train, self.seed)
        views = learnt(train)
        fits = (
            self._fitted(replace(learnt, limit=limit), views.bounded(limit), train)
            for limit in _LIMITS
        )
        best = min(fits, key=lambda fit: fit.loss)
        self.representation_, self._views, self.similarity_, self._tasks = best
        return self

    def _fitted(self, representation: Representation, views: Views, train: BagData) -> _Fit:
        similarity = Similarity.fit(self.kernel, views, self.seed)
        path = similarity.path(views, _WIDEST, _N_WIDTHS)
        return _Fit(representation, views, similarity, self._fit_tasks(train, path))

    def _fit_tasks(self, train: BagData, path: FloatArray) -> list[_Task]:
        labels = train.labels
        assert labels is not None
        weights = np.ones(labels.shape) if train.weights is None else train.weights
        counted = np.isfinite(labels) & (weights > 0)
        best = [
            _Task(float(np.average(y[there], weights=w[there])))
            for y, w, there in zip(labels.T, weights.T, counted.T, strict=True)
        ]
        for k, similar in enumerate(path):
            # Tasks with the same labelled rows share what is costly.
            heads: dict[bytes, Head] = {}
            for t, task in enumerate(best):
                rows = np.flatnonzero(counted[:, t])
                y, w = labels[rows, t], weights[rows, t]
                if (y == y[0]).all():
                    continue
                key = rows.tobytes() + w.tobytes()
                if key not in heads:
                    part = similar[np.ix_(rows, rows)]
                    heads[key] = make_head(self.head, part, w, self.task_kind_, self.seed)
                found = min(heads[key].machines(y), key=lambda machine: machine.loss)
                if task.machine is None or found.loss < task.machine.loss:
                    best[t] = _Task(task.constant, _WIDEST * 2.0**k, rows, found)
        return best

    @property
    def left_out_(self) -> FloatArray:
        """What is said of the training bags when each is left out, [N, T]; NaN without a label.

        Widths and ridges were chosen by these, so that they flatter a little.
        """
        found = np.full((len(self._views), len(self._tasks)), np.nan)
        for t, task in enumerate(self._tasks):
            if task.machine is not None:
                found[task.rows, t] = task.machine.reported(task.machine.left_out)
        return found

    def predict(self, data: BagData) -> FloatArray:
        """Predict every task of every bag.

        Parameters
        ----------
        data : BagData
            N bags with the features of training, not scaled.

        Returns
        -------
        ndarray [N, T]
            Probabilities of class 1, or values.

        Raises
        ------
        MILError
            If the features are others.
        """
        return self.predict_with_sd(data)[0]

    def predict_with_sd(self, data: BagData) -> tuple[FloatArray, FloatArray]:
        """Return what `predict` does, and standard deviations of new labels about it, [N, T] each.

        The latter are those of the Gaussian process, of values under the head ``ridge``; else NaN.
        """
        views = self.representation_(data)
        mean = np.tile([task.constant for task in self._tasks], (len(data), 1))
        sd = np.full(mean.shape, np.nan)
        for width in {task.width for task in self._tasks if task.machine is not None}:
            near = self.similarity_(views, self._views, width)
            for t, task in enumerate(self._tasks):
                if task.machine is not None and task.width == width:
                    mean[:, t] = task.machine.values(near[:, task.rows])
                    sd[:, t] = task.machine.sd(near[:, task.rows])
        return mean, sd

    def save(self, path: str | Path) -> None:
        """Write the fitted model to one file, atomically: arrays and a JSON text, no code."""
        plain, arrays = self.representation_.to_arrays()
        arrays |= views_to_arrays(self._views)
        tasks = []
        for t, task in enumerate(self._tasks):
            machine = task.machine
            tasks.append({"constant": task.constant, "width": task.width, "fitted": bool(machine)})
            if machine is None:
                continue
            arrays[f"task.{t}.rows"] = np.asarray(task.rows)
            for name in _ARRAYS:
                value = getattr(machine, name)
                if value is not None:
                    arrays[f"task.{t}.{name}"] = np.asarray(value)
        described = {
            "format": _FORMAT,
            "parameters": {name: getattr(self, name) for name in _PARAMETERS},
            "task_names": self.task_names_,
            "task_kind": self.task_kind_,
            "representation": plain,
            "units": self.similarity_.units,
            "tasks": tasks,
        }
        text = np.frombuffer(json.dumps(described).encode(), dtype=np.uint8)
        with atomic_path(Path(path)) as temporary, temporary.open("wb") as file:
            np.savez(file, **{_META: text}, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a model that `save` wrote.

        Raises
        ------
        MILError
            If the file is missing, damaged or of a later version.
        """
        try:
            arrays = read_npz(path)
            described = json.loads(arrays.pop(_META).tobytes())
            later = described["format"] > _FORMAT
        except (OSError, ValueError, KeyError) as error:
            raise MILError(
                f"{path}: expected a model that BagKernelModel.save wrote; found {error}."
            ) from None
        if later:
            raise MILError(
                f"{path}: expected format {_FORMAT} or lower; found {described['format']}, of a "
                "later version of mil-attn."
            )
        return cls._restored(described, arrays)

    @classmethod
    def _restored(cls, described: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        model = cls(**described["parameters"])
        model.task_names_ = tuple(described["task_names"])
        model.task_kind_ = described["task_kind"]
        model.representation_ = Representation.from_arrays(described["representation"], arrays)
        of_distance, units = model.kernel == "mean_map", described["units"]
        model.similarity_ = Similarity(of_distance, (units[0], units[1], units[2]))
        model._views = views_from_arrays(arrays)
        model._tasks = []
        for t, task in enumerate(described["tasks"]):
            if not task["fitted"]:
                model._tasks.append(_Task(task["constant"]))
                continue
            found = {name: arrays.get(f"task.{t}.{name}") for name in _ARRAYS}
            machine = Machine(**{name: _restored(value) for name, value in found.items()})
            rows = arrays[f"task.{t}.rows"]
            model._tasks.append(_Task(task["constant"], task["width"], rows, machine))
        return model


def _restored(value: NDArray[Any] | None) -> Any:
    return value.item() if value is not None and value.ndim == 0 else value
