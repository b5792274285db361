"""Targets of any scale: 1e-9 mol/L, counts of a million, a constant with a trace of spread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chemprop_multitask import ChempropModel, Ensemble, MoleculeData
from chemprop_multitask._data import label_scale
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

TASKS = ("a", "b", "c")
UNITS = [1e-13, 1e-9, 1e-3, 1e6, 1e12]


@given(
    st.lists(st.floats(-10, 10), min_size=2, max_size=20),
    st.floats(-200, 200),
)
def test_the_scaler_follows_a_change_of_unit(values: list[float], exponent: float) -> None:
    y, unit = np.array(values)[:, None], 10.0**exponent
    mean, scale = label_scale(y, "a", ["regression"])
    other_mean, other_scale = label_scale(y * unit, "a", ["regression"])
    size = np.abs(y).max()
    np.testing.assert_allclose(other_mean, mean * unit, rtol=1e-12, atol=1e-14 * size * unit)
    # Between rounding and spread lies a decade in which either may be taken.
    if np.ptp(y) > 1e-12 * size:
        np.testing.assert_allclose(other_scale, scale * unit, rtol=1e-3 if scale < 1e-9 else 1e-9)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0, 3.0, 3.0], 1.0),
        ([0.0, 0.0], 1.0),
        # The mean of three repeats of 0.1 is not 0.1 to the last digit.
        ([0.1, (0.1 + 0.1 + 0.1) / 3, 0.1 + 0.2 - 0.2], 1.0),
        ([1e-9, 3e-9], 1e-9),
        ([1e-200, 3e-200], 1e-200),
        ([1e200, 3e200], 1e200),
        ([1e6, 1e6 + 2e-6], 1e-6),
    ],
)
def test_what_counts_as_constant(values: list[float], expected: float) -> None:
    _, scale = label_scale(np.array(values)[:, None], "a", ["regression"])
    assert scale[0] == pytest.approx(expected, rel=1e-4)


def trained(settings: Any, data: MoleculeData, **training: Any) -> ChempropModel:
    model = ChempropModel.from_config(settings(**training), task_names=TASKS)
    model.fit(data)
    return model


@pytest.mark.parametrize("unit", UNITS)
def test_predictions_follow_a_change_of_unit(
    unit: float, smiles: list[str], table: NDArray[np.float64], settings: Any
) -> None:
    plain = trained(settings, MoleculeData(smiles, table, task_names=TASKS)).predict(smiles)
    # A unit for each task, as assays have them.
    units = np.array([unit, 1.0, 1 / unit])
    data = MoleculeData(smiles, table * units, task_names=TASKS)
    scaled = trained(settings, data).predict(smiles)
    np.testing.assert_allclose(scaled / units, plain, rtol=1e-6)


def test_a_spread_of_one_about_a_million_is_predicted(
    smiles: list[str], table: NDArray[np.float64], settings: Any, tmp_path: Path
) -> None:
    y = table[:, [0]] - np.nanmean(table[:, 0])
    models = []
    for offset in (0.0, 1e6, 1e9):
        config = settings(epochs=8, learning_rate=1e-2)
        model = ChempropModel.from_config(config, task_names="a")
        model.fit(MoleculeData(smiles, y + offset, task_names="a"))
        models.append(model.predict(smiles) - offset)
    assert np.std(models[0]) > 0.005
    # y + 1e9 has itself lost all beyond 1e-7; single precision would have lost all beyond 64.
    np.testing.assert_allclose(models[1], models[0], atol=1e-5)
    np.testing.assert_allclose(models[2], models[0], atol=1e-4)


def test_files_keep_every_digit(
    smiles: list[str], table: NDArray[np.float64], settings: Any, tmp_path: Path
) -> None:
    data = MoleculeData(smiles, table * 1e-9 + [1e-3, 1.0, 1e6], task_names=TASKS)
    models = [trained(settings, data, learning_rate=rate) for rate in (1e-3, 2e-3)]
    models[0].save(tmp_path / "model.pt")
    again = ChempropModel.load(tmp_path / "model.pt").predict(smiles)
    np.testing.assert_array_equal(again, models[0].predict(smiles))
    ensemble = Ensemble(models)
    ensemble.save(tmp_path / "ensemble")
    mean, sd = Ensemble.load(tmp_path / "ensemble").predict(smiles)
    np.testing.assert_array_equal(mean, ensemble.predict(smiles)[0])
    assert (sd > 0).any()


def test_files_of_before_have_single_precision(
    smiles: list[str], data: MoleculeData, settings: Any, tmp_path: Path
) -> None:
    model = trained(settings, data)
    model.save(tmp_path / "model.pt")
    content = torch.load(tmp_path / "model.pt", weights_only=False)
    for key in ("label_mean", "label_scale"):
        del content["chemprop_multitask"][key]
    torch.save(content, tmp_path / "before.pt")
    before = ChempropModel.load(tmp_path / "before.pt")
    np.testing.assert_allclose(before.predict(smiles), model.predict(smiles), rtol=1e-5)
