"""Names of columns, and those of earlier tables."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from molpool_common import validate_values
from molpool_pipelines.runs import (
    SPLIT,
    ColumnsConfig,
    read_run_predictions,
    split_column,
    with_split,
)

EARLIER = pl.DataFrame({"id": ["a", "b"], "side": ["val", "test"], "fold": [1, None]})


def test_earlier_predictions_read_as_todays(tmp_path: Path) -> None:
    EARLIER.write_parquet(tmp_path / "predictions.parquet")
    found = read_run_predictions(tmp_path)
    assert found[SPLIT].to_list() == ["val", "test"]
    assert found["fold"].to_list() == [0, None]
    assert with_split(found).equals(found)


def test_other_names_stand() -> None:
    assert with_split(EARLIER, "side").equals(EARLIER)
    assert with_split(EARLIER, "part").equals(EARLIER)
    both = EARLIER.with_columns(split=pl.lit("train"))
    assert with_split(both).equals(both)
    assert split_column(["id"]) is None


def test_earlier_key_is_taken() -> None:
    assert validate_values(ColumnsConfig, {"side": "part"}).split == "part"
