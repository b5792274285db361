from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mil_attn._errors import MILError
from mil_attn._losses import normalize_lambdas


def test_by_hand() -> None:
    # mean 2: 0.25, 0.5, 0.75, 2.5; clipped to 0.5 .. 2: 0.5, 0.5, 0.75, 2, whose mean is 0.9375
    found = normalize_lambdas([0.5, 1.0, 1.5, 5.0], floor=0.5, ceil=2.0)
    expected = torch.tensor([8 / 15, 8 / 15, 12 / 15, 32 / 15], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)


@given(
    st.lists(st.floats(0.25, 3.0), min_size=1, max_size=8),
    st.floats(0.25, 1.0),
    st.floats(1.0, 3.5),
    st.floats(0.1, 10.0),
)
def test_mean_1_and_no_unit(raw: list[float], floor: float, ceil: float, unit: float) -> None:
    found = normalize_lambdas(raw, floor, ceil)
    torch.testing.assert_close(found.mean().item(), 1.0, rtol=1e-12, atol=0)
    assert found.max() / found.min() <= ceil / floor * (1 + 1e-12)
    scaled = normalize_lambdas([unit * v for v in raw], floor, ceil)
    torch.testing.assert_close(scaled, found, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("raw", "floor", "ceil", "message"),
    [
        ([1.0, 0.0], 0.5, 2.0, "found 0 of task 1"),
        ([1.0, float("nan")], 0.5, 2.0, "found nan of task 1"),
        ([], 0.5, 2.0, "one weight per task"),
        ([1.0], 2.0, 0.5, "floor <= ceil; found 2 and 0.5"),
        ([1.0], 0.0, 0.5, "0 < floor"),
    ],
)
def test_wrong_weights_are_named(raw: list[float], floor: float, ceil: float, message: str) -> None:
    with pytest.raises(MILError, match=message):
        normalize_lambdas(raw, floor, ceil)
