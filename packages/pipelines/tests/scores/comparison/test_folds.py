"""Models on repeated folds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from evaluate_tables import predictions, shuffled, three
from molpool_common import METRICS, InputError
from molpool_pipelines.scores.comparison.aligned import align
from molpool_pipelines.scores.comparison.bootstrap import Settings
from molpool_pipelines.scores.comparison.config import CompareConfig
from molpool_pipelines.scores.comparison.corrected_t import corrected_resampled_t
from molpool_pipelines.scores.comparison.deciding import compare_models
from molpool_pipelines.scores.comparison.folds import compare_on_folds, fold_scores
from molpool_pipelines.scores.comparison.multiple import holm
from molpool_pipelines.scores.comparison.result import CANNOT_TELL, MACRO
from molpool_pipelines.scores.comparison.tukey import repeated_measures_tukey

NAMES = ("good", "alike", "poor")
CHOSEN = [METRICS[m] for m in ("ma_rae", "roc_auc")]
SETTINGS = Settings(level=0.95, n_resamples=100, seed=0, practical={})


def test_scores_by_hand() -> None:
    data = align(three(folds=2), NAMES)
    found = {(s.task, s.metric): s for s in fold_scores(data, CHOSEN)}
    one = found["LogD", "ma_rae"]
    assert one.scores.shape == (10, 3)
    rows = data.rows_of((1, 2))
    rows = rows[np.isfinite(data.y_true[rows, 0])]
    expected = METRICS["ma_rae"](data.y_true[rows, 0], data.y_pred[2, rows, 0])
    assert one.scores[data.cells.index((1, 2)), 2] == pytest.approx(expected)
    mean = (one.scores + found["KSOL", "ma_rae"].scores) / 2
    np.testing.assert_allclose(found[MACRO, "ma_rae"].scores, mean)
    assert one.ratio == pytest.approx(1 / 4), "every label is tested once and trained on 4 times"


def test_p_values_are_tukeys_and_the_guards() -> None:
    data = align(three(folds=3), NAMES)
    found = compare_on_folds(data, CHOSEN, SETTINGS)
    scores = next(s for s in found.scores if (s.task, s.metric) == ("LogD", "ma_rae"))
    tukey = repeated_measures_tukey(scores.scores)
    pairs = [p for p in found.pairs if (p.task, p.metric) == ("LogD", "ma_rae")]
    at = [(0, 1), (0, 2), (1, 2)]
    raw = [
        corrected_resampled_t(scores.scores[:, i] - scores.scores[:, j], scores.ratio).p
        for i, j in at
    ]
    np.testing.assert_allclose([p.p_guard or np.nan for p in pairs], holm(raw))
    np.testing.assert_allclose([p.p_adjusted or np.nan for p in pairs], [tukey.p[x] for x in at])
    assert [p.winner for p in pairs] == [CANNOT_TELL, "good", "alike"]


def test_guard_can_be_put_away() -> None:
    """Of slightly unlike models Tukey's test tells more than the guard lets through."""
    near = [predictions("good", folds=5), predictions("alike", noise=0.6, folds=5)]
    data = align(near, NAMES[:2])
    guarded = compare_on_folds(data, CHOSEN, SETTINGS).pairs
    free = compare_on_folds(data, CHOSEN, replace(SETTINGS, guard=False)).pairs
    alone = [p for p in guarded if p.reason == "Tukey's test alone"]
    assert alone
    assert {p.winner for p in alone} == {CANNOT_TELL}
    told = {(p.task, p.metric) for p in free if p.winner != CANNOT_TELL}
    assert {(p.task, p.metric) for p in alone} <= told


def test_order_of_rows_and_models_does_not_matter() -> None:
    models = three(folds=2)
    one = compare_on_folds(align(models, NAMES), CHOSEN, SETTINGS)
    mixed = [shuffled(m, 1) for m in models[::-1]]
    other = compare_on_folds(align(mixed, NAMES[::-1]), CHOSEN, SETTINGS)
    theirs = {(p.task, p.metric, p.b, p.a): p for p in other.pairs}
    for p in one.pairs:
        q = theirs[p.task, p.metric, p.a, p.b]
        assert p.winner == q.winner
        assert (p.p_adjusted, p.p_guard) == pytest.approx((q.p_adjusted, q.p_guard), abs=1e-9)


def test_a_fold_without_positives_is_left_out_and_said() -> None:
    models = three(folds=2)
    y = models[0].y_true.copy()
    fold, repeat = models[0].fold, models[0].repeat
    assert fold is not None
    assert repeat is not None
    y[(fold == 0) & (repeat == 1) & np.isfinite(y[:, 2]), 2] = 0
    found = compare_models(
        align([replace(m, y_true=y) for m in models], NAMES),
        CompareConfig(metrics=["average_precision", "roc_auc"]),
    )
    assert found.design == "folds"
    assert {p.n for p in found.pairs} == {9}
    assert "hERG, average_precision: 1 of 10 folds left out, no positives." in found.notes
    assert "hERG, roc_auc: 1 of 10 folds left out, a single class." in found.notes


def test_a_fold_column_with_a_missing_value_is_refused() -> None:
    models = three(folds=2)
    fold = models[0].fold
    assert fold is not None
    gaps = fold.copy()
    gaps[[3, 7]] = -1
    data = align([replace(m, fold=gaps) for m in models], NAMES)
    with pytest.raises(InputError, match=r"a fold in every row; found none in 2 of 240 rows, ids"):
        compare_models(data, CompareConfig())


def test_designs_that_rows_do_not_allow() -> None:
    with pytest.raises(InputError, match="two folds or more, in column fold; found none"):
        compare_models(align(three(), NAMES), CompareConfig(design="folds"))
    with pytest.raises(InputError, match="molecules in several repeats or folds"):
        compare_models(align(three(folds=2), NAMES), CompareConfig(design="test_set"))


def test_a_metric_of_no_task_is_refused() -> None:
    only = [m.of_tasks(["LogD"]) for m in three()]
    with pytest.raises(InputError, match="a metric of regression tasks; found roc_auc"):
        compare_models(align(only, NAMES), CompareConfig(metrics=["roc_auc"]))
