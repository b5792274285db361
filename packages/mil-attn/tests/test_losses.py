from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mil_attn._errors import MILError
from mil_attn._losses import MultiTaskFocal, normalize_lambdas, reg_loss_by_task, reg_loss_weighted
from torch.nn.functional import binary_cross_entropy_with_logits

pytestmark = pytest.mark.core


T = 3


def batch(seed: int, n: int = 40) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return logits, labels of which a third is missing, and weights."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, T, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 2, (n, T), generator=generator).double()
    labels[torch.rand(n, T, generator=generator) < 1 / 3] = torch.nan
    return logits, labels, torch.rand(n, T, generator=generator, dtype=torch.float64) + 0.1


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_with_gamma_0_it_is_torchs_cross_entropy(seed: int) -> None:
    logits, labels, weights = batch(seed)
    pos_weight = torch.tensor([1.0, 5.0, 40.0], dtype=torch.float64)
    ours = MultiTaskFocal(pos_weight, torch.zeros(T)).double()(logits, labels, None, weights)
    for t in range(T):
        there = ~labels[:, t].isnan()
        cells = binary_cross_entropy_with_logits(
            logits[there, t], labels[there, t], pos_weight=pos_weight[t], reduction="none"
        )
        expected = torch.sum(cells * weights[there, t]) / weights[there, t].sum()
        # float32 buffers of small whole numbers are exact
        torch.testing.assert_close(ours[t], expected, rtol=1e-12, atol=0)


def test_it_is_the_formula_of_the_paper() -> None:
    # Lin et al. 2017, eq. 4, a label at a time: -(1 - p_t)^gamma log(p_t), alpha on positives.
    logits = torch.tensor([[0.3, -1.0], [2.0, 0.5]], dtype=torch.float64)
    labels = torch.tensor([[1.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    gamma, weight = (2.0, 0.5), (3.0, 7.0)
    expected = []
    for t in range(2):
        total = 0.0
        for b in range(2):
            p = 1 / (1 + torch.exp(-logits[b, t]).item())
            right, alpha = (p, weight[t]) if labels[b, t] == 1 else (1 - p, 1.0)
            total += -alpha * (1 - right) ** gamma[t] * torch.tensor(right).double().log().item()
        expected.append(total / 2)
    found = MultiTaskFocal(weight, gamma).double()(logits, labels)
    torch.testing.assert_close(
        found, torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=0
    )


def test_fault_missing_labels_turned_into_negatives() -> None:
    logits, labels, weights = batch(3)
    logits.requires_grad_()
    loss = MultiTaskFocal([1.0] * T, [2.0] * T).double()
    whole = loss(logits, labels, None, weights)
    # What is predicted where no label is moves nothing, and gets no gradient.
    other = torch.where(labels.isnan(), 50.0, logits)
    torch.testing.assert_close(loss(other, labels, None, weights), whole)
    (gradient,) = torch.autograd.grad(whole.sum(), logits)
    assert (gradient[labels.isnan()] == 0).all()
    assert (gradient[~labels.isnan()] != 0).all()


def test_a_mask_hides_labels_and_what_is_masked_may_be_anything() -> None:
    logits, labels, _ = batch(4)
    mask = torch.arange(len(labels))[:, None] % 2 == torch.zeros(1, T)
    loss = MultiTaskFocal([2.0] * T, [1.0] * T).double()
    expected = loss(logits, torch.where(mask, labels, torch.nan))
    wild = torch.where(mask, labels, 17.0)
    torch.testing.assert_close(loss(logits, wild, mask), expected, rtol=0, atol=0)


def test_a_task_without_labels_has_loss_and_gradient_0() -> None:
    logits = torch.randn(5, 2, requires_grad=True)
    labels = torch.tensor([[1.0, torch.nan]] * 5)
    per_task = MultiTaskFocal([1.0, 1.0], [0.0, 2.0])(logits, labels)
    assert per_task[1] == 0
    per_task.sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert (logits.grad[:, 1] == 0).all()


@pytest.mark.parametrize("gamma", [0.0, 0.3, 2.0])
def test_extreme_logits_stay_finite(gamma: float) -> None:
    logits = torch.tensor([[200.0], [-200.0], [200.0], [-200.0]], requires_grad=True)
    labels = torch.tensor([[1.0], [0.0], [0.0], [1.0]])
    value = MultiTaskFocal([10.0], [gamma])(logits, labels).sum()
    value.backward()
    assert value.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_gradients() -> None:
    logits, labels, weights = batch(5, n=6)
    loss = MultiTaskFocal([1.0, 3.0, 9.0], [0.0, 0.7, 4.0]).double()
    assert torch.autograd.gradcheck(
        lambda x: loss(x, labels, None, weights), logits.requires_grad_()
    )


@pytest.mark.parametrize(
    ("weight", "gamma", "message"),
    [
        ([1.0], [1.0, 2.0], r"shapes \[1\] and \[2\]"),
        ([1.0, 0.0], [1.0, 2.0], r"pos_weight: .*above 0; found 0 of task 1"),
        ([1.0, 2.0], [-1.0, 2.0], r"gamma: .*0 or more; found -1 of task 0"),
    ],
)
def test_wrong_weights_are_named(weight: list[float], gamma: list[float], message: str) -> None:
    with pytest.raises(MILError, match=message):
        MultiTaskFocal(weight, gamma)


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
def test_wrong_task_weights_are_named(
    raw: list[float], floor: float, ceil: float, message: str
) -> None:
    with pytest.raises(MILError, match=message):
        normalize_lambdas(raw, floor, ceil)
