"""What a metric is: a formula, the task type it is for, and when it is defined.

Formulas are over a batch, truth and prediction [R, n] to values [R]: the bootstrap would take a
thousand Python calls otherwise. They assume that their metric is defined; `Metric` sees to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from molpool_common._arrays import BoolArray, FloatArray
from molpool_common._errors import InputError, listed
from molpool_common._scales import to_scale
from molpool_common.metrics._early import EARLY, of_batch
from molpool_common.tables._settings import ScaleName

TaskType = Literal["regression", "classification"]
Kernel = Callable[[FloatArray, FloatArray], FloatArray]


class UndefinedMetricError(ValueError):
    """The metric has no value on these data; the message says why."""


@dataclass(frozen=True)
class Condition:
    """What data must satisfy for a metric to be defined.

    Parameters
    ----------
    reason : str
        Said where it fails.
    holds : callable
        Values [R, n], on the scale of the metric, to a boolean [R]: by the least and the greatest.
    predicted : bool
        Whether it is about the prediction, not the truth.
    """

    reason: str
    holds: Callable[[FloatArray], BoolArray]
    predicted: bool = False


@dataclass(frozen=True)
class Metric:
    """A score of predictions, called as a function of truth and prediction.

    Parameters
    ----------
    name : str
        Key in tables and files.
    task_type : {"regression", "classification"}
        The tasks it is for.
    higher_is_better : bool
        Its direction.
    kernel : callable
        Formula over a batch: truth and prediction [R, n] to values [R].
    conditions : tuple of Condition
        When it is defined, besides there being a label at all.
    scale : {"none", "log10", "log10p1", ...}
        On which values are compared; see `on`.
    """

    name: str
    task_type: TaskType
    higher_is_better: bool
    kernel: Kernel
    conditions: tuple[Condition, ...] = ()
    scale: ScaleName = "none"

    def on(self, scale: ScaleName) -> Metric:
        """Return the metric for a task whose model works on a scale.

        Distances of `WITHIN` are log10 units where that is a logarithm; all other metrics, and all
        other scales, are of the task's own unit.
        """
        return replace(self, scale=scale) if self.name in WITHIN and scale in _LOGARITHMS else self

    def scaled(self, values: FloatArray) -> FloatArray:
        """Return values of any shape on the scale of the metric; NaN where it is undefined."""
        if self.scale == "none":
            return values
        return to_scale(values.reshape(-1, 1), [self.scale]).reshape(values.shape)

    def __call__(self, y_true: ArrayLike, y_pred: ArrayLike) -> float:
        """Return the value.

        Parameters
        ----------
        y_true, y_pred : array_like [n]
            Finite; for classification `y_true` is 0 or 1 and `y_pred` any score that rises with
            the probability of 1.

        Raises
        ------
        UndefinedMetricError
            Where it has no value: no labels, constant truth, a single class.
        InputError
            If shapes differ or entries are not finite.
        """
        y, p = paired(y_true, y_pred)
        self.check_labels(y)
        if y.size == 0:
            raise UndefinedMetricError("no labels")
        scaled = self.scaled(y[None]), self.scaled(p[None])
        for condition in self.conditions:
            if not condition.holds(scaled[condition.predicted])[0]:
                raise UndefinedMetricError(condition.reason)
        value = self._evaluate(*scaled)[0]
        # After the conditions, whose reasons say more.
        if not np.isfinite(value):
            raise UndefinedMetricError("too large or too small for double precision")
        return float(value)

    def batch(self, y_true: FloatArray, y_pred: FloatArray) -> FloatArray:
        """Return values [R] of R sets of n rows, NaN where undefined; checks no labels.

        Parameters
        ----------
        y_true, y_pred : ndarray [R, n]
            Finite, n at least 1.
        """
        scaled = self.scaled(y_true), self.scaled(y_pred)
        values = self._evaluate(*scaled)
        defined = np.isfinite(values)
        for condition in self.conditions:
            defined &= condition.holds(scaled[condition.predicted])
        return np.where(defined, values, np.nan)

    def check_labels(self, y_true: FloatArray, where: str | None = None) -> None:
        """Raise unless the labels suit the task type: classes are 0 and 1."""
        if self.task_type == "classification":
            check_binary(y_true, where)

    def _evaluate(self, y: FloatArray, p: FloatArray) -> FloatArray:
        # What overflows or divides by zero is reported as undefined, not warned about.
        with np.errstate(all="ignore"):
            return self.kernel(y, p)


def paired(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return both as finite float64 vectors of one length, or raise InputError."""
    y = np.asarray(y_true, dtype=np.float64)
    p = np.asarray(y_pred, dtype=np.float64)
    if y.ndim != 1 or y.shape != p.shape:
        raise InputError(
            "y_pred", expected="y_true and y_pred of one length [n]", found=f"{y.shape}, {p.shape}"
        )
    for name, values in (("y_true", y), ("y_pred", p)):
        rows = np.flatnonzero(~np.isfinite(values))
        if rows.size:
            raise InputError(
                name,
                expected="finite numbers",
                found=listed(values[rows].tolist(), limit=3),
                where=f"rows {listed(rows.tolist())}",
            )
    return y, p


