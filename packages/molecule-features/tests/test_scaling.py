"""Scaling by block."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from molecule_features import Block, FeatureError, FeatureScaler, featurize
from molpool_common import Float32Array

BLOCKS = (
    Block("counts", 0, 4, "count"),
    Block("bits", 4, 6, "bit", "2"),
    Block("numbers", 6, 9, "descriptor", "3", ("LogD", "hERG")),
)


def table(seed: int = 0, rows: int = 40) -> Float32Array:
    random = np.random.default_rng(seed)
    counts = random.poisson(2, (rows, 4))
    bits = random.integers(0, 2, (rows, 2))
    numbers = random.normal([5, -3e5, 2e-6], [2, 1e5, 1e-6], (rows, 3))
    return np.concatenate([counts, bits, numbers], axis=1).astype(np.float32)


@pytest.mark.core
def test_each_kind_as_written_down() -> None:
    values = table()
    scaled = FeatureScaler(clip=2.0, reference_width=64).fit_transform(values, BLOCKS)
    wide = values.astype(np.float64)
    np.testing.assert_allclose(scaled[:, :4], np.log1p(wide[:, :4]) / np.sqrt(4 / 64), rtol=1e-6)
    np.testing.assert_allclose(scaled[:, 4:6], wide[:, 4:6] / np.sqrt(2 / 64), rtol=1e-6)
    z = (wide[:, 6:] - wide[:, 6:].mean(axis=0)) / wide[:, 6:].std(axis=0)
    expected = 2 * np.tanh(z / 2) / np.sqrt(3 / 64)
    np.testing.assert_allclose(scaled[:, 6:], expected, rtol=1e-5, atol=1e-6)


def test_without_clip_they_are_scikit_learns_z_scores() -> None:
    from sklearn.preprocessing import StandardScaler

    values, block = table()[:, 6:], Block("numbers", 0, 3, "descriptor")
    scaled = FeatureScaler(clip=np.inf, reference_width=3).fit_transform(values, [block])
    expected = StandardScaler().fit_transform(values.astype(np.float64))
    np.testing.assert_allclose(scaled, expected, rtol=1e-5, atol=1e-6)


def test_an_odd_molecule_moves_nothing_beyond_the_clip() -> None:
    values = table()
    scaler = FeatureScaler(clip=3.0, reference_width=3).fit(values, BLOCKS)
    values[0, 6] = 1e30
    assert scaler.transform(values)[0, 6] == pytest.approx(3.0)


@given(
    arrays.arrays(np.float32, (7, 2), elements=st.floats(-1e3, 1e3, width=32)),
    st.floats(0.001, 1000),
    st.floats(-100, 100),
)
def test_units_of_descriptors_do_not_count(values: Any, factor: float, shift: float) -> None:
    # Multiples of a thousandth: single precision would otherwise lose them beside the shift.
    values = np.round(values.astype(np.float64), 3)
    block = [Block("numbers", 0, 2, "descriptor")]
    before = FeatureScaler().fit(values, block)
    after = FeatureScaler().fit(values * factor + shift, block)
    for column in np.flatnonzero(~before.constant & ~after.constant):
        np.testing.assert_allclose(
            after.transform(values * factor + shift)[:, column],
            before.transform(values)[:, column],
            rtol=1e-3,
            atol=1e-3,
        )


def test_constant_columns_become_zero_whatever_comes_later() -> None:
    values = table()
    values[:, 0], values[:, 4], values[:, 6] = 3, 1, 0.1
    scaler = FeatureScaler().fit(values, BLOCKS)
    assert np.flatnonzero(scaler.constant).tolist() == [0, 4, 6]
    later = table(seed=1)
    assert not scaler.transform(later)[:, [0, 4, 6]].any()
    assert "3 constant, set to 0" in str(scaler)


def test_one_count_among_many_molecules_is_not_constant() -> None:
    values = np.zeros((20_000, 1), dtype=np.float32)
    values[7] = 1
    scaler = FeatureScaler().fit(values, [Block("counts", 0, 1, "count")])
    assert not scaler.constant.any()


def test_gaps_become_the_mean_and_lost_molecules_stay_lost() -> None:
    values = table()
    values[3, 7] = values[5, 0] = np.nan
    values[8] = np.nan
    values[:, 8] = np.nan
    scaler = FeatureScaler(reference_width=3).fit(values, BLOCKS)
    assert scaler.imputed.tolist() == [1, 0, 0, 0, 0, 0, 0, 1, 39]
    scaled = scaler.transform(values)
    assert scaled[3, 7] == 0
    known = np.log1p(np.delete(values[:, 0], [5, 8]).astype(np.float64))
    assert scaled[5, 0] == pytest.approx(known.mean() / np.sqrt(4 / 3))
    assert not np.delete(scaled[:, 8], 8).any()
    assert np.isnan(scaled[8]).all()
    assert np.isfinite(np.delete(scaled, 8, axis=0)).all()


def test_the_state_comes_back_exactly_from_a_file_without_pickle() -> None:
    values = table()
    values[2, 7] = np.nan
    scaler = FeatureScaler(clip=2.5).fit(values, BLOCKS)
    file = io.BytesIO()
    np.savez(file, **scaler.state())  # pyrefly: ignore[bad-argument-type]
    file.seek(0)
    with np.load(file, allow_pickle=False) as stored:
        again = FeatureScaler.from_state(dict(stored))
    assert again.blocks == BLOCKS
    np.testing.assert_array_equal(again.transform(values), scaler.transform(values))
    assert str(again) == str(scaler)


def test_blocks_of_features_fit() -> None:
    found = featurize(["CCO", "c1ccccc1", "CCN", None], "rdkit2d+morgan_count", cache=None)
    scaled = FeatureScaler().fit_transform(found.values, found.blocks)
    assert np.isnan(scaled[3]).all()
    assert np.isfinite(scaled[:3]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FeatureScaler(clip=0), "clip: expected a positive number; found 0"),
        (lambda: FeatureScaler(reference_width=-1), "reference_width: expected a positive"),
        (lambda: FeatureScaler().transform(table()), "expected `fit` before `transform`"),
        (lambda: FeatureScaler().fit(table()[:, :8], BLOCKS), "expected 9 columns.*found 8"),
        (lambda: FeatureScaler().fit(table()[:, 4:], BLOCKS[1:]), "blocks that follow"),
        (lambda: FeatureScaler().fit(table()[0], BLOCKS), r"\[N, F\]; found shape \(9,\)"),
        (lambda: FeatureScaler().fit(table() * np.nan, BLOCKS), "with features; found none"),
        (lambda: FeatureScaler().fit(table() * np.inf, BLOCKS), "found infinity"),
        (
            lambda: FeatureScaler().fit(table()[:, :1], [Block("x", 0, 1, "odd")]),  # type: ignore
            "expected kinds count, bit, descriptor, embedding; found 'odd'",
        ),
        (lambda: FeatureScaler.from_state({}), "expected a scaler of format 1"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_what_cannot_be_scaled(call: Any, message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        call()
