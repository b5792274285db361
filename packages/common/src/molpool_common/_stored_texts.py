"""Texts of a long table in a temporary file instead of memory."""

from __future__ import annotations

import os
import tempfile
import weakref
from array import array
from collections.abc import Iterable, Sequence
from typing import overload

from molpool_common._parallel import groups_of

_AT_A_TIME = 65_536


class StoredTexts(Sequence[str]):
    """Texts in a temporary file; memory holds where each of them ends, eight bytes.

    Parameters
    ----------
    texts : iterable of str
        Taken some thousand at a time; `extend` adds more.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this object
        weakref.finalize(self, self._file.close)
        self._ends = array("q", [0])
        self.extend(texts)

    def extend(self, texts: Iterable[str]) -> None:
        """Add texts behind those that are there."""
        self._file.seek(0, os.SEEK_END)
        for group in groups_of(texts, _AT_A_TIME):
            parts = [text.encode("utf-8", "surrogatepass") for text in group]
            self._file.write(b"".join(parts))
            end = self._ends[-1]
            for part in parts:
                end += len(part)
                self._ends.append(end)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        rows = range(len(self))[index]
        if isinstance(rows, range):
            return [self[row] for row in rows]
        start, end = self._ends[rows], self._ends[rows + 1]
        self._file.seek(start)
        return self._file.read(end - start).decode("utf-8", "surrogatepass")
