"""Scores of predictions: each metric alone, a masked table over tasks, bootstrap intervals."""

from molpool_common.metrics._metric import (
    IN_UNITS,
    LABELS,
    METRICS,
    Metric,
    TaskType,
    UndefinedMetricError,
    average_precision,
    kendall,
    ma_rae,
    mae,
    pearson,
    r2,
    rmse,
    roc_auc,
    spearman,
)
from molpool_common.metrics._resampling import Interval, bootstrap_interval, resampled
from molpool_common.metrics._table import MacroMean, MetricTable, TaskScore, task_metrics

__all__ = [
    "IN_UNITS",
    "LABELS",
    "METRICS",
    "Interval",
    "MacroMean",
    "Metric",
    "MetricTable",
    "TaskScore",
    "TaskType",
    "UndefinedMetricError",
    "average_precision",
    "bootstrap_interval",
    "kendall",
    "ma_rae",
    "mae",
    "pearson",
    "r2",
    "resampled",
    "rmse",
    "roc_auc",
    "spearman",
    "task_metrics",
]
