"""Scaling: the training fold's statistics, guarded columns, another feature set refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mil_attn import BagData, FeatureScaler, MILError


def data(n: int = 40, seed: int = 0, **changes: Any) -> BagData:
    draw = np.random.default_rng(seed)
    aux = draw.normal(5, 3, size=(n, 2))
    aux[0, 1] = np.nan
    values: dict[str, Any] = {
        "ids": [f"m{i}" for i in range(n)],
        "instances": draw.normal([100, -3], [1e-3, 50], size=(2 * n, 2)),
        "offsets": np.arange(n + 1) * 2,
        "x2d": np.column_stack([draw.normal(size=n), np.full(n, 0.1)]),
        "feature_names_2d": ["logp", "constant"],
        "aux": {"abs": aux},
    }
    return BagData(**{**values, **changes})


def test_training_fold_has_mean_0_and_standard_deviation_1() -> None:
    train = data()
    scaled = FeatureScaler.fit(train).transform(train)
    assert scaled.instances is not None
    assert scaled.x2d is not None
    # Single precision of values near 100 with spread 1e-3 leaves 4e-3 of it.
    np.testing.assert_allclose(scaled.instances.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(scaled.instances.std(axis=0), 1, rtol=1e-4)
    np.testing.assert_allclose(np.nanmean(scaled.aux["abs"], axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.nanstd(scaled.aux["abs"], axis=0), 1, rtol=1e-12)
    assert np.isnan(scaled.aux["abs"]).sum() == 1


def test_other_bags_do_not_move_the_statistics() -> None:
    train, other = data(), data(seed=1)
    x = np.asarray(train.x2d, dtype=np.float64)
    scaled = FeatureScaler.fit(train).transform(other)
    expected = (np.asarray(other.x2d, dtype=np.float64)[:, 0] - x[:, 0].mean()) / x[:, 0].std()
    assert scaled.x2d is not None
    np.testing.assert_allclose(scaled.x2d[:, 0], expected, atol=1e-6)
    aux = train.aux["abs"]
    np.testing.assert_allclose(
        scaled.aux["abs"], (other.aux["abs"] - np.nanmean(aux, 0)) / np.nanstd(aux, 0), rtol=1e-12
    )


@given(value=st.floats(-1e6, 1e6, width=32), n=st.integers(1, 2000))
def test_constant_columns_become_zero_whatever_comes_later(value: float, n: int) -> None:
    ids = [str(i) for i in range(n)]
    scaler = FeatureScaler.fit(BagData(ids, x2d=np.full((n, 1), value)))
    other = BagData(["a", "b"], x2d=np.array([[value], [value + 1]]))
    assert not np.any(scaler.transform(other).x2d)


def test_undefined_features_become_the_training_mean() -> None:
    x = np.array([[1.0, np.nan], [3.0, np.nan], [np.nan, np.nan]])
    train = BagData(["a", "b", "c"], x2d=x, undefined_ok=True)
    scaled = FeatureScaler.fit(train).transform(train)
    assert scaled.x2d is not None
    assert scaled.x2d.tolist() == [[-1, 0], [1, 0], [0, 0]]
    assert scaled.batch([2]).x2d is not None


def test_saved_scaler_is_the_same_to_the_last_bit(tmp_path: Path) -> None:
    scaler = FeatureScaler.fit(data())
    scaler.save(tmp_path / "scaler.json")
    again = FeatureScaler.load(tmp_path / "scaler.json").transform(data(seed=2))
    for name in ("instances", "x2d"):
        expected = getattr(scaler.transform(data(seed=2)), name)
        np.testing.assert_array_equal(getattr(again, name), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"feature_names_2d": ["logP", "constant"]},
            "2D features: expected the 2 of training; found no 'logp' but 'logP' that training",
        ),
        (
            {"feature_names_2d": ["constant", "logp"]},
            "found another order, 'constant' for 'logp' in column 1",
        ),
        (
            {"instances": None, "offsets": None},
            "3D features: expected the 2 of training; found none",
        ),
        ({"x2d": np.zeros((40, 1)), "feature_names_2d": ["logp"]}, r"found no 'constant' \(1 col"),
        ({"aux": {"fluo": np.zeros((40, 1))}}, "auxiliary targets 'fluo': expected none; found 1"),
    ],
)
def test_refuses_another_feature_set(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(MILError, match=message):
        FeatureScaler.fit(data()).transform(data(**changes))


def test_data_without_auxiliary_targets_pass() -> None:
    assert FeatureScaler.fit(data()).transform(data(aux={})).aux == {}


def test_refuses_other_files(tmp_path: Path) -> None:
    with pytest.raises(MILError, match=r"scaler .*FeatureScaler\.save wrote"):
        FeatureScaler.load(tmp_path / "none.json")
    (tmp_path / "other.json").write_text("[1]")
    with pytest.raises(MILError, match=r"expected format .*found 'list'"):
        FeatureScaler.load(tmp_path / "other.json")
    with pytest.raises(MILError, match="at least one; found none"):
        FeatureScaler.fit(BagData([], x2d=np.zeros((0, 1), dtype=np.float32)))
