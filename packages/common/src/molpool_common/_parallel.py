"""Work on many items in several processes, a few items at a time: here, or on a Dask cluster.

Whatever spreads work goes through `each_group` or `mapped`; `working_on` says where it goes.
"""

from __future__ import annotations

import faulthandler
import logging
import math
import multiprocessing
import os
import pickle
import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic, perf_counter
from types import ModuleType
from typing import Any, Generic, TypeVar

from molpool_common._errors import InputError
from molpool_common._process import end_with_parent

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
SharedT = TypeVar("SharedT")

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
    *,
    aside: Callable[[ItemT], bool] | None = None,
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
    aside : callable, optional
        Whether an item may take for ever: where one process would do, another one works on it,
        which `ending_after` ends.
    """
    client = _engine.connected()
    if client is not None:
        yield from _on_dask(client, work, iter(groups), dead)
    elif workers > 1:
        yield from _Pool(work, workers, dead).run(iter(groups))
    else:
        yield from _here(work, groups, dead, aside)


def _here(
    work: Callable[[Sequence[ItemT]], list[ResultT]],
    groups: Iterable[list[ItemT]],
    dead: Callable[[ItemT], ResultT],
    aside: Callable[[ItemT], bool] | None,
) -> Iterator[tuple[list[ItemT], list[ResultT]]]:
    """Yield groups worked on in this process, and at the end what is left aside in another."""
    rest: list[list[ItemT]] = []
    for group in groups:
        here: list[ItemT] = []
        slow: list[ItemT] = []
        for item in group:
            (slow if aside is not None and aside(item) else here).append(item)
        if slow:
            rest.append(slow)
        if here:
            yield here, work(here)
    if rest:
        yield from _Pool(work, 1, dead).run(iter(rest))


@contextmanager
def ending_after(seconds: float) -> Iterator[None]:
    """End this process where the block takes longer; its item is then `dead`.

    Only a worker of `each_group` ends, never the process that the user started.

    Parameters
    ----------
    seconds : float
        The limit; 0 for none.
    """
    if not seconds or multiprocessing.parent_process() is None:
        yield
        return
    with open(os.devnull, "w") as nowhere:
        # A thread in C, which does not wait for Python: RDKit's long calls hold its lock.
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


@dataclass
class Engine:
    """Where work on many molecules or files is spread over processes.

    Parameters
    ----------
    name : {"local", "dask"}
        Processes of this machine, or workers of a Dask cluster.
    address : str or None
        Of the Dask scheduler; by default a cluster of this machine's cores.
    """

    name: str = "local"
    address: str | None = None
    client: Any = None
    closing: ExitStack = field(default_factory=ExitStack)

    def connected(self) -> Any:
        """Return the client of Dask, connected when it is first asked for; None locally."""
        if self.name == "dask" and self.client is None:
            self.client = self.closing.enter_context(_dask(self.address))
        return self.client


_engine = Engine()


@contextmanager
def working_on(name: str | None, address: str | None = None) -> Iterator[None]:
    """Have `each_group` and `mapped` work on an engine within the block.

    Parameters
    ----------
    name : {"local", "dask"} or None
        The engine; None leaves it as it is.
    address : str, optional
        Of the Dask scheduler.

    Raises
    ------
    InputError
        If there is no such engine, or an address without Dask.
    """
    global _engine
    if name is None and address is None:
        yield
        return
    if address is not None and name != "dask":
        raise InputError("--scheduler-address", expected="--engine dask with it", found="none")
    if name not in ENGINES:
        raise InputError("--engine", expected=" or ".join(ENGINES), found=repr(name))
    before, _engine = _engine, Engine(str(name), address)
    try:
        with _engine.closing:
            yield
    finally:
        _engine = before


ENGINES = ("local", "dask")


def engine_flags() -> list[str]:
    """Return the flags that have another process work on the same engine."""
    address = [] if _engine.address is None else ["--scheduler-address", _engine.address]
    return ["--engine", _engine.name, *address]


def take_engine(argv: Sequence[str]) -> tuple[str | None, str | None, list[str]]:
    """Return the engine and address that flags of any command name, and the other arguments."""
    values: dict[str, str | None] = {"--engine": None, "--scheduler-address": None}
    rest, arguments = [], iter(argv)
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        flag = flag.replace("_", "-")
        if flag not in values:
            rest.append(argument)
            continue
        given = value if equals else next(arguments, None)
        if given is None:
            raise InputError(flag, expected="a value after it", found="nothing")
        values[flag] = given
    return values["--engine"], values["--scheduler-address"], rest


def engine_workers(workers: int) -> int:
    """Return how many processes work where a caller asks for `workers` of this machine."""
    client = _engine.connected()
    return workers if client is None else max(2, len(client.nthreads()))


def mapped(
    work: Callable[[SharedT, ItemT], ResultT], shared: SharedT, items: Iterable[ItemT]
) -> Iterator[ResultT]:
    """Yield the result of each item in order, from the engine's workers where there are any.

    Parameters
    ----------
    work : callable
        A function of a module, of `shared` and an item.
    shared : object
        What all items have in common; goes to each worker once.
    items : iterable
        Taken a few ahead of the work only: they may be chunks of a table larger than memory.

    Raises
    ------
    RuntimeError
        If an item ends each process that works on it.
    """
    client = _engine.connected()
    if client is None:
        yield from (work(shared, item) for item in items)
        return
    from distributed import KilledWorker

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sending large graph")
        # As what a task computes: scattered, it would be lost with the workers that hold it.
        common = client.submit(_itself, shared, pure=False)
    waiting: deque[Any] = deque()
    rest = iter(items)
    try:
        for _ in range(_AHEAD * engine_workers(1)):
            waiting.extend(
                client.submit(work, common, item, pure=False) for item in islice(rest, 1)
            )
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(
                client.submit(work, common, item, pure=False) for item in islice(rest, 1)
            )
            yield result
    except KilledWorker as error:
        raise RuntimeError("dask: each worker that took one of the chunks has ended") from error
    finally:
        client.cancel([*waiting])


def _itself(shared: SharedT) -> SharedT:
    return shared


_ASKED_EVERY = 2.0
"""Seconds after which a cluster is asked for its workers again."""

_TASK_SECONDS, _MOST_JOINED = 0.5, 16
"""Of work in a task of Dask's, to which quick groups are joined, and how many at most."""

