from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from chemprop.nn import metrics as peers
from chemprop_multitask import ChempropError, MultiTaskLoss, TaskType, TrainingConfig
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.core


NAN = math.nan
REGRESSION: tuple[TaskType, ...] = ("regression",) * 3

# Squared errors against 0 of this table: task a: 1, 4, 9; task b: 16; task c: none.
PREDS = torch.tensor([[1.0, 4.0, 5.0], [2.0, 6.0, 6.0], [3.0, 7.0, 8.0]])
MASK = torch.tensor([[True, True, False], [True, False, False], [True, False, False]])
ZERO = torch.zeros(3, 3)


def value(loss: MultiTaskLoss, *args: Any) -> float:
    return float(loss(*args))


def test_task_average_by_hand() -> None:
    # (14 / 3 + 16) / 2: the task without a label is not counted.
    found = value(MultiTaskLoss(REGRESSION), PREDS, ZERO, MASK)
    assert found == pytest.approx((14 / 3 + 16) / 2, rel=1e-6)


def test_cell_average_by_hand() -> None:
    found = value(MultiTaskLoss(REGRESSION, average="cell"), PREDS, ZERO, MASK)
    assert found == pytest.approx((14 + 16) / 4, rel=1e-6)


def test_learnt_scales_by_hand() -> None:
    loss = MultiTaskLoss(REGRESSION, regression="mae", average="uncertainty")
    with torch.no_grad():
        loss.log_scale.copy_(torch.tensor([0.5, -1.0, 7.0]))
    # Absolute errors: task a 2 in the mean, task b 4, task c none, whose scale must not count.
    found = loss(PREDS, ZERO, MASK)
    expected = (2 * math.exp(-0.5) + 0.5 + 4 * math.exp(1) - 1) / 2
    assert found.item() == pytest.approx(expected, rel=1e-6)
    found.backward()
    assert loss.log_scale.grad is not None
    by_hand = [(1 - 2 * math.exp(-0.5)) / 2, (1 - 4 * math.exp(1)) / 2, 0.0]
    assert loss.log_scale.grad.tolist() == pytest.approx(by_hand, rel=1e-5)
    # Epochs are compared without them.
    assert value(loss.for_validation(), PREDS, ZERO, MASK) == pytest.approx(3, rel=1e-6)


def test_absolute_and_huber_by_hand() -> None:
    mae = MultiTaskLoss(REGRESSION, regression="mae")
    assert value(mae, PREDS, ZERO, MASK) == pytest.approx((2 + 4) / 2, rel=1e-6)
    # delta 2: r <= 2 costs r^2 / 2, beyond that 2 (r - 1).
    huber = MultiTaskLoss(REGRESSION, regression="huber", huber_delta=2.0)
    expected = ((0.5 + 2 + 4) / 3 + 6) / 2
    assert value(huber, PREDS, ZERO, MASK) == pytest.approx(expected, rel=1e-6)


def test_row_and_task_weights_by_hand() -> None:
    loss = MultiTaskLoss(REGRESSION, task_weights=[2.0, 0.5, 9.0])
    rows = torch.tensor([[1.0], [0.0], [3.0]])
    # Weights multiply the cells; the counts stay those of the labels.
    expected = (2 * (1 + 0 + 27) / 3 + 0.5 * 16) / 2
    assert value(loss, PREDS, ZERO, MASK, rows) == pytest.approx(expected, rel=1e-6)


def test_focal_by_hand() -> None:
    logits = torch.tensor([[0.0], [math.log(3.0)]])  # p = 1/2, 3/4
    targets = torch.tensor([[1.0], [0.0]])
    loss = MultiTaskLoss(["classification"], classification="focal", focal_gamma=2.0)
    expected = (0.5**2 * math.log(2) + 0.75**2 * math.log(4)) / 2
    assert value(loss, logits, targets) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_gradient_is_finite_where_the_model_is_sure(gamma: float) -> None:
    logits = torch.tensor([[200.0], [-200.0]], requires_grad=True)
    targets = torch.tensor([[1.0], [1.0]])
    loss = MultiTaskLoss(["classification"], classification="focal", focal_gamma=gamma)
    loss(logits, targets).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    # d/dz of -log p at z = -200, over two labels.
    assert float(logits.grad[1]) == pytest.approx(-0.5, rel=1e-5)


def test_a_model_of_both_kinds_uses_each_kinds_loss() -> None:
    loss = MultiTaskLoss(["regression", "classification"], regression="mae")
    found = value(loss, torch.tensor([[3.0, 0.0]]), torch.tensor([[1.0, 1.0]]))
    assert found == pytest.approx((2 + math.log(2)) / 2, rel=1e-6)


@pytest.mark.parametrize("name", ["mse", "mae", "huber"])
def test_a_bound_that_holds_costs_nothing(name: str) -> None:
    loss = MultiTaskLoss(["regression"], regression=name, huber_delta=10.0)
    square = {"mse": 4.0, "mae": 2.0, "huber": 2.0}[name]  # of a residual of 2
    below, above = torch.tensor([[True]]), torch.tensor([[False]])
    for preds, lt, gt, expected in [
        (-1.0, below, above, 0.0),  # "< 1", predicted -1
        (3.0, below, above, square),  # "< 1", predicted 3
        (3.0, above, below, 0.0),  # "> 1", predicted 3
        (-1.0, above, below, square),  # "> 1", predicted -1
    ]:
        found = value(loss, torch.tensor([[preds]]), torch.tensor([[1.0]]), None, None, lt, gt)
        assert found == pytest.approx(expected, abs=1e-7)


