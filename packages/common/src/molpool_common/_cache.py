"""Arrays cached on disk by the content of the text that they were computed from.

A store is a folder of whole files, each with the results of some thousand texts and their keys. A
file is written under a temporary name and then renamed, and its name follows from its keys: several
processes may write at once, and one that is killed loses the file it was at. Files start with a
checksum; one that is damaged is left out with a warning, and what it held is computed again.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from molpool_common._arrays import BoolArray, IntArray
from molpool_common._folders import atomic_path

Keys = NDArray[np.bytes_]
_KEYS = "keys"
_SUFFIX = ".chunk"
_DIGEST = 16
"""Bytes of the BLAKE2b digest that a file starts with; an npz file of NumPy follows."""


_SMALL = 1 << 20
_MANY = 32
"""Files below so many bytes of which so many become one."""

_SEEN: dict[Path, tuple[tuple[int, int], Keys]] = {}
"""Keys of the files that this process has read, with time and size: what a file lacks is not sought
in it again, at each chunk of a table or each request."""


class CacheWarning(UserWarning):
    """A cache could not be read or written; the result is the same, it only takes longer."""


class Found(NamedTuple):
    """What one file holds of what was asked for.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        All arrays of the file, without its keys.
    there : ndarray of int64 [H]
        Positions of the hits in the file.
    asked : ndarray of int64 [H]
        Their positions among the keys that were asked for.
    """

    arrays: Mapping[str, NDArray[Any]]
    there: IntArray
    asked: IntArray


def text_keys(texts: Sequence[str]) -> Keys:
    """Return the key [N] of each text: 16 bytes of its BLAKE2b digest."""
    digests = [
        blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts
    ]
    return np.array(digests, dtype="S16")


class ContentStore:
    """Arrays by key, in a folder that several processes may use at once.

    Parameters
    ----------
    folder : Path
        Made when something is first added. What the arrays are computed with (versions) belongs in
        its name, so that results of other versions are never found.
    merges : bool
        Whether many small files become one, where each array has a row for each key.
    """

    def __init__(self, folder: Path, *, merges: bool = False) -> None:
        self.folder = folder
        self._merges = merges
        self._writable = True

    def find(self, keys: Keys) -> Iterator[Found]:
        """Yield what is stored of these keys, each key at most once.

        Parameters
        ----------
        keys : ndarray of bytes [N]
            Distinct keys, as `text_keys` makes them.
        """
        # Sorted once, then each file is one binary search.
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        missing = np.ones(len(keys), dtype=np.bool_)
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            # Most runs ask for what one earlier run stored: the first file often has all.
            if not missing.any():
                return
            found = self._read(path, ordered, order, missing)
            if found is not None:
                missing[found.asked] = False
                yield found

    def _read(
        self,
        path: Path,
        ordered: Keys,
        order: IntArray,
        missing: BoolArray,
    ) -> Found | None:
        """Return what a file holds of the missing keys; drop it where it is damaged."""

        def hits(theirs: Keys) -> IntArray:
            at = np.minimum(np.searchsorted(ordered, theirs), len(ordered) - 1)
            return np.flatnonzero((ordered[at] == theirs) & missing[order[at]])

        try:
            state = path.stat()
            stamp = (state.st_mtime_ns, state.st_size)
            known = _SEEN.get(path)
            if known is not None and known[0] == stamp and not hits(known[1]).size:
                return None
        except OSError:
            return None
        arrays = self._content(path)
        if arrays is None:
            return None
        theirs = arrays.pop(_KEYS)
        _SEEN[path] = stamp, theirs
        there = hits(theirs)
        if not there.size:
            return None
        return Found(arrays, there, order[np.searchsorted(ordered, theirs[there])])

    def _content(self, path: Path) -> dict[str, NDArray[Any]] | None:
        """Return the arrays of a file, None where it is gone or damaged; that one is dropped."""
        try:
            content = path.read_bytes()
        except OSError:
            return None
        if blake2b(content[_DIGEST:], digest_size=_DIGEST).digest() != content[:_DIGEST]:
            self._drop(path)
            return None
        # allow_pickle=False: a cache in a shared folder must not run code.
        with np.load(io.BytesIO(content[_DIGEST:]), allow_pickle=False) as file:
            return dict(file)

    def _drop(self, path: Path) -> None:
        with suppress(OSError):
            path.unlink()
        warnings.warn(
            f"cache file {str(path)!r}: expected content of its checksum; found a damaged file. "
            "It is removed, and what it held is computed again.",
            CacheWarning,
            stacklevel=4,
        )

    def add(self, keys: Keys, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Store arrays under these keys, or warn where the folder cannot be written to.

        Parameters
        ----------
        keys : ndarray of bytes [N]
            Distinct.
        arrays : mapping of str to ndarray
            What was computed, by name.
        """
        if not self._writable or not len(keys):
            return
        try:
            self._write(keys, arrays)
            # Where another process merges them at the same time, files go before they are read.
            with suppress(FileNotFoundError):
                self._merge()
        except OSError as error:
            # Once: a read-only cache would otherwise warn at every chunk.
            self._writable = False
            warnings.warn(
                f"cache folder {str(self.folder)!r}: expected one that can be written to; found "
                f"{error.strerror or error}. Nothing more is cached.",
                CacheWarning,
                stacklevel=3,
            )

    def _write(self, keys: Keys, arrays: Mapping[str, NDArray[Any]]) -> Path:
        buffer = io.BytesIO()
        # Not savez_compressed: keys are random bytes, and results are read more often than written.
        named: dict[str, Any] = {_KEYS: keys, **arrays}
        np.savez(buffer, **named)
        content = buffer.getvalue()
        # From the keys: two processes that computed the same write the same file, not two.
        name = blake2b(b"".join(sorted(keys.tolist())), digest_size=_DIGEST).hexdigest()
        path = self.folder / f"{name}{_SUFFIX}"
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_bytes(blake2b(content, digest_size=_DIGEST).digest() + content)
        return path

    def _merge(self) -> None:
        """Make one file of many small ones, which requests of few texts each leave."""
        if not self._merges:
            return
        small = [p for p in self.folder.glob(f"*{_SUFFIX}") if p.stat().st_size < _SMALL]
        if len(small) < _MANY:
            return
        parts = [part for path in small if (part := self._content(path)) is not None]
        if not parts:
            return
        keys, first = np.unique(np.concatenate([part[_KEYS] for part in parts]), return_index=True)
        names = [name for name in parts[0] if name != _KEYS]
        merged = {name: np.concatenate([part[name] for part in parts])[first] for name in names}
        whole = self._write(keys, merged)
        for path in small:
            # Another process that was about to read it computes what it held.
            if path != whole:
                path.unlink(missing_ok=True)
