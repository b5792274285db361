"""What others do with retention times: models that fits are compared with, on equal terms.

Every one starts from the mean of a pair (of its compound, of all rows, where it was never seen),
predicts how a row differs from it, and has intervals from the spread of its residuals, calibrated
on runs held out as those of fits are. All are of scikit-learn's manner, and predict as artefacts.

mean    no more than that
ridge   scikit-learn's RidgeCV of each compound on standardised covariates
lasso   its LassoCV
gam     penalised cubic splines of each covariate, added up, for each compound
trees   LightGBM on covariates, compound and species
irt     in each run, the line that takes the standards' mean times to their times in it
loess   the same by local regression (Cleveland 1979, doi:10.1080/01621459.1979.10481038)

The last two take covariates for times of standards, in the unit of the retention time.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from molpool_common import FloatArray, IntArray
from rt_ridge import (
    LEVELS,
    CoefficientPredictor,
    Columns,
    FeatureMap,
    NoiseVariance,
    Prediction,
    RTRidgeError,
    Stage1CoeffSummaries,
    calibrate_intervals,
    read_rows,
)
from sklearn.base import BaseEstimator
from sklearn.linear_model import LassoCV, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer, StandardScaler

from molpool_pipelines.retention._batches import Artefact
from molpool_pipelines.retention._config import Baseline, FitConfig
from molpool_pipelines.retention._covariates import CentredFiles
from molpool_pipelines.retention._identifiers import as_prepared
from molpool_pipelines.retention._training import FEWEST_RUNS, training_columns
from molpool_pipelines.tables import TableFiles

FEWEST_ROWS = 8
"""Rows of a compound from which it has a regression of its own."""

NEAREST = 0.75
"""Share of the standards that a local regression looks at, as in R's loess."""

PENALTIES = np.logspace(-3, 3, 13)


@dataclass(frozen=True)
class Means:
    """Mean and number of the rows of each id.

    Attributes
    ----------
    ids : ndarray of int64, [L]
        Ascending.
    n : ndarray of int64, [L]
        Rows.
    mean : ndarray, [L]
        Of their times.
    """

    ids: IntArray
    n: IntArray
    mean: FloatArray

    @classmethod
    def of(cls, ids: IntArray, y: FloatArray) -> Means:
        """Return those of rows."""
        unique, at, n = np.unique(ids, return_inverse=True, return_counts=True)
        return cls(unique, n.astype(np.int64), np.bincount(at.ravel(), y) / n)

    def find(self, ids: IntArray) -> FloatArray:
        """Return the mean of each id, NaN where it has none, [N]."""
        place = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[place] == ids, self.mean[place], np.nan)


@dataclass(frozen=True)
class Design:
    """Rows as models take them.

    Attributes
    ----------
    X : ndarray, [N, P]
        Covariates.
    groups, compounds : ndarray of int64, [N]
        Ids.
    center : ndarray, [N]
        Where each row's pair is at all times, as far as it is known.
    level : ndarray of int8, [N]
        Place of that in `rt_ridge.LEVELS`.
    """

    X: FloatArray
    groups: IntArray
    compounds: IntArray
    center: FloatArray
    level: Any


@dataclass(frozen=True)
class Centers:
    """Means of pairs and compounds, and of all rows."""

    pairs: Means
    compounds: Means
    overall: float

    def design(self, X: FloatArray, groups: IntArray, compounds: IntArray) -> Design:
        """Return rows with their centres."""
        names = ("pair", "compound", "global")
        pair = self.pairs.find((groups << 32) + compounds)
        known = [pair, self.compounds.find(compounds), np.full(len(X), self.overall)]
        level = np.argmax([np.isfinite(values) for values in known], axis=0)
        codes = np.array([LEVELS.index(name) for name in names], dtype=np.int8)
        center = np.stack(known)[level, np.arange(len(X))]
        return Design(X, groups, compounds, center, codes[level])


Step = Callable[[Design], FloatArray]
"""How rows differ from their centres, [N]."""


def _nothing(design: Design, rest: FloatArray) -> Step:
    return lambda design: np.zeros(len(design.X))


