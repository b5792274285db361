"""Folders: of a run, each file written atomically; and of caches."""

from __future__ import annotations

import glob
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self

from molpool_common._digests import SUMS, record, seal
from molpool_common._errors import InputError, listed
from molpool_common._lock import LOCK, OWNER, FolderLock, check_unlocked, was_interrupted
from molpool_common._process import start_ticks
from molpool_common._secrets import without_secrets

if TYPE_CHECKING:
    import polars as pl

MARKER = "environment.json"
"""The file by which a folder is known as a run: the first one written."""

_FOLDERS = ("folds", "model", "bags", "distilled", "baselines")
"""Folders that are a run's own as a whole: of a cross-validation, of models on features."""

_TEMPORARY = re.compile(r"\..+\.(?P<process>\d+)\.tmp")
"""Names under which files and folders are written, before they get their own."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary name to write to and rename it to `path` once all bytes are on disk.

    Parameters
    ----------
    path : Path
        The final name; its folder must exist.

    Yields
    ------
    Path
        A name in the same folder. It is removed if the block raises.
    """
    # In the same folder, as a rename is atomic only within a file system; by process, so that two
    # writers do not share it.
    _remove_leftovers(path.parent, path.name)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as handle:
            # Without it a crash of the machine may leave the new name on an empty file.
            os.fsync(handle.fileno())
        record(path, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


class RunFolder:
    """The files of one run, which one process at a time writes.

    Make one with `create` or `resume`; neither touches a folder that holds something else. As a
    context it writes the digests of all files at the end of a block that succeeds, and lets the
    next process have the folder.

    Parameters
    ----------
    path : Path
        An existing run folder.
    lock : FolderLock or None
        Held until `close`; None where several processes write.
    """

    def __init__(self, path: Path, lock: FolderLock | None = None) -> None:
        self.path = path
        self._lock = lock
        self._opened = perf_counter()
        self.checkpoints.mkdir(exist_ok=True)

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        overwrite: bool = False,
        restart: bool = False,
        arguments: Sequence[str] = (),
    ) -> Self:
        """Make a new run folder.

        Parameters
        ----------
        path : str or Path
            A folder that does not exist, is empty, or (with `overwrite`) holds a run.
        overwrite : bool
            Remove the files of the run that is there.
        restart : bool
            Likewise where the run is of this command and was interrupted: of commands that start
            anew rather than resume.
        arguments : sequence of str
            The command line, for ``environment.json``.

        Raises
        ------
        InputError
            If the folder holds a run and `overwrite` is false, holds something else, or another
            process writes to it.
        """
        path = Path(path)
        check_free(path, overwrite=overwrite, restart=restart)
        # Before the lock, which says that this command is at work.
        overwrite = overwrite or (restart and was_interrupted(path))
        path.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(path)
        lock.acquire()
        try:
            # Once more: another process may have filled it since.
            _check_content(path, overwrite=overwrite, restart=False)
            if overwrite:
                _remove_run(path)
            _remove_leftovers(path)
            write_text(path / MARKER, json.dumps(environment(arguments), indent=2))
            seal(path)
            return cls(path, lock)
        except BaseException:
            lock.release(done=False)
            raise

    @classmethod
    def resume(cls, path: str | Path, *, alone: bool = True) -> Self:
        """Open the folder of a run that was interrupted.

        Parameters
        ----------
        path : str or Path
            The folder.
        alone : bool
            Whether no other process may write meanwhile; several work on one study.

        Raises
        ------
        InputError
            If the folder is missing or is not a run, or another process writes to it.
        """
        path = Path(path)
        check_run(path)
        lock = FolderLock(path) if alone else None
        if lock is not None:
            lock.acquire()
        _remove_leftovers(path)
        if not (path / SUMS).is_file():  # of an earlier version
            seal(path)
        return cls(path, lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._lock is not None:
            if kind is None:
                seal(self.path)
            self._lock.release(done=kind is None)

    def close(self) -> None:
        """Let other processes write to the folder."""
        if self._lock is not None:
            self._lock.release()

    @property
    def seconds(self) -> float:
        """Seconds since it was opened: what the run has taken so far."""
        return perf_counter() - self._opened

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file and return its path."""
        write_text(self.path / name, text)
        return self.path / name

    def write_json(self, name: str, value: Any) -> Path:
        """Write a JSON file; NaN and infinity are refused, since JSON has none."""
        return self.write_text(name, json.dumps(value, indent=2, allow_nan=False) + "\n")

    def write_frame(self, name: str, frame: pl.DataFrame) -> Path:
        """Write a table as Parquet."""
        with atomic_path(self.path / name) as temporary:
            frame.write_parquet(temporary)
        return self.path / name

    def write_file(self, name: str, save: Callable[[Path], None]) -> Path:
        """Let `save` write a file under a temporary name, then give it its own."""
        with atomic_path(self.path / name) as temporary:
            save(temporary)
        return self.path / name

    def write_folder(self, name: str, save: Callable[[Path], None]) -> Path:
        """Let `save` fill an empty folder under a temporary name, then give it its own.

        A folder of this name, of the same run before it was resumed, is replaced.
        """
        path = self.path / name
        temporary = path.with_name(f".{name}.{os.getpid()}.tmp")
        try:
            temporary.mkdir()
            save(temporary)
            for file in sorted(temporary.rglob("*")):
                if file.is_file():
                    record(path / file.relative_to(temporary), file)
            # A folder cannot be replaced by a rename: between the two lines there is none, which a
            # resumed run repairs.
            shutil.rmtree(path, ignore_errors=True)
            os.replace(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return path

    def log(self, event: str, **fields: Any) -> None:
        """Append one line to ``log.jsonl``."""
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event}
        # Appended line by line: a killed run keeps all lines but the last.
        with (self.path / "log.jsonl").open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(without_secrets({**line, **fields}), default=str) + "\n")


def check_free(path: Path, *, overwrite: bool = False, restart: bool = False) -> None:
    """Raise `InputError` unless a new run may be written to `path`; changes nothing.

    Parameters
    ----------
    path : Path
        The folder.
    overwrite, restart : bool
        As of `RunFolder.create`.
    """
    # Also a link that leads nowhere, or to itself, is in the way.
    there = next(p for p in (path, *path.absolute().parents) if os.path.lexists(p))
    if not there.is_dir():
        raise InputError("save_dir", expected="a folder", found=f"the file {str(there)!r}")
    if not os.access(there, os.W_OK):
        raise InputError(
            "save_dir",
            expected="a folder that may be written to",
            found=f"{str(there)!r}, read-only",
        )
    if not _takes_folders(there):
        raise InputError(
            "save_dir",
            expected="a folder that may be written to",
            found=f"{str(there)!r}, which holds no files of ours",
        )
    # First: who is at work there says more than what lies there.
    check_unlocked(path)
    _check_content(path, overwrite=overwrite, restart=restart)


def _takes_folders(there: Path) -> bool:
    """Return whether a folder can be made in one; asked of what is on no disk, such as ``/proc``.

    There nothing else says it, root may write to everything.
    """
    if not hasattr(os, "statvfs") or os.statvfs(there).f_blocks:
        return True
    try:
        Path(tempfile.mkdtemp(prefix=".molpool-", dir=there)).rmdir()
    except OSError:
        return False
    return True


def check_run(path: Path) -> None:
    """Raise `InputError` unless `path` is the folder of a run; changes nothing."""
    if not (path / MARKER).is_file():
        found = "a folder without one" if path.is_dir() else "no such folder"
        raise InputError(
            "--resume",
            expected="the folder of a run",
            found=f"{found}: {path}",
            hint=folders_inside(path, MARKER),
        )
    check_unlocked(path)


def folders_inside(path: Path, file: str, otherwise: str | None = None) -> str | None:
    """Return a hint that names the folders in a folder which hold a file, or else `otherwise`.

    Where the folder of one run is expected, users often name the one in which their runs stand.
    """
    found = sorted(str(inner.parent) for inner in path.glob(f"*/{file}"))
    return f"Did you mean {listed(found, 3)}?" if found else otherwise


def _check_content(path: Path, *, overwrite: bool, restart: bool) -> None:
    # A run that was killed before its first file had its name leaves what it was writing.
    if not path.is_dir() or all(_is_ours(file.name) for file in path.iterdir()):
        return
    if not (path / MARKER).is_file():
        raise InputError(
            "save_dir",
            expected="a new or empty folder, or one that holds a run",
            found=f"{str(path)!r}, which holds other files",
        )
    if not overwrite and not (restart and was_interrupted(path)):
        resume = "" if restart else "--resume true to go on with it, "
        raise InputError(
            "save_dir",
            expected="a new or empty folder",
            found=f"{str(path)!r}, which holds a run",
            hint=f"Give {resume}--overwrite true to replace it, or another --save-dir.",
        )


def _is_ours(name: str) -> bool:
    """Return whether a file says nothing of what a folder holds."""
    return name in {LOCK, OWNER} or _TEMPORARY.fullmatch(name) is not None


def _remove_leftovers(path: Path, name: str | None = None) -> None:
    """Remove what processes that were killed were writing to a folder: all, or one file of it."""
    for file in path.glob(".*.tmp" if name is None else f".{glob.escape(name)}.*.tmp"):
        found = _TEMPORARY.fullmatch(file.name)
        if found is None or start_ticks(int(found["process"])) >= 0:
            continue
        if file.is_dir():
            shutil.rmtree(file, ignore_errors=True)
        else:
            file.unlink(missing_ok=True)


def remove_run(path: Path) -> None:
    """Remove what a run left, and its folder where nothing else lies in it.

    Raises
    ------
    InputError
        If another process writes to it.
    """
    check_unlocked(path)
    _remove_run(path)
    for name in (MARKER, LOCK, OWNER):
        (path / name).unlink(missing_ok=True)
    for folder in (path / "checkpoints", path):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _remove_run(path: Path) -> None:
    """Remove what a run writes but its marker, and only that: a stray file of the user's stays.

    From within: a run that lost its models only is resumed as it was, while one that lost its
    configuration would lend its models to a run of another.
    """
    (path / SUMS).unlink(missing_ok=True)
    for name in _FOLDERS:
        shutil.rmtree(path / name, ignore_errors=True)
    # One level of folders, of the members of an ensemble, lies below the checkpoints.
    inside = ("checkpoints/*.ckpt*", "checkpoints/member-*/*.ckpt*", "models/*.pt")
    files = ("*.pt", "*.npz", "*.parquet", "*.csv", "*.html", "*.jsonl", "*.json", "*.yaml")
    for pattern in inside + files:
        for file in path.glob(pattern):
            # By its marker a folder that was emptied in part can be replaced again.
            if file.name not in {MARKER, OWNER}:
                file.unlink()
    for folder in (*path.glob("checkpoints/member-*"), path / "models"):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def default_folder(stem: str, root: str | Path = "runs") -> Path:
    """Return a folder name that no earlier run has: ``runs/STEM-YYYYMMDD-HHMMSS``."""
    return free_name(Path(root) / f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}")


def free_name(path: Path) -> Path:
    """Return a path that is not there: this one, or with ``-2``, ``-3``, ... before its ending."""
    candidate, n = path, 1
    while os.path.lexists(candidate):
        n += 1
        candidate = path.with_name(f"{path.stem}-{n}{path.suffix}")
    return candidate


def environment(arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Return what a later reader needs to repeat a run: versions, platform, command line."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "arguments": without_secrets(list(arguments)),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "packages": _packages(),
    }


@cache
def _packages() -> dict[str, str]:
    """Return the version of each distribution: metadata of some 250, parsed once a process."""
    read = (d.metadata for d in distributions())
    return dict(sorted({m["Name"]: m["Version"] for m in read if m}.items()))


CACHE_VARIABLE = "MOLPOOL_CACHE"
"""Environment variable with the folder that ``auto`` stands for, or ``none``."""


def user_cache() -> Path:
    """Return the folder ``molpool`` in the user's cache, which need not exist."""
    base = os.environ.get("XDG_CACHE_HOME")
    # The XDG base directory specification says to ignore a relative path.
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return root / "molpool"


def cache_folder(setting: str | None) -> Path | None:
    """Return the folder that a ``cache_dir`` setting stands for.

    Parameters
    ----------
    setting : str or None
        A folder; ``auto`` for the one that `MOLPOOL_CACHE` names or else ``molpool/molecules`` in
        the user's cache; ``none`` or None for no cache.
    """
    if setting == "auto":
        setting = os.environ.get(CACHE_VARIABLE) or os.fspath(user_cache() / "molecules")
    if setting is None or setting == "none":
        return None
    folder = Path(setting).expanduser()
    if folder.exists() and not folder.is_dir():
        raise InputError("cache_dir", expected="a folder", found=f"the file {setting!r}")
    return folder
