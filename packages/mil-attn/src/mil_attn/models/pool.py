"""Attention of learned task queries over the instances of packed bags."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from mil_attn.bags import check_offsets, pack_bags
from mil_attn.errors import MILError
from mil_attn.models.linear import quick_linear
from mil_attn.models.segment_sums import segment_mean, segment_pool, segment_softmax
from mil_attn.models.segment_values import segment_values
from mil_attn.models.segments import Segments

PoolSource = Literal["attn_out", "normed_inputs", "inputs"]


class TaskAttentionPool(nn.Module):
    """Pool each bag once a task, by multi-head attention of one learned query a task.

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
        One learned query a task.
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
        nn.init.trunc_normal_(self.queries, std=dim**-0.5)
        self.mha = nn.MultiheadAttention(dim, n_heads, dropout=dropout, batch_first=True)
        if source != "attn_out":
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
            One row a bag and task.
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
            True where a row is padding.

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
        maps = attention.new_zeros(*instances.shape[:2], attention.shape[1])
        maps[slice(None) if key_padding_mask is None else ~key_padding_mask] = attention
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
            mean = segment_mean(rows, segments)[:, None]
            pooled = torch.lerp(pooled, mean.expand_as(pooled), self.mean_residual)
        return segments.unsort_bags(pooled), segments.unsort(self._head_mean(attention))

    def _folded(self, w_q: Tensor, b_q: Tensor, w_k: Tensor) -> Tensor:
        """Return, for each task and head, the vector [T·H, D] whose product is the score."""
        n_heads, head_dim = self.mha.num_heads, self.mha.head_dim
        queries = F.linear(self.queries[0] / self.temperature, w_q, b_q) * head_dim**-0.5
        by_head = queries.view(-1, n_heads, head_dim).transpose(0, 1)
        folded: Tensor = by_head @ w_k.view(n_heads, head_dim, -1)
        return folded.transpose(0, 1).flatten(0, 1)

    def _values(
        self, weights: Tensor, rows: Tensor, w_v: Tensor, b_v: Tensor, segments: Segments
    ) -> Tensor:
        """Return the heads' pooled values, side by side [B, T, D]."""
        n_heads, head_dim = self.mha.num_heads, self.mha.head_dim
        by_head = w_v.view(n_heads, head_dim, -1)
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
        """Return the mean over heads [M, T] of a column a task and head [M, T·H]."""
        # As a product: torch's mean over so short an axis takes ten times as long.
        n_heads = self.mha.num_heads
        return weights.view(len(weights), -1, n_heads) @ weights.new_full((n_heads,), 1 / n_heads)


def _check_range(name: str, expected: str, found: object, fits: bool) -> None:
    if not fits:
        raise MILError(f"{name}: expected {expected}; found {found!r}.")
