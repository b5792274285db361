"""Claim: 1 000 000 draws from 16 000 000 rows come at least 20 times faster than from
torch.utils.data.WeightedRandomSampler with the same row weights.

Both samplers run in turn in this process, on one thread, and are exhausted by the same C loop; the
ratio is that of the median times. Exit status 1 if it is below the claim.

Physical limit: a draw reads 8 bytes of random word, one row number of 4 bytes from a table of 64 MB
(a cache line of 64 bytes) and makes a Python int of 32 bytes. For a million draws that is about 100
MB moved; making and dropping the ints alone, which every sampler for a
DataLoader must, is printed beside the ratio. torch moves the cumulative sum of all rows, 256 MB
written and read, in each epoch, and then searches it 24 steps a draw.
"""

from __future__ import annotations

import sys
from array import array
from collections import deque
from collections.abc import Iterable
from functools import partial
from statistics import median
from time import perf_counter

import numpy as np
import numpy.typing as npt
import torch
from claims import Claim, in_turn, settle
from sampling_core import CurriculumState, JointSampler
from torch.utils.data import WeightedRandomSampler

CLAIM = 20.0
ROWS, TASKS, DRAWS, ROUNDS = 16_000_000, 4, 1_000_000, 9


def main() -> int:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    targets = np.full((ROWS, TASKS), np.nan, dtype=np.float32)
    for task, rate in enumerate((0.9, 0.4, 0.1, 0.01)):
        targets[rng.random(ROWS, dtype=np.float32) < rate, task] = 1.0
    targets[np.isnan(targets).all(axis=1), 0] = 1.0
    quality = rng.integers(0, 3, ROWS).astype(np.int8)

    start = perf_counter()
    ours = JointSampler(
        targets, quality, CurriculumState(), task_alpha=0.5, num_samples=DRAWS, seed=0
    )
    print(f"build       {perf_counter() - start:8.3f} s, once, {ROWS:,} rows")
    # It takes any array, whatever its annotation says; a list would take minutes to read.
    peer = WeightedRandomSampler(torch.from_numpy(ours.probabilities()), DRAWS)  # type: ignore[arg-type]

    values = ours.draws().astype(np.int32)
    works = {
        "ours": partial(exhaust, ours),
        "torch": partial(exhaust, peer),
        "ints alone": partial(make_ints, values),
    }
    seconds = in_turn(works, ROUNDS)
    for name, times in seconds.items():
        spread = f"{min(times) * 1e3:.1f} to {max(times) * 1e3:.1f}"
        print(f"{name:11s} {median(times) * 1e3:8.1f} ms  ({spread})")
    ratio = median(seconds["torch"]) / median(seconds["ours"])
    mine, torchs = (f"{median(seconds[name]) * 1e3:.1f} ms" for name in ("ours", "torch"))
    return settle(
        Claim(
            "a million draws, against WeightedRandomSampler", ratio, CLAIM, ours=mine, peer=torchs
        )
    )


def exhaust(sampler: Iterable[int]) -> None:
    deque(sampler, maxlen=0)


def make_ints(values: npt.NDArray[np.int32]) -> None:
    deque(array("i", values.tobytes()), maxlen=0)


if __name__ == "__main__":
    sys.exit(main())