def test_a_bound_that_holds_gives_no_gradient() -> None:
    preds = torch.tensor([[-1.0, 3.0]], requires_grad=True)
    below = torch.tensor([[True, True]])
    MultiTaskLoss(REGRESSION[:2])(preds, torch.ones(1, 2), None, None, below, None).backward()
    assert preds.grad is not None
    assert preds.grad.tolist() == [[0.0, 2.0]]


def test_cells_without_a_label_give_no_gradient_and_no_nan() -> None:
    preds = torch.tensor([[1.0, torch.inf, NAN]], requires_grad=True)
    mask = torch.tensor([[True, False, False]])
    loss = MultiTaskLoss(REGRESSION)(preds, torch.zeros(1, 3), mask)
    assert loss.item() == pytest.approx(1.0)
    preds = torch.randn(4, 3, requires_grad=True)
    mask = torch.tensor([[True, False, True]] * 4)
    MultiTaskLoss(REGRESSION)(preds, torch.zeros(4, 3), mask).backward()
    assert preds.grad is not None
    assert (preds.grad[:, 1] == 0).all()
    assert (preds.grad[:, [0, 2]] != 0).all()


def test_a_batch_without_labels_costs_nothing() -> None:
    preds = torch.randn(2, 3, requires_grad=True)
    loss = MultiTaskLoss(REGRESSION)(preds, torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert preds.grad is not None
    assert (preds.grad == 0).all()


@given(
    cuts=st.lists(st.integers(1, 19), max_size=4),
    seed=st.integers(0, 2**16),
    average=st.sampled_from(["task", "cell"]),
)
def test_many_batches_average_as_one(cuts: list[int], seed: int, average: Any) -> None:
    generator = torch.Generator().manual_seed(seed)
    preds = torch.randn(20, 3, generator=generator)
    mask = torch.rand(20, 3, generator=generator) < torch.tensor([0.9, 0.3, 0.05])
    targets = torch.randn(20, 3, generator=generator)
    loss = MultiTaskLoss(REGRESSION, average=average)
    edges = [0, *sorted(set(cuts)), 20]
    for i, j in pairwise(edges):
        loss.update(preds[i:j], targets[i:j], mask[i:j])
    # The definition, in double precision over the whole table at once.
    errors = np.where(mask, (preds - targets).double().numpy() ** 2, np.nan)
    if average == "cell":
        expected = np.nanmean(errors) if mask.any() else 0.0
    else:
        seen = mask.any(dim=0).numpy()
        expected = np.nanmean(errors[:, seen], axis=0).mean() if seen.any() else 0.0
    assert loss.compute().item() == pytest.approx(expected, rel=1e-4)  # float32 sums


@pytest.mark.parametrize(
    ("ours", "peer"),
    [
        (MultiTaskLoss(REGRESSION, average="cell"), peers.BoundedMSE()),
        (MultiTaskLoss(REGRESSION, average="cell", regression="mae"), peers.BoundedMAE()),
        (MultiTaskLoss(("classification",) * 3, average="cell"), peers.BCELoss()),
    ],
)
def test_the_cell_average_is_chemprops(ours: MultiTaskLoss, peer: Any) -> None:
    generator = torch.Generator().manual_seed(3)
    preds = torch.randn(10, 3, generator=generator)
    targets = (torch.rand(10, 3, generator=generator) < 0.5).float()
    mask, below, above = (torch.rand(10, 3, generator=generator) < 0.4 for _ in range(3))
    if "classification" in ours.kinds:
        below = above = torch.zeros_like(mask)
    weights = torch.rand(10, 1, generator=generator)
    args = (preds, targets, mask, weights, below, above)
    assert value(ours, *args) == pytest.approx(float(peer(*args)), rel=1e-5)


def test_the_state_dict_is_that_of_chemprops_losses() -> None:
    assert MultiTaskLoss(REGRESSION).state_dict().keys() == peers.MSE().state_dict().keys()


def test_from_config_reads_every_key() -> None:
    config = TrainingConfig(
        loss="huber",
        loss_average="cell",
        huber_delta=0.3,
        focal_gamma=1.5,
        task_weights={"b": 2.0},
    )
    loss = MultiTaskLoss.from_config(config, ["a", "b"], ["regression", "classification"])
    assert (loss.regression, loss.classification, loss.average) == ("huber", "bce", "cell")
    assert (loss.huber_delta, loss.focal_gamma) == (0.3, 1.5)
    assert loss.task_weights.tolist() == [[1.0, 2.0]]
    assert loss.description == "HUBER and BCE, mean over all labels"


@pytest.mark.parametrize(
    ("training", "kinds", "message"),
    [
        ({"task_weights": {"LogDD": 1.0}}, ["regression"] * 2, "Did you mean 'LogD'"),
        ({"loss": "focal"}, ["regression"] * 2, "mse or mae or huber"),
        ({"loss": "mse"}, ["classification"] * 2, "bce or focal"),
    ],
)
def test_from_config_names_what_is_wrong(
    training: dict[str, Any], kinds: Any, message: str
) -> None:
    with pytest.raises(ChempropError, match=message):
        MultiTaskLoss.from_config(TrainingConfig(**training), ["LogD", "KSOL"], kinds)
