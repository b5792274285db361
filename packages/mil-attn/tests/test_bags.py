from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mil_attn import Bags, MILError, pack_bags, pad_bags
from mil_attn._bags import drop_instances, with_targets_of

NAN = float("nan")


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_packing_and_padding_are_inverse(sizes: list[int]) -> None:
    bags = [torch.randn(n, 3, generator=torch.Generator().manual_seed(n)) for n in sizes]
    packed = pack_bags(bags)
    assert packed.instances is not None
    padded, padding = pad_bags(packed.instances, packed.offsets)
    assert padded.shape == (len(sizes), max(sizes), 3)
    for bag, rows, absent in zip(bags, padded, padding, strict=True):
        torch.testing.assert_close(rows[: len(bag)], bag, rtol=0, atol=0)
        assert not rows[len(bag) :].any()
        assert absent.tolist() == [False] * len(bag) + [True] * (max(sizes) - len(bag))
    again = pack_bags(padded, padding)
    torch.testing.assert_close(again.instances, packed.instances, rtol=0, atol=0)
    assert again.offsets.tolist() == packed.offsets.tolist()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.floats(0.01, 0.99))
def test_bags_lose_instances_and_never_all(sizes: list[int], rate: float) -> None:
    bags = pack_bags([torch.arange(n)[:, None] + 100.0 * b for b, n in enumerate(sizes)])
    left = drop_instances(bags, rate)
    assert left.instances is not None
    assert (left.sizes >= 1).all()
    assert (left.sizes <= bags.sizes).all()
    assert left.instances.flatten().diff().gt(0).all()  # a subset, in order
    of = torch.repeat_interleave(torch.arange(len(sizes)), left.sizes)
    assert (left.instances.flatten() // 100 == of).all()
    assert drop_instances(bags, 0.0) is bags


def test_the_share_of_instances_left_out_is_the_rate() -> None:
    torch.manual_seed(0)
    left = drop_instances(pack_bags(torch.zeros(100, 100, 1)), 0.3)
    assert left.instances is not None
    # 10 000 draws: a standard error of 0.0046, six of them (failing once in 5e8 seeds).
    assert len(left.instances) / 10_000 == pytest.approx(0.7, abs=0.028)


def test_bags_take_the_targets_of_others() -> None:
    labels = torch.tensor([[0.0], [1.0], [NAN]])
    aux = {"abs": torch.tensor([[5.0], [6.0], [7.0]])}
    plain = pack_bags([torch.ones(1, 2)] * 3, labels=labels, weights=labels.isnan() + 1.0, aux=aux)
    found = with_targets_of(plain, torch.tensor([2, 0, 1]))
    assert found.labels is not None
    assert found.weights is not None
    assert found.mask is not None
    assert found.instances is plain.instances
    assert found.labels[1:].flatten().tolist() == [0, 1]
    assert found.mask.flatten().tolist() == [False, True, True]
    assert found.weights.flatten().tolist() == [2, 1, 1]
    assert found.aux["abs"].flatten().tolist() == [7, 5, 6]


def test_padding_may_stand_anywhere() -> None:
    padded = torch.arange(6.0).view(1, 6, 1)
    padding = torch.tensor([[True, False, True, False, False, True]])
    instances = pack_bags(padded, padding).instances
    assert instances is not None
    assert instances.flatten().tolist() == [1, 3, 4]


def test_a_missing_label_never_counts() -> None:
    labels = torch.tensor([[0.0, NAN], [1.0, 0.0]])
    absorbance = torch.tensor([[NAN], [0.3]])
    bags = Bags(None, torch.arange(3), labels=labels, aux={"abs": absorbance})
    assert bags.mask is not None
    assert bags.mask.tolist() == [[True, False], [True, True]]
    assert bags.aux_mask["abs"].tolist() == [[False], [True]]
    asked = Bags(None, torch.arange(3), labels=labels, mask=torch.tensor([[False, True]] * 2))
    assert asked.mask is not None
    assert asked.mask.tolist() == [[False, False], [False, True]]


def test_moves_all_its_tensors() -> None:
    bags = pack_bags([torch.ones(2, 3)], labels=torch.ones(1, 1), aux={"abs": torch.ones(1, 2)})
    moved = bags.to("meta", torch.float64)
    assert moved.instances is not None
    assert moved.labels is not None
    assert moved.mask is not None
    assert moved.instances.device.type == moved.aux["abs"].device.type == "meta"
    assert moved.labels.dtype == torch.float64
    assert moved.offsets.dtype == torch.int64
    assert moved.mask.dtype == torch.bool
    assert len(moved) == moved.n_bags == 1


def test_an_empty_bag_is_named() -> None:
    with pytest.raises(MILError, match=r"at least one instance each; found none in 'aspirin'\."):
        pack_bags([torch.ones(1, 2), torch.ones(0, 2)], ids=("water", "aspirin"))
    with pytest.raises(MILError, match="number 1 from 0"):
        pack_bags(torch.ones(2, 1, 2), torch.tensor([[False], [True]]))


@pytest.mark.parametrize(
    ("offsets", "message"),
    [
        ([0, 3, 2, 4], "expected ascending bounds; found 3 before 2 at position 1"),
        ([0, 2], "from 0 to the number of instances, 4; found 0 to 2"),
        ([1, 4], "found 1 to 4"),
        ([0], r"at least one bag; found torch.int64 of shape \[1\]"),
        ([0.0, 4.0], "expected int64"),
    ],
)
def test_offsets_must_bound_bags(offsets: list[int], message: str) -> None:
    with pytest.raises(MILError, match=message):
        Bags(torch.ones(4, 2), torch.tensor(offsets))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"x2d": torch.ones(3, 2)}, r"x2d: expected shape \[2, columns\]; found \[3, 2\]"),
        ({"labels": torch.ones(2)}, r"labels: expected shape \[2, columns\]; found \[2\]"),
        ({"mask": torch.ones(2, 1)}, "mask: expected shape that of labels"),
        ({"aux": {"abs": torch.ones(1, 2)}}, r"aux\['abs'\]: expected shape"),
        ({"aux_weights": {"fluo": torch.ones(2, 1)}}, "groups of aux: none; found 'fluo'"),
        ({"ids": ("a",)}, "ids: expected one per bag, 2; found 1"),
    ],
)
def test_shapes_must_agree(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(MILError, match=message):
        Bags(torch.ones(4, 2), torch.tensor([0, 1, 4]), **fields)


def test_bags_must_have_the_same_features() -> None:
    with pytest.raises(MILError, match=r"instances\[1\]: expected shape \[instances, 2\]"):
        pack_bags([torch.ones(1, 2), torch.ones(1, 3)])
    with pytest.raises(MILError, match="at least one bag; found none"):
        pack_bags([])
    with pytest.raises(MILError, match="expected with padded bags only"):
        pack_bags([torch.ones(1, 2)], torch.tensor([[False]]))
    with pytest.raises(MILError, match=r"key_padding_mask: expected bool of shape \[1, 2\]"):
        pack_bags(torch.ones(1, 2, 3), torch.tensor([[False]]))
