from __future__ import annotations

from typing import Any

import pytest
from molpool_common import InputError, validate_values
from molpool_pipelines.tables._table_config import ColumnSource, DataConfig, SourceConfig


def refusal(**values: Any) -> str:
    with pytest.raises(InputError) as caught:
        validate_values(DataConfig, values)
    return str(caught.value)


SOURCE = {"path": "a.csv", "columns": {"LogD": "logd"}}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"target_columns": ["a", "b", "a"]},
            "target_columns: expected distinct names; found twice a.",
        ),
        (
            {"split_ratios": [0.5, 0.5, 0.5]},
            "split_ratios: expected shares that are not negative and sum to 1; "
            "found [0.5, 0.5, 0.5].",
        ),
        (
            {"split_ratios": [1.1, -0.1, 0.0]},
            "split_ratios: expected shares that are not negative and sum to 1; "
            "found [1.1, -0.1, 0.0].",
        ),
        (
            {"split_type": "time"},
            "time_column: expected a column with split_type time; found none.",
        ),
        (
            {"target_columns": ["LogS"], "sources": [SOURCE]},
            "sources.columns: expected names in target_columns; found 'LogD'.",
        ),
        (
            {"target_columns": ["LogD"], "transforms": {"LogS": ["log10"]}},
            "transforms: expected names in target_columns; found 'LogS'.",
        ),
        (
            {"target_columns": ["LogD"], "sources": [{**SOURCE, "dataset": "biogen"}]},
            "sources.0: expected one of path and dataset; found both.",
        ),
        (
            {"target_columns": ["LogD"], "sources": [{"columns": {"LogD": "x"}}]},
            "sources.0: expected one of path and dataset; found none.",
        ),
        (
            {"split_type": "scafold"},
            "split_type: expected 'random', 'scaffold', 'time', 'cluster' or 'stratified'; "
            "found 'scafold'. Did you mean 'scaffold'?",
        ),
    ],
)
def test_what_does_not_fit(values: dict[str, Any], message: str) -> None:
    assert refusal(**values) == message


def test_a_source_needs_a_column() -> None:
    assert refusal(target_columns=["LogD"], sources=[{"path": "a", "columns": {}}]).startswith(
        "sources.0.columns: expected "
    )


def test_column_of_a_source() -> None:
    source = SourceConfig.model_validate(
        {"path": "a", "columns": {"a": "A", "b": {"column": "B", "transform": ["log10"]}}}
    )
    assert source.column_for("a") == ColumnSource(column="A")
    assert source.column_for("b") == ColumnSource(column="B", transform=["log10"])
    assert source.column_for("c") is None


def test_ratios_that_sum_to_one_but_for_rounding() -> None:
    assert DataConfig(split_ratios=(0.7, 0.1, 0.2)).split_ratios == (0.7, 0.1, 0.2)
