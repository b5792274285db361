"""What the tests run in processes of their own: spawned ones find functions by a file's name."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence

from molpool_common import each_group, groups_of


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


if __name__ == "__main__":
    if sys.argv[1] == "die":
        sys.stdout.write(json.dumps(die()))
    else:
        leave()
