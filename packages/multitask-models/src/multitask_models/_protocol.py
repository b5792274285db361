"""What every model of the package is: a scikit-learn estimator of sparse, censored labels."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, Self, overload
from warnings import warn

import numpy as np
from molpool_common import (
    BoolArray,
    DamagedFileError,
    FloatArray,
    IntArray,
    atomic_path,
    listed,
    read_npz,
)
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from multitask_models._errors import MissingLabelWarning, ModelError
from multitask_models._labels import Labels, TaskKind, as_matrix
from multitask_models._limits import AssayLimits

Limits = Literal["auto"] | ArrayLike | None
"""What `limits` may be."""

State = dict[str, NDArray[Any]]
"""What a fitted model is made of, as arrays that need no pickle."""

FORMAT = 1
"""Version of the file that `MultitaskModel.save` writes."""

_META = "model.json"
"""Name within the file of what is no array."""


class RowSampler(Protocol):
    """Row numbers in the order in which they train, as a ``torch.utils.data.Sampler`` has them.

    Its draws follow from the number given to `set_epoch`, as those of ``sampling_core`` do.
    """

    def set_epoch(self, epoch: int) -> None:
        """Choose which draws come next."""

    def __iter__(self) -> Iterator[int]: ...


class Latent(NamedTuple):
    """What a model says of the values behind an assay: [N, T] each.

    `spread` is the standard deviation that `predict` returns, or None where a model has none;
    `noise` [T] is that of labels about predictions which `spread` leaves out, NaN if not known.
    """

    mean: FloatArray
    spread: FloatArray | None
    noise: FloatArray


class MultitaskModel(RegressorMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """A model of T tasks on F features.

    Subclasses say how it is fitted (`_fit`), predicted (`_latent`) and kept (`_state`,
    `_restore`), for tasks whose labels vary, on rows with features and labels. What is common:

    * A label is NaN where a row has none of a task; rows without any label, of weight 0, or
      without any feature take no part, and a row without features is predicted NaN.
    * A task without labels is predicted NaN, with one warning; one whose labels are all equal,
      as these.
    * Labels beyond the assay's limits are bounds, and predictions stop there, unless `latent` is
      asked for.

    Subclasses take these parameters beside their own.

    Parameters
    ----------
    task_kinds : {"regression", "classification"} or a sequence of them, one a task
        Classification tasks have labels 0 and 1, and their predictions are probabilities of 1.
    limits : None, "auto" or array_like [T, 2]
        Floor and ceiling of each task's assay, NaN where it has none; "auto" finds them in the
        labels (see `find_limits`).
    """

    task_kinds: TaskKind | Sequence[TaskKind]
    limits: Limits

    @abstractmethod
    def _fit(self, X: NDArray[Any], labels: Labels, sampler: RowSampler | None) -> None:
        """Fit to rows [N, F] with labels of tasks that vary."""

    @abstractmethod
    def _latent(self, X: NDArray[Any]) -> Latent:
        """Predict the tasks that `_fit` was given, in units of their labels."""

    def _latent_mean(self, X: NDArray[Any]) -> FloatArray:
        """Return the mean of `_latent` alone, [N, T]; for models whose spread takes long."""
        return self._latent(X).mean

    @abstractmethod
    def _state(self) -> State:
        """Return what `_restore` needs, beside the parameters."""

    @abstractmethod
    def _restore(self, state: State) -> None:
        """Become the model that `_state` was asked of."""

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        censoring: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        sampler: RowSampler | None = None,
    ) -> Self:
        """Fit to features and labels.

        Parameters
        ----------
        X : array_like [N, F]
            Features; NaN where one is missing.
        y : array_like [N, T] or [N]
            Labels; NaN where a row has none of a task.
        censoring : array_like of int [N, T] or None
            -1 where the label is an upper bound (``<``), +1 where it is a lower one (``>``), else
            0.
        sample_weight : array_like [N] or None
            Weights of the rows, from 0 on.
        sampler : RowSampler or None
            Draws of rows, for models that learn in epochs; the others raise.

        Returns
        -------
        self

        Raises
        ------
        ModelError
            If no row has both a feature and a label, or a shape, sign, class or weight is wrong.
        """
        finite: dict[str, Any] = {"ensure_all_finite": "allow-nan"}
        features: NDArray[Any]
        features, given = validate_data(
            self,
            X,
            y,
            validate_separately=(
                {**finite, "dtype": [np.float64, np.float32]},
                {**finite, "dtype": np.float64, "ensure_2d": False},
            ),
        )
        check_consistent_length(features, given)
        self._flat = given.ndim == 1
        labels = Labels.checked(as_matrix(given), censoring, sample_weight, self.task_kinds)
        kept: BoolArray = _featured(features) & labels.present.any(axis=1) & (labels.weights > 0)
        if not kept.any():
            raise ModelError(
                "rows: expected one with a feature, a label and a weight other than zero; found "
                f"none in {len(features)}."
            )
        labels = labels.rows(kept)
        _warn_unlabelled(np.flatnonzero(labels.n_labels == 0))
        self.limits_ = AssayLimits.of(self.limits, labels)
        labels = self.limits_.censor(labels)
        self.single_values_ = labels.single_values()
        self._varying = np.isnan(self.single_values_) & (labels.n_labels > 0)
        if sampler is not None:
            sampler = _KeptRows(sampler, kept)
        if self._varying.any():
            learned = labels.tasks(self._varying)
            rows = np.asarray(learned.present.any(axis=1))
            drawn = None if sampler is None else _KeptRows(sampler, rows)
            self._rows, self._n_rows = np.flatnonzero(kept)[rows], len(features)
            # Features of many molecules are the most of a run's memory: no copy without need.
            whole = len(self._rows) == len(features)
            self._fit(features if whole else features[self._rows], learned.rows(rows), drawn)
        return self

    @overload
    def predict(
        self, X: ArrayLike, *, return_std: Literal[False] = ..., latent: bool = ...
    ) -> FloatArray: ...

    @overload
    def predict(
        self, X: ArrayLike, *, return_std: Literal[True], latent: bool = ...
    ) -> tuple[FloatArray, FloatArray]: ...

    def predict(
        self, X: ArrayLike, *, return_std: bool = False, latent: bool = False
    ) -> FloatArray | tuple[FloatArray, FloatArray]:
        """Predict all tasks.

        Parameters
        ----------
        X : array_like [N, F]
        return_std : bool
            Return also standard deviations; what they cover is the model's to say. NaN for tasks
            whose labels were all equal.
        latent : bool
            Predict the value behind the assay, which may lie beyond its limits, instead of what
            the assay would report.

        Returns
        -------
        mean : ndarray [N, T], or [N] where the labels were
        std : ndarray of the same shape
            If `return_std`.
        """
        values = self._predict(X, spread=return_std)
        mean = values.mean if latent else self.limits_.report(values.mean)
        if not return_std:
            return self._shaped(mean)
        if values.spread is None:
            raise ModelError(
                f"return_std: expected a model with standard deviations; {type(self).__name__} "
                "as it was fitted has none."
            )
        return self._shaped(mean), self._shaped(values.spread)

    def predict_at_limits(
        self, X: ArrayLike, *, scale: ArrayLike | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return the probabilities that the assay reports its floor and its ceiling.

        The latent value is taken to be normal about its prediction.

        Parameters
        ----------
        X : array_like [N, F]
        scale : array_like [T] or [N, T], or None
            Standard deviation of latent values about predictions: that of rows which the model
            was not fitted to, where there are such. None: what the model knows from its own rows,
            which is too small for molecules unlike them (on later molecules of one programme by
            half).

        Returns
        -------
        at_floor, at_ceiling : ndarray [N, T], or [N] where the labels were
            0 for an assay without that limit; NaN where neither `scale` nor the model says how far
            labels scatter.
        """
        values = self._predict(X)
        if scale is None:
            spread = 0.0 if values.spread is None else values.spread
            deviation = np.sqrt(values.noise**2 + spread**2)
        else:
            deviation = np.broadcast_to(np.asarray(scale, dtype=np.float64), values.mean.shape)
        probabilities = []
        for limit, beyond in (
            (self.limits_.floor, self.limits_.floor - values.mean),
            (self.limits_.ceiling, values.mean - self.limits_.ceiling),
        ):
            with np.errstate(divide="ignore", invalid="ignore"):
                probability = ndtr(beyond / deviation)
            # A limit that is not there is never reached, whatever the scale.
            probabilities.append(self._shaped(np.where(np.isinf(limit), 0.0, probability)))
        return probabilities[0], probabilities[1]

    def _predict(self, X: ArrayLike, *, spread: bool = True) -> Latent:
        """Return predictions of all tasks, those that were not learned too.

        Without `spread` the mean is all that may be used of them.
        """
        features, featured = self._features(X)
        shape = (len(features), len(self.single_values_))
        mean, noise = np.full(shape, np.nan), np.full(shape[1], np.nan)
        mean[featured] = self.single_values_
        place = np.ix_(featured, self._varying)
        known = features if featured.all() else features[featured]
        if not spread:
            if self._varying.any():
                mean[place] = self._latent_mean(known)
            return Latent(mean, None, noise)
        spreads: FloatArray | None = np.full(shape, np.nan)
        if self._varying.any():
            learned = self._latent(known)
            mean[place], noise[self._varying] = learned.mean, learned.noise
            if learned.spread is None:
                spreads = None
            elif spreads is not None:
                spreads[place] = learned.spread
        return Latent(mean, spreads, noise)

    def _features(self, X: ArrayLike) -> tuple[NDArray[Any], BoolArray]:
        """Return features [N, F] and which rows have any [N]."""
        check_is_fitted(self, "single_values_")
        features: NDArray[Any] = validate_data(
            self,
            X,
            reset=False,
            ensure_all_finite="allow-nan",
            dtype=[np.float64, np.float32],
        )
        return features, _featured(features)

    def _shaped(self, values: FloatArray) -> FloatArray:
        return values[:, 0] if self._flat else values

    def save(self, path: str | Path) -> None:
        """Write the fitted model to one file, atomically.

        The file is a NumPy archive of plain arrays and a JSON text; reading it runs no code.
        """
        check_is_fitted(self, "single_values_")
        limits = {f"limits.{f.name}": getattr(self.limits_, f.name) for f in fields(AssayLimits)}
        learned = self._state() if self._varying.any() else {}
        arrays = {
            "single_values": self.single_values_,
            "varying": self._varying,
            **limits,
            **{f"model.{name}": array for name, array in learned.items()},
        }
        meta = {
            "format": FORMAT,
            "model": type(self).__name__,
            "parameters": self.get_params(deep=False),
            "n_features": self.n_features_in_,
            "flat": self._flat,
        }
        text = json.dumps(meta, default=_plain)
        with atomic_path(Path(path)) as temporary, temporary.open("wb") as file:
            np.savez(file, **{_META: np.frombuffer(text.encode(), dtype=np.uint8)}, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a model that `save` wrote.

        Raises
        ------
        ModelError
            If the file is damaged, of another model, or of a later version.
        """
        meta, arrays = read_model_file(path)
        if meta["model"] != cls.__name__:
            raise ModelError(f"{path}: expected a {cls.__name__}; found a {meta['model']}.")
        return cls._from_file(meta, arrays)

    @classmethod
    def _from_file(cls, meta: dict[str, Any], arrays: State) -> Self:
        model = cls(**meta["parameters"])
        model.n_features_in_, model._flat = meta["n_features"], meta["flat"]
        model.single_values_, model._varying = arrays["single_values"], arrays["varying"]
        model.limits_ = AssayLimits(
            **{f.name: arrays[f"limits.{f.name}"] for f in fields(AssayLimits)}
        )
        if model._varying.any():
            prefix = "model."
            model._restore(
                {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
            )
        return model

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.target_tags.multi_output = True
        return tags


def read_model_file(path: str | Path) -> tuple[dict[str, Any], State]:
    """Return what stands in a file of `MultitaskModel.save`: its JSON part, and its arrays.

    Raises
    ------
    ModelError
        If it is no such file, is damaged, or of a later version.
    """
    try:
        arrays: State = read_npz(path)
        meta = json.loads(arrays.pop(_META).tobytes())
    except (DamagedFileError, ValueError, KeyError) as error:
        found = error.found if isinstance(error, DamagedFileError) else str(error)
        raise ModelError(
            f"{path}: expected a saved model; found a damaged file ({found})."
        ) from error
    if meta["format"] > FORMAT:
        raise ModelError(
            f"{path}: expected format {FORMAT} or lower; found {meta['format']}, of a later "
            "version of multitask-models."
        )
    return meta, arrays


class _KeptRows:
    """The draws of a sampler that fall on some rows, as numbers among these."""

    def __init__(self, sampler: RowSampler, kept: BoolArray) -> None:
        self._sampler = sampler
        self._numbers: IntArray = np.where(kept, np.cumsum(kept) - 1, -1)

    def set_epoch(self, epoch: int) -> None:
        self._sampler.set_epoch(epoch)

    def __iter__(self) -> Iterator[int]:
        rows = self._numbers[np.fromiter(self._sampler, dtype=np.int64)]
        return iter(rows[rows >= 0].tolist())


def _featured(X: NDArray[Any]) -> BoolArray:
    """Return which rows have a feature at all: a molecule that failed is a row of NaN."""
    lacking = np.isnan(X[:, 0])
    lacking[lacking] = np.isnan(X[lacking]).all(axis=1)
    return np.asarray(~lacking)


def _warn_unlabelled(tasks: IntArray) -> None:
    if len(tasks):
        warn(
            f"No label to learn from for task {listed(tasks.tolist())}: predicted as NaN.",
            MissingLabelWarning,
            stacklevel=3,
        )


def _plain(value: Any) -> Any:
    """Return what JSON can hold of a parameter."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"A parameter of type {type(value).__name__} cannot be saved.")
