"""Optuna's journal in a file that a killed process cannot leave locked or torn."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._storage import JournalOperation
from optuna.trial import TrialState

_ENDS = {state.value for state in TrialState if state.is_finished()}


def _must_last(log: dict[str, Any]) -> bool:
    """Return whether a record is forced to the disk: how a trial ended, and what a study is.

    Other processes see every record at once either way. Only a machine that goes down forgets the
    others, and the trials with them, since they were running or waiting.
    """
    if log["op_code"] == JournalOperation.SET_TRIAL_STATE_VALUES:
        return log["state"] in _ENDS
    return log["op_code"] in (
        JournalOperation.CREATE_STUDY,
        JournalOperation.SET_STUDY_USER_ATTR,
        JournalOperation.SET_STUDY_SYSTEM_ATTR,
    )


class JournalFile(JournalFileBackend):  # type: ignore[misc]  # untyped to mypy here
    """A journal file under a lock of the operating system.

    Optuna's own lock is a link that a killed process leaves behind, upon which all others wait for
    half a minute; this one ends with its process.

    Parameters
    ----------
    path : Path
        The file, made if there is none.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(os.fspath(path))
        self._path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write records, whole ones only, after those of all other processes."""
        text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        with self._path.open("r+b") as file, _locked(file.fileno()):
            file.seek(_whole_records(file.fileno()))
            file.write(text.encode())
            file.truncate()
            file.flush()
            if any(map(_must_last, logs)):
                os.fsync(file.fileno())


def _whole_records(descriptor: int) -> int:
    """Return where the last whole record ends: a process that died writing leaves half a one."""
    end = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - 65536)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


@contextmanager
def _locked(descriptor: int) -> Iterator[None]:
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
