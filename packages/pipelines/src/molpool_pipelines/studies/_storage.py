"""Where a study is stored: a journal file here, or a database for several machines."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import warnings
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from filelock import FileLock
from molpool_common import InputError, without_secrets, write_text
from optuna.storages import BaseStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial


JOURNAL = "journal.log"
SEALED = ".sha256"
"""Ending of the file beside a journal that says how much of it there was, and its digest."""
_ATTEMPTS = 5
_PAUSES = (0.1, 1.0, 4.0, 15.0)
"""Seconds between attempts to ask a database whose connection broke."""

Stale = Callable[["Study", "FrozenTrial"], None]
"""What happens to a trial whose process gives no sign of life."""

_SET_STATE = 6
_OF_STUDY = (0, 2, 3)
"""``op_code`` of records in Optuna's journal, a file format: a trial's state; a study made, and its
attributes."""
_FINISHED = {state.value for state in TrialState if state.is_finished()}


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
        # Not NAME.lock: so Optuna calls a link of its own, which plain Optuna would wait for.
        self._file_lock = FileLock(f"{path}.flock")
        self._digest, self._digested = hashlib.sha256(), 0

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write records after those of all other processes, in place of one that is torn."""
        text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        # A millisecond: an append takes less, and Optuna waits for each of them.
        with self._file_lock.acquire(poll_interval=0.001), self._path.open("r+b") as file:
            # In place of a torn record: appended after it, it would spoil the next line too.
            file.seek(_end_of_records(file.fileno()))
            file.write(text.encode())
            file.truncate()
            file.flush()
            if any(map(_is_forced, logs)):
                os.fsync(file.fileno())
                # After it: a machine that goes down must not leave more said than there is.
                self._seal()

    def check(self) -> None:
        """Hold what was sealed against what is there.

        Raises
        ------
        InputError
            If the journal is shorter than it was, or the part that was there is not as it was.
        """
        beside = Path(f"{self._path}{SEALED}")
        if not beside.is_file():
            return
        size, _, expected = beside.read_text(encoding="utf-8").strip().partition(" ")
        there = self._path.stat().st_size
        if _read_on(self._path, hashlib.sha256(), 0, int(size)) != expected:
            raise InputError(
                "study.storage",
                expected=f"the {size} bytes that trials have left in the journal",
                found=f"{there}: it was cut" if there < int(size) else "others",
                where=str(self._path),
                hint=f"Restore it, or remove {beside.name} to take it as it is.",
            )

    def _seal(self) -> None:
        size = self._path.stat().st_size
        # Only what came since: journals of long studies have hundreds of megabytes.
        text = _read_on(self._path, self._digest, self._digested, size)
        self._digested = size
        write_text(Path(f"{self._path}{SEALED}"), f"{size} {text}\n")


def _read_on(path: Path, digest: hashlib._Hash, start: int, end: int) -> str:
    """Return the digest of a file up to `end`, where `digest` is that up to `start`."""
    with path.open("rb") as file:
        file.seek(start)
        while (left := end - file.tell()) > 0 and (block := file.read(min(left, 1 << 20))):
            digest.update(block)
    return digest.hexdigest()


def _is_forced(record: dict[str, Any]) -> bool:
    """Return whether a record is forced to the disk: how a trial ended, and what a study is.

    Other processes see every record at once either way. Only a machine that goes down forgets the
    others, and the trials with them, since they were running or waiting.
    """
    if record["op_code"] == _SET_STATE:
        return record["state"] in _FINISHED
    return record["op_code"] in _OF_STUDY


def _end_of_records(descriptor: int) -> int:
    """Return where the last record ends: a process that died writing leaves half a one."""
    end = os.fstat(descriptor).st_size
    while end:
        # From the end by blocks: the journal of a long study has hundreds of megabytes.
        start = max(0, end - 65536)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def is_database(storage: str | None) -> bool:
    """Return whether a storage is a database address rather than a file."""
    return storage is not None and "://" in storage


