"""A training run as an estimator: what all kinds of model over SMILES share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import narwhals as nw
import numpy as np
import polars as pl
from molpool_common import BoolArray, FloatArray, InputError, listed
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.utils.validation import check_is_fitted

from molpool_pipelines.estimators._estimator import RunEstimator, like, mean_score
from molpool_pipelines.estimators._inputs import Targets, level_of, smiles_of
from molpool_pipelines.models import LEVEL, ServedModel

if TYPE_CHECKING:
    import pandas as pd

_TABLE = "table.parquet"


@dataclass(kw_only=True, eq=False, repr=False)
class MoleculeEstimator(RunEstimator):
    """A model of molecules, trained as its command trains it; the run is `run_`.

    X is a list, an array, a series or a frame of SMILES or RDKit molecules; y has NaN where a
    molecule has no label of a task. All molecules train; those out of fold, or a share that
    validates, calibrate the intervals.

    Parameters
    ----------
    options : mapping or None
        Keys of the command's configuration as in YAML, such as ``{"mlp": {"epochs": 10}}``; they
        go before the other parameters.
    smiles_column : str or None
        Of a frame; by default ``SMILES`` in any case, or the only column of text.
    save_dir : str, path or None
        Run folder to write; None: one that goes with the estimator.
    random_state : int
        Seed.
    verbose : bool
        Whether the run prints what the command prints.

    Attributes
    ----------
    run_ : Path
        The run folder, which every command reads.
    task_names_ : tuple of str, length T
        Names of the columns of y.
    n_features_in_ : int
        1, the column of molecules.
    """

    task_type: ClassVar[str]

    smiles_column: str | None = None

    def _train(self, values: dict[str, Any]) -> None:
        """Train by the values of a configuration."""
        raise NotImplementedError

    def fit(self, X: Any, y: Any) -> Self:
        """Train on molecules [N] and labels [N] or [N, T].

        Raises
        ------
        InputError
            If molecules, labels or options are wrong.
        """
        targets = Targets.of(self._encoded(y))
        table, values = self._table(X, targets), self._values(X, targets)
        folder = self._own_folder()
        table.write_parquet(folder / _TABLE)
        run = self._run_in(folder, {"data_path": str(folder / _TABLE), **values}, self._train)
        return self.attached(run, targets.names, is_single=targets.is_single)

    def _table(self, X: Any, targets: Targets) -> pl.DataFrame:
        """Return the table that trains."""
        smiles = smiles_of(X, self.smiles_column)
        targets.check_rows(len(smiles), "molecules")
        columns = {"SMILES": smiles} | dict(zip(targets.names, targets.values.T, strict=True))
        return pl.DataFrame(columns, strict=False).fill_nan(None)

    def _values(self, X: Any, targets: Targets) -> dict[str, Any]:
        """Return what the configuration says of that table."""
        return {
            "task_type": self.task_type,
            "page": False,
            "data": {"target_columns": list(targets.names)},
        }

    def _encoded(self, y: Any) -> Any:
        return y

    def attached(
        self, run: Path, task_names: Sequence[str], *, is_single: bool | None = None
    ) -> Self:
        """Take a run folder as what was fitted, and return this estimator.

        Parameters
        ----------
        run : Path
            The run.
        task_names : sequence of str, length T
            Its tasks.
        is_single : bool or None
            Whether predictions are [N], of one task; None: where there is one.
        """
        self.task_names_ = tuple(task_names)
        self.n_features_in_ = 1
        self._is_single = len(task_names) == 1 if is_single is None else is_single
        return self._attached(run)

    def _predicted(self, X: Any, level: float) -> pd.DataFrame:
        import pandas as pd

        check_is_fitted(self, "run_")
        smiles = pd.DataFrame({"SMILES": smiles_of(X, self.smiles_column)}, dtype=object)
        if self._loaded is None:
            self._loaded = ServedModel(self.run_)
        found: pd.DataFrame = self._loaded.predict(smiles, {"level": level})
        return found

    def predict_table(self, X: Any, *, level: float = LEVEL) -> Any:
        """Return what ``molpool-evaluate predict`` writes, as a frame.

        Predictions, standard deviations, intervals that cover a share `level` of new molecules,
        the nearest training molecule and whether a molecule is outside the domain. Of the library
        of X, with its index where X is of pandas; of pandas where X is no frame and no series.
        """
        return like(self._predicted(X, level), X)

    def _column(self, found: pd.DataFrame, suffix: str = "") -> FloatArray:
        """Return a column of each task [N, T], NaN where a run has none."""
        nothing = np.full(len(found), np.nan)
        return np.column_stack(
            [
                found[name].to_numpy(dtype=np.float64, na_value=np.nan)
                if (name := f"{task}{suffix}") in found.columns
                else nothing
                for task in self.task_names_
            ]
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.target_tags.multi_output = True
        tags.no_validation = True
        return tags


class MoleculeRegressor(RegressorMixin, MoleculeEstimator):  # type: ignore[misc]
    """An estimator of numbers."""

    task_type = "regression"

    def predict(self, X: Any, *, return_interval: float | None = None) -> Any:
        """Predict molecules [N].

        Parameters
        ----------
        X : list, array, series or frame
            Molecules; one that does not parse is predicted as NaN.
        return_interval : float or None
            Share of new molecules that intervals shall cover.

        Returns
        -------
        mean : ndarray [N] or [N, T]
            As y was.
        interval : ndarray [N, 2] or [N, T, 2]
            Only with `return_interval`: lower and upper ends, NaN where a task has too few labels.
        """
        found = self._predicted(X, level_of(return_interval, LEVEL))
        mean = self._shaped(self._column(found))
        if return_interval is None:
            return mean
        ends = np.stack([self._column(found, f"_{end}") for end in ("lower", "upper")], axis=-1)
        return mean, self._shaped(ends)

    def _shaped(self, values: FloatArray) -> FloatArray:
        return values[:, 0] if self._is_single else values

    def score(self, X: Any, y: Any) -> float:
        """Return the mean over tasks of R2 on the labels that there are."""
        return mean_score(r2_score, Targets.of(y).values, self._column(self._predicted(X, LEVEL)))


class MoleculeClassifier(ClassifierMixin, MoleculeEstimator):  # type: ignore[misc]
    """An estimator of two classes per task: any two values, or 0 and 1 with NaN in several tasks.

    Attributes
    ----------
    classes_ : ndarray [2]
        The classes, the second of which probabilities are of.
    """

    task_type = "classification"

    def attached(
        self, run: Path, task_names: Sequence[str], *, is_single: bool | None = None
    ) -> Self:
        """Take a run folder as what was fitted; its classes are 0 and 1 unless y said others."""
        if not hasattr(self, "classes_"):
            self.classes_ = np.array([0, 1])
        return super().attached(run, task_names, is_single=is_single)

    def _encoded(self, y: Any) -> Any:
        if np.ndim(y) != 1:
            self.classes_ = np.array([0, 1])
            return y
        values = np.asarray(y)
        if values.dtype.kind == "f":
            self.classes_ = np.unique(values[~np.isnan(values)])
            known = np.where(np.isnan(values), np.nan, 1.0)
        else:
            self.classes_, known = np.unique(values), np.ones(len(values))
        if len(self.classes_) != 2:
            raise InputError(
                "y",
                expected="two classes",
                found=f"{len(self.classes_)}: {listed(self.classes_.tolist())}",
            )
        series = nw.from_native(y, allow_series=True, eager_only=True, pass_through=True)
        encoded = known * (values == self.classes_[1])
        if not isinstance(series, nw.Series) or series.name is None:
            return encoded
        return pl.Series(str(series.name), encoded)

    def predict_proba(self, X: Any) -> FloatArray:
        """Return probabilities: [N, 2] of both classes, or [N, T] of the second of each task."""
        positive = self._column(self._predicted(X, LEVEL))
        return np.column_stack([1 - positive, positive]) if self._is_single else positive

    def predict(self, X: Any) -> Any:
        """Return the class of each molecule, [N] or [N, T], at the threshold of the run.

        Raises
        ------
        InputError
            If a molecule does not parse, as no class says so.
        """
        found = self._predicted(X, LEVEL)
        positive, called = self._column(found), self._column(found, "_class")
        if len(bad := np.flatnonzero(np.isnan(positive).all(axis=1))):
            raise InputError(
                "X", expected="molecules", found=f"none in rows {listed(bad.tolist())}"
            )
        second: BoolArray = np.where(np.isnan(called), positive >= 0.5, called == 1)
        classes = self.classes_[second.astype(int)]
        return classes[:, 0] if self._is_single else classes

    def score(self, X: Any, y: Any) -> float:
        """Return the mean over tasks of the area under the ROC curve."""
        truth = Targets.of(self._truth(y)).values
        return mean_score(roc_auc_score, truth, self._column(self._predicted(X, LEVEL)))

    def _truth(self, y: Any) -> Any:
        return np.asarray(y) == self.classes_[1] if self._is_single else y
