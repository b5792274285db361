"""Claim: FastBondMessagePassing takes a training step at least 1.8 times faster than Chemprop's
BondMessagePassing, and in at most 1.25 times the time of its Linear layers alone.

A step is forward and backward of one block of default size on 64 molecules of the Biogen set; all
three run in turn in this process, on two threads. The ratios are medians over rounds, each the
ratio within its round, so that what else the machine does falls on both. Exit status 1 if either
is beyond its claim. It means something on a quiet machine only: two threads that wait for a
busy core are waiting, not computing.

Physical limit: the products of the Linear layers, forward and to weights and inputs, are about
4.8 GFLOP, some 30 ms on two cores at 80 GFLOP/s each, and neither side can do without them. The
sums over neighbours and the activations move about 30 arrays of 4 MB a step, 3 ms at 40 GB/s.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from chemprop.data import BatchMolGraph
from chemprop.featurizers import SimpleMoleculeMolGraphFeaturizer
from chemprop.nn import BondMessagePassing
from chemprop_multitask import FastBondMessagePassing
from claims import Claim, faster, in_turn, settle
from molpool_pipelines.datasets import locate
from rdkit import Chem
from torch import Tensor
from torch.nn import Linear

AGAINST_CHEMPROP, AGAINST_PRODUCTS = 1.8, 1.25
MOLECULES, WARM_UP, ROUNDS, THREADS = 64, 5, 60, 2


def main() -> int:
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    bmg = batch()
    theirs = BondMessagePassing()
    ours = FastBondMessagePassing.from_chemprop(theirs)
    products, flop = linear_layers(theirs, bmg)
    steps = {"ours": step(ours, bmg), "chemprop": step(theirs, bmg), "products alone": products}
    times = in_turn(steps, ROUNDS, WARM_UP)

    print(f"{len(bmg.V):,} atoms, {len(bmg.E):,} directed bonds, {THREADS} threads")
    for name, t in times.items():
        print(f"{name:15s}{median(t) * 1e3:7.1f} ms  ({t.min() * 1e3:.1f} to {t.max() * 1e3:.1f})")
    print(
        f"{flop / 1e9:.2f} GFLOP, {flop / median(times['products alone']) / 1e9:.0f} GFLOP/s alone"
    )
    over = median(times["ours"] / times["products alone"])
    mine, _, linear = (f"{median(t) * 1e3:.1f} ms" for t in times.values())
    return settle(
        faster("training step against chemprop", AGAINST_CHEMPROP, times, peer="chemprop"),
        Claim(
            "training step, of its matrix products alone",
            over,
            AGAINST_PRODUCTS,
            at_most=True,
            ours=mine,
            peer=linear,
        ),
    )


def batch() -> BatchMolGraph:
    with locate("biogen").open(newline="") as file:
        smiles = [row["SMILES"] for row in csv.DictReader(file)]
    drawn = np.random.default_rng(0).choice(len(smiles), MOLECULES, replace=False)
    featurize = SimpleMoleculeMolGraphFeaturizer()
    return BatchMolGraph([featurize(Chem.MolFromSmiles(smiles[i])) for i in drawn])


def step(block: BondMessagePassing, bmg: BatchMolGraph) -> Callable[[], None]:
    cotangent = torch.randn(len(bmg.V), block.output_dim)

    def run() -> None:
        block.zero_grad()
        block(bmg).backward(cotangent)

    return run


def linear_layers(block: BondMessagePassing, bmg: BatchMolGraph) -> tuple[Callable[[], None], int]:
    """Return a step of the block's Linear layers on inputs of their shapes, and its FLOP."""
    calls: list[tuple[Linear, Tensor, Tensor]] = []
    flop = 0
    # Input features need no gradient, hidden states do: two products a layer, or three.
    for layer, rows, times, wants_grad in (
        (block.W_i, len(bmg.E), 1, False),
        (block.W_h, len(bmg.E), block.depth - 1, True),
        (block.W_o, len(bmg.V), 1, True),
    ):
        assert isinstance(layer, Linear)
        n_out, n_in = layer.weight.shape
        flop += 2 * rows * n_in * n_out * times * (3 if wants_grad else 2)
        x = torch.randn(rows, n_in, requires_grad=wants_grad)
        calls += [(layer, x, torch.randn(rows, n_out))] * times

    def run() -> None:
        block.zero_grad()
        for layer, x, cotangent in calls:
            x.grad = None
            layer(x).backward(cotangent)

    return run, flop


if __name__ == "__main__":
    sys.exit(main())
