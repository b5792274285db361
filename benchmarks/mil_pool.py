"""Claim: TaskAttentionPool is at least 3.5 times (D = 512) and 4.5 times (D = 1024) faster than
torch.nn.MultiheadAttention with the same weights, on full bags, with outputs equal to 1e-5.

Forward and backward of 128 bags of 32 instances, eight heads, four tasks, LayerNorm included on
both sides; in turn in this process. Both return the attention. The ratios are medians over rounds,
each the ratio within its round. Exit status 1 below a claim.

Physical limit: the products. Theirs project keys and values of every instance, 2·M·D² multiply-adds
forward and twice that back; ours 2·M·D·T·H, and both project what was pooled, ours once more,
2·B·T·D² against B·T·D². At D = 512 that is 2.3 against 0.40 G multiply-adds forward, 5.7 times
less; at D = 1024 9.2 against 1.3 G, 6.8 times.

    uv run python benchmarks/mil_pool.py [--rounds 30] [--threads 2]
"""

from __future__ import annotations

import argparse
import sys
from statistics import median
from time import perf_counter

import numpy as np
import torch
from claims import Claim, faster, settle
from mil_attn import TaskAttentionPool
from torch import Tensor

CLAIMS = {512: 3.5, 1024: 4.5}
BAGS, SIZE, TASKS, HEADS = 128, 32, 4, 8
TOLERANCE, WARM_UP = 1e-5, 3


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(f"{BAGS} bags of {SIZE}, {HEADS} heads, {TASKS} tasks, {given.threads} threads")
    claims = [compare(dim, bar, given.rounds) for dim, bar in CLAIMS.items()]
    return settle(*(claim for pair in claims for claim in pair))


def compare(dim: int, bar: float, rounds: int) -> list[Claim]:
    torch.manual_seed(0)
    pool = TaskAttentionPool(dim, TASKS, HEADS)
    with torch.no_grad():
        pool.mha.in_proj_bias.normal_()  # 0 at the start, where an error in it would not show
    offsets = torch.arange(BAGS + 1) * SIZE
    packed = torch.randn(BAGS * SIZE, dim)
    cotangent = torch.randn(BAGS, TASKS, dim)

    def ours(x: Tensor) -> Tensor:
        pooled: Tensor = pool(x, offsets)[0]
        return pooled

    def theirs(x: Tensor) -> Tensor:
        rows = pool.norm(x.view(BAGS, SIZE, dim))
        pooled: Tensor = pool.mha(pool.queries.expand(BAGS, -1, -1), rows, rows)[0]
        return pooled

    error = 0.0
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(WARM_UP + rounds):
        results = {}
        for name, run in (("ours", ours), ("theirs", theirs)):
            pool.zero_grad()
            x = packed.clone().requires_grad_()
            start = perf_counter()
            pooled = run(x)
            pooled.backward(cotangent)
            seconds[name].append(perf_counter() - start)
            results[name] = pooled.detach(), x.grad
        for mine, other in zip(*results.values(), strict=True):
            error = max(error, (mine - other).abs().max().item())
    times = {name: np.array(s[WARM_UP:]) for name, s in seconds.items()}
    for name, t in times.items():
        print(f"D {dim:4d} {name:7s}{median(t) * 1e3:8.1f} ms  (least {min(t) * 1e3:.1f})")
    return [
        faster(f"D = {dim}, against MultiheadAttention", bar, times),
        Claim(f"D = {dim}, largest difference", error, TOLERANCE, at_most=True),
    ]


if __name__ == "__main__":
    sys.exit(main())
