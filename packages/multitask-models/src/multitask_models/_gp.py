"""Multi-task Gaussian process on blocks of features, for sparse and censored labels."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt
from molpool_common import FloatArray, IntArray, SignArray, atomic_path
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import NotFittedError

from multitask_models._errors import ModelError
from multitask_models._gp_likelihood import (
    Labels,
    Likelihood,
    Scales,
    by_checksum,
    first_scales,
    learn_scales,
    some_labels,
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
from multitask_models._kernels import (
    BlockKernel,
    build_blocks,
)

Blocks = Mapping[str, slice | Sequence[int] | IntArray]

SCHEMA = 1
BATCH = 256
"""Molecules whose variances are computed at a time."""


class MultitaskGP(RegressorMixin, BaseEstimator):
    """Gaussian process of several tasks that share what they know about molecules.

    cov(f_t(x), f_u(x')) = B_tu sum_k s_k K_k(x, x') over the observed (molecule, task) pairs, with
    B = W W' + diag(v) and a noise variance for each task; K_k is the Tanimoto kernel on a block of
    counts or bits, a radial one on any other. Scales maximise the marginal likelihood times weak
    priors, on at most `learning_labels` labels; given the scales, means and variances are exact
    from all labels up to `exact_labels` where memory allows, and by inducing molecules (FITC)
    beyond. `solver_` says which.

    Parameters
    ----------
    kernels : str or mapping of str to str, default "auto"
        `tanimoto`, `rbf`, `matern32`, `matern52` or `auto`, for all blocks or by block; `auto` is
        Tanimoto for counts and bits, RBF else.
    rank : int, default 2
        Factors that tasks share (columns of W), at most the number of tasks less one.
    scales : Scales, optional
        Use these as they are instead of learning them.
    learning_labels : int, default 3000
        Labels from which scales are learned, about; an iteration costs their cube.
    max_iter : int, default 50
        Iterations of that search.
    degrees_of_freedom : float, optional
        Student's t noise with these degrees of freedom; normal by default.
    exact_labels : int, default 30000
        Above it inducing molecules are used.
    inducing : int, default 1000
        How many.
    memory_limit : float, default 3.0
        GiB that the factors of an exact solve may take; beyond, inducing molecules are used.
    seed : int, default 0
        Of the choice of labels that scales are learned from.

    Attributes
    ----------
    scales_ : Scales
        On standardised labels.
    solver_ : str
        `dense`, `factors` (both exact) or `inducing`.
    center_, scale_ : FloatArray [T]
        Mean and standard deviation of each task's labels, in the user's units.
    n_features_in_ : int
    """

    def __init__(
        self,
        kernels: str | Mapping[str, str] = "auto",
        rank: int = 2,
        scales: Scales | None = None,
        learning_labels: int = 3000,
        max_iter: int = 50,
        degrees_of_freedom: float | None = None,
        exact_labels: int = 30_000,
        inducing: int = 1000,
        memory_limit: float = 3.0,
        seed: int = 0,
    ) -> None:
        self.kernels = kernels
        self.rank = rank
        self.scales = scales
        self.learning_labels = learning_labels
        self.max_iter = max_iter
        self.degrees_of_freedom = degrees_of_freedom
        self.exact_labels = exact_labels
        self.inducing = inducing
        self.memory_limit = memory_limit
        self.seed = seed

    def fit(
        self,
        X: npt.ArrayLike,
        Y: npt.ArrayLike,
        *,
        blocks: Blocks | None = None,
        censoring: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
    ) -> MultitaskGP:
        """Learn the scales, and condition on all labels.

        Parameters
        ----------
        X : array [N, F]
            Features; NaN and infinities count as the block's average, or as no count.
        Y : array [N] or [N, T]
            Labels, NaN where there is none.
        blocks : mapping of str to slice or columns, optional
            Blocks of features, a kernel each; all columns are one by default.
        censoring : array [N] or [N, T], optional
            -1 where the true value lies below the label, +1 above, 0 where it is the label.
        sample_weight : array [N] or [N, T], optional
            A label's noise variance is its task's over this; a label of weight 0 is left out.

        Raises
        ------
        ModelError
            If shapes differ, no label is left, or a weight is negative or not finite.
        """
        features = _matrix(X, "X")
        targets = _targets(Y, len(features))
        self._one_task = np.ndim(Y) == 1
        self.n_features_in_ = features.shape[1]
        side = _like(censoring, targets, "censoring", 0.0)
        if not np.isin(side, (-1, 0, 1)).all():
            raise ModelError("censoring: expected -1, 0 or +1; found another value")
        weight = _like(sample_weight, targets, "sample_weight", 1.0)
        if not (np.isfinite(weight) & (weight >= 0)).all():
            raise ModelError(
                "sample_weight: expected finite weights, 0 or more; found"
                f" {weight[~(weight >= 0) | ~np.isfinite(weight)].flat[0]}"
            )
        targets = np.where(weight > 0, targets, np.nan)
        self._rows = np.flatnonzero(np.isfinite(targets).any(axis=1))
        if not len(self._rows):
            raise ModelError("Y: expected at least one label; found none")
        self._n_rows = len(features)
        used = features[self._rows]
        self.center_, self.scale_, self._known = _spread(targets)
        labels = _labels(
            (targets - self.center_)[self._rows] / self.scale_, side[self._rows], weight[self._rows]
        )
        self.blocks_ = build_blocks(used, blocks, self.kernels)
        self._prepared = [block.prepare(used) for block in self.blocks_]
        self.scales_ = self._learned(labels, used) if self.scales is None else self.scales
        self._labels, solver = settle_sites(
            self._factorise, labels, self.scales_.noise, self.degrees_of_freedom
        )
        self._solver: Solver | None = solver
        self.solver_ = solver.name
        self._alpha = solver.solve(self._labels.y)
        return self

    def _learned(self, labels: Labels, x: FloatArray) -> Scales:
        """Return scales from some labels; censored and outlying ones are replaced in between."""
        n_tasks = len(self.scale_)
        rank = min(self.rank, n_tasks - 1)
        chosen = labels.take(some_labels(labels, x, n_tasks, self.learning_labels, self.seed))
        likelihood = Likelihood(self.blocks_, self._prepared, chosen)
        start = first_scales(chosen, n_tasks, rank, len(self.blocks_))
        scales = learn_scales(likelihood, start, self.max_iter)
        if not chosen.side.any() and self.degrees_of_freedom is None:
            return scales
        local = likelihood.labels
        kernel = np.tensordot(scales.weights, likelihood.kernels(scales), axes=1)
        sites, _ = settle_sites(
            lambda given: DenseSolver(kernel, scales, given),
            local,
            scales.noise,
            self.degrees_of_freedom,
        )
        likelihood.labels = sites
        return learn_scales(likelihood, scales, self.max_iter)

    def _factorise(self, labels: Labels) -> Solver:
        """Return the cheapest exact solver that memory allows, else that of inducing molecules."""
        n_molecules, rank = len(self._prepared[0]), self.scales_.loadings.shape[1]
        by_task = np.bincount(labels.task, minlength=len(self.scale_))
        costs = cost(len(labels), by_task, n_molecules, rank)
        needs = memory(len(labels), by_task, n_molecules, rank)
        roads = [road for road in costs if needs[road] <= self.memory_limit * 2**30]
        if not roads or len(labels) > self.exact_labels:
            self._inducing = self._inducing_points()
            return inducing_factors(self._inducing.training, self.scales_, labels)
        matrix = self.scales_.kernel(self.blocks_).square(self._prepared)
        if min(roads, key=costs.__getitem__) == "dense":
            return DenseSolver(matrix, self.scales_, labels)
        return exact_factors(matrix, self.scales_, labels)

    def _inducing_points(self) -> InducingPoints:
        """Return those in use, or choose them by a checksum of their features."""
        kernel = self.scales_.kernel(self.blocks_)
        order = by_checksum(np.hstack(self._prepared), self.seed)
        return InducingPoints(kernel, self._prepared, np.sort(order[: self.inducing]))

    @overload
    def predict(self, X: npt.ArrayLike, return_std: Literal[False] = False) -> FloatArray: ...

    @overload
    def predict(
        self, X: npt.ArrayLike, return_std: Literal[True], *, noise: bool = True
    ) -> tuple[FloatArray, FloatArray]: ...

    def predict(
        self, X: npt.ArrayLike, return_std: bool = False, *, noise: bool = True
    ) -> FloatArray | tuple[FloatArray, FloatArray]:
        """Return the mean of each task, and its standard deviation.

        Parameters
        ----------
        X : array [N, F]
        return_std : bool, default False
        noise : bool, default True
            Whether the standard deviation is that of a measurement, else that of the function.

        Returns
        -------
        mean, std : FloatArray [N, T]; [N] where Y was
            In the labels' units. A task without labels has the mean NaN, and one whose labels do
            not differ the standard deviation infinity: nothing says how far it varies.
        """
        self._check_fitted()
        x = _matrix(X, "X")
        if x.shape[1] != self.n_features_in_:
            raise ModelError(
                f"X: expected {self.n_features_in_} features, as in fit; X has {x.shape[1]} features"
            )
        means, variances = [], []
        for start in range(0, len(x), BATCH):
            cross = self._cross(x[start : start + BATCH])
            means.append(cross.T @ self._pull())
            if return_std:
                variances.append(self._variance(cross, noise))
        mean = self._restore(np.concatenate(means))
        if not return_std:
            return mean
        std = np.sqrt(np.concatenate(variances)) * self.scale_
        std[:, ~self._known] = np.inf
        return mean, std[:, 0] if self._one_task else std

    def _cross(self, x: FloatArray) -> FloatArray:
        """Return the kernel of training molecules and others [M, N]."""
        kernel = self.scales_.kernel(self.blocks_)
        prepared = kernel.prepare(x)
        if self.solver_ != "inducing":
            return kernel.matrix(self._prepared, prepared)
        return np.asarray(self._inducing.training @ self._inducing.factor(prepared).T)

    def _pull(self) -> FloatArray:
        """Return what each training molecule adds to each task's mean [M, T], a unit of kernel."""
        alpha = np.zeros((len(self._prepared[0]), len(self.scale_)))
        alpha[self._labels.molecule, self._labels.task] = self._alpha
        return np.asarray(alpha @ self.scales_.tasks)

    def _variance(self, cross: FloatArray, noise: bool) -> FloatArray:
        """Return standardised variances [N, T]."""
        if self._solver is None:
            self._solver = self._factorise(self._labels)
        prior = self.scales_.tasks.diagonal()
        # Rounding may leave a molecule that was measured without noise a hair below nothing.
        variance = np.maximum(prior - self._solver.explained(cross).T, 1e-12 * prior)
        return np.asarray(variance + self.scales_.noise if noise else variance)

    def loo(self) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation of each label predicted from all others.

        Closed form at the scales learned from all labels: y_i - alpha_i / (C^-1)_ii, variance
        1 / (C^-1)_ii (Rasmussen and Williams 2006, eq. 5.12). A label's own molecule keeps its
        labels of other tasks. For a censored label the approximation at its limit is left out.

        Returns
        -------
        mean, std : FloatArray [N, T]; [N] where Y was
            NaN where there is no label.
        """
        self._check_fitted()
        if self._solver is None:
            self._solver = self._factorise(self._labels)
        labels = self._labels
        inverse = self._solver.inverse_diagonal()
        own = labels.noise(self.scales_.noise)
        measured = self.scales_.noise[labels.task] / labels.weight
        shape = (self._n_rows, len(self.scale_))
        mean, std = np.full(shape, np.nan), np.full(shape, np.nan)
        where = self._rows[labels.molecule], labels.task
        mean[where] = labels.y - self._alpha / inverse
        std[where] = np.sqrt(np.maximum(1 / inverse - own, 0.0) + measured)
        std *= self.scale_
        return self._restore(mean), std[:, 0] if self._one_task else std

    def log_marginal_likelihood(self) -> float:
        """Return the log density of all standardised labels at the learned scales.

        Exact where `solver_` is `dense` or `factors`; that of the FITC model else. With censored or
        outlying labels it is that of the normal labels that stand for them.
        """
        self._check_fitted()
        if self._solver is None:
            self._solver = self._factorise(self._labels)
        quadratic = float(self._labels.y @ self._alpha)
        constant = len(self._labels) * np.log(2 * np.pi)
        return -0.5 * (quadratic + self._solver.log_determinant() + constant)

    def _restore(self, mean: FloatArray) -> FloatArray:
        mean = mean * self.scale_ + self.center_
        return mean[:, 0] if self._one_task else mean

    def _check_fitted(self) -> None:
        if not hasattr(self, "_alpha"):
            raise NotFittedError("MultitaskGP: expected a fitted model; call fit first")

    def save(self, path: str | Path) -> None:
        """Write the model to one npz file: arrays, and a text of JSON; nothing is pickled.

        The factors are not in it: `load` computes them anew when a standard deviation is first
        asked for.
        """
        self._check_fitted()
        about = {
            "schema": SCHEMA,
            "params": {k: v for k, v in self.get_params(deep=False).items() if k != "scales"},
            "blocks": [(b.name, b.kind, b.width) for b in self.blocks_],
            "solver": self.solver_,
            "one_task": self._one_task,
            "n_rows": self._n_rows,
            "n_features": self.n_features_in_,
        }
        arrays: dict[str, Any] = {"about": np.array(json.dumps(about))}
        for name in ("center_", "scale_", "_known", "_rows", "_alpha"):
            arrays[name.strip("_")] = getattr(self, name)
        for prefix, record in (("labels", self._labels), ("scales", self.scales_)):
            arrays.update({f"{prefix}.{k}": v for k, v in vars(record).items()})
        for i, (block, part) in enumerate(zip(self.blocks_, self._prepared, strict=True)):
            arrays[f"block{i}.x"] = _narrow(part)
            for name in ("columns", "centre", "scale"):
                arrays[f"block{i}.{name}"] = getattr(block, name)
        if self.solver_ == "inducing":
            arrays["inducing"] = self._inducing.chosen
        with atomic_path(Path(path)) as temporary, temporary.open("wb") as handle:
            np.savez(handle, **arrays)

    @classmethod
    def load(cls, path: str | Path) -> MultitaskGP:
        """Read a model that `save` wrote.

        Raises
        ------
        ModelError
            If there is no file, or it is not such a model.
        """
        try:
            with np.load(Path(path), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            about = json.loads(str(arrays["about"]))
            if about["schema"] != SCHEMA:
                raise ModelError(
                    f"model ({Path(path).name}): expected schema {SCHEMA}; found {about['schema']}"
                )
            return cls._restored(about, arrays)
        except (KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ModelError(
                f"model ({Path(path).name}): expected a file that MultitaskGP.save wrote; found"
                f" {type(error).__name__}: {error}"
            ) from None
        except ValueError as error:
            if isinstance(error, ModelError):
                raise
            raise ModelError(
                f"model ({Path(path).name}): expected numbers and text; found {error}"
            ) from None

    @classmethod
    def _restored(cls, about: dict[str, Any], arrays: dict[str, Any]) -> MultitaskGP:
        model = cls(**about["params"])
        for name in ("center_", "scale_", "_known", "_rows", "_alpha"):
            setattr(model, name, arrays[name.strip("_")])
        model._labels = Labels(**{f.name: arrays[f"labels.{f.name}"] for f in fields(Labels)})
        model.scales_ = Scales(**{f.name: arrays[f"scales.{f.name}"] for f in fields(Scales)})
        model.blocks_, model._prepared = [], []
        for i, (name, kind, width) in enumerate(about["blocks"]):
            columns, centre, scale, x = (
                arrays[f"block{i}.{part}"] for part in ("columns", "centre", "scale", "x")
            )
            model.blocks_.append(BlockKernel(name, columns, kind, centre, scale, width))
            model._prepared.append(x.astype(np.float64))
        model.solver_, model._solver = about["solver"], None
        model._one_task, model._n_rows = about["one_task"], about["n_rows"]
        model.n_features_in_ = about["n_features"]
        if model.solver_ == "inducing":
            kernel = model.scales_.kernel(model.blocks_)
            model._inducing = InducingPoints(kernel, model._prepared, arrays["inducing"])
        return model


def _matrix(values: npt.ArrayLike, parameter: str) -> FloatArray:
    """Return a matrix of numbers [N, F] of at least one row and column; NaN is allowed."""
    if hasattr(values, "toarray"):
        raise ModelError(f"{parameter}: expected a dense array; found a sparse one; use toarray()")
    matrix = np.asarray(values)
    if np.iscomplexobj(matrix):
        raise ModelError(f"{parameter}: expected real numbers; found complex data not supported")
    matrix = matrix.astype(np.float64)
    if matrix.ndim != 2 or not matrix.size:
        raise ModelError(
            f"{parameter}: expected a matrix of at least one row and one feature; found shape"
            f" {matrix.shape}; a single row or feature: Reshape your data"
        )
    return matrix


def _targets(values: npt.ArrayLike, n_rows: int) -> FloatArray:
    """Return labels [N, T]."""
    targets = np.asarray(values, dtype=np.float64)
    targets = targets[:, None] if targets.ndim == 1 else targets
    if targets.ndim != 2 or len(targets) != n_rows or not targets.size:
        raise ModelError(
            f"Y: expected labels of the {n_rows} rows of X; found shape {targets.shape}"
        )
    if np.isinf(targets).any():
        raise ModelError("Y: expected numbers, or NaN where there is no label; found infinity")
    return targets


def _like(
    values: npt.ArrayLike | None, targets: FloatArray, parameter: str, default: float
) -> FloatArray:
    """Return one value a label [N, T], from one a label, one a row, or none."""
    if values is None:
        return np.full(targets.shape, default)
    given = np.asarray(values, dtype=np.float64)
    if given.ndim == 1 and len(given) == len(targets):
        given = np.broadcast_to(given[:, None], targets.shape)
    if given.shape != targets.shape:
        raise ModelError(
            f"{parameter}: expected shape {targets.shape} or ({len(targets)},); found {given.shape}"
        )
    return given


def _spread(targets: FloatArray) -> tuple[FloatArray, FloatArray, npt.NDArray[np.bool_]]:
    """Return mean and standard deviation of each task's labels [T], and whether they vary."""
    with warnings.catch_warnings():
        # A task without labels: its mean is NaN, which is what is meant.
        warnings.simplefilter("ignore", RuntimeWarning)
        center, spread = np.nanmean(targets, axis=0), np.nanstd(targets, axis=0)
    varies = spread > 1e-12 * np.abs(center)
    return center, np.where(varies, spread, 1.0), varies


def _labels(standardised: FloatArray, side: FloatArray, weight: FloatArray) -> Labels:
    """Return the labels that are there, by task."""
    task, molecule = np.nonzero(np.isfinite(standardised.T))
    where = molecule, task
    return Labels(
        task,
        molecule,
        standardised[where],
        weight[where],
        side[where].astype(np.int8),
        np.full(len(task), np.inf),
    )


def _narrow(values: FloatArray) -> npt.NDArray[Any]:
    """Return the same numbers in the smallest type that holds them exactly."""
    for kind in (np.uint8, np.uint16, np.float32):
        with np.errstate(invalid="ignore", over="ignore"):
            smaller = values.astype(kind)
        if np.array_equal(smaller, values):
            return smaller
    return values
