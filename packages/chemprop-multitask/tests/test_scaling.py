from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chemprop_multitask import ChempropError, MoleculeData
from chemprop_multitask.scaling import check_labels, label_scale

NAN = np.nan


def test_mean_and_standard_deviation_by_hand() -> None:
    # Column b: 2, 4, 4, 4, 5, 5, 7, 9 has mean 5 and population standard deviation 2.
    b = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0, NAN]
    table = np.array([[3.0, y, float(i % 2)] for i, y in enumerate(b)])
    mean, scale = label_scale(table, "abc", ["regression", "regression", "classification"])
    np.testing.assert_allclose(mean, [3.0, 5.0, 0.0], rtol=1e-15)
    # a is constant, c is a class: neither is scaled.
    np.testing.assert_allclose(scale, [1.0, 2.0, 1.0], rtol=1e-15)


def test_a_task_without_labels_is_named() -> None:
    with pytest.raises(ChempropError, match="'b': expected training labels; found none"):
        label_scale(np.array([[1.0, NAN]]), "ab", ["regression"] * 2)


@pytest.mark.parametrize(
    ("options", "kinds", "message"),
    [
        ({"task_names": "ba"}, ["regression"] * 2, r"\['a', 'b'\]; found \['b', 'a'\]"),
        ({"targets": None}, ["regression"] * 2, "found none"),
        ({}, ["regression", "classification"], "'b': expected classes 0 and 1; found 2 in row 2"),
        (
            {"censoring": np.array([[0, 0], [1, 0]])},
            ["classification", "regression"],
            "'a': expected classes without < and >; found one in row 2",
        ),
    ],
)
def test_labels_that_do_not_fit_are_named(options: Any, kinds: Any, message: str) -> None:
    given = {"targets": np.array([[0.0, 1.0], [1.0, 2.0]]), "task_names": "ab", **options}
    with pytest.raises(ChempropError, match=message):
        check_labels(MoleculeData(["C", "CC"], **given), "ab", kinds)
