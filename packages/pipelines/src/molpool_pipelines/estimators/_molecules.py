"""A training run as an estimator: what all kinds of model over SMILES share."""

from __future__ import annotations

import io
import shutil
import weakref
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, ClassVar, Self

import narwhals as nw
import numpy as np
import polars as pl
from molpool_common import BoolArray, FloatArray, InputError, listed
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.utils.validation import check_is_fitted

from molpool_pipelines.estimators._inputs import Targets, smiles_of
from molpool_pipelines.estimators._report import Report
from molpool_pipelines.models import LEVEL, ServedModel

if TYPE_CHECKING:
    import pandas as pd

_RUN, _TABLE = "run", "table.parquet"


@dataclass(kw_only=True, eq=False, repr=False)
class MoleculeEstimator(BaseEstimator):  # type: ignore[misc]
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

    options: Mapping[str, Any] | None = None
    smiles_column: str | None = None
    save_dir: str | Path | None = None
    random_state: int = 42
    verbose: bool = False

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
        smiles = smiles_of(X, self.smiles_column)
        targets = Targets.of(self._encoded(y))
        if len(smiles) != len(targets.values):
            raise InputError(
                "y",
                expected=f"a row for each of {len(smiles)} molecules",
                found=str(len(targets.values)),
            )
        folder = self._own_folder()
        table = {"SMILES": smiles} | dict(zip(targets.names, targets.values.T, strict=True))
        pl.DataFrame(table, strict=False).fill_nan(None).write_parquet(folder / _TABLE)
        values = merged(
            {
                "data_path": str(folder / _TABLE),
                "save_dir": str(self.save_dir or folder / _RUN),
                "seed": self.random_state,
                "task_type": self.task_type,
                "data": {"target_columns": list(targets.names)},
            },
            self.options or {},
        )
        quiet = nullcontext() if self.verbose else redirect_stdout(io.StringIO())
        also = nullcontext() if self.verbose else redirect_stderr(io.StringIO())
        with quiet, also:
            self._train(values)
        return self.attached(Path(values["save_dir"]), targets.names, is_single=targets.is_single)

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
        self.run_ = run
        self.task_names_ = tuple(task_names)
        self.n_features_in_ = 1
        self._is_single = len(task_names) == 1 if is_single is None else is_single
        self._served: ServedModel | None = None
        return self

    def _own_folder(self) -> Path:
        """Return a new folder that goes with this object."""
        folder = Path(mkdtemp(prefix="molpool-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    def _predicted(self, X: Any, level: float) -> pd.DataFrame:
        import pandas as pd

        check_is_fitted(self, "run_")
        smiles = pd.DataFrame({"SMILES": smiles_of(X, self.smiles_column)}, dtype=object)
        if self._served is None:
            self._served = ServedModel(self.run_)
        return self._served.predict(smiles, {"level": level})

    def predict_table(self, X: Any, *, level: float = LEVEL) -> Any:
        """Return what ``molpool-evaluate predict`` writes, as a frame.

        Predictions, standard deviations, intervals that cover a share `level` of new molecules,
        the nearest training molecule and whether a molecule is outside the domain. Of the library
        of X, with its index where X is of pandas; of pandas where X is no frame and no series.
        """
        found = self._predicted(X, level)
        native = nw.from_native(X, allow_series=True, eager_only=True, pass_through=True)
        if not isinstance(native, (nw.DataFrame, nw.Series)):
            return found
        if native.implementation.is_pandas():
            return found.set_axis(nw.to_native(native).index)
        columns = {name: found[name].to_list() for name in found.columns}
        return nw.from_dict(columns, backend=native.implementation).to_native()

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

    def report(self) -> Report:
        """Return the page of the run, which a notebook shows."""
        check_is_fitted(self, "run_")
        return Report.of(self.run_)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "run_" in state:
            # The files go along, as another process or machine has no such folder.
            state["_files"], state["_served"] = _packed(state.pop("run_")), None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        files = state.pop("_files", None)
        super().__setstate__(state)
        if files is not None:
            self.run_ = self._own_folder() / _RUN
            with zipfile.ZipFile(io.BytesIO(files)) as archive:
                archive.extractall(self.run_)

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
        found = self._predicted(X, return_interval or LEVEL)
        mean = self._shaped(self._column(found))
        if return_interval is None:
            return mean
        ends = np.stack([self._column(found, f"_{end}") for end in ("lower", "upper")], axis=-1)
        return mean, self._shaped(ends)

    def _shaped(self, values: FloatArray) -> FloatArray:
        return values[:, 0] if self._is_single else values

    def score(self, X: Any, y: Any) -> float:
        """Return the mean over tasks of R2 on the labels that there are."""
        return _mean_score(r2_score, Targets.of(y).values, self._column(self._predicted(X, LEVEL)))


class MoleculeClassifier(ClassifierMixin, MoleculeEstimator):  # type: ignore[misc]
    """An estimator of two classes per task: any two values, or 0 and 1 with NaN in several tasks.

    Attributes
    ----------
    classes_ : ndarray [2]
        The classes, the second of which probabilities are of.
    """

    task_type = "classification"

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
        return _mean_score(roc_auc_score, truth, self._column(self._predicted(X, LEVEL)))

    def _truth(self, y: Any) -> Any:
        return np.asarray(y) == self.classes_[1] if self._is_single else y


def _mean_score(score: Any, truth: FloatArray, predicted: FloatArray) -> float:
    found = []
    for own, said in zip(truth.T, predicted.T, strict=True):
        known = np.isfinite(own) & np.isfinite(said)
        # Neither of one label nor of equal ones is there a score.
        if len(np.unique(own[known])) > 1:
            found.append(score(own[known], said[known]))
    return float(np.mean(found)) if found else np.nan


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values of which those of `over` go first."""
    found = dict(base)
    for key, given in over.items():
        inner = found.get(key)
        if isinstance(inner, Mapping) and isinstance(given, Mapping):
            given = merged(inner, given)
        found[key] = given
    return found


def _packed(run: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(f for f in run.rglob("*") if f.is_file()):
            archive.write(file, file.relative_to(run))
    return buffer.getvalue()