def check_binary(y_true: FloatArray, where: str | None = None) -> None:
    """Raise InputError unless every label is 0 or 1."""
    other = np.unique(y_true[(y_true != 0) & (y_true != 1)])
    if other.size:
        raise InputError(
            "y_true",
            expected="0 or 1 in a classification task",
            found=listed(other.tolist(), limit=3),
            where=where,
        )


def mean_absolute_error(y: FloatArray, p: FloatArray) -> FloatArray:
    """Mean of |p - y|."""
    return np.asarray(np.abs(p - y).mean(axis=-1))


def root_mean_squared_error(y: FloatArray, p: FloatArray) -> FloatArray:
    """Square root of the mean of (p - y)²."""
    return np.asarray(np.sqrt(np.square(p - y).mean(axis=-1)))


def coefficient_of_determination(y: FloatArray, p: FloatArray) -> FloatArray:
    """1 - residual over total sum of squares, the total about the mean of y."""
    return np.asarray(1 - np.square(p - y).sum(axis=-1) / np.square(_centred(y)).sum(axis=-1))


def relative_absolute_error(y: FloatArray, p: FloatArray) -> FloatArray:
    """Mean absolute error over that of the constant prediction mean(y)."""
    return np.asarray(mean_absolute_error(y, p) / np.abs(_centred(y)).mean(axis=-1))


def pearson_correlation(y: FloatArray, p: FloatArray) -> FloatArray:
    """Cosine of the centred vectors."""
    cosine: FloatArray = (_unit(_centred(y)) * _unit(_centred(p))).sum(axis=-1)
    # Rounding can put a perfect correlation an ulp past 1.
    return np.asarray(cosine.clip(-1.0, 1.0))


def spearman_correlation(y: FloatArray, p: FloatArray) -> FloatArray:
    """Pearson correlation of the ranks, ties at their mean rank."""
    return pearson_correlation(_ranks(y), _ranks(p))


def kendall_tau_b(y: FloatArray, p: FloatArray) -> FloatArray:
    """Tau-b, which corrects for ties."""
    from scipy.stats import kendalltau

    return np.array([kendalltau(a, b).statistic for a, b in zip(y, p, strict=True)], dtype=float)


def close(y: FloatArray, p: FloatArray, distance: float) -> FloatArray:
    """Return 1 where a prediction is at most `distance` off, else 0."""
    # Of labels with two decimals: 7.3 less 7.0 is more than 0.3 in binary.
    return np.asarray(np.abs(p - y) <= distance + 1e-9, dtype=np.float64)


def share_within(y: FloatArray, p: FloatArray, *, distance: float) -> FloatArray:
    """Share of predictions that are at most `distance` off."""
    return np.asarray(close(y, p, distance).mean(axis=-1))


def roc_area(y: FloatArray, p: FloatArray) -> FloatArray:
    """Mann–Whitney statistic over its maximum: P(a positive scores above a negative), ties half."""
    positives = y.sum(axis=-1)
    negatives = y.shape[-1] - positives
    # Sum of the positives' ranks less its minimum: the Mann–Whitney U, which counts pairs in n log
    # n.
    above = (_ranks(p) * y).sum(axis=-1) - positives * (positives + 1) / 2
    return np.asarray(above / (positives * negatives))


def average_precision_area(y: FloatArray, p: FloatArray) -> FloatArray:
    """Mean over the positives of the precision among all that score at least as high."""
    from scipy.stats import rankdata

    # method="max": tied scores share one threshold, so that their order in the table does not
    # matter.
    at_least = rankdata(-p, method="max", axis=-1).astype(np.int64)
    order = np.argsort(-p, axis=-1, kind="stable")
    hits = np.take_along_axis(np.cumsum(np.take_along_axis(y, order, -1), -1), at_least - 1, -1)
    return np.asarray((y * hits / at_least).sum(axis=-1) / y.sum(axis=-1))


def _centred(x: FloatArray) -> FloatArray:
    return np.asarray(x - x.mean(axis=-1, keepdims=True))


def _unit(x: FloatArray) -> FloatArray:
    # Scaled by the largest entry first: squares of very small or large entries leave float64.
    x = x / np.abs(x).max(axis=-1, keepdims=True)
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))


def _ranks(x: FloatArray) -> FloatArray:
    from scipy.stats import rankdata

    return np.asarray(rankdata(x, axis=-1), dtype=np.float64)


def _varied(x: FloatArray) -> BoolArray:
    return np.asarray(x.max(axis=-1) > x.min(axis=-1))


_VARIED_TRUTH = Condition("constant truth", _varied)
_VARIED_PREDICTION = Condition("constant prediction", _varied, predicted=True)
_TWO_CLASSES = Condition("a single class", _varied)
_POSITIVES = Condition("no positives", lambda y: np.asarray(y.max(axis=-1) > 0))
_CORRELATED = (_VARIED_TRUTH, _VARIED_PREDICTION)

