"""Bring a data set to this machine: copied from a data folder, else downloaded, always verified."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Iterator
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from molpool_common import InputError, atomic_path, listed

from molpool_pipelines.datasets._registry import DataFile, Dataset, dataset
from molpool_pipelines.datasets._store import (
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
    """Is called as a fetch goes on."""

    def advanced(self, file: DataFile, count: int) -> None:
        """Take note that `count` more bytes of a file have come."""

    def finished(self, file: DataFile, path: Path, outcome: Outcome) -> None:
        """Take note that a file is complete, verified and in its place."""


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
        Is called with bytes that came and with finished files.

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
        # One after the other; files without an address are collected, so that one message names
        # all.
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
        # A damaged copy is refused rather than replaced by a download: the user put it there on
        # purpose.
        verify(local, entry, file)
    elif file.derived:
        return None
    _retrieve(entry, file, target, local, progress)
    return Outcome.DOWNLOADED if local is None else Outcome.COPIED


def _local(entry: Dataset, file: DataFile) -> Path | None:
    candidates = (folder / entry.location(file) for folder in data_folders())
    return next((path for path in candidates if path.is_file()), None)


def _retrieve(
    entry: Dataset, file: DataFile, target: Path, local: Path | None, progress: Progress | None
) -> None:
    """Write a file, from a folder or from its address, and rename it once it is right."""
    address = entry.address(file)
    origin, blocks = (address, _download(address)) if local is None else (local, _read(local))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # What a kill leaves of it the next fetch removes.
        with atomic_path(target) as temporary, closing(blocks):
            size, digest = _write(temporary, blocks, file, progress)
            _check(entry, file, size, digest, str(origin))
    except OSError as error:
        raise InputError(
            "data folder",
            expected="a folder that can be written",
            found=error.strerror or type(error).__name__,
            where=os.fspath(target.parent),
        ) from error


def _read(path: Path) -> Generator[bytes]:
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            yield block


def _download(address: str) -> Generator[bytes]:
    """Yield the bytes at an address.

    Raises
    ------
    InputError
        If it does not answer, or stops.
    """
    import requests
    from urllib3.exceptions import HTTPError

    headers = {"User-Agent": "molpool-data"}
    try:
        with requests.get(address, stream=True, timeout=TIMEOUT, headers=headers) as response:
            response.raise_for_status()
            # decode_content: checksums are of the file, not of what the transfer compressed.
            yield from iter(lambda: response.raw.read(_BLOCK, decode_content=True), b"")
    except (requests.RequestException, HTTPError) as error:
        raise InputError(
            "download",
            expected=f"an answer from {address}",
            found=_reason(error),
            hint=f"Try again, or set {DATA_VARIABLE} to a folder that has the file.",
        ) from error


def _reason(error: BaseException) -> str:
    from urllib3.exceptions import IncompleteRead

    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP status {response.status_code} ({response.reason})"
    # The words of the system stand at the end of a chain of wrappers.
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        if isinstance(inner, IncompleteRead):
            return f"{inner.partial} bytes, {inner.expected} less than it promised"
        inner = inner.__cause__ or inner.__context__
    return str(error) or type(error).__name__


def _write(
    path: Path, blocks: Iterator[bytes], file: DataFile, progress: Progress | None
) -> tuple[int, str]:
    """Write blocks; return how many bytes they have, or had when too many, and their SHA-256."""
    size, digest = 0, hashlib.sha256()
    with path.open("wb") as stream:
        for block in blocks:
            stream.write(block)
            digest.update(block)
            size += len(block)
            # An address that has become something else may have no end.
            if size > file.bytes:
                break
            if progress is not None:
                progress.advanced(file, len(block))
    return size, digest.hexdigest()


def _check(entry: Dataset, file: DataFile, size: int, digest: str, origin: str) -> None:
    if (size, digest) == (file.bytes, file.sha256):
        return
    length = f"more than {file.bytes}" if size > file.bytes else str(size)
    raise InputError(
        f"data file {entry.location(file)!r}",
        expected=f"{file.bytes} bytes with SHA-256 {file.sha256}",
        found=f"{length} bytes with {digest}",
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