def open_storage(
    storage: str,
    *,
    heartbeat_interval: int,
    grace_period: int,
    stale: Stale,
    keep_connected: bool = True,
) -> BaseStorage:
    """Open a journal file or connect to a database.

    Parameters
    ----------
    storage : str
        Address of a database (``postgresql://USER@HOST/NAME``), or name of a journal file.
    heartbeat_interval, grace_period : int
        Seconds between signs of life, and without one until a trial counts as dead.
    stale : callable
        Called with study and trial once one does.
    keep_connected : bool
        Whether connections to a database stay open between calls.

    Returns
    -------
    BaseStorage

    Raises
    ------
    InputError
        If it cannot be reached or read; without the password.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if not is_database(storage):
        return _open_journal(Path(storage))
    try:
        database = _open_database(
            _with_driver(storage),
            keep_connected,
            heartbeat_interval=heartbeat_interval,
            grace_period=grace_period,
            heartbeat_stale_trial_callback=stale,
        )
    except Exception as error:
        if not _is_connection_error(error):
            raise
        raise InputError(
            "study.storage",
            expected="a database that can be reached",
            found=f"{without_secrets(storage)}: {_reason(error, storage)}",
        ) from None
    # Wraps the database in Optuna's cache of finished trials.
    return optuna.storages.get_storage(database)


def _open_database(address: str, keep_connected: bool, **options: Any) -> BaseStorage:
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    attempt = 1
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return _database_class()(
                    address, engine_kwargs=_connection(address, keep_connected), **options
                )
        except (IntegrityError, ProgrammingError, optuna.exceptions.StorageInternalError):
            # Another process makes the same tables in an empty database at this moment, or the
            # connection broke.
            if attempt == _ATTEMPTS:
                raise
            time.sleep(0.5 * attempt)
            attempt += 1


class DatabaseLostError(InputError):
    """A database of a study that was there does not answer any more."""


@cache
def _database_class() -> type[BaseStorage]:
    """Return Optuna's storage in a database, which asks again where the connection broke.

    A server that restarts, or a firewall, drops connections in the midst of a request, which is
    then rolled back.
    """

    class Database(optuna.storages.RDBStorage):  # type: ignore[misc]  # untyped to mypy here
        pass

    public = [name for name in dir(BaseStorage) if not name.startswith("_")]
    # What Optuna's cache asks past those, and signs of life.
    own = ("_create_new_trial", "_get_best_trial_id", "_get_trials", "_set_trial_param")
    for name in (*public, *own, "_get_stale_trial_ids", "record_heartbeat"):
        setattr(Database, name, _asked_again(getattr(Database, name)))
    return Database


def _asked_again(method: Callable[..., Any]) -> Callable[..., Any]:
    from sqlalchemy.exc import InterfaceError, OperationalError

    @wraps(method)
    def asked(storage: Any, *arguments: Any, **named: Any) -> Any:
        pauses = iter(_PAUSES)
        while True:
            try:
                return method(storage, *arguments, **named)
            except optuna.exceptions.StorageInternalError as error:
                cause = error.__cause__
                if not isinstance(cause, OperationalError | InterfaceError):
                    raise
                pause = next(pauses, None)
                if pause is None:
                    raise _lost(storage.url, cause) from None
                time.sleep(pause)

    return asked


def _lost(address: str, error: Exception) -> DatabaseLostError:
    return DatabaseLostError(
        "study.storage",
        expected="a database that goes on answering",
        found=f"{without_secrets(address)}: {_reason(error, address)}",
        hint="Give the command again once it does: the study goes on.",
    )


def _open_journal(path: Path) -> BaseStorage:
    if not path.parent.is_dir():
        raise InputError(
            "study.storage",
            expected="a journal file in an existing folder, or a database address",
            found=repr(str(path)),
        )
    if not path.is_file():
        Path(f"{path}{SEALED}").unlink(missing_ok=True)  # of a journal that was removed
    journal = JournalFile(path)
    try:
        path.open("ab").close()
        journal.check()
        return optuna.storages.JournalStorage(journal)
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            "study.storage",
            expected="a journal of Optuna that can be read and written",
            found=f"{str(path)!r}: {error}",
        ) from None


def _with_driver(address: str) -> str:
    """Name psycopg 3, which is what we bring, where the address leaves the driver open."""
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", address)


def _connection(address: str, keep_connected: bool) -> dict[str, Any]:
    from sqlalchemy.pool import NullPool

    # A connection that the server or a firewall has dropped meanwhile is noticed and replaced.
    options: dict[str, Any] = {"pool_pre_ping": True}
    if not keep_connected:
        # A process that only reads once should not hold a connection of a server that allows a
        # hundred.
        options = {"poolclass": NullPool}
    if address.startswith("postgresql"):
        options["connect_args"] = {"connect_timeout": 10}
    return options


def _is_connection_error(error: Exception) -> bool:
    from sqlalchemy.exc import SQLAlchemyError

    wrong_schema = isinstance(error, RuntimeError)
    broke = isinstance(error, optuna.exceptions.StorageInternalError)
    return isinstance(error, SQLAlchemyError | ImportError | OSError) or wrong_schema or broke


def _reason(error: Exception, storage: str) -> str:
    cause = getattr(error, "orig", None) or error.__cause__ or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    text = re.sub(r"\(Background on this error.*\)", "", lines[0] if lines else repr(cause))
    # Drivers repeat the address in their messages.
    password = _password(storage)
    return text.replace(password, "…") if password else text


def _password(storage: str) -> str | None:
    match = re.match(r"[^:]+://[^:@/]*:(?P<password>.*)@", storage)
    return match["password"] if match else None


def journal_path(storage: str | None, folder: Path) -> str:
    """Return the storage of a study whose configuration names none: a journal in its folder."""
    return storage if storage is not None else os.fspath(folder / JOURNAL)
