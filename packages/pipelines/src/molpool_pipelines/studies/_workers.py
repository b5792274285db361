"""Several processes on one study: started, watched, replaced, stopped."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from types import FrameType

from molpool_common import (
    INTERRUPTED,
    cores,
    end_process,
    end_with_parent,
    heed_ctrl_c,
    tune_process,
)

from molpool_pipelines.studies._config import HPOError
from molpool_pipelines.studies._queue import Queue
from molpool_pipelines.studies._trials import StudyWorker

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_TICK = 0.5
_GOODBYE = 30.0
"""Seconds for a worker to put its trial back before it is killed."""
_LOSSES = 5
"""Workers lost without a trial finished in between, each on average, after which all stop."""


class _Worker:
    """A process that works on a study."""

    def __init__(self, task: StudyWorker, n_threads: int) -> None:
        # Not fork: the parent has threads of torch and of Arrow, whose locks a fork would copy as
        # they are.
        context = multiprocessing.get_context("spawn")
        self._errors, channel = context.Pipe(duplex=False)
        self.process = context.Process(target=_run, args=(task, channel), daemon=True)
        with _threads(n_threads):
            self.process.start()
        # Our copy: otherwise the pipe never ends when the worker dies.
        channel.close()

    def error(self) -> BaseException | None:
        """Return what it raised, if it ended so."""
        with suppress(EOFError, OSError):
            if self._errors.poll():
                error: BaseException = self._errors.recv()
                return error
        return None


def supervise(task: StudyWorker, queue: Queue, n_workers: int, tick: Callable[[], None]) -> None:
    """Run `n_workers` processes until the study has all its trials.

    Parameters
    ----------
    task : StudyWorker
        What they work on.
    queue : Queue
        The study's, here.
    n_workers : int
        Processes; each gets its share of the cores.
    tick : callable
        Called about twice a second.

    Raises
    ------
    HPOError
        If the first trials fail, or one worker after another dies.
    KeyboardInterrupt
        After all workers have put their trials back.
    """
    n_threads = max(1, cores() // n_workers)
    workers = [_Worker(task, n_threads) for _ in range(n_workers)]
    losses, finished = 0, -1
    try:
        while workers:
            heed_ctrl_c()
            # Wakes at once when a worker ends, and twice a second for the screen.
            wait([w.process.sentinel for w in workers], timeout=_TICK)
            ended = [w for w in workers if not w.process.is_alive()]
            workers = [w for w in workers if w not in ended]
            lost = [w for w in ended if _was_lost(w)]
            if lost:
                queue.requeue_lost()
                now = sum(t.state.is_finished() for t in queue.trials()) - len(lost)
                # A finished trial in between resets the count: a study of days may lose a worker
                # now and then.
                losses = losses + len(lost) if now <= finished else len(lost)
                finished = now
                if losses > _LOSSES * n_workers:
                    raise HPOError(_dying(task, lost[-1]))
                workers += [_Worker(task, n_threads) for _ in lost]
            tick()
    finally:
        _stop(workers)
        queue.requeue_lost()


def _was_lost(worker: _Worker) -> bool:
    """Return whether a process that ended was killed; raises what it raised."""
    worker.process.join()
    error = worker.error()
    if error is not None:
        raise error
    return worker.process.exitcode != 0


def _dying(task: StudyWorker, worker: _Worker) -> str:
    code = worker.process.exitcode or 0
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return (
        f"study {task.name!r}: expected workers that live; found that one after another died, the "
        f"last by {how}. Memory may be short: fewer --workers, or a smaller space."
    )


def _stop(workers: list[_Worker]) -> None:
    """Ask all to end, wait while they put their trials back, then insist."""
    for worker in workers:
        # All are asked before any is waited for, so that they put their trials back at the same
        # time.
        worker.process.terminate()
    until = time.monotonic() + _GOODBYE
    for worker in workers:
        with suppress(KeyboardInterrupt):  # asked for twice: then at once
            worker.process.join(max(0.0, until - time.monotonic()))
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


@contextmanager
def _threads(n: int) -> Iterator[None]:
    """Limit the threads of numerical libraries in processes started meanwhile.

    They read the environment when they are loaded, which is before any code of ours runs there.
    """
    before = {name: os.environ.get(name) for name in _THREADS}
    for name, old in before.items():
        # The user may have asked for fewer threads, never for more than there are cores per worker.
        asked = int(old) if old and old.isdigit() else n
        os.environ[name] = str(min(n, asked))
    try:
        yield
    finally:
        for name, old in before.items():
            if old is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = old


def _run(task: StudyWorker, channel: Connection) -> None:
    """Work on a study as a process of its own."""
    _heed_signals()
    end_with_parent(by=signal.SIGTERM)
    tune_process()
    code = 0
    try:
        task.work(task.queue())
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        channel.send(_sendable(error))
    # The trial is queued again; on a busy machine Python's own exit outlasts our patience.
    end_process(code)


def _heed_signals() -> None:
    """Leave Ctrl-C, which a terminal sends to all of us, to the parent; heed its SIGTERM once."""

    def interrupt(_signum: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, interrupt)


def _sendable(error: Exception) -> Exception:
    """Return an error as the parent can raise it: with its traceback where it is a fault."""
    if hasattr(error, "exit_code"):
        with suppress(Exception):
            # Some exceptions pickle and do not come back, which would hang the parent's `recv`.
            pickle.loads(pickle.dumps(error))  # noqa: S301  # made in this line
            return error
    return RuntimeError("".join(traceback.format_exception(error)))
