"""Claim: 100 000 000 rows, building and a million draws included, need at most 3 GB of memory:
the growth of the peak resident set over that of the process after its imports, input included.

The peer refuses: torch.utils.data.WeightedRandomSampler ends at 2^24 rows, and its weights and
their cumulative sum alone would take 1.6 GB. Exit status 1 if the claim fails.

Physical limit: the input is 1.6 GB of targets (float32, four tasks) and 0.1 GB of quality codes;
one row number of 4 bytes a row makes 0.4 GB. While building, a cell code of 1 byte a row and the
chunk at hand come on top.
"""

from __future__ import annotations

import resource
import sys
from collections import deque
from time import perf_counter

import numpy as np
from claims import Claim, settle
from sampling_core import CurriculumState, JointSampler
from torch.utils.data import WeightedRandomSampler

CLAIM_GB = 3.0
ROWS, TASKS, DRAWS, STEP = 100_000_000, 4, 1_000_000, 1_000_000


def main() -> int:
    before = peak_gb()
    targets = np.empty((ROWS, TASKS), dtype=np.float32)
    quality = np.empty(ROWS, dtype=np.int8)
    rng = np.random.default_rng(0)
    for start in range(0, ROWS, STEP):
        chunk = rng.random((STEP, TASKS), dtype=np.float32)
        chunk[:, 1:][chunk[:, 1:] < 0.7] = np.nan
        targets[start : start + STEP] = chunk
        quality[start : start + STEP] = rng.integers(0, 3, STEP)
    given = peak_gb() - before

    clock = perf_counter()
    sampler = JointSampler(
        targets, quality, CurriculumState(), task_alpha=0.5, num_samples=DRAWS, seed=0
    )
    built = perf_counter() - clock
    clock = perf_counter()
    deque(sampler, maxlen=0)
    drawn = perf_counter() - clock
    growth = peak_gb() - before

    try:
        # It takes any array, whatever its annotation says.
        deque(WeightedRandomSampler(np.ones(2**24 + 1), 1), maxlen=0)  # type: ignore[arg-type]
        peer = "draws"
    except RuntimeError as error:
        peer = f"refuses: {error}"
    print(f"torch at 2^24 + 1 rows {peer}")
    print(f"build {built:.1f} s, {DRAWS:,} draws {drawn * 1e3:.0f} ms")
    print(f"peak growth {growth:.2f} GB, of which the input {given:.2f} GB")
    return settle(
        Claim(
            "GB for 100 000 000 rows", growth, CLAIM_GB, at_most=True, peer=peer.partition(":")[0]
        )
    )


def peak_gb() -> float:
    # Linux counts ru_maxrss in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    sys.exit(main())
