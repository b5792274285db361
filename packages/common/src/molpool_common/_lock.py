"""One writer per folder: a lock that says who holds it.

The lock is the operating system's: it ends with its process, so that none is ever stale. Who holds
it stands in a file beside, for the message to the second. The file goes when the work is done:
where it is found without the lock, a command was interrupted.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from molpool_common._errors import InputError

LOCK = ".lock"
"""The locked file, which stays: where it went, a second could lock another of its name."""
OWNER = ".lock.json"
"""Who holds the lock: user, host, process, command, since when."""
_PATIENCE = 1.0
"""Seconds to wait: another command may only be looking whether the folder is free."""


class FolderLock:
    """The right to write to a folder, for one process at a time.

    Parameters
    ----------
    folder : Path
        An existing folder.
    """

    def __init__(self, folder: Path) -> None:
        # Here, as it would slow down `--help`.
        from filelock import FileLock

        self.folder = folder
        # Not by thread: what was opened in one may be closed in another.
        self._lock = FileLock(folder / LOCK, thread_local=False)

    def acquire(self, wait: float = _PATIENCE) -> None:
        """Take the lock.

        Parameters
        ----------
        wait : float
            Seconds.

        Raises
        ------
        InputError
            If another holds it, naming user, host and process, or the folder is read-only.
        """
        from filelock import Timeout

        try:
            self._lock.acquire(timeout=wait, poll_interval=0.05)
            _write_owner(self.folder)
        except Timeout:
            raise _held(self.folder) from None
        except OSError as error:
            self.release()
            raise InputError(
                "save_dir",
                expected="a folder that may be written to",
                found=f"{str(self.folder)!r}: {error.strerror or error}",
            ) from None

    def release(self, *, done: bool = True) -> None:
        """Let the next have it.

        Parameters
        ----------
        done : bool
            Whether the work came to its end.
        """
        if self._lock.is_locked:
            if done:
                with suppress(OSError):  # the folder may have gone meanwhile
                    (self.folder / OWNER).unlink(missing_ok=True)
            self._lock.release()


def check_unlocked(folder: Path) -> None:
    """Raise `InputError` where another process writes to a folder; changes nothing."""
    if not (folder / LOCK).is_file():
        return
    from filelock import FileLock, Timeout

    try:
        with FileLock(folder / LOCK, timeout=0, thread_local=False):
            pass
    except Timeout:
        raise _held(folder) from None
    except OSError:
        return  # of another user, say: what may not be written to is told by others


def was_interrupted(folder: Path) -> bool:
    """Return whether this command wrote to a folder last, and did not come to its end."""
    owner = _owner(folder)
    return owner is not None and owner.get("command") == _command()


def _command() -> str:
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:2]])


def _write_owner(folder: Path) -> None:
    owner = {
        "user": _user(),
        "host": socket.gethostname(),
        "process": os.getpid(),
        "command": _command(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    (folder / OWNER).write_text(json.dumps(owner), encoding="utf-8")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in containers, users may have a number alone
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"


def _owner(folder: Path) -> dict[str, str] | None:
    try:
        found = json.loads((folder / OWNER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return {key: str(value) for key, value in found.items()} if isinstance(found, dict) else None


def _held(folder: Path) -> InputError:
    # Who has just taken the lock may not have said so yet.
    owner = _owner(folder) or {}
    found = f"{owner.get('user', 'another command')} on {owner.get('host', 'a host')}"
    found += f", process {owner.get('process', 'unknown')}, since {owner.get('since', 'just now')}"
    return InputError(
        "save_dir",
        expected="a folder that no other command writes to",
        found=f"{str(folder)!r}, held by {found}",
        hint="Wait until it ends, or give another --save-dir.",
    )
