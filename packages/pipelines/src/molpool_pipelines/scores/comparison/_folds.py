"""Models on repeated folds: Tukey's test, and the corrected t-test as its guard.

Tukey's honestly significant differences take folds for independent, which they are not where they
share training rows: a win needs the corrected resampled t-test too. What else the test assumes is
measured on the folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import combinations

import numpy as np
from molpool_common import IN_UNITS, FloatArray, InputError, Metric, metrics_by_task
from numpy.typing import ArrayLike

from molpool_pipelines.runs import MACRO
from molpool_pipelines.scores.comparison._comparison import (
    Checks,
    Pair,
    Value,
    practical_verdict,
    winner_of,
)
from molpool_pipelines.scores.comparison._paired import PairedRows
from molpool_pipelines.scores.comparison._test_set import Settings, holm, plain_values


@dataclass(frozen=True)
class FoldScores:
    """Scores of all models on the folds that define a metric.

    Parameters
    ----------
    task, metric : str
        Which; the task may be `MACRO`.
    scores : ndarray [K, M]
        One row per fold.
    ratio : float
        Test labels over training labels, the mean over folds.
    dropped : int
        Folds on which the metric is undefined.
    reason : str or None
        Why, on the last of them.
    """

    task: str
    metric: str
    scores: FloatArray
    ratio: float
    dropped: int
    reason: str | None = None


@dataclass(frozen=True)
class FoldFindings:
    """What all folds together say."""

    values: list[Value]
    pairs: list[Pair]
    checks: list[Checks]
    scores: list[FoldScores]


def compare_on_folds(
    data: PairedRows, metrics: Sequence[Metric], settings: Settings
) -> FoldFindings:
    """Compare each pair of models on each task, and on the mean over tasks.

    Parameters
    ----------
    data : PairedRows
        Rows with repeat and fold.
    metrics : sequence of Metric
        Each is used on the tasks of its type.
    settings : Settings
        How differences are tested.
    """
    scored = fold_scores(data, metrics)
    found = FoldFindings([], [], [], scored)
    for one in scored:
        if len(one.scores) < 2:
            found.values.extend(_undefined_values(one, data.models))
            found.pairs.extend(_undefined_pairs(one, data.models))
            continue
        tukey = repeated_measures_tukey(one.scores, settings.level)
        found.values.extend(_values(one, tukey, data.models))
        found.pairs.extend(_pairs(one, tukey, data.models, settings))
        checks = asdict(check_assumptions(one.scores))
        found.checks.append(Checks(task=one.task, metric=one.metric, **checks))
    return found


def fold_scores(data: PairedRows, metrics: Sequence[Metric]) -> list[FoldScores]:
    """Score each fold by itself; a mean over tasks is of the folds that define it for all tasks."""
    cells = data.cells
    rows = [data.rows_of(cell) for cell in cells]
    found: list[FoldScores] = []
    by_metric: dict[str, list[FloatArray]] = {}
    ratio = _ratio([len(r) for r in rows], cells)
    by_task = metrics_by_task(metrics, data.task_types, data.scales)
    for t, (task, own_metrics) in enumerate(zip(data.tasks, by_task, strict=True)):
        labelled = [r[~np.isnan(data.y_true[r, t])] for r in rows]
        # Per task: a rare assay may have its labels in few folds, which changes its ratio.
        own = _ratio([len(r) for r in labelled], cells)
        for metric in own_metrics:
            tables = [
                plain_values(metric, data.y_true[r, t], data.y_pred[:, r, t]) for r in labelled
            ]
            table = np.stack([values for values, _ in tables])
            by_metric.setdefault(metric.name, []).append(table)
            reason = next((why for _, why in reversed(tables) if why), None)
            found.append(_defined(task, metric.name, table, own, reason))
    for metric in metrics:
        of = [t for t in by_metric.get(metric.name, []) if np.isfinite(t).any()]
        # A fold that leaves one task undefined has no mean: over the others it would compare
        # different tasks between folds.
        if metric.name not in IN_UNITS and len(of) > 1:
            found.append(_defined(MACRO, metric.name, np.mean(of, axis=0), ratio, "of a task"))
    return found


def _defined(
    task: str, metric: str, table: FloatArray, ratio: float, reason: str | None
) -> FoldScores:
    there = np.isfinite(table).all(axis=1)
    why = None if there.all() else reason
    return FoldScores(task, metric, table[there], ratio, int((~there).sum()), why)


def _ratio(sizes: Sequence[int], cells: Sequence[tuple[int, int]]) -> float:
    """Return test over training labels; a fold is trained on the others of its repeat."""
    by_repeat: dict[int, int] = {}
    for (repeat, _), size in zip(cells, sizes, strict=True):
        by_repeat[repeat] = by_repeat.get(repeat, 0) + size
    test = [float(size) for size in sizes]
    train = [by_repeat[r] - size for (r, _), size in zip(cells, sizes, strict=True)]
    if sum(train) <= 0:
        raise InputError(
            "fold", expected="two folds or more in each repeat", found=f"{len(cells)} in all"
        )
    return float(np.sum(test) / np.sum(train))


def _values(one: FoldScores, tukey: TukeyHSD, models: Sequence[str]) -> list[Value]:
    # Half of the pairwise width on each side: two intervals overlap exactly where their difference
    # is not significant. They are no confidence intervals of the values.
    means, half = one.scores.mean(axis=0), tukey.half_width / 2
    k = len(one.scores)
    return [
        Value(one.task, one.metric, model, float(m), float(m - half), float(m + half), k)
        for model, m in zip(models, means, strict=True)
    ]


def _pairs(
    one: FoldScores, tukey: TukeyHSD, models: Sequence[str], settings: Settings
) -> list[Pair]:
    threshold = settings.practical.get(one.metric)
    at = list(combinations(range(len(models)), 2))
    guards = holm(
        [corrected_resampled_t(one.scores[:, i] - one.scores[:, j], one.ratio).p for i, j in at]
    ).tolist()
    alpha = 1 - settings.level
    pairs = []
    for (i, j), guard in zip(at, guards, strict=True):
        low, high = float(tukey.low[i, j]), float(tukey.high[i, j])
        p, difference = float(tukey.p[i, j]), float(tukey.difference[i, j])
        # Both have to agree: Tukey's test errs by overlapping training rows, the t-test alone has
        # no simultaneous intervals.
        significant = p <= alpha and (guard <= alpha or not settings.guard)
        pair = Pair(
            one.task,
            one.metric,
            models[i],
            models[j],
            difference=difference,
            low=low,
            high=high,
            p_adjusted=p,
            p_guard=guard,
            n=len(one.scores),
            dropped=one.dropped,
            practical=practical_verdict(low, high, threshold),
        )
        winner = winner_of(one.metric, pair.a, pair.b, difference, significant)
        why = "Tukey's test alone" if p <= alpha and not significant else None
        pairs.append(replace(pair, winner=winner, reason=why))
    return pairs


def _undefined_values(one: FoldScores, models: Sequence[str]) -> list[Value]:
    return [Value(one.task, one.metric, model, None, None, None, 0) for model in models]


def _undefined_pairs(one: FoldScores, models: Sequence[str]) -> list[Pair]:
    why = f"defined on {len(one.scores)} of {len(one.scores) + one.dropped} folds: {one.reason}"
    return [
        Pair(one.task, one.metric, a, b, n=len(one.scores), dropped=one.dropped, reason=why)
        for a, b in combinations(models, 2)
    ]


@dataclass(frozen=True)
class TukeyHSD:
    """All pairwise differences of means, with simultaneous intervals.

    Parameters
    ----------
    difference : ndarray [M, M]
        Mean of row model minus mean of column model.
    low, high : ndarray [M, M]
        Ends of intervals that hold all at once at the level.
    p : ndarray [M, M]
        Adjusted for all pairs; 1 on the diagonal.
    half_width : float
        Half of an interval. Two models differ where intervals of half this half width about their
        means are apart (Hochberg and Tamhane 1987).
    residual_sd : float
        Square root of the residual mean square.
    df : int
        Its degrees of freedom.
    """

    difference: FloatArray
    low: FloatArray
    high: FloatArray
    p: FloatArray
    half_width: float
    residual_sd: float
    df: int


def residuals(scores: FloatArray) -> FloatArray:
    """Return scores [K, M] less the effects of fold and of model."""
    by_fold = scores.mean(axis=1, keepdims=True)
    by_model = scores.mean(axis=0, keepdims=True)
    return np.asarray(scores - by_fold - by_model + scores.mean())


def repeated_measures_tukey(scores: ArrayLike, level: float = 0.95) -> TukeyHSD:
    """Compare the means of M models over the K folds on which all of them were scored.

    The error is the residual of a repeated-measures analysis of variance, the folds being the
    subjects: what makes a fold hard for all models alike does not count as error.

    Parameters
    ----------
    scores : array_like [K, M]
        Finite; K and M at least 2.
    level : float
        Of the simultaneous intervals.

    Raises
    ------
    ValueError
        If there are fewer than two folds or models.

    References
    ----------
    Tukey, "The problem of multiple comparisons" (1953); Ash et al., "Practically Significant Method
    Comparison Protocols for Machine Learning in Small Molecule Drug Discovery" (2024), which
    applies it to repeated cross-validation.
    """
    x = np.asarray(scores, dtype=np.float64)
    if x.ndim != 2 or min(x.shape) < 2:
        raise ValueError(f"scores: expected at least 2 folds and 2 models; found {x.shape}")
    n_folds, n_models = x.shape
    # Of the residual of a two-way layout without replication.
    df = (n_folds - 1) * (n_models - 1)
    mean_square = float(np.square(residuals(x)).sum() / df)
    return honest_differences(x.mean(axis=0), n_folds, mean_square, df, level)


def honest_differences(
    means: FloatArray, n: int, mean_square: float, df: int, level: float = 0.95
) -> TukeyHSD:
    """Compare all pairs of means of a balanced design.

    Parameters
    ----------
    means : ndarray [M]
        Each over `n` scores.
    n : int
        Scores a mean.
    mean_square : float
        Of the error.
    df : int
        Its degrees of freedom.
    level : float
        Of the simultaneous intervals.
    """
    from scipy.stats import studentized_range

    error = float(np.sqrt(mean_square / n))
    difference = means[:, None] - means[None, :]
    half = _critical(level, len(means), df) * error
    gap = np.abs(difference)
    # Models that differ by the same amount on every fold leave no residual.
    with np.errstate(divide="ignore", invalid="ignore"):
        q = np.where(gap > 0, gap / error, 0.0)
    # One triangle, mirrored: each tail probability is a numerical double integral of milliseconds.
    p = np.ones_like(q)
    upper = np.triu_indices(len(means), 1)
    tail = np.where(np.isinf(q[upper]), 0.0, 1.0)
    finite = np.isfinite(q[upper])
    if finite.any():
        tail[finite] = studentized_range.sf(q[upper][finite], len(means), df)
    p[upper] = tail.clip(0.0, 1.0)
    p[upper[::-1]] = p[upper]
    low, high = difference - half, difference + half
    return TukeyHSD(difference, low, high, p, half, mean_square**0.5, df)


@cache
def _critical(level: float, n_models: int, df: int) -> float:
    """Return the quantile of the studentised range, which takes a tenth of a second."""
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(level, n_models, df))


@dataclass(frozen=True)
class CorrectedT:
    """A paired difference over folds.

    Parameters
    ----------
    difference : float
        Mean over folds.
    error : float
        Its standard error.
    low, high : float
        Its interval, of this pair alone.
    t : float
        Statistic; infinite where the folds do not vary.
    p : float
        Two-sided, of this pair alone.
    df : int
        Folds less one.
    """

    difference: float
    error: float
    low: float
    high: float
    t: float
    p: float
    df: int


def corrected_resampled_t(
    differences: ArrayLike, test_to_train: float, level: float = 0.95
) -> CorrectedT:
    """Test whether the mean of paired differences over folds is 0.

    Models of different folds are trained on rows that overlap, so that the variance over folds
    understates that of a new training set. The test adds what the ratio of test to training rows
    says is missing: the variance of the mean is (1/K + n_test/n_train) s², not s²/K.

    Parameters
    ----------
    differences : array_like [K]
        One per fold, K at least 2.
    test_to_train : float
        Test rows over training rows; 1 / (k - 1) for k folds, repeated or not.
    level : float
        Of the interval.

    Raises
    ------
    ValueError
        If there are fewer than two folds or the ratio is not positive.

    References
    ----------
    Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52 (2003) 239-281,
    equation 9; for repeated cross-validation Bouckaert and Frank (2004).
    """
    from scipy.stats import t as student

    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 1 or d.size < 2:
        raise ValueError(f"differences: expected at least 2 folds; found shape {d.shape}")
    if not test_to_train > 0:
        raise ValueError(f"test_to_train: expected a positive ratio; found {test_to_train}")
    df = d.size - 1
    mean = float(d.mean())
    error = float(np.sqrt((1 / d.size + test_to_train) * d.var(ddof=1)))
    half = float(student.ppf((1 + level) / 2, df)) * error
    if error > 0:
        t = mean / error
        p = float(2 * student.sf(abs(t), df))
    else:
        # Equal differences on all folds: no error to divide by, and any difference is beyond it.
        t, p = (float(np.copysign(np.inf, mean)), 0.0) if mean else (0.0, 1.0)
    return CorrectedT(mean, error, mean - half, mean + half, t, p, df)


LARGEST_RATIO = 9.0
"""Of the variances of the models' scores; above it Ash et al. (2024) prefer a test of ranks."""
LEAST_P = 0.05
LEAST_EPSILON = 0.75
"""Of sphericity; the usual bound below which the Greenhouse-Geisser correction is advised."""


