"""Accounts of instances against definitions, and against instances that are known to count."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, permutations
from math import factorial

import numpy as np
import polars as pl
import pytest
import torch
from mil_attn._config import MILConfig
from mil_attn._errors import MILError
from mil_attn._explanations import (
    Agreement,
    _shapley,
    attention_agreement,
    explanations,
    find_witnesses,
    gradient_effects,
    shapley_values,
)
from mil_attn.data._bag_data import BagData
from mil_attn.training._module import MILModule
from molpool_common import FloatArray

Settings = Callable[..., MILConfig]
MakeData = Callable[..., BagData]


@pytest.fixture(params=[1, 2], ids=["one network", "two members"])
def module(request: pytest.FixtureRequest, settings: Settings, make_data: MakeData) -> MILModule:
    torch.manual_seed(0)
    return MILModule.from_data(settings(members=request.param), make_data(16)).eval()


def logits(module: MILModule, data: BagData) -> FloatArray:
    with torch.inference_mode():
        out: FloatArray = module(data.batch(range(len(data)))).logits.double().numpy()
    return out


def part_of(data: BagData, instances: list[int]) -> BagData:
    """Return the only bag of data with some of its instances."""
    assert data.instances is not None
    kept = data.instances[instances]
    return data.replace(instances=kept, offsets=np.array([0, len(instances)]))


def test_gradients_are_those_of_finite_differences(module: MILModule, make_data: MakeData) -> None:
    data = make_data(5, seed=1)
    scaled = module.prepare(data, with_labels=False)
    assert scaled.instances is not None
    found = gradient_effects(module, data, batch_size=2)
    assert found.shape == (data.n_instances, 2)
    step = 1e-2
    for i in range(data.n_instances):
        moved = []
        for factor in (1 + step, 1 - step):
            x = scaled.instances.copy()
            x[i] *= factor
            moved.append(logits(module, scaled.replace(instances=x))[scaled.bag_of(i)])
        expected = (moved[0] - moved[1]) / (2 * step)
        # Central differences of single precision
        np.testing.assert_allclose(found[i], expected, atol=2e-4)


@pytest.mark.parametrize("rows_at_once", [2, 1 << 17])
def test_over_all_orders_they_are_shapley_values(
    rows_at_once: int, module: MILModule, make_data: MakeData
) -> None:
    data = make_data(12, seed=1)
    n = 3
    data = data.take([int(np.flatnonzero(data.sizes == n)[0])])
    scaled = module.prepare(data, with_labels=False)
    every = list(permutations(range(n)))
    empty = np.mean([logits(module, part_of(scaled, [i])) for i in range(n)], axis=0)[0]

    def value(some: tuple[int, ...]) -> FloatArray:
        return logits(module, part_of(scaled, list(some)))[0] if some else empty

    expected = np.zeros((n, 2))
    for i in range(n):
        others = [j for j in range(n) if j != i]
        for k in range(n):
            weight = factorial(k) * factorial(n - k - 1) / factorial(n)
            for some in combinations(others, k):
                expected[i] += weight * (value((*some, i)) - value(some))
    orders = [np.array(order) for order in every]
    with torch.inference_mode():
        bags = scaled.batch([0])
        each = [_shapley(m, bags, orders, rows_at_once) for m in module.members]
    np.testing.assert_allclose(torch.stack(each).mean(0), expected, atol=1e-5)  # float32


def test_shapley_values_of_a_bag_sum_to_its_logit_less_that_of_none(
    module: MILModule, make_data: MakeData
) -> None:
    data = make_data(9, seed=2)
    scaled = module.prepare(data, with_labels=False)
    found = shapley_values(module, data, permutations=3, batch_size=4)
    sums = np.add.reduceat(found, data.bounds[:-1])
    for b, whole in enumerate(logits(module, scaled)):
        alone = scaled.take([b])
        each = [logits(module, part_of(alone, [i]))[0] for i in range(data.sizes[b])]
        np.testing.assert_allclose(sums[b], whole - np.mean(each, axis=0), atol=1e-5)  # float32


def test_all_accounts_are_of_every_instance_and_want_instances(
    module: MILModule, settings: Settings, make_data: MakeData
) -> None:
    data = make_data(6, seed=1)
    found = explanations(module, data, permutations=2)
    assert list(found) == ["attention", "leave-one-out", "Shapley", "gradient"]
    assert {values.shape for values in found.values()} == {(data.n_instances, 2)}
    flat = MILModule.from_data(settings({"use_3d": False}), data)
    for account in (gradient_effects, shapley_values):
        with pytest.raises(MILError, match="3D branch; found one of 2D features alone"):
            account(flat, data)


def test_a_witness_is_found_where_its_account_is_highest() -> None:
    data = BagData(
        ["p", "q", "negative", "all"],
        np.zeros((10, 1), dtype=np.float32),
        np.array([0, 4, 6, 8, 10]),
        labels=np.array([[1.0], [1.0], [0.0], [1.0]]),
        task_names=("t",),
    )
    witness = np.array([0, 1, 0, 0, 0, 1, 0, 0, 1, 1], dtype=bool)
    right = np.array([0, 9, 1, 2, 0, 1, 5, 5, np.nan, np.nan])[:, None]
    wrong = np.array([3, 2, 1, 0, 1, 0, 5, 5, 1, 0])[:, None]
    found = find_witnesses({"right": right, "wrong": wrong}, data, witness)
    # Of "all" every instance is one, so that any account is right.
    assert [(f.account, f.bags, f.top, f.auc) for f in found] == [
        ("right", 2, 1.0, 1.0),
        ("wrong", 2, 0.0, pytest.approx((2 / 3 + 0) / 2)),
    ]
    assert found[0].chance == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert find_witnesses({"right": right}, data, ~witness & witness) == []


def test_agreement_counts_bags_in_which_both_name_one_instance() -> None:
    frame = pl.DataFrame(
        {
            "molecule_id": ["a", "a", "b", "b", "b", "c"],
            "task": ["t"] * 6,
            "attention": [0.7, 0.3, 0.2, 0.5, 0.3, 1.0],
            "effect": [-2.0, 0.1, 0.9, 0.1, 0.1, None],
        }
    )
    (found,) = attention_agreement(frame)
    assert (found.task, found.bags, found.share) == ("t", 2, 0.5)
    assert found.chance == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert not found.holds
    assert Agreement("t", 100, 0.8, 0.3).holds
    assert not Agreement("t", 100, 0.4, 0.1).holds
