"""Which process runs a trial, and whether it still lives."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Owner:
    """A process among all machines that share a study.

    Parameters
    ----------
    host : str
        Name of the machine, for people.
    machine : str
        The machine since it was started, and the container on it.
    pid : int
        Number of the process.
    started : int
        When it was started, in ticks since the machine was: numbers are used again.
    """

    host: str
    machine: str
    pid: int
    started: int

    @classmethod
    def here(cls) -> Owner:
        """Return this process."""
        return cls(socket.gethostname(), _machine(), os.getpid(), _start_ticks(os.getpid()))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Owner:
        """Return the owner that `as_dict` wrote down."""
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        """Return the owner for a trial's attributes."""
        return asdict(self)

    def is_dead(self) -> bool | None:
        """Return whether the process has ended; None of one on another machine."""
        if self.machine != _machine():
            return None
        return _start_ticks(self.pid) != self.started


@cache
def _machine() -> str:
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
    with suppress(OSError):  # the same number is another process in another container
        parts.append(Path("/proc/self/ns/pid").readlink().name)
    return "/".join(parts)


def _start_ticks(pid: int) -> int:
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
    except PermissionError:
        pass
    return 0
