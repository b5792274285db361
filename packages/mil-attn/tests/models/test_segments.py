"""Held against a loop over bags with torch's own softmax and products.

Linear maps against torch's own, and the settings that they leave behind.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mil_attn._bags import offsets_of
from mil_attn.models import _pool as segment_values_module
from mil_attn.models._pool import segment_values
from mil_attn.models._segments import (
    Segments,
    head_matmul,
    quick_linear,
    segment_mean,
    segment_pool,
    segment_softmax,
    small_matmul,
)
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

sizes = st.lists(st.integers(1, 6), min_size=1, max_size=7)


def rows_of(sizes: list[int], width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(sum(sizes), width, dtype=torch.float64, generator=generator)


def segments_of(sizes: list[int]) -> Segments:
    return Segments(offsets_of(torch.tensor(sizes)))


@settings(deadline=None)
@given(sizes)
def test_sorting_keeps_bags_together_and_unsorting_undoes_it(sizes: list[int]) -> None:
    rows, segments = rows_of(sizes, 2), segments_of(sizes)
    bags = sorted(rows.split(sizes), key=len)
    assert segments.sort(rows).equal(torch.cat(bags))
    assert segments.unsort(segments.sort(rows)).equal(rows)
    firsts = torch.stack([bag[0] for bag in bags])
    assert segments.unsort_bags(firsts).equal(torch.stack([b[0] for b in rows.split(sizes)]))


@settings(deadline=None)
@given(sizes, st.sampled_from([None, 1, 2, 5]))
def test_softmax_is_that_of_each_bag(sizes: list[int], top_k: int | None) -> None:
    scores, segments = rows_of(sizes, 3), segments_of(sizes)
    weights = segments.unsort(segment_softmax(segments.sort(scores), segments, top_k))
    for mine, bag in zip(weights.split(sizes), scores.split(sizes), strict=True):
        k = len(bag) if top_k is None else min(top_k, len(bag))
        kept = torch.full_like(bag, -torch.inf).scatter(0, bag.topk(k, 0).indices, 0) + bag
        torch.testing.assert_close(mine, kept.softmax(0), rtol=1e-12, atol=1e-12)


def test_softmax_of_scores_far_apart_stays_finite() -> None:
    scores = torch.tensor([[1e4], [-1e4], [-3e38], [-3e38], [0.0]])
    weights = segment_softmax(scores, segments_of([2, 3])).flatten()
    assert weights.tolist() == [1, 0, 0, 0, 1]


@settings(deadline=None)
@given(sizes)
def test_pool_is_the_product_of_each_bag(sizes: list[int]) -> None:
    weights, rows, segments = rows_of(sizes, 3), rows_of(sizes, 4, seed=1), segments_of(sizes)
    pooled = segment_pool(segments.sort(weights), segments.sort(rows), segments)
    bags = zip(weights.split(sizes), rows.split(sizes), strict=True)
    expected = torch.stack([w.T @ r for w, r in bags])
    torch.testing.assert_close(segments.unsort_bags(pooled), expected, rtol=1e-12, atol=1e-12)
    means = torch.stack([bag.mean(0) for bag in rows.split(sizes)])
    mine = segments.unsort_bags(segment_mean(segments.sort(rows), segments))
    torch.testing.assert_close(mine, means, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sizes", [[1], [3, 3], [2, 1, 4, 2]])
def test_gradients(sizes: list[int]) -> None:
    segments = segments_of(sizes)
    weights, rows = rows_of(sizes, 3).requires_grad_(), rows_of(sizes, 2, 1).requires_grad_()

    def softmax(scores: Tensor) -> Tensor:
        return segments.unsort(segment_softmax(segments.sort(scores), segments))

    def pool(weights: Tensor, rows: Tensor) -> Tensor:
        return segments.unsort_bags(
            segment_pool(segments.sort(weights), segments.sort(rows), segments)
        )

    assert torch.autograd.gradcheck(softmax, (weights,))
    assert torch.autograd.gradcheck(pool, (weights, rows))


def test_equal_scores_at_the_cut_are_kept_together() -> None:
    scores = torch.tensor([[1.0], [2.0], [2.0], [3.0]])
    weights = segment_softmax(scores, segments_of([4]), top_k=2).flatten()
    assert weights[0] == 0
    assert weights[1] == weights[2] > 0


def values_of(sizes: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Weights [M, 3 tasks, 2 heads], rows [M, 4], and the heads' projections [2, 2, 4]."""
    weights = rows_of(sizes, 6).view(-1, 3, 2)
    return weights, rows_of(sizes, 4, seed=1), rows_of([4], 4, seed=2).view(2, 2, 4)


