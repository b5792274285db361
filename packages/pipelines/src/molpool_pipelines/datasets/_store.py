"""Where data files lie on this machine, and whether they are what the registry says."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from molpool_common import InputError, user_cache

from molpool_pipelines.datasets._registry import DataFile, Dataset, dataset

DATA_VARIABLE = "MOLPOOL_DATA"
"""Environment variable with one or more data folders, separated as in ``PATH``."""

# A file is hashed again only when its size or its time of change differs.
_verdicts: dict[tuple[Path, int, int], str] = {}


def data_folders() -> list[Path]:
    """Return the folders that `MOLPOOL_DATA` names, in order; none if it is not set."""
    named = os.environ.get(DATA_VARIABLE, "").split(os.pathsep)
    return [Path(folder).expanduser() for folder in named if folder]


def cache_folder() -> Path:
    """Return the folder that `fetch` fills: ``molpool/data`` in the user's cache."""
    return user_cache() / "data"


def locate(name: str, file: str | None = None) -> Path:
    """Return the path of a data file, verified against the registry.

    Looks in the folders of the environment variable `MOLPOOL_DATA`, then in the user's cache.

    Parameters
    ----------
    name : str
        A data set of the registry.
    file : str or None
        One of its files; by default the first.

    Returns
    -------
    pathlib.Path
        An existing file of the registered size and SHA-256.

    Raises
    ------
    InputError
        If the data set or the file is unknown, not on this machine, or not what the registry says.
    """
    entry = dataset(name)
    wanted = entry.file(file)
    found = find(entry, wanted)
    if found is None:
        raise _absent(entry, wanted)
    verify(found, entry, wanted)
    return found


def find(entry: Dataset, file: DataFile) -> Path | None:
    """Return where a file lies, unverified, or None."""
    return next((p for p in _candidates(entry, file) if p.is_file()), None)


def _candidates(entry: Dataset, file: DataFile) -> Iterator[Path]:
    for folder in [*data_folders(), cache_folder()]:
        yield folder / entry.location(file)


def verify(path: Path, entry: Dataset, file: DataFile) -> None:
    """Hold a file against the registered size and checksum.

    Raises
    ------
    InputError
        If they differ, or if the file cannot be read.
    """
    parameter = f"data file {entry.location(file)!r}"
    try:
        size = path.stat().st_size
        # Size first: hashing a gigabyte to find that it is cut short takes seconds.
        found = sha256(path) if size == file.bytes else ""
    except OSError as error:
        raise InputError(
            parameter,
            expected="a readable file",
            found=error.strerror or type(error).__name__,
            where=str(path),
        ) from error
    if found == file.sha256:
        return
    cure = "Replace it." if file.derived else f"Remove it and run: molpool-data fetch {entry.name}"
    raise InputError(
        parameter,
        expected=f"SHA-256 {file.sha256}" if found else f"{file.bytes} bytes",
        found=found or f"{size} bytes",
        where=str(path),
        hint=cure,
    )


def matches(path: Path, file: DataFile) -> bool:
    """Return whether a path is a file of the registered size and checksum."""
    return path.is_file() and path.stat().st_size == file.bytes and sha256(path) == file.sha256


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, remembered for as long as its size and time do not change."""
    status = path.stat()
    key = (path.resolve(), status.st_size, status.st_mtime_ns)
    if key not in _verdicts:
        with path.open("rb") as stream:
            _verdicts[key] = hashlib.file_digest(stream, "sha256").hexdigest()
    return _verdicts[key]


def _absent(entry: Dataset, file: DataFile) -> InputError:
    folders = data_folders()
    looked = ", ".join(str(folder) for folder in [*folders, cache_folder()])
    named = "" if folders else f"; {DATA_VARIABLE} is not set"
    if file.derived:
        hint = (
            f"No public address carries it: {file.derived}, from {entry.address(file)}. "
            f"Set {DATA_VARIABLE} to a folder that has it."
        )
    else:
        hint = f"Run: molpool-data fetch {entry.name}"
    return InputError(
        f"data set {entry.name!r}",
        expected=f"the file {entry.location(file)} in {looked}",
        found=f"none{named}",
        hint=hint,
    )
