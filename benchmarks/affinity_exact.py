"""Claim: exact gradients of nine tasks take at most half the time of TorchJD's Jacobian.

One batch of the ExpansionRx table with its own missing labels (about half), Chemprop's network of
default size; both give the products of all gradients with all, to 1e-4 of the largest. In turn in
this process; the ratio is the median over rounds, each the ratio within its round. Exit status 1
below the claim.

Physical limit: going back costs about twice the matrix products of going forward, so that nine
tasks on every molecule cost 9 × 3.2 GFLOP a batch of 64, 0.36 s on a core of 80 GFLOP/s. We stay
below, as no task goes back through molecules without a label of it: the batch is divided by label
patterns.

    uv run --group bench python benchmarks/affinity_exact.py [--molecules 64] [--rounds 20] [--fast]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import polars as pl
import torch
from chemprop.data import MoleculeDatapoint, MoleculeDataset, build_dataloader
from chemprop_multitask import FastBondMessagePassing
from claims import Claim, faster, in_turn, settle
from molpool_pipelines.datasets import locate
from task_affinity import (
    ChempropLosses,
    EncoderGradients,
    RandomState,
    Step,
    build_model,
    encoder_parameters,
    gramian,
)
from torch import Tensor

try:
    from torchjd.autojac import jac
except ModuleNotFoundError as error:
    raise SystemExit(
        f"{error}: this benchmark needs the group bench (uv run --group bench)"
    ) from error

CLAIM, TOLERANCE, WARM_UP = 2.0, 1e-4, 2


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--molecules", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--fast", action="store_true", help="with FastBondMessagePassing")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    batch = expansion_batch(given.molecules)
    model = build_model(batch.Y.shape[1])
    if given.fast:
        model.message_passing = FastBondMessagePassing.from_chemprop(model.message_passing)
    gramians = {"ours": ours(model, batch), "torchjd": theirs(model, batch)}
    runs = {**gramians, "training step": training_step(model, batch)}
    products = {name: run() for name, run in gramians.items()}
    error = (products["ours"] - products["torchjd"]).abs().max() / products["torchjd"].abs().max()

    times = in_turn(runs, given.rounds, WARM_UP)
    labels = batch.Y.isfinite().float().mean()
    print(f"{given.molecules} molecules, {labels:.0%} of labels, {given.threads} threads")
    for name, t in times.items():
        steps = median(t / times["training step"])
        print(f"{name:14s}{median(t) * 1e3:8.1f} ms, {steps:5.2f} training steps")
    return settle(
        faster("gradients of nine tasks, against torchjd", CLAIM, times, peer="torchjd"),
        Claim("largest difference of the largest product", float(error), TOLERANCE, at_most=True),
    )


def expansion_batch(n_molecules: int) -> Any:
    table = pl.read_csv(locate("expansionrx"), infer_schema_length=None)
    table = table.sample(n_molecules, seed=0, shuffle=True)
    targets = table.drop("Molecule Name", "SMILES").cast(pl.Float64).to_numpy()
    spread = np.nanstd(targets, axis=0)
    targets = (targets - np.nanmean(targets, axis=0)) / np.where(spread > 0, spread, 1.0)
    points: Any = [
        MoleculeDatapoint.from_smi(s, y) for s, y in zip(table["SMILES"], targets, strict=True)
    ]
    (batch,) = build_dataloader(MoleculeDataset(points), n_molecules, shuffle=False)
    return batch


def ours(model: Any, batch: Any) -> Callable[[], Tensor]:
    losses, random = ChempropLosses(), RandomState.now(torch.device("cpu"))
    measure = EncoderGradients(model, losses, encoder_parameters(model), cosine=False)
    tasks = batch.Y.isfinite().any(dim=0).nonzero().squeeze(1)

    def run() -> Tensor:
        # With nothing to divide, gradients are taken from the training step's own graph.
        whole: Any = [] if len(losses.parts(model, batch)) > 1 else losses(model, batch)[0]
        return gramian(measure.jacobian(Step(batch, whole, tasks, random)))

    return run


def theirs(model: Any, batch: Any) -> Callable[[], Tensor]:
    losses, parameters = ChempropLosses(), list(encoder_parameters(model).values())

    def run() -> Tensor:
        values, present = losses(model, batch)
        blocks = jac(values[present], parameters)
        return gramian(torch.cat([block.flatten(1) for block in blocks], dim=1))

    return run


def training_step(model: Any, batch: Any) -> Callable[[], None]:
    losses, optimizer = ChempropLosses(), torch.optim.Adam(model.parameters(), lr=0.0)

    def run() -> None:
        optimizer.zero_grad()
        values, present = losses(model, batch)
        values[present].mean().backward()
        optimizer.step()

    return run


if __name__ == "__main__":
    sys.exit(main())
