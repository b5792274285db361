"""Regressors of tables and of statistics, by a `FeatureMap`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from rt_ridge.errors import RTRidgeError
from rt_ridge.features import (
    AnchorExpansion,
    FeatureCenter,
    FeatureMap,
    FeatureRotation,
    pooled_moments,
)

if TYPE_CHECKING:
    import polars as pl

    from rt_ridge.statistics import SufficientStatistics

    FrameT = TypeVar("FrameT", pl.DataFrame, pl.LazyFrame)

FloatArray = npt.NDArray[np.float64]


def fit_features(
    stats: SufficientStatistics,
    *,
    center: FeatureCenter = "global",
    rotation: FeatureRotation = "none",
    expansion: AnchorExpansion = "none",
) -> FeatureMap:
    """Fit a feature map to the training rows, which their statistics stand for.

    Parameters
    ----------
    stats : SufficientStatistics
        Of the covariates as the table has them.
    center, rotation, expansion
        See `FeatureMap.fit`.
    """
    mean, scatter = pooled_moments(stats.n, stats.mean_x, stats.sxx)
    return FeatureMap.fit(
        stats.covariates, mean, scatter, center=center, rotation=rotation, expansion=expansion
    )


def regressor_statistics(stats: SufficientStatistics, features: FeatureMap) -> SufficientStatistics:
    """Return the statistics that the regressors would have given, without reading rows again.

    Parameters
    ----------
    stats : SufficientStatistics
        Of the covariates as the table has them.
    features : FeatureMap
        Without squares.

    Raises
    ------
    RTRidgeError
        If the map adds squares, which the statistics cannot tell, or is of other covariates.
    """
    if features.expansion != "none":
        raise RTRidgeError(
            f"anchor_expansion: expected none, for statistics cannot be squared;"
            f" found {features.expansion!r}. Add the squares to the rows with `with_regressors`."
        )
    if features.names != stats.covariates:
        raise RTRidgeError(
            f"covariates: expected {list(features.names)}; found {list(stats.covariates)}"
        )
    low = 0.0 if stats.mean_low is None else stats.mean_low[:, : stats.P]
    mean_x, sxx, sxy = (stats.mean_x - features.center) + low, stats.sxx, stats.sxy
    turn = features.rotation
    if turn is not None:
        mean_x, sxy = mean_x @ turn, sxy @ turn
        sxx = np.matmul(np.matmul(turn.T, sxx), turn)
    return replace(
        stats, mean_x=mean_x, sxx=sxx, sxy=sxy, covariates=features.regressors, mean_low=None
    )


def with_regressors(frame: FrameT, features: FeatureMap) -> FrameT:
    """Return a table, or a query, with a column for each of `features.regressors`.

    A regressor that bears the name of its covariate replaces it.
    """
    import polars as pl

    values = [
        pl.col(name).cast(pl.Float64) - center
        for name, center in zip(features.names, features.center.tolist(), strict=True)
    ]
    if features.rotation is not None:
        values = [
            pl.sum_horizontal(value * w for value, w in zip(values, axis, strict=True))
            for axis in features.rotation.T.tolist()
        ]
    if features.expansion == "poly2":
        values += [value * value for value in values]
    named = [value.alias(name) for value, name in zip(values, features.regressors, strict=True)]
    return frame.with_columns(named)
