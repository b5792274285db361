"""Bring a data set to this machine: copied from a data folder, else downloaded, always verified."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from enum import StrEnum
from http.client import HTTPException
from pathlib import Path
from typing import Protocol
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from molpool_common import InputError, atomic_path, listed

from molpool_pipelines.datasets.catalogue import dataset
from molpool_pipelines.datasets.model import DataFile, Dataset
from molpool_pipelines.datasets.store import (
    DATA_VARIABLE,
    cache_folder,
    data_folders,
    matches,
    verify,
)

TIMEOUT = 30.0
"""Seconds without an answer after which a download is given up."""

_BLOCK = 1 << 16


class Outcome(StrEnum):
    """How a file came to be where it is."""

    PRESENT = "already there"
    COPIED = "copied"
    DOWNLOADED = "downloaded"


class Progress(Protocol):
    """Hears of a fetch as it goes on."""

    def advanced(self, file: DataFile, count: int) -> None:
        """Hear that `count` more bytes of a file have come."""

    def finished(self, file: DataFile, path: Path, outcome: Outcome) -> None:
        """Hear that a file is whole, verified and in its place."""


def fetch(
    name: str, *, into: str | Path | None = None, progress: Progress | None = None
) -> list[Path]:
    """Bring all files of a data set to a data folder and verify them.

    A file that is there and right is left alone. Others are copied from the folders of the
    environment variable `MOLPOOL_DATA`, or else downloaded. A file is written under a temporary
    name and only renamed once its size and SHA-256 are right, so that none is ever half written.

    Parameters
    ----------
    name : str
        A data set of the registry.
    into : path or None
        A data folder, laid out as `MOLPOOL_DATA` expects; by default the user's cache.
    progress : Progress or None
        Hears of bytes and of finished files.

    Returns
    -------
    list of pathlib.Path
        The files, in the registry's order.

    Raises
    ------
    InputError
        If the name is unknown, the folder cannot be written, an address does not answer or gives
        other bytes, or some files have no public address; those that have one are fetched first.
    """
    entry = dataset(name)
    root = cache_folder() if into is None else Path(into).expanduser()
    paths: list[Path] = []
    missing: list[DataFile] = []
    for file in entry.files:
        target = root / entry.location(file)
        outcome = _bring(entry, file, target, progress)
        if outcome is None:
            missing.append(file)
            continue
        paths.append(target)
        if progress is not None:
            progress.finished(file, target, outcome)
    if missing:
        raise _no_address(entry, missing)
    return paths


def _bring(
    entry: Dataset, file: DataFile, target: Path, progress: Progress | None
) -> Outcome | None:
    """Put one file in its place; None if it lies nowhere here and has no public address."""
    if matches(target, file):
        return Outcome.PRESENT
    local = _local(entry, file)
    if local is not None:
        verify(local, entry, file)
        _write(target, _read(local), entry, file, str(local), progress)
        return Outcome.COPIED
    if file.derived:
        return None
    address = entry.address(file)
    _write(target, _download(address), entry, file, address, progress)
    return Outcome.DOWNLOADED


def _local(entry: Dataset, file: DataFile) -> Path | None:
    candidates = (folder / entry.location(file) for folder in data_folders())
    return next((path for path in candidates if path.is_file()), None)


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            yield block


def _download(address: str) -> Iterator[bytes]:
    """Yield the bytes at an address.

    Raises
    ------
    InputError
        If it does not answer, or stops.
    """
    request = Request(address, headers={"User-Agent": "molpool-data"})
    try:
        with urlopen(request, timeout=TIMEOUT) as response:
            while block := response.read(_BLOCK):
                yield block
    except (OSError, HTTPException) as error:
        raise InputError(
            "download",
            expected=f"an answer from {address}",
            found=_reason(error),
            hint=f"Try again, or set {DATA_VARIABLE} to a folder that has the file.",
        ) from error


def _reason(error: OSError | HTTPException) -> str:
    if isinstance(error, HTTPError):
        error.close()  # it is the response, and holds the connection open
        return f"HTTP status {error.code} ({error.reason})"
    reason = error.reason if isinstance(error, URLError) else error
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__


def _write(
    target: Path,
    blocks: Iterator[bytes],
    entry: Dataset,
    file: DataFile,
    origin: str,
    progress: Progress | None,
) -> None:
    """Write blocks to a temporary name and rename it once they are the registered file."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(target) as temporary:
            _write_checked(temporary, blocks, entry, file, origin, progress)
    except OSError as error:
        raise InputError(
            "data folder",
            expected="a folder that can be written",
            found=error.strerror or type(error).__name__,
            where=os.fspath(target.parent),
        ) from error


def _write_checked(
    temporary: Path,
    blocks: Iterator[bytes],
    entry: Dataset,
    file: DataFile,
    origin: str,
    progress: Progress | None,
) -> None:
    digest = hashlib.sha256()
    size = 0
    with temporary.open("wb") as stream:
        for block in blocks:
            stream.write(block)
            digest.update(block)
            size += len(block)
            # An address that has become something else may have no end.
            if size > file.bytes:
                break
            if progress is not None:
                progress.advanced(file, len(block))
    if (size, digest.hexdigest()) == (file.bytes, file.sha256):
        return
    length = f"more than {file.bytes}" if size > file.bytes else str(size)
    raise InputError(
        f"data file {entry.location(file)!r}",
        expected=f"{file.bytes} bytes with SHA-256 {file.sha256}",
        found=f"{length} bytes with {digest.hexdigest()}",
        where=origin,
        hint="Nothing was written.",
    )


def _no_address(entry: Dataset, missing: list[DataFile]) -> InputError:
    first = missing[0]
    wanted = listed([entry.location(file) for file in missing], 4)
    return InputError(
        f"data set {entry.name!r}",
        expected=f"{wanted} in a folder of {DATA_VARIABLE}",
        found="none; no public address carries derived files",
        hint=f"{first.name} is: {first.derived}; from {entry.address(first)}.",
    )