mae = Metric("mae", "regression", False, mean_absolute_error)
"""Mean absolute error, in the unit of the target."""
rmse = Metric("rmse", "regression", False, root_mean_squared_error)
"""Root mean squared error, in the unit of the target."""
r2 = Metric("r2", "regression", True, coefficient_of_determination, (_VARIED_TRUTH,))
"""Coefficient of determination, 1 - SS_res / SS_tot; negative where worse than the mean."""
pearson = Metric("pearson", "regression", True, pearson_correlation, _CORRELATED)
"""Pearson's product-moment correlation."""
spearman = Metric("spearman", "regression", True, spearman_correlation, _CORRELATED)
"""Spearman's rank correlation, ties at their mean rank."""
kendall = Metric("kendall", "regression", True, kendall_tau_b, _CORRELATED)
"""Kendall's tau-b (Kendall 1945), which corrects for ties."""
ma_rae = Metric("ma_rae", "regression", False, relative_absolute_error, (_VARIED_TRUTH,))
"""Relative absolute error: MAE over the mean absolute deviation of the evaluated truth about its
own mean. Its mean over tasks is the macro-averaged score of the OpenADMET–ExpansionRx challenge."""
roc_auc = Metric("roc_auc", "classification", True, roc_area, (_TWO_CLASSES,))
"""Area under the ROC curve, as the Mann–Whitney probability."""
average_precision = Metric(
    "average_precision", "classification", True, average_precision_area, (_POSITIVES,)
)
"""Average precision: the step-wise area under the precision-recall curve."""

WITHIN = {"within_0.3": 0.3, "within_0.5": 0.5, "within_1": 1.0}
"""Distances of the shares within them, in the unit of the target: of labels on a log10 scale,
within a factor of 2, 3 and 10."""

_FAR = 60
"""Distances over which labels range at most for the share within one to say something: of labels in
nM a share within 0.3 says nothing. The range, as conditions are about sets."""

_LOGARITHMS = ("log10", "log10p1")
"""Scales on which `WITHIN` is of the scale, not of the unit."""

_TOP_ONLY = {"ef_1": _POSITIVES, "ef_5": _POSITIVES, "ef_10": _POSITIVES}


def _near(distance: float, y: FloatArray) -> BoolArray:
    """Tell where a distance is not next to nothing beside the range of the labels."""
    return np.asarray(~(np.ptp(y, axis=-1) > _FAR * distance))


METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        *(mae, rmse, r2, pearson, spearman, kendall, ma_rae),
        *(
            Metric(
                name,
                "regression",
                True,
                partial(share_within, distance=distance),
                (
                    Condition(
                        f"labels range over more than {_FAR} times {distance:g}",
                        partial(_near, distance),
                    ),
                ),
            )
            for name, distance in WITHIN.items()
        ),
        *(roc_auc, average_precision),
        *(
            Metric(
                name,
                "classification",
                True,
                partial(of_batch, formula),
                (_TOP_ONLY.get(name, _TWO_CLASSES),),
            )
            for name, formula in EARLY.items()
        ),
    )
}
"""Every metric by name, in the order of tables."""

IN_UNITS = frozenset({"mae", "rmse", *WITHIN})
"""Metrics that depend on the unit of their task: their mean over tasks means nothing."""

LABELS = {
    "mae": "MAE",
    "ma_rae": "RAE",
    "rmse": "RMSE",
    "r2": "R²",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "kendall": "Kendall",
    "within_0.3": "within 0.3",
    "within_0.5": "within 0.5",
    "within_1": "within 1",
    "roc_auc": "ROC AUC",
    "average_precision": "AP",
    "ef_1": "EF 1 %",
    "ef_5": "EF 5 %",
    "ef_10": "EF 10 %",
    "bedroc": "BEDROC",
    "log_auc": "LogAUC",
}
"""Names for readers, in the order of tables: of a single task's value."""


def metrics_by_task(
    metrics: Iterable[Metric], task_types: Sequence[TaskType], scales: Sequence[ScaleName] = ()
) -> list[list[Metric]]:
    """Return the metrics that each of T tasks has.

    Parameters
    ----------
    metrics : iterable of Metric
        Those that are asked for.
    task_types : sequence of {"regression", "classification"}, length T
        Kind of each task.
    scales : sequence of str, length T, optional
        On which models learnt the tasks; see `Metric.on`.
    """
    asked = list(metrics)
    none: tuple[ScaleName, ...] = ("none",)
    of_tasks = zip(task_types, scales or none * len(task_types), strict=True)
    return [[m.on(scale) for m in asked if m.task_type == kind] for kind, scale in of_tasks]


def mean_label(name: str) -> str:
    """Return the name for readers of a metric's mean over tasks.

    Parameters
    ----------
    name : str
        A key of `LABELS`.
    """
    return "MA-RAE" if name == "ma_rae" else LABELS[name]