@pytest.mark.parametrize("least_saved", [0.0, 2.0])
@pytest.mark.parametrize("run_bytes", [1, 6 * 4 * 8 * 2, 1 << 22])
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=sizes)
def test_values_are_projected_rows_summed(
    run_bytes: int, least_saved: float, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment_values_module, "RUN_BYTES", run_bytes)  # one, two, all bags a run
    monkeypatch.setattr(segment_values_module, "LEAST_SAVED", least_saved)  # small bags, none
    weights, rows, w_v = values_of(sizes)
    wanted = [tensor.requires_grad_() for tensor in (weights, rows, w_v)]
    segments = segments_of(sizes)
    mine = segments.unsort_bags(
        segment_values(segments.sort(weights), segments.sort(rows), w_v, segments)
    )
    bags = zip(weights.split(sizes), rows.split(sizes), strict=True)
    expected = torch.stack([torch.einsum("nth,nd,hed->the", w, r, w_v) for w, r in bags])
    torch.testing.assert_close(mine, expected, rtol=1e-12, atol=1e-12)
    cotangent = rows_of([len(sizes)], 12, seed=3).view(-1, 3, 2, 2)
    torch.autograd.grad(mine, wanted, cotangent, retain_graph=True)
    grads = torch.autograd.grad(mine, wanted, cotangent)  # what was kept is as it was
    for ours, theirs in zip(grads, torch.autograd.grad(expected, wanted, cotangent), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


CPU = torch.device("cpu")


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("has_bias", [True, False])
def test_a_quick_linear_map_has_the_gradients_of_torchs(has_bias: bool) -> None:
    given = [drawn(5, 3), drawn(4, 3, seed=1), *([drawn(4, seed=2)] if has_bias else [])]
    wanted = [tensor.requires_grad_() for tensor in given]
    mine, theirs = quick_linear(*wanted), F.linear(*wanted)
    torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
    cotangent = drawn(5, 4, seed=3)
    for ours, other in zip(
        torch.autograd.grad(mine, wanted, cotangent),
        torch.autograd.grad(theirs, wanted, cotangent),
        strict=True,
    ):
        torch.testing.assert_close(ours, other, rtol=1e-12, atol=1e-12)


def test_float32_is_of_float32_accuracy() -> None:
    rows, weight = (drawn(300, 500, seed=s, dtype=torch.float32) for s in (0, 1))
    mine, exact = quick_linear(rows, weight), rows.double() @ weight.double().T
    assert (mine - exact).abs().max() <= 1e-5 * exact.abs().max()


def test_a_frozen_map_gets_no_gradient() -> None:
    rows, weight = drawn(5, 3).requires_grad_(), drawn(4, 3, seed=1)
    quick_linear(rows, weight).sum().backward()
    assert weight.grad is None
    assert rows.grad is not None
    torch.testing.assert_close(rows.grad, weight.sum(0).expand(5, 3))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_head_matmul_write_into_views(share: float) -> None:
    before = torch.full((6, 2, 4), 3.0 if share else torch.nan, dtype=torch.float64)
    out, left, right = before.clone(), drawn(2, 6, 5), drawn(2, 4, 5, seed=1)
    head_matmul(out.transpose(0, 1), left, right.mT, share=share)
    expected = torch.einsum("hnd,hkd->nhk", left, right) + (before if share else 0)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)


def test_small_matmul_are_mkls_and_the_setting_is_restored() -> None:
    torch.set_float32_matmul_precision("medium")
    try:
        with small_matmul(CPU):
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
        with small_matmul(torch.device("cuda")):  # where it would forbid what the user allowed
            assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
