"""A batch of bags: the instances of all bags as rows, no padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch
from molpool_common import IntArray, listed
from torch import Tensor

from mil_attn._errors import MILError


@dataclass(frozen=True, eq=False)
class Bags:
    """A packed batch of B bags with M instances in all.

    Attributes
    ----------
    instances : Tensor [M, F3] or None
        Features of the instances (conformers), bag after bag; None without a 3D branch.
    offsets : LongTensor [B + 1]
        Bag b holds the rows ``offsets[b]:offsets[b + 1]``. Of a batch without instances only its
        length counts.
    x2d : Tensor [B, F2] or None
        Features of the bags (molecules).
    labels : Tensor [B, T] or None
        One column per task, NaN where the label is missing.
    mask : BoolTensor [B, T] or None
        Whether a label counts. A missing label never does, whatever is given here.
    weights : Tensor [B, T] or None
        Weights of the labels; 1 where None.
    aux : dict of str to Tensor [B, A]
        Auxiliary targets by group, NaN where missing.
    aux_mask, aux_weights : dict of str to Tensor [B, A]
        As `mask` and `weights`, for the groups of `aux`.
    ids : tuple of str or None
        Names of the bags, for messages.

    Raises
    ------
    MILError
        If the offsets do not ascend from 0 to M, if a bag is empty (naming it), or if shapes
        disagree. Values are checked on the CPU only: elsewhere a look at them would wait for the
        device.
    """

    instances: Tensor | None
    offsets: Tensor
    x2d: Tensor | None = None
    labels: Tensor | None = None
    mask: Tensor | None = None
    weights: Tensor | None = None
    aux: dict[str, Tensor] = field(default_factory=dict)
    aux_mask: dict[str, Tensor] = field(default_factory=dict)
    aux_weights: dict[str, Tensor] = field(default_factory=dict)
    ids: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_offsets(
            self.offsets, None if self.instances is None else len(self.instances), self.ids
        )
        self._check_shapes()
        object.__setattr__(self, "mask", _present(self.labels, self.mask))
        masks = {name: _present(y, self.aux_mask.get(name)) for name, y in self.aux.items()}
        object.__setattr__(self, "aux_mask", masks)

    @property
    def n_bags(self) -> int:
        """Number of bags B."""
        return len(self.offsets) - 1

    @property
    def sizes(self) -> Tensor:
        """Number of instances of each bag, LongTensor [B]."""
        return self.offsets.diff()

    def __len__(self) -> int:
        return self.n_bags

    def to(
        self,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        non_blocking: bool = False,
    ) -> Self:
        """Return the batch on another device, or its floating tensors in another type."""

        def moved(value: Any) -> Any:
            if isinstance(value, Mapping):
                return {key: moved(inner) for key, inner in value.items()}
            if not isinstance(value, Tensor):
                return value
            kind = dtype if value.is_floating_point() else None
            return value.to(device=device, dtype=kind, non_blocking=non_blocking)

        return replace(self, **{name: moved(value) for name, value in vars(self).items()})

    def _check_shapes(self) -> None:
        if self.instances is not None and self.instances.dim() != 2:
            raise _shape_error("instances", "[instances, features]", self.instances)
        if self.x2d is not None:
            self._check_rows("x2d", self.x2d)
        self._check_labels(("labels", "mask", "weights"), self.labels, self.mask, self.weights)
        for key in self.aux_mask.keys() | self.aux_weights.keys():
            if key not in self.aux:
                groups = listed([repr(k) for k in self.aux]) or "none"
                raise MILError(
                    f"aux_mask, aux_weights: expected groups of aux: {groups}; found {key!r}."
                )
        for key, values in self.aux.items():
            names = (f"aux[{key!r}]", f"aux_mask[{key!r}]", f"aux_weights[{key!r}]")
            self._check_labels(names, values, self.aux_mask.get(key), self.aux_weights.get(key))

    def _check_rows(self, name: str, values: Tensor) -> None:
        if values.dim() != 2 or len(values) != self.n_bags:
            raise _shape_error(name, f"[{self.n_bags}, columns]", values)

    def _check_labels(
        self,
        names: tuple[str, str, str],
        values: Tensor | None,
        mask: Tensor | None,
        weights: Tensor | None,
    ) -> None:
        if values is not None:
            self._check_rows(names[0], values)
        for name, given in zip(names[1:], (mask, weights), strict=True):
            if given is not None and (values is None or given.shape != values.shape):
                raise _shape_error(name, f"that of {names[0]}", given)


def pack_bags(
    instances: Sequence[Any] | Tensor, key_padding_mask: Tensor | None = None, **fields: Any
) -> Bags:
    """Pack bags given one by one, or padded to a common length.

    Parameters
    ----------
    instances : sequence of array or Tensor [n_b, F3], or Tensor [B, N, F3]
        One matrix per bag, or all bags padded.
    key_padding_mask : BoolTensor [B, N], optional
        For padded bags: True where a row is padding, as in `torch.nn.MultiheadAttention`. None
        takes every row.
    **fields
        The other attributes of `Bags`.

    Returns
    -------
    Bags
        The rows that are not padding, in order.

    Raises
    ------
    MILError
        As `Bags`; also if the mask does not fit.
    """
    if isinstance(instances, Tensor):
        rows, sizes = _unpadded(instances, key_padding_mask)
    elif key_padding_mask is not None:
        raise MILError("key_padding_mask: expected with padded bags only; found with a sequence.")
    else:
        matrices = [torch.as_tensor(bag) for bag in instances]
        if not matrices:
            raise MILError("instances: expected at least one bag; found none.")
        for b, matrix in enumerate(matrices):
            if matrix.dim() != 2 or matrix.shape[1] != matrices[0].shape[-1]:
                raise _shape_error(
                    f"instances[{b}]", f"[instances, {matrices[0].shape[-1]}]", matrix
                )
        rows = torch.cat(matrices)
        sizes = torch.tensor([len(matrix) for matrix in matrices], device=rows.device)
    return Bags(rows, offsets_of(sizes), **fields)


def drop_instances(bags: Bags, rate: float) -> Bags:
    """Return bags without a random share of their instances, at least one of each bag.

    Parameters
    ----------
    bags : Bags
        Left as they are where they have no instances.
    rate : float
        Chance, 0 to below 1, that an instance is left out. Torch's generator draws.
    """
    if rate == 0 or bags.instances is None:
        return bags
    sizes, device = bags.sizes, bags.offsets.device
    bag = torch.repeat_interleave(torch.arange(len(bags), device=device), sizes)
    # In double precision, so that the number of the bag leaves digits to the draw.
    draw = torch.rand(len(bag), device=device, dtype=torch.float64)
    stays = draw >= rate
    # The largest draw of a bag stays in any case.
    stays[(bag + draw).argsort()[bags.offsets[1:] - 1]] = True
    left = torch.zeros_like(sizes).index_add_(0, bag, stays.long())
    return replace(bags, instances=bags.instances[stays], offsets=offsets_of(left))


def with_targets_of(bags: Bags, order: Tensor) -> Bags:
    """Return the same bags with the targets that others of the batch have.

    Parameters
    ----------
    bags : Bags
        B bags.
    order : LongTensor [B]
        Which bag's targets each gets.
    """

    def moved(groups: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: values[order] for name, values in groups.items()}

    def one(values: Tensor | None) -> Tensor | None:
        return None if values is None else values[order]

    return replace(
        bags,
        labels=one(bags.labels),
        mask=one(bags.mask),
        weights=one(bags.weights),
        aux=moved(bags.aux),
        aux_mask=moved(bags.aux_mask),
        aux_weights=moved(bags.aux_weights),
    )


def pad_bags(rows: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Pad packed rows to the longest bag.

    Parameters
    ----------
    rows : Tensor [M, F]
        Instances of a batch, or anything else of which there is one row per instance (attention).
    offsets : LongTensor [B + 1]
        Bounds of the bags.

    Returns
    -------
    Tensor [B, N, F], BoolTensor [B, N]
        The padded rows, 0 where there are none, and the key-padding mask, True there.

    Raises
    ------
    MILError
        If the offsets do not fit the rows or a bag is empty.
    """
    check_offsets(offsets, len(rows))
    sizes = offsets.diff()
    padding = torch.arange(int(sizes.max()), device=rows.device) >= sizes[:, None]
    padded = rows.new_zeros(*padding.shape, rows.shape[1])
    padded[~padding] = rows
    return padded, padding


