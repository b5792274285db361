"""A command as a process: quick to start, quick to end.

Imports nothing that could ask for a word at the exit before `run_script` has asked for the last.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import NoReturn

COLLECT_AFTER = 200_000
"""Objects made between collections of garbage; Python's own 700 suit small heaps.

torch and chemprop bring a million objects that live to the end. Looking through them again and
again took 1.3 s of a start of 5.5 s.
"""

KEPT_BLOCK, KEPT_BYTES = 32 << 20, 1 << 30
"""Largest block that comes from the heap, the most that glibc allows, and how much of the heap's
end stays with us once it is free.

By default the memory of a training step goes back to the system and is asked for again, page by
page, in the next: a tenth of its time.
"""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

_LOOKED_EVERY = 0.25
"""Seconds; less than another command waits for the lock of a folder."""

KEPT_SHAPES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64", "LRU_CACHE_CAPACITY": "64"}
"""For how many shapes oneDNN, and torch in front of it, keep what they prepared.

By default for 1024. As each batch of molecules has a shape of its own, memory grew with the table
that was predicted, by a gigabyte in all.
"""


def run_script(module: str) -> NoReturn:
    """Run ``main()`` of a module as this process.

    Parameters
    ----------
    module : str
        Its name; not imported yet, so that all that it imports is out of the way first at the exit.
    """
    leaving = _Leaving()
    # Registered first, and so run last: exit functions run in reverse order.
    atexit.register(leaving.leave)
    tune_process()
    try:
        leaving.code = import_module(module).main()
    except KeyboardInterrupt:  # while it is imported
        leaving.code = 130
    # A second Ctrl-C comes while the first is being obeyed: what is left takes no time.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(leaving.code)


def tune_process() -> None:
    """Collect garbage seldom and keep freed memory: for the first line of a process that trains."""
    gc.set_threshold(COLLECT_AFTER)
    for name, value in KEPT_SHAPES.items():
        # The user's own settings take precedence.
        os.environ.setdefault(name, value)
    _keep_freed_memory()


@contextmanager
def objects_kept() -> Iterator[None]:
    """Have collections of garbage in the block pass over all that is there now, as modules are."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def free_memory() -> None:
    """Collect garbage and hand what is free back to the system: between jobs of one process.

    The heap has holes that later jobs of other sizes do not fit into: a worker that trained ten
    models held five times what one of them needs.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def end_process(code: int) -> NoReturn:
    """Write out what is written and end, without exit functions and without waiting for threads.

    What would be left is to take the modules apart, object by object: 1.7 s with torch loaded, for
    memory that the system takes back at once.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or the reader has gone
            stream.flush()
    os._exit(code)


def end_with_parent(by: signal.Signals | None = None) -> None:
    """End this process as soon as the one that started it is gone.

    Killed, that one cannot end it; the folder would stay locked, and the work be nobody's.

    Parameters
    ----------
    by : Signals, optional
        Sent to this process then, which may have something to put back first.
    """
    started_by, parent = multiprocessing.parent_process(), os.getppid()

    def follow() -> None:
        if started_by is not None:
            started_by.join()
        else:
            while os.getppid() == parent:
                time.sleep(_LOOKED_EVERY)
        if by is None:
            os._exit(1)
        os.kill(os.getpid(), by)

    threading.Thread(target=follow, daemon=True).start()


def heed_ctrl_c() -> None:
    """Put Python's handling of Ctrl-C back where a library has taken it away.

    RDKit guards long calls in C++ (InChI, embedding, each match of a substructure) against being
    interrupted; some of its guards, left, restore the handler of another one, and Ctrl-C is
    swallowed from then on. Costs a microsecond.
    """
    handler = signal.getsignal(signal.SIGINT)
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, handler)


def start_ticks(pid: int) -> int:
    """Return when a process was started; -1 of one that is none, or that only waits to be reaped.

    Where the system does not say, 0 for each that lives.
    """
    try:
        # The name, in brackets, may hold spaces and brackets itself.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return -1 if Path("/proc/self/stat").exists() else _lives(pid)
    return -1 if fields[0] in "ZX" else int(fields[19])


def _lives(pid: int) -> int:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return -1
    except OverflowError:
        return -1
    except PermissionError:
        pass
    return 0


def _keep_freed_memory() -> None:
    """Tune the allocator where it is glibc's."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, KEPT_BLOCK)
        # Both: setting either switches off glibc's own adjustment of them.
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)


class _Leaving:
    """Ends the process once all threads are joined and all other exit functions have run."""

    def __init__(self) -> None:
        self.code = 1  # of a traceback, which comes before the exit functions

    def leave(self) -> None:
        """Write out what is written and end."""
        end_process(self.code)