def _of_compounds(make: Callable[[], Any]) -> Callable[[Design, FloatArray], Step]:
    """Return a fit of a regression to every compound of enough rows."""

    def fitted(design: Design, rest: FloatArray) -> Step:
        models: dict[int, Any] = {}
        ids, n = np.unique(design.compounds, return_counts=True)
        for compound in ids[n >= FEWEST_ROWS].tolist():
            at = design.compounds == compound
            with warnings.catch_warnings():
                # Of collinear covariates, and of paths that stop early.
                warnings.simplefilter("ignore")
                models[compound] = make().fit(design.X[at], rest[at])

        def step(rows: Design) -> FloatArray:
            found = np.zeros(len(rows.X))
            for compound in np.unique(rows.compounds).tolist():
                if compound in models:
                    at = rows.compounds == compound
                    found[at] = models[compound].predict(rows.X[at])
            return found

        return step

    return fitted


def _ridge() -> Any:
    return make_pipeline(StandardScaler(), RidgeCV(PENALTIES))


def _lasso() -> Any:
    return make_pipeline(StandardScaler(), LassoCV(alphas=20, cv=5))


def _gam() -> Any:
    splines = SplineTransformer(n_knots=4, degree=3, extrapolation="linear", include_bias=False)
    return make_pipeline(StandardScaler(), splines, RidgeCV(PENALTIES))


def _trees(design: Design, rest: FloatArray) -> Step:
    from lightgbm import LGBMRegressor

    def columns(rows: Design) -> FloatArray:
        return np.column_stack([rows.X, rows.compounds, rows.groups])

    size = design.X.shape[1]
    model = LGBMRegressor(
        n_estimators=200, learning_rate=0.05, num_leaves=15, min_child_samples=5, n_jobs=1,
        random_state=0, verbose=-1,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(columns(design), rest, categorical_feature=[size, size + 1])

    def step(rows: Design) -> FloatArray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(model.predict(columns(rows)), dtype=np.float64)

    return step


def _of_standards(
    weigh: Callable[[FloatArray, FloatArray], FloatArray],
) -> Callable[[Design, FloatArray], Step]:
    """Return a fit of the line, in each run, from the standards' mean times to their times."""

    def fitted(design: Design, rest: FloatArray) -> Step:
        usual = design.X.mean(axis=0)

        def step(rows: Design) -> FloatArray:
            w = weigh(usual, rows.center)
            w = w / w.sum(axis=1, keepdims=True)
            x, shift = (w * usual).sum(axis=1), (w * (rows.X - usual)).sum(axis=1)
            off = usual - x[:, None]
            spread = (w * off**2).sum(axis=1)
            slope = (w * off * (rows.X - usual)).sum(axis=1)
            # One standard tells a shift, and no slope.
            slope = np.divide(slope, spread, out=np.zeros(len(x)), where=spread > 0)
            return np.asarray(shift + slope * (rows.center - x))

        return step

    return fitted


def _equal(usual: FloatArray, center: FloatArray) -> FloatArray:
    return np.ones((len(center), len(usual)))


def _tricube(usual: FloatArray, center: FloatArray) -> FloatArray:
    """Return the weight of each standard for each row, which falls with distance in time."""
    distance = np.abs(center[:, None] - usual)
    nearest = min(len(usual), max(3, int(np.ceil(NEAREST * len(usual)))))
    # A hair more than the farthest of them, which would else weigh nothing.
    width = np.sort(distance, axis=1)[:, nearest - 1, None] * 1.001 + 1e-12
    return (1 - np.minimum(distance / width, 1) ** 3) ** 3


_FITS: dict[Baseline, Callable[[Design, FloatArray], Step]] = {
    "mean": _nothing,
    "ridge": _of_compounds(_ridge),
    "lasso": _of_compounds(_lasso),
    "gam": _of_compounds(_gam),
    "trees": _trees,
    "irt": _of_standards(_equal),
    "loess": _of_standards(_tricube),
}


@dataclass(frozen=True)
class BaselineSummaries(Stage1CoeffSummaries):
    """A baseline where an artefact is expected: its coefficients are the means of pairs.

    Attributes
    ----------
    centers : Centers
        Where pairs are.
    step : Step
        How rows differ from that.
    """

    centers: Centers | None = None
    step: Step | None = None

    def predict(
        self,
        X: Any,
        groups: Any,
        compounds: Any,
        parents: Any = None,
        descriptors: Any = None,
        runs: Any = None,
    ) -> Prediction:
        """Predict rows; supercategories, descriptors and runs are of no use here."""
        assert self.centers is not None
        assert self.step is not None
        covariates = self.features.covariates(X)
        group, compound = (np.asarray(ids, dtype=np.int64) for ids in (groups, compounds))
        design = self.centers.design(covariates, group, compound)
        mean = design.center + self.step(design)
        std = np.full(len(mean), np.sqrt(self.noise.mean))
        found = Prediction(mean, std, np.zeros(len(mean)), design.level)
        if self.calibration is None:
            return found
        outside = self.calibration.extrapolated(covariates)
        support = self.support(group, compound)
        return replace(found, support=support, calibration=self.calibration, extrapolated=outside)


class BaselineRidge(BaseEstimator):  # type: ignore[misc]
    """One of the models of this module.

    Parameters
    ----------
    kind : str
        Which.
    names : tuple of str
        Of the covariates.
    group_col : str
        What the group is called.
    """

    def __init__(
        self, kind: Baseline = "mean", names: tuple[str, ...] = (), group_col: str = "species"
    ) -> None:
        self.kind = kind
        self.names = names
        self.group_col = group_col

    def fit(self, X: Any, y: Any, groups: Any) -> Self:
        """Fit to rows: covariates [N, P], times [N], group and compound [N, 2]."""
        X, y = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64)
        group, compound = np.asarray(groups, dtype=np.int64)[:, :2].T
        pairs = Means.of((group << 32) + compound, y)
        centers = Centers(pairs, Means.of(compound, y), float(y.mean()))
        design = centers.design(X, group, compound)
        rest = y - design.center
        step = (_FITS[self.kind] if X.shape[1] else _nothing)(design, rest)
        left = rest - step(design)
        # Never 0, as of trees that know every row.
        sigma2 = max(float(left @ left), 1e-12 * float(y @ y) or 1.0) / len(y)
        P = X.shape[1]
        mean = np.concatenate([pairs.mean[:, None], np.zeros((len(pairs.mean), P))], axis=1)
        cov = np.tile(sigma2 * np.eye(P + 1), (len(mean), 1, 1))
        self.summaries_ = BaselineSummaries(
            group_col=self.group_col,
            features=FeatureMap.plain(self.names),
            coefficients=CoefficientPredictor(pairs.ids, mean, cov),
            noise=NoiseVariance(sigma2),
            n=pairs.n,
            method=f"baseline {self.kind}",
            centers=centers,
            step=step,
        )
        return self

    def predict_levels(self, X: Any, groups: Any) -> Prediction:
        """Predict rows."""
        ids = np.asarray(groups, dtype=np.int64)
        return self.summaries_.predict(X, ids[:, 0], ids[:, 1])


