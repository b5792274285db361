"""Linear maps against torch's own, and the settings that they leave behind."""

from __future__ import annotations

import pytest
import torch
from mil_attn.models.linear import head_products, quick_linear, small_products
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

CPU = torch.device("cpu")


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("has_bias", [True, False])
def test_a_quick_linear_map_has_the_gradients_of_torchs(has_bias: bool) -> None:
    given = [drawn(5, 3), drawn(4, 3, seed=1), *([drawn(4, seed=2)] if has_bias else [])]
    wanted = [tensor.requires_grad_() for tensor in given]
    mine, theirs = quick_linear(*wanted), F.linear(*wanted)
    torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
    cotangent = drawn(5, 4, seed=3)
    for ours, other in zip(
        torch.autograd.grad(mine, wanted, cotangent),
        torch.autograd.grad(theirs, wanted, cotangent),
        strict=True,
    ):
        torch.testing.assert_close(ours, other, rtol=1e-12, atol=1e-12)


def test_float32_is_of_float32_accuracy() -> None:
    rows, weight = (drawn(300, 500, seed=s, dtype=torch.float32) for s in (0, 1))
    mine, exact = quick_linear(rows, weight), rows.double() @ weight.double().T
    assert (mine - exact).abs().max() <= 1e-5 * exact.abs().max()


def test_a_frozen_map_gets_no_gradient() -> None:
    rows, weight = drawn(5, 3).requires_grad_(), drawn(4, 3, seed=1)
    quick_linear(rows, weight).sum().backward()
    assert weight.grad is None
    assert rows.grad is not None
    torch.testing.assert_close(rows.grad, weight.sum(0).expand(5, 3))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_head_products_write_into_views(share: float) -> None:
    before = torch.full((6, 2, 4), 3.0 if share else torch.nan, dtype=torch.float64)
    out, left, right = before.clone(), drawn(2, 6, 5), drawn(2, 4, 5, seed=1)
    head_products(out.transpose(0, 1), left, right.mT, share=share)
    expected = torch.einsum("hnd,hkd->nhk", left, right) + (before if share else 0)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)


def test_small_products_are_mkls_and_the_setting_is_restored() -> None:
    torch.set_float32_matmul_precision("medium")
    try:
        with small_products(CPU):
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
        with small_products(torch.device("cuda")):  # where it would forbid what the user allowed
            assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
