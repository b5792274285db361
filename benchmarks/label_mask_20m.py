"""Claim: the index of 20 000 000 rows × 20 tasks, read in chunks, a million draws included, needs
at most 2 GiB: the growth of the peak resident set over that of the process after its imports.

The peer, the same sampler on the table itself, needs the table besides: 3.2 GB in double precision.
Exit status 1 if the claim fails.

Physical limit: a bit a label is 0.06 GB, a row number of 4 bytes a row 0.08 GB; where a task is
drawn first (hierarchical), 4 bytes a label, here of 30 % of the cells: 0.48 GB.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from time import perf_counter
from typing import Literal

import numpy as np
from claims import Claim, settle
from joint_sampler_100m import peak_gb
from sampling_core import JointSampler, LabelMask

ROWS, TASKS, DRAWS, STEP, DENSITY = 20_000_000, 20, 1_000_000, 100_000, 0.3
BAR_GIB = 2.0


def chunks() -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    for _ in range(0, ROWS, STEP):
        chunk = rng.random((STEP, TASKS))
        chunk[chunk > DENSITY] = np.nan
        yield chunk


def main() -> int:
    before = peak_gb()
    clock = perf_counter()
    mask = LabelMask.from_chunks(chunks())
    print(f"mask {perf_counter() - clock:.1f} s, {peak_gb() - before:.2f} GB")
    modes: tuple[Literal["multiplicative", "hierarchical"], ...] = (
        "multiplicative",
        "hierarchical",
    )
    for mode in modes:
        clock = perf_counter()
        sampler = JointSampler(
            mask, task_alpha=0.5, composition_mode=mode, num_samples=DRAWS, seed=0
        )
        deque(sampler, maxlen=0)
        print(f"{mode} {perf_counter() - clock:.1f} s, peak {peak_gb() - before:.2f} GB")
        del sampler
    growth = (peak_gb() - before) * 1e9 / 2**30
    return settle(
        Claim(
            "index of 20 000 000 x 20, GiB", growth, BAR_GIB, at_most=True, ours=f"{growth:.2f} GiB"
        )
    )


if __name__ == "__main__":
    sys.exit(main())
