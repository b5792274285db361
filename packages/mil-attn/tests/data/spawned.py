"""What the tests run in processes of their own: spawned ones find functions by a file's name."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mil_attn._config import ConformerConfig, Descriptors2DConfig, MoleculeFeaturesConfig
from mil_attn.data import _feature_cache as kept
from molpool_common import each_group, groups_of

FEATURES = MoleculeFeaturesConfig(
    conformers=ConformerConfig(count=3),
    descriptors_3d=["usrcat"],
    descriptors_2d=Descriptors2DConfig(descriptors=False, morgan_bits=16),
)


def squares(numbers: Sequence[int]) -> list[int]:
    """Square numbers; die at 5."""
    if 5 in numbers:
        os._exit(3)
    return [n * n for n in numbers]


def die() -> dict[int, int]:
    """Return what comes of a process that dies."""
    groups = each_group(squares, groups_of(range(12), 3), 2, lambda _: -1)
    return dict(sorted((i, r) for group, done in groups for i, r in zip(group, done, strict=True)))


def pids(numbers: Sequence[int]) -> list[int]:
    """Return this process, a while later, for each number."""
    time.sleep(0.2)
    return [os.getpid() for _ in numbers]


def leave() -> None:
    """Tell the processes that work, and end without a word to them."""
    found: set[int] = set()
    for _, done in each_group(pids, groups_of(range(100), 1), 2, lambda _: -1):
        found.update(done)
        if len(found) == 2:
            sys.stdout.write(json.dumps(sorted(found)))
            sys.stdout.flush()
            os._exit(9)


def killed(folder: Path) -> None:
    """End without a word once all but the last two molecules are computed."""
    from mil_attn import BagData

    def stop(stage: str, done: int, _: int) -> None:
        if stage == "conformers" and done >= 8:
            os._exit(9)

    kept.CHUNK = 4  # pyrefly: ignore[bad-assignment]
    smiles = [f"{'C' * (i + 1)}O" for i in range(12)]
    BagData.from_smiles(smiles, features=FEATURES, cache=folder, progress=stop)


if __name__ == "__main__":
    mode, *rest = sys.argv[1:]
    if mode == "die":
        sys.stdout.write(json.dumps(die()))
    elif mode == "leave":
        leave()
    else:
        killed(Path(rest[0]))
