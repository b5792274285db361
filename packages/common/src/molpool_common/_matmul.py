"""Matrix multiplication by the faster of torch's two float32 libraries; needs ``lightning``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

MOST_ERROR = 1e-5
"""Largest error, as a share of the largest entry, that float32 sums of 300 products may have.

Rounding to float32 leaves about 1e-6; to bfloat16, about 3e-3.
"""


@contextmanager
def fast_matmul(device: torch.device | str = "cpu") -> Iterator[None]:
    """Let oneDNN multiply float32 matrices on the processor, if that costs no accuracy.

    By default torch takes MKL, which runs its slow path on processors of other makers (measured:
    2.4 times slower on an AMD EPYC). torch hands them to oneDNN where bfloat16 is allowed;
    whether oneDNN then rounds to bfloat16 depends on the processor. So it is tried out: where the
    result is not of float32 accuracy, or the user has set a precision of their own, nothing
    changes. What was set before is restored.

    Parameters
    ----------
    device : torch.device or str
        Where the matrices are. Off the processor nothing changes: the same setting would
        let a GPU round to TensorFloat-32.
    """
    before = torch.get_float32_matmul_precision()
    if torch.device(device).type != "cpu" or before != "highest" or not _keeps_float32():
        yield
        return
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@cache
def _keeps_float32() -> bool:
    """Return whether a matmul stays of float32 accuracy where bfloat16 is allowed."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        return _error() <= MOST_ERROR
    finally:
        torch.set_float32_matmul_precision(before)


def _error() -> float:
    """Return the largest error of a product, as a share of its largest entry."""
    generator = torch.Generator().manual_seed(0)
    # The shape of a message passing layer: oneDNN picks its kernel by shape.
    left = torch.randn(1024, 300, generator=generator)
    right = torch.randn(300, 300, generator=generator)
    exact = left.double() @ right.double()
    return float((left @ right - exact).abs().max() / exact.abs().max())
