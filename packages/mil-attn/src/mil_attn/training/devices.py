"""Where a trained model predicts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from molpool_common import quick_products

from mil_attn.training.module import MILModule


@contextmanager
def prediction_device(module: MILModule) -> Iterator[torch.device]:
    """Put a model, not in training, where its configuration wants it trained; then back.

    Parameters
    ----------
    module : MILModule
        Lightning leaves it on the processor when training ends.

    Yields
    ------
    torch.device
        A GPU where there is one and ``training.accelerator`` is not ``cpu``; else where it was.
    """
    before = module.device
    module.eval()
    if module.config.training.accelerator != "cpu" and torch.cuda.is_available():
        module.to("cuda")
    try:
        with torch.inference_mode(), quick_products(module.device):
            yield module.device
    finally:
        module.to(before)
