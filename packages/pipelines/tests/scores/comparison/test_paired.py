from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from molpool_common import InputError
from molpool_pipelines.scores.comparison._paired import pair_rows
from three_models import predictions, shuffled, three

NAMES = ("good", "alike", "poor")


def test_rows_are_paired_by_id_whatever_their_order() -> None:
    models = three()
    mixed = [shuffled(m, seed) for seed, m in enumerate(models)]
    one, other = pair_rows(models, NAMES), pair_rows(mixed, NAMES)
    assert one.keys == other.keys == sorted(one.keys)
    np.testing.assert_array_equal(one.y_pred, other.y_pred)
    np.testing.assert_array_equal(one.y_true, other.y_true)


def test_tasks_are_paired_by_name() -> None:
    first, second = three()[:2]
    found = pair_rows([first, second.of_tasks(["hERG", "KSOL", "LogD"])], ["a", "b"])
    np.testing.assert_array_equal(found.y_pred, pair_rows([first, second], ["a", "b"]).y_pred)
    assert found.tasks == first.tasks


def test_repeats_and_folds_tell_rows_apart() -> None:
    found = pair_rows(three(folds=2), NAMES)
    assert len(found) == 240
    assert found.cells == [(r, f) for r in range(2) for f in range(5)]
    assert sum(len(found.rows_of(cell)) for cell in found.cells) == 240


def test_lacking_rows_are_counted_and_named() -> None:
    first, second, third = three()
    with pytest.raises(InputError) as error:
        pair_rows([first.take(np.arange(7, 120)), second, third.take(np.arange(119))], NAMES)
    text = str(error.value)
    first_ids = "'M000', 'M001', 'M002', 'M003', 'M004' and 2 more"
    assert f"good lacks 7 of 120 rows ({first_ids})" in text
    assert "poor lacks 1 of 120 rows ('M119')" in text
    assert "alike" not in text
    assert "--common-rows" in text


def test_common_rows_on_request() -> None:
    first, second = three()[:2]
    found = pair_rows([first.take(np.arange(7, 120)), second], ["a", "b"], common_rows=True)
    assert (len(found), found.n_left_out) == (113, 7)
    other = second.take(np.arange(5))
    with pytest.raises(InputError, match="rows that all models predict; found none of"):
        pair_rows([first.take(np.arange(7, 120)), other], ["a", "b"], common_rows=True)


def test_repeated_ids_are_counted_and_named() -> None:
    first, second = three()[:2]
    twice = second.take(np.array([*range(120), 3, 3, 8]))
    with pytest.raises(InputError, match=r"alike.*2 more than once: 'M003' \(3 times\), 'M008'"):
        pair_rows([first, twice], ["good", "alike"])


def test_other_tasks_are_named() -> None:
    first, second = three()[:2]
    other = replace(second, tasks=("LogD", "KSOL", "Caco"))
    with pytest.raises(InputError) as error:
        pair_rows([first, other], ["good", "alike"])
    assert "only in good: hERG; only in alike: Caco" in str(error.value)
    assert "--columns.tasks LogD KSOL" in str(error.value)
    with pytest.raises(InputError, match="no task in common"):
        pair_rows([first, replace(second, tasks=("x", "y", "z"))], ["good", "alike"])


def test_other_kinds_of_a_task() -> None:
    first, second = three()[:2]
    other = replace(second, task_types=("regression",) * 3)
    with pytest.raises(InputError, match="classification in good, regression in alike"):
        pair_rows([first, other], ["good", "alike"])


def test_other_truth_is_refused() -> None:
    first, second = three()[:2]
    y = second.y_true.copy()
    row, task = np.argwhere(np.isfinite(y))[0]
    y[row, task] += 1
    with pytest.raises(InputError, match=rf"1 labels that differ, the first of 'M{row:03d}'"):
        pair_rows([first, replace(second, y_true=y)], ["good", "alike"])
    # A label that went through float32 is the same label.
    single = replace(second, y_true=second.y_true.astype(np.float32).astype(np.float64))
    assert len(pair_rows([first, single], ["good", "alike"])) == 120


def test_names() -> None:
    with pytest.raises(InputError, match="at least two"):
        pair_rows([predictions("good")], ["good"])
    with pytest.raises(InputError, match="good more than once"):
        pair_rows(three()[:2], ["good", "good"])
