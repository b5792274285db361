"""Scores of predictions: each metric alone, a masked table over tasks, bootstrap intervals."""

from molpool_common.metrics._bootstrap import (
    N_RESAMPLES,
    Interval,
    bootstrap_interval,
    mean_over_tasks,
    percentile_interval,
    resampled_scores,
)
from molpool_common.metrics._counted import resampled
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
from molpool_common.metrics._table import MacroMean, MetricTable, TaskScore, task_metrics

__all__ = [
    "IN_UNITS",
    "LABELS",
    "METRICS",
    "N_RESAMPLES",
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
    "mean_over_tasks",
    "pearson",
    "percentile_interval",
    "r2",
    "resampled",
    "resampled_scores",
    "rmse",
    "roc_auc",
    "spearman",
    "task_metrics",
]
