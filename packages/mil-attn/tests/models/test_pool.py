"""The packed pool against `torch.nn.MultiheadAttention` with the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mil_attn import MILError, TaskAttentionPool, pack_bags, pad_bags
from mil_attn._bags import offsets_of
from torch import Tensor

DIM, TASKS, HEADS = 12, 3, 4
SIZES = [5, 1, 3, 3, 9]

MODES: list[dict[str, Any]] = [
    {},
    {"temperature": 0.4},
    {"top_k": 2},
    {"top_k": 2, "temperature": 3.0},
    {"mean_residual": 0.3},
    {"tie_mha_v": True},
    {"source": "inputs"},
    {"source": "normed_inputs"},
    {"source": "inputs", "tie_mha_v": True},
    {"source": "normed_inputs", "tie_mha_v": True, "top_k": 2, "mean_residual": 0.5},
    {"source": "inputs", "temperature": 2.0, "top_k": 3, "mean_residual": 0.2},
]


def pool_of(dtype: torch.dtype = torch.float64, **mode: Any) -> TaskAttentionPool:
    torch.manual_seed(0)
    pool = TaskAttentionPool(DIM, TASKS, HEADS, **mode).to(dtype)
    with torch.no_grad():
        # Biases start at 0, and gains at 1, where an error in them would not show.
        for parameter in pool.parameters():
            parameter.add_(torch.randn_like(parameter) / 2)
    return pool


def bags_of(
    sizes: list[int], dtype: torch.dtype = torch.float64, seed: int = 1
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(sum(sizes), DIM, dtype=torch.float64, generator=generator)
    return rows.to(dtype), offsets_of(torch.tensor(sizes))


def reference(pool: TaskAttentionPool, bag: Tensor) -> tuple[Tensor, Tensor]:
    """One bag [n, D] by `mha` itself; top-k as a mask on its scores, recomputed plainly."""
    normed = pool.norm(bag)
    mha = pool.mha
    mask = None
    # The temperature divides queries, before the projection.
    queries = pool.queries[0] / pool.temperature
    if pool.top_k is not None and pool.top_k < len(bag):
        w_q, w_k, _ = mha.in_proj_weight.chunk(3)
        b_q, b_k, _ = mha.in_proj_bias.chunk(3)
        q = (queries @ w_q.T + b_q).view(TASKS, HEADS, -1)
        k = (normed @ w_k.T + b_k).view(len(bag), HEADS, -1)
        scores = torch.einsum("thd,nhd->htn", q, k)
        least = scores.topk(pool.top_k, dim=2).values[:, :, -1:]
        mask = scores < least
    values, attention = mha(queries, normed, normed, attn_mask=mask)
    rows = bag if pool.source == "inputs" else normed
    if pool.source != "attn_out":
        values = attention @ rows
        if pool.tie_mha_v:
            values = values @ mha.in_proj_weight.chunk(3)[2].T + mha.in_proj_bias.chunk(3)[2]
    share = pool.mean_residual
    return (1 - share) * values + share * rows.mean(0), attention.T


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("mode", MODES)
def test_equals_multihead_attention(
    mode: dict[str, Any], dtype: torch.dtype, tolerance: float
) -> None:
    pool = pool_of(dtype, **mode)
    rows, offsets = bags_of(SIZES, dtype)
    pooled, attention = pool(rows, offsets)
    expected = [reference(pool, bag) for bag in rows.split(SIZES)]
    for mine, theirs in zip(pooled, expected, strict=True):
        torch.testing.assert_close(mine, theirs[0], rtol=tolerance, atol=tolerance)
    theirs = torch.cat([weights for _, weights in expected])
    torch.testing.assert_close(attention, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("mode", MODES)
def test_gradients_equal_those_of_multihead_attention(mode: dict[str, Any]) -> None:
    pool = pool_of(**mode)
    rows, offsets = bags_of(SIZES)
    rows.requires_grad_()
    generator = torch.Generator().manual_seed(2)
    on_pooled = torch.randn(len(SIZES), TASKS, DIM, dtype=torch.float64, generator=generator)
    on_attention = torch.randn(len(rows), TASKS, dtype=torch.float64, generator=generator)
    wanted = [rows, *(p for p in pool.parameters() if p.requires_grad)]

    pooled, attention = pool(rows, offsets)
    mine = torch.autograd.grad(
        (pooled * on_pooled).sum() + (attention * on_attention).sum(), wanted
    )
    bags = [reference(pool, bag) for bag in rows.split(SIZES)]
    loss = (torch.stack([b[0] for b in bags]) * on_pooled).sum()
    loss = loss + (torch.cat([b[1] for b in bags]) * on_attention).sum()
    for ours, theirs in zip(mine, torch.autograd.grad(loss, wanted), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("mode", MODES)
def test_every_exposed_parameter_gets_a_gradient(mode: dict[str, Any]) -> None:
    """Known fault: an output projection that gets no gradient."""
    pool = pool_of(**mode)
    rows, offsets = bags_of(SIZES)
    pooled, _ = pool(rows, offsets)
    (pooled**2).sum().backward()
    exposed = {name for name, p in pool.named_parameters() if p.requires_grad}
    assert ("mha.out_proj.weight" in exposed) == (pool.source == "attn_out")
    for name, parameter in pool.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name
    gradient = pool.mha.in_proj_weight.grad
    assert gradient is not None
    value_gradient = gradient.chunk(3)[2]
    assert bool(value_gradient.any()) == (pool.source == "attn_out" or pool.tie_mha_v)


def test_mha_owns_the_weights_and_is_never_called(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = pool_of()
    other = torch.nn.MultiheadAttention(DIM, HEADS, batch_first=True).double()
    pool.mha.load_state_dict(other.state_dict())
    rows, offsets = bags_of([4])
    normed = pool.norm(rows)[None]
    expected, _ = other(pool.queries, normed, normed)

    def called(*_: object, **__: object) -> None:
        raise AssertionError("mha was called")

    monkeypatch.setattr(pool.mha, "forward", called)
    torch.testing.assert_close(pool(rows, offsets)[0], expected, rtol=1e-10, atol=1e-10)


def test_values_are_projected_once() -> None:
    """Known fault: V projected twice where `tie_mha_v` met the values of `mha`."""
    rows, offsets = bags_of(SIZES)
    plain, _ = pool_of()(rows, offsets)
    tied, _ = pool_of(tie_mha_v=True)(rows, offsets)
    assert tied.equal(plain)


def test_the_mean_residual_leaves_padding_out() -> None:
    """Known fault: a mean-pool residual that includes padding."""
    pool = pool_of(mean_residual=1.0, source="inputs")
    rows, offsets = bags_of(SIZES)
    packed = pack_bags(*pad_bags(rows, offsets))
    pooled, _ = pool(packed.instances, packed.offsets)
    means = torch.stack([bag.mean(0) for bag in rows.split(SIZES)])
    torch.testing.assert_close(pooled, means[:, None].expand_as(pooled), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_a_bag_gives_the_same_alone_or_beside_a_longer_one(mode: dict[str, Any]) -> None:
    """Known fault: results that change when a bag is batched beside a longer one."""
    pool = pool_of(**mode)
    rows, offsets = bags_of([1, 4, 1000])
    together, attention = pool(rows, offsets)
    parts = zip(rows.split([1, 4, 1000]), attention.split([1, 4, 1000]), together, strict=True)
    for bag, weights, pooled in parts:
        alone, own = pool(bag, torch.tensor([0, len(bag)]))
        torch.testing.assert_close(alone[0], pooled, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(own, weights, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_the_padded_front_gives_the_same_numbers(mode: dict[str, Any]) -> None:
    pool = pool_of(**mode)
    rows, offsets = bags_of(SIZES)
    pooled, attention = pool(rows, offsets)
    padded, padding = pad_bags(rows, offsets)
    padded[padding] = torch.nan  # whatever stands in the padding
    front, maps = pool.forward_padded(padded, padding)
    assert front.equal(pooled)
    assert maps.shape == (len(SIZES), TASKS, max(SIZES))
    assert not maps.transpose(1, 2)[padding].any()
    assert maps.transpose(1, 2)[~padding].equal(attention)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.integers(1, 7), min_size=1, max_size=6),
    st.sampled_from(MODES),
    st.randoms(use_true_random=False),
)
def test_invariants(sizes: list[int], mode: dict[str, Any], random: Any) -> None:
    """Attention sums to 1; instances and bags may be permuted; a bag may stand there twice."""
    pool = pool_of(**mode)
    rows, offsets = bags_of(sizes, seed=len(sizes))
    pooled, attention = pool(rows, offsets)
    for bag in attention.split(sizes):
        # Known fault: attention exported unnormalised.
        torch.testing.assert_close(
            bag.sum(0), torch.ones(TASKS, dtype=torch.float64), rtol=1e-12, atol=1e-12
        )
    bags = list(rows.split(sizes))
    order = random.sample(range(len(bags)), len(bags))
    moved = [bags[b][torch.tensor(random.sample(range(len(bags[b])), len(bags[b])))] for b in order]
    again = pack_bags([*moved, bags[0]])
    other, _ = pool(again.instances, again.offsets)
    torch.testing.assert_close(other[:-1], pooled[order], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(other[-1], pooled[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("mode", MODES)
def test_gradcheck(mode: dict[str, Any]) -> None:
    pool = pool_of(**mode)
    rows, offsets = bags_of([2, 1, 2])
    assert torch.autograd.gradcheck(
        lambda x, queries, weight: torch.func.functional_call(
            pool, {"queries": queries, "mha.in_proj_weight": weight}, (x, offsets)
        ),
        (rows.requires_grad_(), pool.queries, pool.mha.in_proj_weight),
        fast_mode=True,
    )


@pytest.mark.parametrize("mode", [{}, {"source": "inputs", "tie_mha_v": True}])
def test_dropout_drops_weights_and_leaves_the_attention_returned(mode: dict[str, Any]) -> None:
    pool = pool_of(dropout=0.5, **mode)
    rows, offsets = bags_of([4])
    calm, attention = pool.eval()(rows, offsets)
    pool.train()
    drawn = [pool(rows, offsets) for _ in range(1000)]
    assert all(weights.equal(attention) for _, weights in drawn)
    pooled = torch.stack([values for values, _ in drawn])
    assert not pooled[0].equal(calm)
    # The mean over draws is the value without dropout: 36 z-tests, one of which passes 5 by
    # chance once in 50 000 runs.
    error = pooled.std(0) / len(drawn) ** 0.5
    assert ((pooled.mean(0) - calm).abs() < 5 * error).all()


def test_dropout_of_a_lone_instance_drops_the_bias_with_it() -> None:
    """As in `mha`, where weights are dropped from values that hold their bias."""
    pool = pool_of(dropout=0.5)
    rows, offsets = bags_of([1])
    torch.manual_seed(0)
    pooled = torch.stack([pool(rows, offsets)[0][0, 0] for _ in range(64)])
    nothing_kept = pool.mha.out_proj.bias.detach()
    # All four heads drop their only weight once in 16 draws; never in 64 draws: 1.6 %, seeded.
    assert any(torch.allclose(draw, nothing_kept) for draw in pooled)


def test_mixed_precision_around_it_changes_nothing() -> None:
    pool = pool_of(torch.float32)
    rows, offsets = bags_of(SIZES, torch.float32)
    calm, _ = pool(rows, offsets)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, _ = pool(rows, offsets)
    assert mixed.equal(calm)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_heads": 5}, "n_heads: expected a divisor of the width of instances, 12; found 5"),
        ({"dropout": 1.0}, "dropout: expected at least 0 and below 1; found 1.0"),
        ({"temperature": 0.0}, "temperature: expected above 0; found 0.0"),
        ({"top_k": 0}, "top_k: expected at least 1, or None; found 0"),
        ({"mean_residual": 1.5}, "mean_residual: expected 0 to 1; found 1.5"),
        ({"source": "outputs"}, "source: expected one of .*'attn_out'.*; found 'outputs'"),
        ({"n_tasks": 0}, "n_tasks: expected at least 1; found 0"),
    ],
)
def test_parameters_have_their_ranges(parameters: dict[str, Any], message: str) -> None:
    sizes: dict[str, Any] = {"dim": DIM, "n_tasks": 2, "n_heads": 4}
    with pytest.raises(MILError, match=message):
        TaskAttentionPool(**(sizes | parameters))


def test_rows_must_fit() -> None:
    pool = TaskAttentionPool(DIM, 1, 4)
    with pytest.raises(MILError, match=r"expected shape \[instances, 12\]; found \[2, 3\]"):
        pool(torch.ones(2, 3), torch.tensor([0, 2]))
    with pytest.raises(MILError, match="found none in number 1 from 0"):
        pool(torch.ones(2, DIM), torch.tensor([0, 2, 2]))


@pytest.mark.parametrize("mode", MODES)
def test_without_a_mask_every_instance_is_valid(mode: dict[str, Any]) -> None:
    pool = pool_of(**mode)
    padded, padding = pad_bags(*bags_of([5, 5, 5, 5]))
    found, expected = pool.forward_padded(padded), pool.forward_padded(padded, padding)
    for one, two in zip(found, expected, strict=True):
        assert one.equal(two)
