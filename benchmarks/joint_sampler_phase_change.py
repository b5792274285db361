"""Claim: at 16 000 000 rows a change of the curriculum's phase costs at most 1 ms, and the draws
right after it have the weights of the new phase.

The peer is what a sampler with a weight for each row does: gather N weights by quality and
multiply. Both run in turn in this process. Exit status 1 if the claim fails.

Physical limit: the weights of 12 cells and a table of 4096 buckets, 64 KB written; the peer's is
N weights of 8 bytes, 128 MB written.
"""

from __future__ import annotations

import sys
from itertools import islice
from statistics import median
from time import perf_counter

import numpy as np
from claims import Claim, settle
from sampling_core import CurriculumState, JointSampler

CLAIM_MS = 1.0
ROWS, ROUNDS = 16_000_000, 15


def main() -> int:
    rng = np.random.default_rng(0)
    targets = np.ones((ROWS, 4), dtype=np.float32)
    targets[:, 1:][rng.random((ROWS, 3), dtype=np.float32) < 0.7] = np.nan
    quality = rng.integers(0, 3, ROWS).astype(np.int8)
    state = CurriculumState(patience=1)
    sampler = JointSampler(targets, quality, state, task_alpha=0.5, seed=0)
    begin = state.state_dict()
    task_weights = rng.random(ROWS)

    ours: list[float] = []
    peer: list[float] = []
    follows = True
    for _ in range(ROUNDS):
        state.load_state_dict(begin)
        follows &= not np.any(quality[list(islice(sampler, 2000))] == 2)
        start = perf_counter()
        state.update(float("nan"))
        draws = iter(sampler)
        ours.append(perf_counter() - start)
        follows &= bool(np.any(quality[list(islice(draws, 2000))] == 2))
        start = perf_counter()
        weights = np.array(list(state.weights(state.phase).values()))[quality]
        weights *= task_weights
        peer.append(perf_counter() - start)

    print(f"phase change, ours       {median(ours) * 1e3:8.3f} ms  (worst {max(ours) * 1e3:.3f})")
    print(f"phase change, row weights{median(peer) * 1e3:8.3f} ms")
    print(f"draws follow the phase: {follows}")
    mine, rows = (f"{median(seconds) * 1e3:.3f} ms" for seconds in (ours, peer))
    return settle(
        Claim(
            "ms of a phase change", median(ours) * 1e3, CLAIM_MS, at_most=True, ours=mine, peer=rows
        ),
        Claim("draws that follow the phase", float(follows), 1.0),
    )


if __name__ == "__main__":
    sys.exit(main())
