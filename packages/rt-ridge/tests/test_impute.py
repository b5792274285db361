from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from rt_ridge.errors import RTRidgeError
from rt_ridge.impute import Imputer, refuse_gaps

NAN = float("nan")
TRAIN = pl.DataFrame(
    {
        "run": [0, 0, 0, 0, 1, 1, 2],
        "a": [1.0, 3.0, 8.0, None, 5.0, NAN, None],
        "b": [1, 2, 3, 4, 5, 6, 7],
    }
)


def test_gaps_take_the_median_of_their_run() -> None:
    imputer = Imputer.fit(TRAIN, ["a", "b"])
    filled = imputer.apply(TRAIN)
    # Run 0: median of 1, 3, 8; run 1: 5; run 2 has none: the median of the runs' 3 and 5.
    assert filled["a"].to_list() == [1.0, 3.0, 8.0, 3.0, 5.0, 5.0, 4.0]
    assert filled["a_missing"].to_list() == [0, 0, 0, 1, 0, 1, 1]
    assert filled["b"].to_list() == TRAIN["b"].to_list()
    assert imputer.columns == ("a", "b", "a_missing")
    assert set(imputer.columns) < set(filled.columns)


def test_a_run_never_seen_is_filled_from_itself_then_from_training() -> None:
    imputer = Imputer.fit(TRAIN, ["a"])
    new = pl.DataFrame({"run": [7, 7, 8], "a": [40.0, None, None]})
    assert imputer.apply(new)["a"].to_list() == [40.0, 40.0, 4.0]


def test_a_gap_without_an_indicator_is_refused() -> None:
    imputer = Imputer.fit(TRAIN, ["a", "b"])
    new = pl.DataFrame({"run": [0, 0], "a": [1.0, 1.0], "b": [1, None]})
    with pytest.raises(RTRidgeError, match=r"no gap in 'b', which had none in training.*row 2"):
        imputer.apply(new)


def test_without_the_switch_gaps_are_an_error() -> None:
    refuse_gaps(TRAIN, ["b"])
    with pytest.raises(RTRidgeError, match=r"a: expected .* found 3 missing \(rows 4, 6, 7"):
        refuse_gaps(TRAIN, ["b", "a"])


def test_a_covariate_without_a_value_is_refused() -> None:
    empty = TRAIN.with_columns(a=pl.lit(np.nan))
    with pytest.raises(RTRidgeError, match="somewhere in 'a'; found 7 rows without"):
        Imputer.fit(empty, ["a"])


def test_runs_must_be_known() -> None:
    with pytest.raises(RTRidgeError, match="expected a column 'batch'"):
        Imputer.fit(TRAIN, ["a"], run="batch")
