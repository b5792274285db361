"""Work on many items in several processes, a few items at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import ModuleType
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

GROUP = 4
"""Items that go to a process at once: seconds of work, so that none waits long at the end."""


def cores() -> int:
    """Return how many cores this process may use: on a shared machine fewer than there are."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads() -> int:
    """Return how many threads a library may start: ``OMP_NUM_THREADS``, or one for each core."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) else cores()


def groups_of(items: Iterable[ItemT], size: int = GROUP) -> Iterator[list[ItemT]]:
    """Yield lists of `size` items, the last perhaps shorter."""
    group: list[ItemT] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def each_group(
    work: Callable[[Sequence[ItemT]], list[ResultT]],
    groups: Iterable[list[ItemT]],
    workers: int,
    dead: Callable[[ItemT], ResultT],
) -> Iterator[tuple[list[ItemT], list[ResultT]]]:
    """Yield groups with their results as they are done, in any order.

    Parameters
    ----------
    work : callable
        A function of a module: processes are spawned, and find it by its name. Where that module
        is the script that runs, the script needs ``if __name__ == "__main__":``.
    groups : iterable of list
        Taken a few ahead of the work only, so that they may be made on the way.
    workers : int
        Processes; 1 works in this one.
    dead : callable
        Result of an item at which a process died: it is tried again alone first.
    """
    if workers == 1:
        yield from ((group, work(group)) for group in groups)
        return
    yield from _Pool(work, workers, dead).run(iter(groups))


class _Pool(Generic[ItemT, ResultT]):
    def __init__(
        self,
        work: Callable[[Sequence[ItemT]], list[ResultT]],
        workers: int,
        dead: Callable[[ItemT], ResultT],
    ) -> None:
        self._work = work
        self._workers = workers
        self._dead = dead
        self._running: dict[Future[list[ResultT]], list[ItemT]] = {}
        self._executor = self._started(workers)

    def run(self, groups: Iterator[list[ItemT]]) -> Iterator[tuple[list[ItemT], list[ResultT]]]:
        try:
            self._fill(groups)
            while self._running:
                done, _ = wait(self._running, return_when=FIRST_COMPLETED)
                broken: list[list[ItemT]] = []
                for future in done:
                    group = self._running.pop(future)
                    try:
                        yield group, future.result()
                    except BrokenProcessPool:
                        broken.append(group)
                if broken:
                    yield from self._one_by_one(broken)
                self._fill(groups)
        finally:
            self._executor.shutdown(wait=True, cancel_futures=True)

    def _fill(self, groups: Iterator[list[ItemT]]) -> None:
        # Twice the workers: none waits for its next group, and few are lost when a process dies.
        while len(self._running) < 2 * self._workers:
            group = next(groups, None)
            if group is None:
                return
            self._running[self._submitted(group)] = group

    def _submitted(self, group: list[ItemT]) -> Future[list[ResultT]]:
        try:
            with _without_script(self._work):
                return self._executor.submit(self._work, group)
        except BrokenProcessPool as error:  # a process died since results were last looked at
            future: Future[list[ResultT]] = Future()
            future.set_exception(error)
            return future

    def _one_by_one(self, broken: list[list[ItemT]]) -> Iterator[tuple[list[ItemT], list[ResultT]]]:
        """Find the item at which the process died, in a process of its own for as long."""
        # A dead process breaks the pool for all groups under way, so each of them is under
        # suspicion.
        suspects = [item for group in [*broken, *self._running.values()] for item in group]
        self._running.clear()
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._executor = self._started(1)
        for item in suspects:
            try:
                yield [item], self._submitted([item]).result()
            except BrokenProcessPool:
                yield [item], [self._dead(item)]
                self._executor.shutdown(wait=True)
                self._executor = self._started(1)
        self._executor.shutdown(wait=True)
        self._executor = self._started(self._workers)

    @staticmethod
    def _started(workers: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            workers, mp_context=multiprocessing.get_context("spawn"), initializer=_tie_to_parent
        )


@contextmanager
def _without_script(work: Callable[..., object]) -> Iterator[None]:
    """Have processes that start now not run the user's script again, unless `work` is in it.

    By default a spawned process imports the main module: a script without
    ``if __name__ == "__main__":`` would start everything anew in each of them.
    """
    script = sys.modules["__main__"]
    if getattr(work, "func", work).__module__ != "__main__":
        sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def _tie_to_parent() -> None:
    """End with the process that started this one, and leave Ctrl-C to it.

    A worker that waits for work would wait for ever where that process is killed: the pipe stays
    open on its own side.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
