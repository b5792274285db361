from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mil_attn.config import MILConfig
from mil_attn.data.bag_data import BagData
from mil_attn.errors import MILError
from mil_attn.explain import leave_one_out
from mil_attn.fitting import predict
from mil_attn.training.module import MILModule


@pytest.mark.parametrize("rows_at_once", [3, 1 << 17])
@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_it_is_the_difference_to_the_bag_without_the_instance(
    rows_at_once: int,
    kind: str,
    settings: Callable[..., MILConfig],
    make_data: Callable[..., BagData],
) -> None:
    data = make_data(8, task_kind=kind)
    torch.manual_seed(0)
    module = MILModule.from_data(settings(task_kind=kind), data).eval()
    found = leave_one_out(module, data, rows_at_once=rows_at_once, batch_size=3)
    logit: Any = (lambda p: np.log(p / (1 - p))) if kind == "classification" else (lambda p: p)
    whole = logit(predict(module, data))
    assert data.instances is not None
    for b in range(8):
        first, last = data.bounds[b : b + 2]
        for i in range(first, last):
            if last - first == 1:
                assert np.isnan(found[i]).all()
                continue
            rest = data.take([b]).replace(
                instances=np.delete(data.instances[first:last], i - first, axis=0),
                offsets=np.array([0, last - first - 1]),
            )
            expected = whole[b] - logit(predict(module, rest))[0]
            # float32 logits, through probabilities and back
            np.testing.assert_allclose(found[i], expected, atol=2e-5 * np.abs(whole).max())


def test_it_wants_instances(
    settings: Callable[..., MILConfig], make_data: Callable[..., BagData]
) -> None:
    data = make_data(8)
    module = MILModule.from_data(settings({"use_3d": False}), data)
    with pytest.raises(MILError, match="3D branch; found one of 2D features alone"):
        leave_one_out(module, data)
