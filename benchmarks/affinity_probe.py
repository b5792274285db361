"""Claim: at 617 tasks probes measure at least 10 times as fast as exact gradients, rank the pairs
as those do (Spearman at least 0.95), and need at most 1.5 times the memory of a training step.

An epoch of ToxCast (8 597 molecules, 71 % of labels missing), Chemprop's network of default size.
Both follow one trajectory, as measuring changes no weight; time is that of the whole phase less
that of training alone. Memory is the largest resident set above what stands before ten steps, of a
process of its own for each, where free memory goes back to the system at once: what is needed, not
what an allocator keeps. Exit status 1 beyond any claim. In full it takes an hour of a core for the
exact side; --molecules measures less of the epoch.

Physical limit: a forward product costs about three forward passes, and the last layer's exact part
40 GFLOP a batch (tasks back through the heads, and a kernel a unit), a third of a second at this
machine's 120 GFLOP/s. An exact gradient of every task costs one backward pass for each label
pattern that has it, some hundred a batch.

    uv run python benchmarks/affinity_probe.py [--molecules 8597] [--probes 8]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl
import torch
from claims import Claim, settle
from molpool_common import parse_smiles
from molpool_pipelines.datasets import locate
from scipy.stats import spearmanr
from task_affinity import (
    AffinityResult,
    ChempropLosses,
    NoGradientStepsError,
    TaskAffinityComputer,
    TaskAffinityConfig,
    build_loader,
    build_model,
    mixed_cells,
    output_layer,
)

FASTER, RANKS, MEMORY = 10.0, 0.95, 1.5


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--molecules", type=int, default=8597)
    parser.add_argument("--probes", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    smiles, targets = toxcast(given.molecules)
    batches = list(build_loader(smiles, targets, batch_size=64, seed=0))
    warm_up(batches[:1], given.probes)
    training = train(batches)
    probed, probe_seconds = phase(batches, estimator="probe", n_probes=given.probes)
    exact, exact_seconds = phase(batches, estimator="exact")

    known = np.triu(np.isfinite(exact.matrix) & np.isfinite(probed.matrix), 1)
    ranks = float(spearmanr(probed.matrix[known], exact.matrix[known]).statistic)
    ratio = (exact_seconds - training) / (probe_seconds - training)
    memory = peak(given, "probe") / peak(given, "train")
    print(f"{len(smiles)} molecules, {targets.shape[1]} tasks, {len(batches)} batches")
    print(
        f"training {training:.1f} s, with probes {probe_seconds:.1f} s, exact {exact_seconds:.1f} s"
    )
    probes, gradients = (f"{s - training:.1f} s" for s in (probe_seconds, exact_seconds))
    return settle(
        Claim("probes against exact gradients", ratio, FASTER, ours=probes, peer=gradients),
        Claim(f"Spearman over {known.sum()} pairs", ranks, RANKS),
        Claim("memory, of a training step's", memory, MEMORY, at_most=True),
    )


def warm_up(batches: list[Any], n_probes: int) -> None:
    """Load what torch loads at a first derivative; that a batch lacks tasks is no matter here."""
    for settings in ({"estimator": "probe", "n_probes": n_probes}, {"estimator": "exact"}):
        with suppress(NoGradientStepsError):
            phase(batches, **settings)


def toxcast(n_molecules: int) -> tuple[list[str], np.ndarray]:
    table = pl.read_csv(locate("toxcast"), infer_schema_length=None)
    table = table.sample(fraction=1.0, seed=0, shuffle=True)
    smiles = table["smiles"].to_list()
    rows = [i for i, mol in enumerate(_molecules(smiles)) if mol is not None][:n_molecules]
    targets = table.drop("smiles").cast(pl.Float64).to_numpy()[rows]
    return [smiles[i] for i in rows], targets[:, np.isfinite(targets).any(axis=0)]


def _molecules(smiles: list[str]) -> list[Any]:
    return parse_smiles(smiles).mols


def network(batches: list[Any]) -> Any:
    torch.manual_seed(0)
    return build_model(batches[0].Y.shape[1])


def losses_of(batches: list[Any]) -> ChempropLosses:
    return ChempropLosses(mixed_cells([True] * batches[0].Y.shape[1]))


def train(batches: list[Any]) -> float:
    model, losses = network(batches), losses_of(batches)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    start = perf_counter()
    for batch in batches:
        optimizer.zero_grad()
        values, present = losses(model, batch)
        values[present].mean().backward()
        optimizer.step()
    return perf_counter() - start


def phase(batches: list[Any], **settings: Any) -> tuple[AffinityResult, float]:
    config = TaskAffinityConfig(device="cpu", log_affinity_matrix=False, **settings)
    start = perf_counter()
    model = network(batches)
    result = TaskAffinityComputer(config).compute(
        model, batches, losses_of(batches), output_layer=output_layer(model)
    )
    return result, perf_counter() - start


def peak(given: argparse.Namespace, what: str) -> float:
    """Return the bytes that ten steps take above what stands before them, in a new process."""
    # Read when the new process starts: glibc's first values, kept for good.
    os.environ |= {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_peak, (given.threads, given.probes, what))


def _peak(threads: int, n_probes: int, what: str) -> float:
    torch.set_num_threads(threads)
    smiles, targets = toxcast(640)

    def steps(n_molecules: int) -> None:
        rows = slice(n_molecules)
        batches = list(build_loader(smiles[rows], targets[rows], batch_size=64, seed=0))
        if what == "train":
            train(batches)
        else:
            # Few batches need not have every task, which is said at the end and no matter here.
            with suppress(NoGradientStepsError):
                phase(batches, estimator="probe", n_probes=n_probes)

    steps(2)  # what torch loads at a first derivative is code, and not a step's memory
    Path("/proc/self/clear_refs").write_text("5")  # the largest resident set so far is forgotten
    before = _status("VmRSS")
    steps(len(smiles))
    return _status("VmHWM") - before


def _status(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


if __name__ == "__main__":
    sys.exit(main())