@dataclass(frozen=True)
class Assumptions:
    """Checks of one task and metric.

    Parameters
    ----------
    normality_p : float or None
        Shapiro-Wilk on the residuals; None where they do not vary or are fewer than three.
    variance_ratio : float or None
        Largest over smallest variance of a model's scores; None where the smallest is 0.
    epsilon : float or None
        Greenhouse-Geisser estimate of sphericity, from 1 / (M - 1) to 1.
    friedman_p : float or None
        Of the test of ranks that needs none of them; None for two models.
    doubts : tuple of str
        What fails, in words.
    """

    normality_p: float | None
    variance_ratio: float | None
    epsilon: float | None
    friedman_p: float | None
    doubts: tuple[str, ...]


def check_assumptions(scores: ArrayLike) -> Assumptions:
    """Check scores [K, M] for normal residuals, equal variances and sphericity."""
    x = np.asarray(scores, dtype=np.float64)
    normality = _normality(residuals(x))
    ratio = _variance_ratio(x)
    epsilon = greenhouse_geisser(x)
    doubts = []
    if normality is not None and normality < LEAST_P:
        doubts.append(f"residuals are not normal (Shapiro-Wilk p {normality:.2g})")
    if ratio is None or ratio > LARGEST_RATIO:
        size = "without bound" if ratio is None else f"{ratio:.1f}"
        doubts.append(f"variances of the models are unlike (ratio {size}, above {LARGEST_RATIO:g})")
    if epsilon is not None and epsilon < LEAST_EPSILON:
        doubts.append(f"differences vary unalike (Greenhouse-Geisser epsilon {epsilon:.2f})")
    return Assumptions(normality, ratio, epsilon, _friedman(x), tuple(doubts))


