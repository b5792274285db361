"""Chemprop's directed bond message passing and aggregation, each sum as one sparse matmul.

The sums over neighbours and over a molecule's atoms are matmuls with sparse matrices of ones,
which are differentiable linear maps.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from inspect import signature
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, addmm
from torch.nn import Linear, Module, ReLU
from torch.nn.functional import embedding_bag, pad

from chemprop_multitask._chemprop import BatchMolGraph, BondMessagePassing, nn


@dataclass(frozen=True)
class Rows:
    """Positions of the ones of a sparse 0/1 matrix, in CSR order.

    Parameters
    ----------
    crow : Tensor [R + 1]
        Where each row's entries begin in `col`; the last element is their number.
    col : Tensor [nnz]
        Columns of the entries, row after row.
    """

    crow: Tensor
    col: Tensor

    @classmethod
    def one_each(cls, col: Tensor) -> Rows:
        """Return the matrix whose row i has its only one in column ``col[i]``."""
        return cls(torch.arange(len(col) + 1, device=col.device), col)

    @classmethod
    def grouped(cls, row: Tensor, n_rows: int) -> Rows:
        """Return the matrix [n_rows, len(row)] with a one at every ``(row[j], j)``."""
        crow = pad(torch.bincount(row, minlength=n_rows).cumsum(0), (1, 0))
        return cls(crow, torch.argsort(row, stable=True))

    def repeated(self, row: Tensor, without: Tensor) -> Rows:
        """Return a matrix whose row i is our row ``row[i]`` less its one in column ``without[i]``.

        Every such one must exist.
        """
        counts = self.crow.diff()[row]
        new_row = torch.repeat_interleave(counts)
        shift = self.crow[row] - (counts.cumsum(0) - counts)
        col = self.col[torch.arange(len(new_row), device=row.device) + shift[new_row]]
        crow = pad((counts - 1).cumsum(0), (1, 0))
        return Rows(crow, col[col != without[new_row]])


@dataclass(frozen=True)
class OnesMatrix:
    """A sparse 0/1 matrix A with its transpose: ``A @ X`` sums rows of X, its gradient is Aᵀ G.

    Parameters
    ----------
    rows : Rows
        The ones of A, [R, C].
    transposed : Rows
        The ones of Aᵀ, [C, R].

    Notes
    -----
    Derivatives of any order, forward mode, `torch.vmap` and batched gradients are supported.
    """

    rows: Rows
    transposed: Rows

    def __matmul__(self, X: Tensor) -> Tensor:
        """Return A X, [R, F], for `X` of shape [C, F]."""
        ours, theirs = self.rows, self.transposed
        return _matmul(X, ours.crow, ours.col, theirs.crow, theirs.col)


class _Matmul(torch.autograd.Function):
    """Linear in its first argument; the rest are the CSR arrays of the matrix and its transpose."""

    @staticmethod
    def forward(X: Tensor, crow: Tensor, col: Tensor, crow_t: Tensor, col_t: Tensor) -> Tensor:
        # A sum over bags of rows is this matmul without a stored value for each one, two to three
        # times quicker than that of `torch.sparse_csr_tensor` and without its beta warning.
        return embedding_bag(col, X.contiguous(), crow, mode="sum", include_last_offset=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        _, *csr = inputs
        ctx.save_for_backward(*csr)
        ctx.save_for_forward(*csr)

    @staticmethod
    def backward(ctx: Any, G: Tensor) -> tuple[Tensor | None, ...]:
        crow, col, crow_t, col_t = ctx.saved_tensors
        return _matmul(G, crow_t, col_t, crow, col), None, None, None, None

    @staticmethod
    def jvp(ctx: Any, dX: Tensor, *_: None) -> Tensor:
        return _matmul(dX, *ctx.saved_tensors)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], X: Tensor, *csr: Tensor
    ) -> tuple[Tensor, int]:
        # All examples share the matrix, so that they become further columns of one matmul.
        assert in_dims[0] is not None, "only X can be batched"
        X = X.movedim(in_dims[0], 1)
        sums = _matmul(X.flatten(1), *csr)
        return sums.reshape(len(sums), *X.shape[1:]), 1


# torch asks at each matmul for the signature of `forward`, and Python would work it out anew.
vars(_Matmul)["forward"].__func__.__signature__ = signature(_Matmul.forward)


def _matmul(X: Tensor, *csr: Tensor) -> Tensor:
    sums: Tensor = _Matmul.apply(X, *csr)
    return sums


class FastBondMessagePassing(BondMessagePassing):  # type: ignore[misc]  # chemprop has no types
    """Drop-in `chemprop.nn.BondMessagePassing`: same parameters and numbers, in half the time.

    Chemprop computes a bond's message, the sum over the bonds that enter its first atom less its
    own reverse, with a scatter, two gathers and a subtraction. Here it is one matmul with a sparse
    0/1 matrix, built once per batch; the backward pass is that with the transposed matrix.

    Parameters
    ----------
    *args, **kwargs
        As for `chemprop.nn.BondMessagePassing`.

    Notes
    -----
    ``hparams["cls"]`` is Chemprop's class, so that Chemprop opens what a model with this block
    saves. The directed message passing is that of Yang et al. 2019, doi:10.1021/acs.jcim.9b00237.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.hparams["cls"] = BondMessagePassing

    @classmethod
    def from_chemprop(cls, module: BondMessagePassing) -> Self:
        """Return a copy of Chemprop's block: its hyperparameters, weights, mode and device."""
        hparams = {k: deepcopy(v) for k, v in module.hparams.items() if k != "cls"}
        twin = cls(**hparams)
        twin.to(module.W_h.weight)
        twin.load_state_dict(module.state_dict())
        twin.train(module.training)
        return twin

    def forward(self, bmg: BatchMolGraph, V_d: Tensor | None = None) -> Tensor:
        """Encode a batch of molecular graphs.

        Parameters
        ----------
        bmg : BatchMolGraph
            Batch with A atoms in all.
        V_d : Tensor [A, d_vd], optional
            Additional atom descriptors.

        Returns
        -------
        Tensor [A, d_h] or [A, d_h + d_vd]
            Hidden state of every atom.

        Raises
        ------
        chemprop.exceptions.InvalidShapeError
            If `V_d` has another shape than the block was made for.
        """
        bmg = self.graph_transform(bmg)
        sums = _bond_sums(bmg)
        H_0 = self.initialize(bmg)
        H = self.tau(H_0)
        for _ in range(1, self.depth):
            if self.undirected:
                # Undirected message passing: both directions of a bond share one state before each
                # update.
                H = (H + sums.reverse @ H) / 2
            H = self.update(sums.message @ H, H_0)
        atoms: Tensor = self.finalize(sums.readout @ H, bmg.V, V_d)
        return atoms

    def update(self, M_t: Tensor, H_0: Tensor) -> Tensor:
        """Return the hidden state of every bond after the messages `M_t` [B, d_h]."""
        if not _is_plain(self.W_h):
            updated: Tensor = super().update(M_t, H_0)
            return updated
        # The sum is taken while the matmul is written: one pass over memory less.
        H = addmm(H_0, M_t, self.W_h.weight.T)
        # Nothing but ReLU's own result is needed for its gradient, so that it may overwrite.
        H = H.relu_() if type(self.tau) is ReLU else self.tau(H)
        dropped: Tensor = self.dropout(H)
        return dropped


