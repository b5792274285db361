from __future__ import annotations

import numpy as np
import pytest
import torch
from mil_attn._errors import MILError
from mil_attn._losses import reg_loss_by_task, reg_loss_weighted


def test_it_is_numpys_weighted_mean_over_what_is_there() -> None:
    rng = np.random.default_rng(0)
    pred, y = rng.normal(size=(2, 30, 4))
    weights = rng.uniform(0.1, 2, size=(30, 4))
    y[rng.random(y.shape) < 0.3] = np.nan
    mask = rng.random(y.shape) < 0.8
    given = [torch.from_numpy(a) for a in (pred, y, mask, weights)]
    counts = mask & ~np.isnan(y)
    squares = (pred - y) ** 2
    expected = np.average(squares[counts], weights=weights[counts])
    np.testing.assert_allclose(reg_loss_weighted(*given).item(), expected, rtol=1e-12)
    by_task = [
        np.average(squares[counts[:, t], t], weights=weights[counts[:, t], t]) for t in range(4)
    ]
    np.testing.assert_allclose(reg_loss_by_task(*given).numpy(), by_task, rtol=1e-12)


def test_nothing_there_is_0_without_a_gradient() -> None:
    pred = torch.randn(3, 2, requires_grad=True)
    loss = reg_loss_weighted(pred, torch.full((3, 2), torch.nan))
    loss.backward()
    assert loss == 0
    assert pred.grad is not None
    assert (pred.grad == 0).all()


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(MILError, match=r"kind: .*'mes'. Did you mean 'mse'"):
        reg_loss_weighted(torch.zeros(1, 1), torch.zeros(1, 1), kind="mes")
