from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chemprop_multitask import ChempropError, MoleculeData, censoring_from_signs


def test_signs_become_numbers() -> None:
    signs: list[list[str | None]] = [["<", None], [">=", "="], [" > ", ""], ["<=", None]]
    assert censoring_from_signs(signs, ["a", "b"]).tolist() == [[-1, 0], [1, 0], [1, 0], [-1, 0]]


def test_an_unknown_sign_names_row_and_task() -> None:
    with pytest.raises(ChempropError, match=r"task 'b': .* found '~' in row 2"):
        censoring_from_signs([["<", None], [">", "~"]], ["a", "b"])


def test_bounds_reach_the_datum() -> None:
    targets = np.array([[1.0, 2.0], [3.0, np.nan]])
    censoring = np.array([[-1, 1], [0, 0]], dtype=np.int8)
    data = MoleculeData(["C", "CC"], targets, task_names="ab", censoring=censoring)
    assert data[0].lt_mask is not None
    assert data[0].gt_mask is not None
    assert data[0].lt_mask.tolist() == [True, False]
    assert data[0].gt_mask.tolist() == [False, True]
    assert MoleculeData(["C", "CC"], targets, task_names="ab")[0].lt_mask is None


@pytest.mark.parametrize(
    ("censoring", "message"),
    [
        ([[0, 0], [0, 2]], "found 2 in row 2, task 'b'"),
        ([[0, 0]], r"shape of the targets, \(2, 2\); found \(1, 2\)"),
    ],
)
def test_wrong_censoring_is_named(censoring: Any, message: str) -> None:
    with pytest.raises(ChempropError, match=message):
        MoleculeData(["C", "CC"], np.ones((2, 2)), task_names="ab", censoring=np.array(censoring))
