"""`molpool-rt fit` as an estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

import narwhals as nw
import numpy as np
import polars as pl
from molpool_common import FloatArray, InputError, validate_values
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from molpool_pipelines.estimators._estimator import RunEstimator, like, mean_score
from molpool_pipelines.estimators._inputs import Targets, level_of
from molpool_pipelines.estimators._report import Report
from molpool_pipelines.runs import CONFIG, REPORT, load_stored

if TYPE_CHECKING:
    import pandas as pd

_TABLE = "table.parquet"


@dataclass(kw_only=True, eq=False, repr=False)
class RetentionRidge(RegressorMixin, RunEstimator):  # type: ignore[misc]
    """Retention times of compounds in groups of runs, with partially pooled drift.

    X is a frame with columns of the compound and its group, of the group's supercategory and the
    run where there are these, and of run covariates; y are retention times, NaN where a row has
    none.

    Parameters
    ----------
    group_col, compound_col : str
        Columns of the group (species) and the compound.
    parent_col, run_col : str or None
        Columns of the group's supercategory and of the run; None, or no such column: there is none.
    covariates : sequence of str or None
        Columns of run covariates; None: all columns of numbers without another role.
    model : str
        As ``molpool-rt fit --model``.
    options, save_dir, random_state, verbose
        As of `RunEstimator`; keys are those of ``molpool-rt fit``.

    Attributes
    ----------
    run_ : Path
        The run folder, which every command of ``molpool-rt`` reads.
    """

    group_col: str = "species"
    compound_col: str = "comp_id"
    parent_col: str | None = "species_cluster"
    run_col: str | None = "run"
    covariates: Sequence[str] | None = None
    model: str = "partial_pooling"

    def fit(self, X: Any, y: Any) -> Self:
        """Fit coefficients of every (group, compound) to rows [N] and their times [N].

        Raises
        ------
        InputError, RTRidgeError
            If columns, times or options are wrong.
        """
        frame, targets = _frame(X), Targets.of(y)
        targets.check_rows(frame.height, "rows")
        if not targets.is_single and targets.values.shape[1] > 1:
            raise InputError("y", expected="one retention time a row", found="several")
        target = targets.names[0]
        folder = self._own_folder()
        times = pl.Series(target, targets.values[:, 0]).fill_nan(None)
        table = frame.with_columns(times).drop_nulls(target)
        table.write_parquet(folder / _TABLE)
        values = {"data": [str(folder / _TABLE)], "target_col": target, **self._columns(frame)}
        return self.attached(self._run_in(folder, values, self._train))

    @staticmethod
    def is_run(path: Path) -> bool:
        """Return whether a folder is of a fit."""
        from molpool_pipelines.retention import COEFFICIENTS

        return (path / COEFFICIENTS).is_file()

    def attached(self, run: Path) -> Self:
        """Take the run folder of a fit as what was fitted, and return this estimator."""
        from molpool_pipelines.retention import FitConfig

        self._stored = load_stored(FitConfig, run / CONFIG)
        self.target_ = self._stored.target_col
        return self._attached(run)

    def _columns(self, frame: pl.DataFrame) -> dict[str, Any]:
        named = (self.parent_col, self.run_col)
        parent, run = (name if name in frame.columns else None for name in named)
        roles = {self.group_col, self.compound_col, parent, run}
        numbers = [n for n, kind in frame.schema.items() if kind.is_numeric() and n not in roles]
        return {
            "group_col": self.group_col,
            "compound_col": self.compound_col,
            "parent_col": parent,
            "run_col": run,
            "covariates": numbers if self.covariates is None else list(self.covariates),
            "model": self.model,
        }

    def _train(self, values: Mapping[str, Any]) -> None:
        import molpool_pipelines.retention as rt

        config = validate_values(rt.FitConfig, values)
        path = config.free_folder("fit")
        fitted = rt.fit(config, rt.read_training(config))
        with config.open_folder(path) as run:
            fitted.write(run)

    def _predicted(self, X: Any, level: float) -> pd.DataFrame:
        import molpool_pipelines.retention as rt

        check_is_fitted(self, "run_")
        with TemporaryDirectory(prefix="molpool-") as folder:
            table = Path(folder) / _TABLE
            _frame(X).write_parquet(table)
            config = rt.PredictConfig(
                data=[str(table)],
                artefact=str(self.run_),
                compound_col=self._stored.compound_col,
                parent_col=self._stored.parent_col,
                target_col=self.target_,
                level=[level],
            )
            found = pl.concat(rt.predict_frames(config))
        return found.drop("row").to_pandas()

    def predict_table(self, X: Any, *, level: float = 0.9) -> Any:
        """Return what ``molpool-rt predict`` writes, as a frame of the library of X."""
        return like(self._predicted(X, level), X)

    def predict(self, X: Any, *, return_interval: float | None = None) -> Any:
        """Predict retention times [N].

        Parameters
        ----------
        X : frame
            As in `fit`.
        return_interval : float or None
            Share of new measurements that intervals shall cover.

        Returns
        -------
        mean : ndarray [N]
            In the unit of y; NaN for pairs of which the fit says nothing.
        interval : ndarray [N, 2]
            Only with `return_interval`: lower and upper ends.
        """
        found = self._predicted(X, level_of(return_interval, 0.9))
        names = [f"{self.target_}{end}" for end in ("", "_lower", "_upper")]
        mean, *ends = (found[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in names)
        return mean if return_interval is None else (mean, np.column_stack(ends))

    def score(self, X: Any, y: Any) -> float:
        """Return R2 on the rows that have a time and a prediction."""
        predicted: FloatArray = self.predict(X)
        return mean_score(r2_score, Targets.of(y).values, predicted[:, None])

    def report(self) -> Report:
        """Return the page of the fit, which a notebook shows; drawn when it is first asked for."""
        check_is_fitted(self, "run_")
        page = self.run_ / REPORT
        if not page.is_file():
            import molpool_pipelines.retention as rt

            rt.report(rt.ReportConfig(runs=[str(self.run_)], output=str(page), pdf=False))
        return Report(page)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # A frame, which no array stands for.
        tags.input_tags.two_d_array = False
        tags.input_tags.categorical = True
        tags.no_validation = True
        return tags


def _frame(X: Any) -> pl.DataFrame:
    native = nw.from_native(X, eager_only=True, pass_through=True)
    if not isinstance(native, nw.DataFrame):
        raise InputError(
            "X",
            expected="a frame with columns of groups, compounds and covariates",
            found=type(X).__name__,
        )
    return native.to_polars()
