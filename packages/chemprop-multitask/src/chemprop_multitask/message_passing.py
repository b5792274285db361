"""Chemprop's directed bond message passing, with sparse products for the sums over neighbours."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, NamedTuple, Self

from chemprop.data import BatchMolGraph
from chemprop.nn import BondMessagePassing
from torch import Tensor, addmm, nn

from chemprop_multitask.incidence import OnesMatrix, Rows


class FastBondMessagePassing(BondMessagePassing):  # type: ignore[misc]  # chemprop has no types
    """Drop-in `chemprop.nn.BondMessagePassing`: same parameters and numbers, in half the time.

    Chemprop computes a bond's message, the sum over the bonds that enter its first atom less its
    own reverse, with a scatter, two gathers and a subtraction. Here it is one product with a sparse
    0/1 matrix, built once a batch; the backward pass is the product with the transposed matrix.

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
                H = (H + sums.reverse @ H) / 2
            H = self.update(sums.message @ H, H_0)
        atoms: Tensor = self.finalize(sums.readout @ H, bmg.V, V_d)
        return atoms

    def update(self, M_t: Tensor, H_0: Tensor) -> Tensor:
        """Return the hidden state of every bond after the messages `M_t` [B, d_h]."""
        if not _is_plain(self.W_h):
            updated: Tensor = super().update(M_t, H_0)
            return updated
        # The sum is taken while the product is written: one pass over memory less.
        H = addmm(H_0, M_t, self.W_h.weight.T)
        # Nothing but ReLU's own result is needed for its gradient, so that it may overwrite.
        H = H.relu_() if type(self.tau) is nn.ReLU else self.tau(H)
        dropped: Tensor = self.dropout(H)
        return dropped


def _is_plain(layer: nn.Module) -> bool:
    """Return whether calling a layer is its bare product: no bias, no hook, no parametrisation."""
    hooked = layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks
    return type(layer) is nn.Linear and not hooked and layer._parameters["bias"] is None


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
