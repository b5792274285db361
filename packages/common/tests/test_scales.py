"""Scales of models: there and back, and what becomes of spreads and of what is unknown."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from molpool_common import ScaleName, from_scale, spread_from_scale, to_scale

NAMES: tuple[ScaleName, ...] = get_args(ScaleName)


@given(st.floats(1e-6, 0.999))
def test_there_and_back(value: float) -> None:
    values = np.full((1, len(NAMES)), value)
    again = from_scale(to_scale(values, NAMES), NAMES)
    # Of x + 1, the digits of a small x are lost as double precision loses them.
    np.testing.assert_allclose(again, values, rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_they_rise_and_the_slope_is_that_of_the_way_back(name: ScaleName) -> None:
    z = np.linspace(-3, 3, 40)[:, None]
    back = from_scale(z, [name])
    assert (np.diff(back[:, 0]) > 0).all()
    step = 1e-6
    slope = (from_scale(z + step, [name]) - from_scale(z - step, [name])) / (2 * step)
    np.testing.assert_allclose(spread_from_scale(np.ones_like(z), z, [name]), slope, rtol=1e-7)


def test_values_of_known_scales() -> None:
    found = from_scale(np.array([[2.0, 2.0, np.log(3.0)]]), ["log10", "log10p1", "logit"])
    np.testing.assert_allclose(found, [[100, 99, 0.75]], rtol=1e-12)


def test_what_is_unknown_stays_unknown() -> None:
    ends = np.array([[-np.inf], [np.inf], [np.nan]])
    np.testing.assert_array_equal(from_scale(ends, ["log10"]), ends)
    undefined = to_scale(np.array([[-1.0], [0.0], [np.nan]]), ["log10"])
    assert np.isnan(undefined).all()