def fit_baselines(
    kinds: Sequence[Baseline], config: FitConfig, table: TableFiles
) -> list[Artefact]:
    """Fit baselines to the rows of a fit, in memory, each in the place of an artefact.

    Parameters
    ----------
    kinds : sequence of str
        Which.
    config : FitConfig
        Columns.
    table : TableFiles
        The rows.
    """
    if not kinds:
        return []
    config = as_prepared(config, table)
    columns = training_columns(config, table)
    files, run = CentredFiles.of(table, columns.covariates), config.calibrate.run_col
    known = run if run in table else None
    wanted = list(dict.fromkeys([*columns.names, *([] if known is None else [known])]))
    frame = pl.concat([c.frame for c in files.chunks(wanted, config.max_train_rows)])
    return [
        Artefact(
            f"baseline {kind}", Path(kind), fit_baseline(kind, frame, columns, known, table.name)
        )
        for kind in dict.fromkeys(kinds)
    ]


def fit_baseline(
    kind: Baseline, frame: pl.DataFrame, columns: Columns, run: str | None, where: str
) -> BaselineSummaries:
    """Fit a baseline to rows in memory, its intervals calibrated where there are enough runs.

    Parameters
    ----------
    kind : str
        Which.
    frame : DataFrame
        Rows, with all `columns`.
    columns : Columns
        Their roles.
    run : str or None
        Column of runs.
    where : str
        What messages call the rows.
    """
    rows = read_rows(frame, columns, where)
    X, y = rows.values[:, :-1], rows.values[:, -1]
    ids = np.stack([rows.keys >> 32, rows.keys & 0xFFFFFFFF], axis=1)
    model = BaselineRidge(kind, columns.covariates, columns.group)
    found = model.fit(X, y, ids).summaries_
    if run is None or frame[run].n_unique() < FEWEST_RUNS:
        return found
    runs = frame[run].cast(pl.String).fill_null("").to_numpy()
    try:
        calibration = calibrate_intervals(model, X, y, ids, runs, n_folds=5)
    except RTRidgeError:
        # Too few rows, as fits have their own intervals then.
        return found
    return replace(found, calibration=calibration)
