from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rt_ridge import RTRidgeError, SufficientStatistics

COVARIATES = ["is_1", "is_2"]
ARRAYS = ("keys", "n", "mean_x", "mean_y", "sxx", "sxy", "syy", "mean_low")


def summarise(frame: pl.DataFrame, parent: str | None = "species_cluster") -> SufficientStatistics:
    return SufficientStatistics.from_frame(frame, covariates=COVARIATES, parent=parent)


def test_saved_and_loaded_bit_for_bit(legal_table: pl.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "statistics.npz"
    for stats in (summarise(legal_table), summarise(legal_table, parent=None)):
        stats.save(path)
        loaded = SufficientStatistics.load(path)
        for name in ARRAYS:
            assert getattr(loaded, name).tobytes() == getattr(stats, name).tobytes()
        assert loaded.covariates == stats.covariates
        assert (loaded.target, loaded.group_col) == ("rt", "species")
        assert (loaded.parents is None) == (stats.parents is None)
    assert [p.name for p in tmp_path.iterdir()] == ["statistics.npz"]


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        ({"schema": np.array("other")}, "schema"),
        ({"schema_version": np.array(9)}, "version 9"),
        ({"sxx": None}, "lacks sxx"),
        ({"mean_x": np.zeros((1, 2))}, "expected float64"),
        ({"n": np.zeros(0)}, "n (stats.npz): expected int64"),
        ({"syy": "negative"}, "syy (stats.npz): expected sums of squares"),
        ({"mean_y": "nan"}, "mean_y (stats.npz): expected finite"),
        ({"keys": "reversed"}, "keys (stats.npz): expected non-negative and ascending"),
        ({"parents_group": None}, "parents"),
    ],
)
def test_a_damaged_file_is_refused(
    make_table: Callable[..., pl.DataFrame],
    change: dict[str, object],
    phrase: str,
    tmp_path: Path,
) -> None:
    path = tmp_path / "stats.npz"
    summarise(make_table(0)).save(path)
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    for name, value in change.items():
        array = arrays.pop(name)
        if isinstance(value, np.ndarray):
            arrays[name] = value
        elif value is not None:
            damage = {"negative": -1 - array, "nan": array * np.nan, "reversed": array[::-1]}
            arrays[name] = damage[str(value)]
    np.savez(path, allow_pickle=False, **arrays)
    with pytest.raises(RTRidgeError) as caught:
        SufficientStatistics.load(path)
    assert phrase in str(caught.value)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pickled.npz"
    np.savez(path, keys=np.array([{"a": 1}], dtype=object))
    for bad in (path, tmp_path / "absent.npz", Path(__file__)):
        with pytest.raises(RTRidgeError, match="expected an"):
            SufficientStatistics.load(bad)
