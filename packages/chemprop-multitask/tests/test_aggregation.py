from __future__ import annotations

from typing import Any

import pytest
import torch
from chemprop import nn
from chemprop_multitask.aggregation import aggregate
from hypothesis import given
from hypothesis import strategies as st

KINDS = [nn.MeanAggregation, nn.SumAggregation, lambda: nn.NormAggregation(norm=7.0)]


@pytest.mark.parametrize("kind", KINDS)
@given(sizes=st.lists(st.integers(0, 5), min_size=1, max_size=8).filter(lambda s: s[-1] > 0))
def test_values_and_gradients_are_chemprops(kind: Any, sizes: list[int]) -> None:
    batch = torch.repeat_interleave(torch.tensor(sizes))
    H = torch.randn(len(batch), 4, dtype=torch.float64, requires_grad=True)
    G = torch.randn(len(sizes), 4, dtype=torch.float64)
    results = [aggregate(kind(), H, batch), kind()(H, batch)]
    gradients = [torch.autograd.grad((result * G).sum(), H)[0] for result in results]
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


def test_an_aggregation_with_weights_is_called_itself() -> None:
    module = nn.AttentiveAggregation(output_size=4)
    H, batch = torch.randn(5, 4), torch.tensor([0, 0, 1, 1, 1])
    torch.testing.assert_close(aggregate(module, H, batch), module(H, batch))