def offsets_of(sizes: Tensor) -> Tensor:
    """Return the bounds [B + 1] of bags of these sizes [B]."""
    return torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])


def check_offsets(offsets: Tensor, n_rows: int | None, ids: Sequence[str] | None = None) -> None:
    """Raise MILError unless offsets bound non-empty bags of `n_rows` instances in all.

    Without instances (`n_rows` None) only form and length are looked at. Values are looked at on
    the CPU only.
    """
    if offsets.dim() != 1 or len(offsets) < 2 or offsets.dtype != torch.int64:
        raise MILError(
            "offsets: expected int64 of shape [bags + 1], at least one bag; "
            f"found {offsets.dtype} of shape {list(offsets.shape)}."
        )
    if ids is not None and len(ids) != len(offsets) - 1:
        raise MILError(f"ids: expected one per bag, {len(offsets) - 1}; found {len(ids)}.")
    # Looking at values on a GPU waits for it, at every batch.
    if n_rows is None or offsets.device.type != "cpu":
        return
    check_bounds(offsets.numpy(), n_rows, ids)


def check_bounds(offsets: IntArray, n_rows: int, ids: Sequence[str] | None = None) -> None:
    """Raise MILError unless `offsets` [B + 1] ascend from 0 to `n_rows`; names empty bags."""
    if offsets[0] != 0 or offsets[-1] != n_rows:
        raise MILError(
            f"offsets: expected to run from 0 to the number of instances, {n_rows}; "
            f"found {offsets[0]} to {offsets[-1]}."
        )
    sizes = np.diff(offsets)
    if (sizes > 0).all():
        return
    if (sizes < 0).any():
        b = int(np.argmax(sizes < 0))
        raise MILError(
            f"offsets: expected ascending bounds; found {offsets[b]} before {offsets[b + 1]} "
            f"at position {b}."
        )
    empty = np.flatnonzero(sizes == 0).tolist()
    names = [repr(ids[b]) if ids is not None else f"number {b} from 0" for b in empty]
    raise MILError(f"bags: expected at least one instance each; found none in {listed(names)}.")


def _present(values: Tensor | None, given: Tensor | None) -> Tensor | None:
    """Return where a label counts: it is there, and the caller's mask, if any, says so."""
    if values is None:
        return None
    # A missing label is never a negative, whatever the caller's mask says (models.md, section 3).
    present = ~values.isnan()
    return present if given is None else present & given


def _unpadded(padded: Tensor, padding: Tensor | None) -> tuple[Tensor, Tensor]:
    if padded.dim() != 3:
        raise _shape_error("instances", "[bags, length, features] when padded", padded)
    if padding is None:
        padding = padded.new_zeros(padded.shape[:2], dtype=torch.bool)
    if padding.shape != padded.shape[:2] or padding.dtype != torch.bool:
        raise MILError(
            f"key_padding_mask: expected bool of shape {list(padded.shape[:2])}; "
            f"found {padding.dtype} of shape {list(padding.shape)}."
        )
    return padded[~padding], (~padding).sum(1)


def _shape_error(name: str, expected: str, found: Tensor) -> MILError:
    return MILError(f"{name}: expected shape {expected}; found {list(found.shape)}.")
