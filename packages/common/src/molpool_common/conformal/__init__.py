"""Intervals and class sets that hold on exchangeable molecules, whatever model predicted them."""

from molpool_common.conformal._classes import ClassCalibration
from molpool_common.conformal._difficulty import Difficulty
from molpool_common.conformal._intervals import (
    IntervalCalibration,
    conformity_scores,
    coverage_range,
    needed_points,
)
from molpool_common.conformal._quantiles import scores_of_new_groups, weighted_quantile

__all__ = [
    "ClassCalibration",
    "Difficulty",
    "IntervalCalibration",
    "conformity_scores",
    "coverage_range",
    "needed_points",
    "scores_of_new_groups",
    "weighted_quantile",
]