_AHEAD = 4
"""Items for each worker: the next are there before they are asked for, and few are held at once."""


_OF_THIS_MACHINE = {
    # A worker that died may take a while to start anew on a busy machine: given up after 15 s, as
    # is Dask's default, it is not replaced, and what it had to do would wait for ever.
    "distributed.deploy.lost-worker-timeout": "1d",
    # A hundred times a second it would ask for the lock that the work holds.
    "distributed.worker.profile.enabled": False,
}


@contextmanager
def _dask(address: str | None) -> Iterator[Any]:
    try:
        from dask import config
        from distributed import Client, LocalCluster
    except ModuleNotFoundError as error:
        raise ImportError("--engine dask needs Dask: pip install 'molpool-common[dask]'") from error
    if address is None:
        # One thread each: RDKit's and torch's own calls hold or fill them. Of workers that die we
        # tell ourselves; all else that Dask would log are connections closed at the end.
        quiet = {"silence_logs": logging.CRITICAL, "dashboard_address": None}
        # Its HTTP server is there without a dashboard; two clusters would ask for one port.
        any_port = {"dashboard_address": "127.0.0.1:0"}
        with (
            config.set(_OF_THIS_MACHINE),
            LocalCluster(threads_per_worker=1, scheduler_kwargs=any_port, **quiet) as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = Client(address, timeout="20s")
    except (OSError, ValueError) as error:
        raise InputError(
            "--scheduler-address", expected="a Dask scheduler that answers", found=repr(address)
        ) from error
    with client:
        yield client


def _on_dask(
    client: Any,
    work: Callable[[Sequence[ItemT]], list[ResultT]],
    groups: Iterator[list[ItemT]],
    dead: Callable[[ItemT], ResultT],
    *,
    alone: bool = False,
) -> Iterator[tuple[list[ItemT], list[ResultT]]]:
    """Yield groups with their results as workers are done; of one that dies others take over."""
    import cloudpickle
    from distributed import KilledWorker, as_completed

    running: dict[Any, list[list[ItemT]]] = {}
    # Workers of a queue come and go; to ask for them takes longer than a small group.
    most, asked, joined = 0, -math.inf, 1

    def submitted() -> Iterator[Any]:
        nonlocal most, asked
        if monotonic() - asked > _ASKED_EVERY:
            # Who is at a worker that dies is suspected too: those under suspicion go one by one.
            most = 1 if alone else _AHEAD * max(1, len(client.nthreads()))
            asked = monotonic()
        while len(running) < most:
            task = list(islice(groups, joined))
            if not task:
                return
            # As one text: Dask looks for tasks inside each list and tuple that it is given.
            # Not pure: results go back at once and are not kept by what they were computed from.
            future = client.submit(_timed, cloudpickle.dumps((work, task)), pure=False)
            running[future] = task
            yield future

    finished = as_completed(list(submitted()))
    for future in finished:
        task = running.pop(future)
        try:
            packed, seconds = future.result()
        except KilledWorker:
            # The item at which workers die is found one by one.
            each = [[item] for group in task for item in group]
            if len(each) == 1:
                yield each[0], [dead(each[0][0])]
            else:
                yield from _on_dask(client, work, iter(each), dead, alone=True)
        else:
            if not alone:
                joined = min(_MOST_JOINED, 1 + int(_TASK_SECONDS * len(task) / max(seconds, 1e-3)))
            # Of our own workers.
            yield from zip(task, pickle.loads(packed), strict=True)  # noqa: S301
        # A list: `update` holds a lock that Dask's own thread waits for, which `submitted` asks.
        finished.update([*submitted()])


def _timed(packed: bytes) -> tuple[bytes, float]:
    """Return the results of groups, and the seconds that they took."""
    import cloudpickle

    begun = perf_counter()
    work, groups = pickle.loads(packed)  # noqa: S301  # of the process that asks
    results = [work(group) for group in groups]
    # As one text, too: an array would be a message of its own, here one of each molecule.
    return cloudpickle.dumps(results), perf_counter() - begun


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
        except BaseException:
            # Ctrl-C and SIGTERM do not wait for what nobody takes any more.
            for process in [*self._executor._processes.values()]:
                process.kill()
            raise
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
    end_with_parent()
