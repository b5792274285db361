"""From the statistics of covariates to those of regressors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rt_ridge.errors import RTRidgeError
from rt_ridge.features import (
    AnchorExpansion,
    FeatureCenter,
    FeatureMap,
    FeatureRotation,
    pooled_moments,
)

if TYPE_CHECKING:
    from rt_ridge.statistics import SufficientStatistics


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
            f" found {features.expansion!r}. Read the rows again: `from_frame(..., features=...)`."
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