def greenhouse_geisser(scores: FloatArray) -> float | None:
    """Return epsilon of scores [K, M]: 1 where all differences of models vary alike.

    References
    ----------
    Greenhouse and Geisser, "On methods in the analysis of profile data", Psychometrika 24 (1959)
    95-112.
    """
    n_models = scores.shape[1]
    centring = np.eye(n_models) - 1 / n_models
    # Epsilon is defined on the double-centred covariance: what is common to all models drops out.
    s = centring @ np.cov(scores, rowvar=False) @ centring
    below = float((n_models - 1) * np.square(s).sum())
    return float(np.trace(s) ** 2 / below) if below > 0 else None


def _normality(rest: FloatArray) -> float | None:
    from scipy.stats import shapiro

    flat = rest.ravel()
    # scipy's test needs three values and warns of a range that is rounding alone.
    if flat.size < 3 or np.ptp(flat) <= 1e-12:
        return None
    return float(shapiro(flat).pvalue)


def _variance_ratio(x: FloatArray) -> float | None:
    variances = x.var(axis=0, ddof=1)
    if variances.max() == 0:
        # Scores that never vary are alike; 0 / 0 would say otherwise.
        return 1.0
    return float(variances.max() / variances.min()) if variances.min() > 0 else None


def _friedman(x: FloatArray) -> float | None:
    from scipy.stats import friedmanchisquare

    # The test of ranks is defined for three models or more, and for some difference between them.
    if x.shape[1] < 3 or np.ptp(x, axis=1).max() == 0:
        return None
    return float(friedmanchisquare(*x.T).pvalue)
