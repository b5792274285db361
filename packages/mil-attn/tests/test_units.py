"""Targets of any scale, as for molecules without bags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mil_attn import MILModule, fit, predict

UNITS = [1e-13, 1e-9, 1e6]


@pytest.mark.parametrize("unit", UNITS)
def test_predictions_follow_a_change_of_unit(unit: float, settings: Any, make_data: Any) -> None:
    data = make_data(task_kind="regression")
    config = settings(task_kind="regression")
    plain = predict(fit(config, data).module, data)
    units = np.array([unit, 1 / unit])
    scaled = data.replace(labels=data.labels * units)
    np.testing.assert_allclose(
        predict(fit(config, scaled).module, scaled) / units, plain, rtol=1e-6
    )


def test_a_spread_of_one_about_a_million_is_predicted(
    settings: Any, make_data: Any, tmp_path: Path
) -> None:
    data = make_data(task_kind="regression")
    config = settings(task_kind="regression")
    moved = data.replace(labels=data.labels - np.nanmean(data.labels, axis=0))
    plain = predict(fit(config, moved).module, data)
    far = moved.replace(labels=moved.labels + 1e6)
    module = fit(config, far).module
    # Of a standard deviation of 10: y + 1e6 has other last digits when it is rounded for training.
    np.testing.assert_allclose(predict(module, data) - 1e6, plain, atol=1e-5)
    module.save(tmp_path / "model.pt")
    again = MILModule.load(tmp_path / "model.pt")
    np.testing.assert_array_equal(predict(again, data), predict(module, data))
    # Files of before have the scale in single precision alone.
    content = torch.load(tmp_path / "model.pt", weights_only=False)
    (ours,) = (value for key, value in content.items() if key != "state_dict")
    del ours["units"]
    torch.save(content, tmp_path / "before.pt")
    before = MILModule.load(tmp_path / "before.pt")
    np.testing.assert_allclose(predict(before, data), predict(module, data), rtol=1e-6)
