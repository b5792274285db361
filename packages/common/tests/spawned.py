"""What the tests run in processes of their own: spawned ones find functions by a file's name."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from molpool_common import _parallel, each_group, ending_after, groups_of, mapped, working_on


def squares(numbers: Sequence[int]) -> list[int]:
    """Square numbers; die at 5."""
    if 5 in numbers:
        os._exit(3)
    return [n * n for n in numbers]


def die() -> dict[int, int]:
    """Return what comes of a process that dies."""
    groups = each_group(squares, groups_of(range(12), 3), 2, lambda _: -1)
    return dict(sorted((i, r) for group, done in groups for i, r in zip(group, done, strict=True)))


def hang(numbers: Sequence[int]) -> list[int]:
    """Square numbers; at 7 hold Python's lock for ever, as RDKit's long calls do."""
    with ending_after(1):
        if 7 in numbers:
            re.match("(a+)+$", "a" * 60 + "b")
    return [n * n for n in numbers]


def aside() -> dict[int, int]:
    """Return what comes of one process, and another for 6 and 7."""
    groups = each_group(hang, groups_of(range(8), 4), 1, lambda _: -1, aside=lambda n: n > 5)
    return dict(sorted((i, r) for group, done in groups for i, r in zip(group, done, strict=True)))


def local() -> dict[str, Any]:
    """Return what comes of processes of this machine that die or hang."""
    return {"die": die(), "aside": aside()}


def once(folder: str, number: int) -> int:
    """Square a number; the first process that has 3 dies."""
    if number == 3 and not (died := Path(folder) / "died").exists():
        died.touch()
        os._exit(3)
    return number * number


def cubes(numbers: Sequence[int]) -> list[int]:
    """Return third powers."""
    return [n**3 for n in numbers]


def power(exponent: int, number: int) -> int:
    """Return a power of a number."""
    return int(number**exponent)


def dask() -> dict[str, Any]:
    """Return what a Dask cluster of this machine makes of groups and of items."""
    # Workers are asked for as each task ends, which once waited for one another for ever.
    _parallel._ASKED_EVERY = 0.0
    with working_on("dask"):
        groups = each_group(cubes, groups_of(range(120), 3), 2, lambda _: -1)
        of_groups = sorted(r for _, done in groups for r in done)
        return {"groups": of_groups, "items": list(mapped(power, 2, range(8)))}


def dying_on_dask(folder: str) -> dict[str, Any]:
    """Return what comes of a Dask cluster of this machine, whose workers die."""
    # By default the fourth death is one too many: each takes seconds.
    os.environ["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"] = "1"
    # As on a machine so busy that no worker starts anew within the 15 s that Dask waits for it.
    os.environ["DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT"] = "10ms"
    with working_on("dask"):
        once_dead = list(mapped(once, folder, range(8)))
        found = die()
    return {"once": once_dead, "die": found, "died": (Path(folder) / "died").exists()}


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
    if sys.argv[1] == "leave":
        leave()
    found = {"dask": dask, "dying-on-dask": dying_on_dask, "local": local}[sys.argv[1]](
        *sys.argv[2:]
    )
    sys.stdout.write(json.dumps(found))
