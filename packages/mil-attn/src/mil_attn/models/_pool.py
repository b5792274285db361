"""Attention of learned task queries over the instances of packed bags.

`segment_values` sums the values of each bag by attention; `TaskAttentionPool` is the module.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from molpool_common import fast_matmul
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812

from mil_attn._bags import check_offsets, pack_bags
from mil_attn._errors import MILError
from mil_attn.models._segments import (
    Run,
    Segments,
    head_matmul,
    pool_backward_into,
    pool_into,
    quick_linear,
    segment_mean,
    segment_pool,
    segment_softmax,
)

PoolSource = Literal["attn_out", "normed_inputs", "inputs"]


RUN_BYTES = 1 << 24
"""Room for the sums of a run of bags, on the CPU."""

LEAST_SAVED = 0.25
"""Share of the matmul with `w_v` that is worth the other way of small bags, which costs too."""


def segment_values(weights: Tensor, rows: Tensor, w_v: Tensor, segments: Segments) -> Tensor:
    """Return the weighted sums of each bag's values.

    Rows are summed first and the sums multiplied by `w_v`: as many rows as bags and tasks,
    not instances. Of bags with no more instances than tasks the instances are multiplied instead,
    where that saves much.

    Parameters
    ----------
    weights : Tensor [M, T, H]
        Sorted rows; weights of each task and head.
    rows : Tensor [M, D]
        Sorted rows.
    w_v : Tensor [H, D/H, D]
        Value projection of each head.
    segments : Segments
        The bags.

    Returns
    -------
    Tensor [B, T, H, D/H]
        Bags sorted by size.
    """
    values: Tensor = _Values.apply(weights, rows, w_v, segments)
    return values


class _Values(torch.autograd.Function):
    """The sums of larger bags are saved for the gradient if they fit into one buffer.

    If not, they go through it run by run and are formed again, as they are more
    than the rows are.
    """

    @staticmethod
    def forward(ctx: Any, weights: Tensor, rows: Tensor, w_v: Tensor, segments: Segments) -> Tensor:
        values = rows.new_empty(segments.n_bags, *weights.shape[1:], w_v.shape[1])
        flat, small = weights.flatten(1), _small(segments, weights.shape[1])
        runs = _runs(flat, rows, segments, small)
        with fast_matmul(rows.device):
            of_rows = (rows[small.rows] @ w_v.flatten(0, 1).T).view(-1, *w_v.shape[:2])
            _small_into(values[small.bags], weights[small.rows], of_rows, small)
            sums = _room(flat, rows, runs)
            for run in runs:
                there = sums[: run.bags.stop - run.bags.start]
                pool_into(there, flat[run.rows], rows[run.rows], run)
                by_head = values[run.bags].flatten(0, 1).transpose(0, 1)
                head_matmul(by_head, _by_head(there, w_v), w_v.mT, share=0)
        # Recomputed otherwise, as in gradient checkpointing: [B, T·H, D] exceeds the instances'
        # memory.
        saved = sums if len(runs) == 1 else None
        ctx.save_for_backward(weights, rows, w_v, of_rows, saved)
        ctx.segments = segments
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weights, rows, w_v, of_rows, saved = ctx.saved_tensors
        grad, n_tasks = grad.contiguous(), weights.shape[1]
        grad_weights, grad_rows = torch.empty_like(weights), torch.empty_like(rows)
        small = _small(ctx.segments, n_tasks)
        with fast_matmul(rows.device):
            of_small = _small_backward(
                grad_weights[small.rows],
                grad[small.bags],
                weights[small.rows],
                of_rows,
                small,
            )
            torch.mm(of_small, w_v.flatten(0, 1), out=grad_rows[small.rows])
            grad_w_v = (of_small.T @ rows[small.rows]).view_as(w_v)
            grads, flat = (grad_weights.flatten(1), grad_rows, grad_w_v), weights.flatten(1)
            runs = _runs(flat, rows, ctx.segments, small)
            room = _room(flat, rows, runs)
            for run in runs:
                _run_backward(grads, grad, flat, rows, w_v, run, room, saved)
        return grad_weights, grad_rows, grad_w_v, None


def _run_backward(
    grads: tuple[Tensor, Tensor, Tensor],
    grad: Tensor,
    weights: Tensor,
    rows: Tensor,
    w_v: Tensor,
    run: Run,
    room: Tensor,
    saved: Tensor | None,
) -> None:
    """Write a run's gradients of weights and rows, and add that of `w_v`."""
    grad_weights, grad_rows, grad_w_v = grads
    by_head = grad[run.bags].flatten(0, 1).transpose(0, 1)
    sums = room[: run.bags.stop - run.bags.start]
    if saved is None:
        pool_into(sums, weights[run.rows], rows[run.rows], run)
    pooled = sums if saved is None else saved
    head_matmul(grad_w_v, by_head.mT, _by_head(pooled, w_v), share=1)
    # From here on the buffer holds the gradient of the sums.
    torch.bmm(by_head, w_v, out=_by_head(sums, w_v))
    into = grad_weights[run.rows], grad_rows[run.rows]
    pool_backward_into(into, sums, weights[run.rows], rows[run.rows], run)


