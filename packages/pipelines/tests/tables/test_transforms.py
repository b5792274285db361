from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from molpool_common import InputError
from molpool_pipelines.tables.config import Step
from molpool_pipelines.tables.transforms import transform
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

CAFFEINE = 194.19
"""g/mol, PubChem CID 2519."""


def convert(values: list[float], *steps: Any, mass: float = 100.0, **more: Any) -> NDArray[Any]:
    array = np.array(values, dtype=float)
    return transform(
        array, steps, molar_mass=np.full(len(array), mass), name="y", where="t.csv", **more
    )


@pytest.mark.parametrize(
    ("values", "steps", "expected"),
    [
        ([1, 10, 1000], ("log10",), [0, 1, 3]),
        ([0, 9, 99], ("log10p1",), [0, 1, 2]),
        ([0, 1, -2], ("exp10",), [1, 10, 0.01]),
        ([2, -3], ({"multiply": 1000},), [2000, -3000]),
        ([0.001, 1], ({"multiply": 1000}, "log10"), [0, 3]),
        ([3, 4], (), [3, 4]),
    ],
)
def test_by_hand(values: list[float], steps: tuple[Any, ...], expected: list[float]) -> None:
    np.testing.assert_allclose(convert(values, *steps), expected, rtol=1e-14, atol=1e-14)


def test_micromolar_of_caffeine() -> None:
    # 194.19 ug/mL of a substance of 194.19 g/mol is 1 mmol/L. Its solubility in water, 21.6 g/L
    # at 25 °C (PubChem), is 0.1112 mol/L.
    said = convert([194.19, 21_600], "ug_per_mL_to_uM", mass=CAFFEINE)
    np.testing.assert_allclose(said, [1000.0, 111_231.3], rtol=1e-6)


def test_mass_is_that_of_each_row() -> None:
    said = transform(
        np.array([1.0, 1.0]), ["ug_per_mL_to_uM"], molar_mass=np.array([100.0, 500.0]),
        name="y", where="t",
    )  # fmt: skip
    np.testing.assert_allclose(said, [10.0, 2.0], rtol=1e-14)


def test_missing_stays_missing_and_is_no_error() -> None:
    said = convert([math.nan, 10], "log10")
    assert math.isnan(said[0])
    assert said[1] == 1


def test_the_input_is_left_alone() -> None:
    values = np.array([10.0])
    transform(values, ["log10"], molar_mass=np.ones(1), name="y", where="t")
    assert values[0] == 10


@pytest.mark.parametrize(
    ("values", "step", "message"),
    [
        ([1, 0, -2], "log10", "found 0 in row 2. Rows: 2, 3."),
        ([1, -1], "log10p1", "found -1 in row 2."),
        ([400], "exp10", "found 400 in row 1."),
    ],
)
def test_undefined_values_are_named(values: list[float], step: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        convert(values, step)
    assert str(caught.value).startswith(f"column 'y' (t.csv): expected values for which {step} is")
    assert str(caught.value).endswith(message)


def test_undefined_value_of_a_later_step_shows_the_value_of_the_table() -> None:
    with pytest.raises(InputError, match="found 5 in row 1"):
        convert([5], {"multiply": -1}, "log10")


def test_rows_given() -> None:
    with pytest.raises(InputError, match=r"found 0 in row 9\."):
        convert([1, 0], "log10", rows=[7, 9])


@given(arrays(float, st.integers(0, 20), elements=st.floats(1e-250, 1e250)))
def test_exp10_undoes_log10(values: NDArray[np.float64]) -> None:
    again = transform(
        values, ["log10", "exp10"], molar_mass=np.ones(len(values)), name="y", where="t"
    )
    # An error of one ulp in log10 <= 250 grows by 250 ln 10 / 2 in its power.
    np.testing.assert_allclose(again, values, rtol=1e-12)


@pytest.mark.parametrize("step", ["ln", {"divide": 2}, {"multiply": "x"}, 3])
def test_unknown_steps_are_refused_by_the_configuration(step: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Step).validate_python(step)
