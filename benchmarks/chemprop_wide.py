"""Claim: a training step of a wide Chemprop is at least 1.8 times faster here than in Chemprop.

A step is loss, gradients and Adam of one whole network on one batch of 64 molecules of the Biogen
set with two labels each: message passing 700, 1 024 and 2 048 wide, depth 5 and 6, one hidden layer
of 300 on top. Chemprop's own network and ours start from the same weights and run in turn in this
process, on two threads; ratios are medians over rounds. Before that both train for some steps on
the same batches: their losses must be equal to 1e-4, those of bfloat16 to 2 %.

Physical limit: the matrix products, about 26 GFLOP a step at 700 and 270 at 2 048, of which single
precision spares none: what is saved there is the sums over neighbours. The processor's own bfloat16
products, where it has them, are twice as fast.

    uv run python benchmarks/chemprop_wide.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import torch
from chemprop import nn
from chemprop.data import MoleculeDatapoint, MoleculeDataset, build_dataloader
from chemprop.models import MPNN
from chemprop_multitask import (
    ChempropConfig,
    ChempropModel,
    MoleculeData,
    shuffled_batches,
)
from claims import Claim, Times, faster, in_turn, settle
from molpool_pipelines.datasets import locate

BAR = 1.8
WIDTHS = ((700, 5), (1024, 5), (2048, 6))
MOLECULES, THREADS, WARM_UP, ROUNDS = 64, 2, 2, 8
TASKS = ("LOG HLM_CLint (mL/min/kg)", "LOG SOLUBILITY PH 6.8 (ug/mL)")

Step = Callable[[], float]


def main() -> int:
    torch.set_num_threads(THREADS)
    smiles, labels = molecules()
    claims = []
    for hidden, depth in WIDTHS:
        model = network(hidden, depth)
        steps = {
            "ours": ours(model, smiles, labels, False),
            "bfloat16": ours(model, smiles, labels, True),
            "chemprop": theirs(model, smiles, labels),
        }
        losses: dict[str, list[float]] = {name: [] for name in steps}
        keeping = {name: partial(keep, step, losses[name]) for name, step in steps.items()}
        times = in_turn(keeping, ROUNDS, WARM_UP)
        claims += judged(hidden, depth, times, losses)
    return settle(*claims)


def keep(step: Step, losses: list[float]) -> None:
    losses.append(step())


def judged(hidden: int, depth: int, times: Times, losses: dict[str, list[float]]) -> list[Claim]:
    reference = np.array(losses["chemprop"])
    claims = []
    for name, word, most in (("ours", "", 1e-4), ("bfloat16", ", bfloat16", 0.02)):
        what = f"{hidden} wide, depth {depth}{word}"
        off = float(np.abs(np.array(losses[name]) / reference - 1).max())
        claims.append(Claim(f"losses of {what}", off, most, at_most=True))
        claims.append(faster(f"training step, {what}", BAR, times, name, "chemprop"))
    return claims


def molecules() -> tuple[list[str], np.ndarray]:
    frame = pl.read_csv(locate("biogen")).drop_nulls(list(TASKS))
    drawn = np.random.default_rng(0).choice(frame.height, MOLECULES, replace=False)
    rows = frame[np.sort(drawn).tolist()]
    return rows["SMILES"].to_list(), rows.select(TASKS).to_numpy()


def network(hidden: int, depth: int) -> ChempropModel:
    config = {
        "model": {
            "message_passing": {"hidden_size": hidden, "depth": depth},
            "ffn": {"num_layers": 1, "hidden_size": 300},
        },
        "training": {"batch_size": MOLECULES, "loss_average": "cell"},
    }
    return ChempropModel.from_config(
        ChempropConfig.model_validate(config), task_names=TASKS, seed=0
    )


def ours(model: ChempropModel, smiles: list[str], labels: np.ndarray, bf16: bool) -> Step:
    own = deepcopy(model)
    data = MoleculeData(smiles, labels, task_names=TASKS)
    batch = next(iter(shuffled_batches(own, data, MOLECULES, seed=0)))
    optimizer = torch.optim.Adam(own.module.parameters(), 1e-4, fused=True)

    def step() -> float:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = own.module.training_step(batch, 0)
        assert loss is not None  # None would be a batch that was skipped
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def theirs(model: ChempropModel, smiles: list[str], labels: np.ndarray) -> Step:
    mp, ffn = model.config.model.message_passing, model.config.model.ffn
    block = nn.BondMessagePassing(d_h=mp.hidden_size, depth=mp.depth)
    head = nn.RegressionFFN(
        n_tasks=len(TASKS),
        input_dim=mp.hidden_size,
        hidden_dim=ffn.hidden_size,
        n_layers=ffn.num_layers,
    )
    network = MPNN(block, nn.MeanAggregation(), head)
    own = {k: v for k, v in model.module.state_dict().items() if k in network.state_dict()}
    network.load_state_dict(own, strict=False)
    scaled = (labels - labels.mean(axis=0)) / labels.std(axis=0)
    points: list[Any] = [
        MoleculeDatapoint.from_smi(s, y) for s, y in zip(smiles, scaled, strict=True)
    ]
    loader = build_dataloader(MoleculeDataset(points), MOLECULES, shuffle=False)
    batch = next(iter(loader))
    optimizer = torch.optim.Adam(network.parameters(), 1e-4)

    def step() -> float:
        optimizer.zero_grad()
        bmg, V_d, X_d, targets, weights, below, above = batch
        predicted = network.predictor.train_step(network.fingerprint(bmg, V_d, X_d))
        mask = targets.isfinite()
        loss = network.criterion(predicted, targets, mask, weights, below, above)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


if __name__ == "__main__":
    sys.exit(main())