def _is_plain(layer: Module) -> bool:
    """Return whether calling a layer is a bare matmul: no bias, no hook, no parametrisation."""
    hooked = layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks
    return type(layer) is Linear and not hooked and layer._parameters["bias"] is None


class _BondSums(NamedTuple):
    """The sums over bonds of a batch with A atoms and B directed bonds."""

    message: OnesMatrix
    """[B, B]; row v→w has a one at every bond u→v with u ≠ w."""
    readout: OnesMatrix
    """[A, B]; row v has a one at every bond u→v."""
    reverse: OnesMatrix
    """[B, B]; row v→w has its one at w→v."""


def _bond_sums(bmg: BatchMolGraph) -> _BondSums:
    source, target = bmg.edge_index
    reverse = bmg.rev_edge_index
    entering = Rows.grouped(target, len(bmg.V))
    # The reverse of a bond that enters an atom leaves it, in the same order.
    leaving = Rows(entering.crow, reverse[entering.col])
    flip = Rows.one_each(reverse)
    return _BondSums(
        message=OnesMatrix(
            entering.repeated(source, without=reverse), leaving.repeated(target, without=reverse)
        ),
        readout=OnesMatrix(entering, Rows.one_each(target)),
        reverse=OnesMatrix(flip, flip),
    )


def aggregate(module: nn.Aggregation, H: Tensor, batch: Tensor) -> Tensor:
    """Return what an aggregation makes of atoms: its own numbers, without its scatter.

    Chemprop scatters with an index as large as `H`; atoms stand molecule after molecule, so that
    a sum over consecutive rows does. An aggregation of another kind is called as it is.

    Parameters
    ----------
    module : chemprop.nn.Aggregation
        Of a batch of graphs.
    H : Tensor [A, F]
        Hidden states of the atoms.
    batch : Tensor [A]
        Molecule of each atom, ascending.

    Returns
    -------
    Tensor [B, F]
    """
    if type(module) not in (nn.MeanAggregation, nn.SumAggregation, nn.NormAggregation):
        result: Tensor = module(H, batch)
        return result
    sizes = torch.bincount(batch)
    atoms = Rows(pad(sizes.cumsum(0), (1, 0)), torch.arange(len(batch), device=batch.device))
    sums = OnesMatrix(atoms, Rows.one_each(batch)) @ H
    if type(module) is nn.MeanAggregation:
        return sums / sizes.clamp(min=1).unsqueeze(1)
    return sums / module.norm if type(module) is nn.NormAggregation else sums
