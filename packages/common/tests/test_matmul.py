from __future__ import annotations

import pytest
import torch
from molpool_common import _matmul as matmul
from molpool_common._matmul import MOST_ERROR, fast_matmul

pytestmark = pytest.mark.core


def relative_error() -> float:
    generator = torch.Generator().manual_seed(1)
    left, right = torch.randn(700, 300, generator=generator), torch.randn(300, 200)
    exact = left.double() @ right.double()
    return float((left @ right - exact).abs().max() / exact.abs().max())


def test_matmul_is_of_float32_accuracy_inside_and_the_setting_is_restored() -> None:
    with fast_matmul():
        assert relative_error() <= MOST_ERROR
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_gpu_is_left_alone() -> None:
    with fast_matmul("cuda"):
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.backends.cuda.matmul.allow_tf32


def test_bfloat16_would_be_noticed() -> None:
    left, right = torch.randn(1024, 300), torch.randn(300, 300)
    exact = left.double() @ right.double()
    rounded = (left.bfloat16() @ right.bfloat16()).double()
    assert (rounded - exact).abs().max() / exact.abs().max() > 10 * MOST_ERROR


def test_a_processor_that_rounds_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "_error", lambda: 3e-3)
    matmul._keeps_float32.cache_clear()
    try:
        with fast_matmul():
            assert torch.get_float32_matmul_precision() == "highest"
    finally:
        matmul._keeps_float32.cache_clear()


def test_a_precision_of_the_users_own_stays() -> None:
    torch.set_float32_matmul_precision("high")
    try:
        with fast_matmul():
            assert torch.get_float32_matmul_precision() == "high"
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_the_setting_is_restored_after_an_error() -> None:
    with pytest.raises(KeyError), fast_matmul():
        raise KeyError
    assert torch.get_float32_matmul_precision() == "highest"
