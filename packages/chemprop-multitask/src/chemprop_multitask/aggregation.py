"""Chemprop's sums over a molecule's atoms, each as one sparse product."""

from __future__ import annotations

import torch
from chemprop import nn
from torch import Tensor
from torch.nn.functional import pad

from chemprop_multitask.incidence import OnesMatrix, Rows


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
