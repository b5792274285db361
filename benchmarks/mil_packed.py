"""Claim: packed bags are at least 8 times (pool) and 4 times (whole model) faster than the padded
twin on bags of geometric size, and need memory for their rows, not for the longest bag.

128 bags of mean size 10, about six times as many rows once padded to the longest. The twin has the
same weights: encoders on padded rows, then torch.nn.MultiheadAttention with a key-padding mask.
Forward and backward in turn in this process; medians over rounds of the ratio within each round.
The twin runs as torch runs it, its products in MKL. Ours takes oneDNN for its large products where
that is quicker and as accurate, as on processors that are not Intel's; so the ratio against a twin
all of whose products go to oneDNN is printed beside it, without a claim.
Memory: the pool's peak on bags of sizes like those of MUSK2 (102 bags, 6 598 rows, the longest
1 044) against that on as many rows in even bags, each in a process of its own. Exit status 1 where
a claim fails.

Physical limit: the products. Of the pool, 2·M·D² multiply-adds forward for the padded keys and
values, against 2·M·D·T·H and the projection of what was pooled, B·T·D²: at six-fold padding about
13 times less. Found were 8.8 to 10.9 times in five runs on AMD EPYC, in CPU seconds too (35 ms
against 383). The 12 that was claimed is of when torch's MKL was 2.4 times slower than oneDNN there,
as `molpool_common.fast_matmul` tells; that of torch 2.15 has 89 of its 103 Gflop a second. Of the
model, the encoder of instances has six times less to do, that of molecules and the mixer as much:
about 4.5 times less in all.

    uv run python benchmarks/mil_packed.py [--rounds 20] [--threads 2]
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from claims import Claim, faster, settle
from mil_attn import (
    Bags,
    MILModelConfig,
    MILTaskAttnMixerWithAux,
    TaskAttentionPool,
    pad_bags,
)
from molpool_common import fast_matmul
from torch import Tensor

POOL, MODEL, MEMORY = 8.0, 4.0, 1.15
BAGS, MEAN, DIM, HEADS, TASKS = 128, 10, 512, 8, 4
FEATURES_2D, FEATURES_3D = 1200, 200
INST_LAYERS = 4  # the middle of the range that a search draws from; the rest as by default
MUSK_BAGS, MUSK_ROWS, MUSK_LONGEST = 102, 6598, 1044
TOLERANCE, WARM_UP = 1e-5, 2
SEED = 122

Step = Callable[[], list[Tensor]]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    # A draw of which the padding is about what is usual: the longest of 128 varies from 40 to 80.
    sizes = torch.as_tensor(np.random.default_rng(SEED).geometric(1 / MEAN, BAGS))
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), sizes.cumsum(0)])
    factor = BAGS * int(sizes.max()) / int(sizes.sum())
    print(f"{BAGS} bags, {sizes.sum()} rows, longest {sizes.max()}: padding factor {factor:.1f}")
    print(f"{given.threads} threads")
    return settle(
        compare("pool against the padded one", POOL, *pools(offsets), given.rounds),
        compare("whole model against the padded one", MODEL, *models(offsets), given.rounds),
        memory(),
    )


def pools(offsets: Tensor) -> tuple[Step, Step]:
    torch.manual_seed(0)
    pool = TaskAttentionPool(DIM, TASKS, HEADS)
    rows = torch.randn(int(offsets[-1]), DIM)
    padded, padding = pad_bags(rows, offsets)
    cotangent = torch.randn(len(offsets) - 1, TASKS, DIM)

    def packed_step() -> list[Tensor]:
        pool.zero_grad()
        x = rows.clone().requires_grad_()
        pooled = pool(x, offsets)[0]
        pooled.backward(cotangent)
        gradient = pool.mha.in_proj_weight.grad
        assert gradient is not None
        return [pooled.detach(), gradient]

    def padded_step() -> list[Tensor]:
        pool.zero_grad()
        x = padded.clone().requires_grad_()
        pooled = attend_padded(pool, x, padding)
        pooled.backward(cotangent)
        gradient = pool.mha.in_proj_weight.grad
        assert gradient is not None
        return [pooled.detach(), gradient]

    return packed_step, padded_step


def models(offsets: Tensor) -> tuple[Step, Step]:
    torch.manual_seed(0)
    # No dropout: the twins draw differently, and are to give the same numbers.
    rates = dict.fromkeys(("mol", "inst", "attn", "mixer"), 0.0)
    given: dict[str, Any] = {f"{part}_dropout": rate for part, rate in rates.items()}
    config = MILModelConfig(inst_layers=INST_LAYERS, drop_path=0.0, **given)
    model = MILTaskAttnMixerWithAux(config, n_tasks=TASKS, in_2d=FEATURES_2D, in_3d=FEATURES_3D)
    n_bags = len(offsets) - 1
    rows, x2d = torch.randn(int(offsets[-1]), FEATURES_3D), torch.randn(n_bags, FEATURES_2D)
    bags = Bags(rows, offsets, x2d=x2d)
    padded, padding = pad_bags(rows, offsets)
    cotangent = torch.randn(n_bags, TASKS)

    def packed_step() -> list[Tensor]:
        model.zero_grad()
        logits = model(bags).logits
        logits.backward(cotangent)
        return [logits.detach()]

    def padded_step() -> list[Tensor]:
        model.zero_grad()
        e2d = model.proj2d(model.mol_enc(x2d))[:, None].expand(-1, TASKS, -1)
        e3d = model.proj3d(attend_padded(model.pool, model.inst_enc(padded), padding))
        logits = model.heads(model.mixer(torch.cat([e2d, e3d], -1)))
        logits.backward(cotangent)
        return [logits.detach()]

    return packed_step, padded_step


def attend_padded(pool: TaskAttentionPool, x: Tensor, padding: Tensor) -> Tensor:
    rows = pool.norm(x)
    queries = pool.queries.expand(len(x), -1, -1)
    pooled: Tensor = pool.mha(queries, rows, rows, key_padding_mask=padding)[0]
    return pooled


def compare(name: str, bar: float, packed: Step, padded: Step, rounds: int) -> Claim:
    steps = {"packed": packed, "padded": padded, "padded, oneDNN": quick(padded)}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(WARM_UP + rounds):
        results = []
        for which, step in steps.items():
            start = perf_counter()
            results.append(step())
            seconds[which].append(perf_counter() - start)
        for mine, other in zip(*results[:2], strict=True):
            error = ((mine - other).abs().max() / other.abs().max()).item()
            if error > TOLERANCE:
                raise SystemExit(f"results differ by {error:.1e} of the largest")
    times = {which: np.array(s[WARM_UP:]) for which, s in seconds.items()}
    for which, t in times.items():
        print(f"{which:15s}{median(t) * 1e3:8.1f} ms  (least {min(t) * 1e3:.1f})")
    alike = median(times["padded, oneDNN"] / times["packed"])
    print(f"{alike:.2f} times as fast with oneDNN on both sides (no claim)")
    return faster(name, bar, times, "packed", "padded")


def quick(step: Step) -> Step:
    def quicker() -> list[Tensor]:
        with fast_matmul():
            return step()

    return quicker


def memory() -> Claim:
    even = np.full(MUSK_BAGS, MUSK_ROWS // MUSK_BAGS)
    even[: MUSK_ROWS - even.sum()] += 1
    # Most bags small, one of 1 044, as in MUSK2.
    draw = np.random.default_rng(0).lognormal(2.5, 1.3, MUSK_BAGS - 1)
    rest = MUSK_ROWS - MUSK_LONGEST
    musk = np.maximum(1, np.floor(draw / draw.sum() * (rest - MUSK_BAGS))).astype(int)
    musk[musk.argmax()] += rest - musk.sum()
    sizes = {"even bags": even, "like MUSK2": np.append(musk, MUSK_LONGEST)}
    row_bytes = MUSK_ROWS * DIM * 4
    peaks = {}
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as workers:
        for name, given in sizes.items():
            peaks[name] = workers.apply(peak_bytes, (given.tolist(), False))
        peaks["padded twin"] = workers.apply(peak_bytes, ([*musk.tolist(), MUSK_LONGEST], True))
    for name, peak in peaks.items():
        print(f"peak {name:12s}{peak / 2**20:8.0f} MiB, {peak / row_bytes:6.1f} times the rows")
    ratio = peaks["like MUSK2"] / peaks["even bags"]
    ours, even_bags = (f"{peaks[name] / 2**20:.0f} MiB" for name in ("like MUSK2", "even bags"))
    return Claim("memory, of even bags'", ratio, MEMORY, at_most=True, ours=ours, peer=even_bags)


def peak_bytes(sizes: list[int], padded: bool) -> int:
    """Return how far forward and backward of a pool raise this process's memory."""
    torch.set_num_threads(1)
    pool = TaskAttentionPool(DIM, TASKS, HEADS)
    offsets = torch.tensor([0, *np.cumsum(sizes).tolist()])
    small = torch.randn(4, DIM, requires_grad=True)
    pool(small, torch.tensor([0, 1, 4]))[0].sum().backward()  # buffers of the libraries
    x = torch.randn(int(offsets[-1]), DIM)
    padding = None
    if padded:
        x, padding = pad_bags(x, offsets)
    x.requires_grad_()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = resident("VmRSS")
    pooled = pool(x, offsets)[0] if padding is None else attend_padded(pool, x, padding)
    pooled.sum().backward()
    return resident("VmHWM") - before


def resident(field: str) -> int:
    (kib,) = re.findall(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kib) * 1024


if __name__ == "__main__":
    sys.exit(main())