def _small(segments: Segments, n_tasks: int) -> Run:
    """Return the bags whose instances, not sums, are multiplied; none if that saves little."""
    small = segments.up_to(n_tasks)
    saved = small.bags.stop * n_tasks - small.rows.stop
    return small if saved >= LEAST_SAVED * segments.n_bags * n_tasks else segments.up_to(0)


def _runs(weights: Tensor, rows: Tensor, segments: Segments, after: Run) -> list[Run]:
    """Return what follows a run in pieces whose sums [bags, R, D] have room."""
    per_bag = weights.shape[1] * rows.shape[1] * rows.element_size()
    # Elsewhere than on the CPU each step has a cost of its own: few, large ones.
    budget = RUN_BYTES if rows.device.type == "cpu" else 64 * RUN_BYTES
    return list(segments.runs(max(1, budget // per_bag), after))


def _room(weights: Tensor, rows: Tensor, runs: list[Run]) -> Tensor:
    """Return an empty buffer [bags, R, D] for the sums of any one of the runs."""
    n_bags = max((run.bags.stop - run.bags.start for run in runs), default=0)
    return rows.new_empty(n_bags, weights.shape[1], rows.shape[1])


def _by_head(sums: Tensor, w_v: Tensor) -> Tensor:
    """Return the sums [bags, T·H, D] head by head [H, bags · T, D], as a view."""
    return sums.view(-1, len(w_v), sums.shape[-1]).transpose(0, 1)


def _small_into(values: Tensor, weights: Tensor, of_rows: Tensor, run: Run) -> None:
    """Write the sums [bags, T, H, D/H] of a run's values [rows, H, D/H]."""
    parts = run.split_bags(values), run.split_rows(weights), run.split_rows(of_rows)
    for out, weight, value in zip(*parts, strict=True):
        # [bags, H, T, n] by [bags, H, n, D/H]
        out.copy_((weight.permute(0, 3, 2, 1) @ value.transpose(1, 2)).transpose(1, 2))


def _small_backward(
    grad_weights: Tensor, grad: Tensor, weights: Tensor, of_rows: Tensor, run: Run
) -> Tensor:
    """Write the gradient of a run's weights, and return that of its values [rows, D]."""
    grad_of_rows = torch.empty_like(of_rows)
    split = run.split_rows
    parts = split(grad_weights), split(grad_of_rows), run.split_bags(grad), split(weights)
    for grad_weight, grad_value, part, weight, value in zip(*parts, split(of_rows), strict=True):
        by_head = part.transpose(1, 2)
        # [bags, H, n, D/H] by [bags, H, D/H, T], then [bags, H, n, T] by [bags, H, T, D/H]
        grad_weight.copy_((value.transpose(1, 2) @ by_head.mT).permute(0, 2, 3, 1))
        grad_value.copy_((weight.permute(0, 3, 1, 2) @ by_head).transpose(1, 2))
    return grad_of_rows.flatten(1)


class TaskAttentionPool(nn.Module):
    """Pool each bag once per task, by multi-head attention of one learned query per task.

    With ``source="attn_out"`` and the other defaults the result is
    ``mha(queries, norm(x), norm(x))`` bag by bag, to rounding, at a cost for an instance of
    2·D·T·H multiply-adds in place of 2·D². Queries do not depend on the bag, so they are multiplied
    into the key projection once and no key is formed; attention pools normed inputs, one row a
    bag, task and head, and the value and output projections act on those rows.

    Parameters
    ----------
    dim : int
        Width D of an instance.
    n_tasks : int
        Number of tasks T.
    n_heads : int
        Number of heads H; divides `dim`.
    dropout : float
        Probability that a weight, of one instance for one task and head, is dropped from the sums
        in training; as in `torch.nn.MultiheadAttention`. The attention returned is that before
        dropout.
    temperature : float
        Divides the queries: above 1 attention is flatter, below 1 sharper.
    source : {"attn_out", "normed_inputs", "inputs"}
        What is pooled: values through the output projection, each head by its own attention; or
        normed or plain instances by the head mean of attention. The latter do not need the output
        projection, which is frozen then.
    tie_mha_v : bool
        For instances: project what was pooled by the value projection of `mha`. With
        ``source="attn_out"`` values are so projected in any case, once.
    top_k : int, optional
        Attend, for each task and head, to the `top_k` instances of highest score only (and to
        those whose score equals the lowest of them). With 1 the queries get no gradient: the lone
        weight is 1 whatever they are.
    mean_residual : float
        Share, 0 to 1, of the plain mean of the bag's instances (normed, unless
        ``source="inputs"``) in the result, the rest being attention's.

    Attributes
    ----------
    norm : LayerNorm
        Applied to instances before attention.
    queries : Parameter [1, T, D]
        One learned query per task.
    mha : MultiheadAttention
        Owner of the projections, so that weights can be exchanged; never called itself.

    Raises
    ------
    MILError
        If a parameter is out of its range, or `n_heads` does not divide `dim`.

    Notes
    -----
    Pooling by attention after Ilse et al. 2018, arXiv:1802.04712, with the multi-head attention
    of Vaswani et al. 2017, arXiv:1706.03762. The bias of the key projection adds the same to the
    scores of all instances of a bag: it has no effect, here or in `mha`.
    """

    def __init__(
        self,
        dim: int,
        n_tasks: int,
        n_heads: int,
        *,
        dropout: float = 0.0,
        temperature: float = 1.0,
        source: PoolSource = "attn_out",
        tie_mha_v: bool = False,
        top_k: int | None = None,
        mean_residual: float = 0.0,
    ) -> None:
        super().__init__()
        _check_range("dropout", "at least 0 and below 1", dropout, 0 <= dropout < 1)
        _check_range("temperature", "above 0", temperature, temperature > 0)
        _check_range(
            "source", f"one of {get_args(PoolSource)}", source, source in get_args(PoolSource)
        )
        _check_range("top_k", "at least 1, or None", top_k, top_k is None or top_k >= 1)
        _check_range("mean_residual", "0 to 1", mean_residual, 0 <= mean_residual <= 1)
        _check_range("n_tasks", "at least 1", n_tasks, n_tasks >= 1)
        _check_range(
            "n_heads",
            f"a divisor of the width of instances, {dim}",
            n_heads,
            n_heads >= 1 and dim % n_heads == 0,
        )
        self.dropout = dropout
        self.temperature = temperature
        self.source = source
        self.tie_mha_v = tie_mha_v
        self.top_k = top_k
        self.mean_residual = mean_residual
        self.norm = nn.LayerNorm(dim)
        self.queries = nn.Parameter(torch.empty(1, n_tasks, dim))
        # Queries start with a length of about 1 whatever D is, and attention nearly uniform.
        nn.init.trunc_normal_(self.queries, std=dim**-0.5)
        self.mha = nn.MultiheadAttention(dim, n_heads, dropout=dropout, batch_first=True)
        if source != "attn_out":
            # A parameter without a gradient would stop distributed training, which waits for all of
            # them.
            self.mha.out_proj.requires_grad_(False)

    def forward(self, instances: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Pool packed bags.

        Parameters
        ----------
        instances : Tensor [M, D]
            Instances of all bags.
        offsets : LongTensor [B + 1]
            Bag b holds the rows ``offsets[b]:offsets[b + 1]``.

        Returns
        -------
        pooled : Tensor [B, T, D]
            One row per bag and task.
        attention : Tensor [M, T]
            Mean attention of the heads; sums to 1 over each bag.

        Raises
        ------
        MILError
            If shapes do not fit, or offsets do not ascend or bound an empty bag.
        """
        if instances.dim() != 2 or instances.shape[1] != self.mha.embed_dim:
            raise MILError(
                f"instances: expected shape [instances, {self.mha.embed_dim}]; "
                f"found {list(instances.shape)}."
            )
        check_offsets(offsets, len(instances))
        # Sums over bags write into buffers of one type, which mixed precision knows nothing of.
        with torch.autocast(instances.device.type, enabled=False):
            return self._pool(instances.to(self.queries.dtype), Segments(offsets))

    def forward_padded(
        self, instances: Tensor, key_padding_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Pool padded bags.

        Parameters
        ----------
        instances : Tensor [B, N, D]
            Instances; what stands in the padding has no influence.
        key_padding_mask : BoolTensor [B, N], optional
            True where a row is padding; without it all instances are valid.

        Returns
        -------
        pooled : Tensor [B, T, D]
            As `forward`.
        attention : Tensor [B, T, N]
            As `forward`; 0 in the padding.
        """
        packed = pack_bags(instances, key_padding_mask)
        assert packed.instances is not None
        pooled, attention = self(packed.instances, packed.offsets)
        if key_padding_mask is None:
            maps = attention.unflatten(0, instances.shape[:2])
        else:
            maps = attention.new_zeros(*instances.shape[:2], attention.shape[1])
            maps[~key_padding_mask] = attention
        return pooled, maps.transpose(1, 2)

    def _pool(self, instances: Tensor, segments: Segments) -> tuple[Tensor, Tensor]:
        plain = segments.sort(instances)
        normed = self.norm(plain)
        w_q, w_k, w_v = self.mha.in_proj_weight.chunk(3)
        b_q, _, b_v = self.mha.in_proj_bias.chunk(3)
        scores = quick_linear(normed, self._folded(w_q, b_q, w_k))
        attention = segment_softmax(scores, segments, self.top_k)
        weights = F.dropout(attention, self.dropout, self.training)
        rows = plain if self.source == "inputs" else normed
        if self.source == "attn_out":
            values = self._values(weights, rows, w_v, b_v, segments)
            out = self.mha.out_proj
            pooled = quick_linear(values.flatten(0, 1), out.weight, out.bias).view_as(values)
        else:
            pooled = self._pooled_instances(weights, rows, w_v, b_v, segments)
        if self.mean_residual > 0:
            # Over the bag's own rows: packed bags have no padding that a mean could count.
            mean = segment_mean(rows, segments)[:, None]
            pooled = torch.lerp(pooled, mean.expand_as(pooled), self.mean_residual)
        return segments.unsort_bags(pooled), segments.unsort(self._head_mean(attention))

    def _folded(self, w_q: Tensor, b_q: Tensor, w_k: Tensor) -> Tensor:
        """Return, for each task and head, the vector [T·H, D] whose product is the score."""
        n_heads, head_dim = self.mha.num_heads, self.mha.head_dim
        # The temperature divides queries before their bias is added, so the bias is not tempered:
        # this is the model that `mha` computes from tempered queries.
        queries = F.linear(self.queries[0] / self.temperature, w_q, b_q) * head_dim**-0.5
        by_head = queries.view(-1, n_heads, head_dim).transpose(0, 1)
        # q · (W_k x) = (W_kᵀ q) · x per head: absorbed attention (models.md, section 3).
        folded: Tensor = by_head @ w_k.view(n_heads, head_dim, -1)
        return folded.transpose(0, 1).flatten(0, 1)

    def _values(
        self, weights: Tensor, rows: Tensor, w_v: Tensor, b_v: Tensor, segments: Segments
    ) -> Tensor:
        """Return the heads' pooled values, side by side [B, T, D]."""
        n_heads, head_dim = self.mha.num_heads, self.mha.head_dim
        by_head = w_v.view(n_heads, head_dim, -1)
        # Σ a_i (W_v x_i) = W_v (Σ a_i x_i): projecting after pooling costs per bag, not per
        # instance.
        values = segment_values(weights.view(len(rows), -1, n_heads), rows, by_head, segments)
        sums = self._sums(weights, segments)
        if sums is None:
            return values.flatten(2) + b_v
        # The bias of a value counts as often as the weights sum to.
        sums = sums.view(segments.n_bags, -1, n_heads, 1)
        return (values + sums * b_v.view(n_heads, head_dim)).flatten(2)

    def _pooled_instances(
        self, weights: Tensor, rows: Tensor, w_v: Tensor, b_v: Tensor, segments: Segments
    ) -> Tensor:
        """Return the instances pooled by the head mean [B, T, D]."""
        weights = self._head_mean(weights)
        pooled = segment_pool(weights, rows, segments)
        if not self.tie_mha_v:
            return pooled
        sums = self._sums(weights, segments)
        projected = quick_linear(pooled.flatten(0, 1), w_v).view_as(pooled)
        return projected + (b_v if sums is None else sums * b_v)

    def _sums(self, weights: Tensor, segments: Segments) -> Tensor | None:
        """Return the sum of each bag's weights [B, R, 1]; None where it is 1, none dropped."""
        if self.dropout == 0 or not self.training:
            return None
        return segment_pool(weights, weights.new_ones(len(weights), 1), segments)

    def _head_mean(self, weights: Tensor) -> Tensor:
        """Return the mean over heads [M, T] of a column per task and head [M, T·H]."""
        # As a matmul: torch's mean over so short an axis takes ten times as long.
        n_heads = self.mha.num_heads
        return weights.view(len(weights), -1, n_heads) @ weights.new_full((n_heads,), 1 / n_heads)


def _check_range(name: str, expected: str, found: object, fits: bool) -> None:
    if not fits:
        raise MILError(f"{name}: expected {expected}; found {found!r}.")
