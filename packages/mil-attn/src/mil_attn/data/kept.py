"""Results by SMILES that are kept on disk, file by file as they are computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import numpy as np
from molpool_common import ConfigModel, ContentStore, Keys
from numpy.typing import NDArray

ResultT = TypeVar("ResultT")
Arrays = Mapping[str, NDArray[Any]]

CHUNK = 64
"""Molecules a file: half a minute of work, the most that a killed run loses beside the few that
were being computed."""

_FORMAT = 1


def store_of(
    cache: Path | None, name: str, config: ConfigModel, families: Sequence[str] = ()
) -> ContentStore | None:
    """Return where results of these settings and this RDKit are kept."""
    if cache is None:
        return None
    from molpool_common import rdkit_version

    settings = config.model_dump_json() + ",".join(families)
    digest = blake2b(settings.encode(), digest_size=8).hexdigest()
    return ContentStore(cache / f"{name}-{_FORMAT}-rdkit-{rdkit_version()}-{digest}")


def found(
    keys: Keys,
    store: ContentStore | None,
    unpack: Callable[[Arrays, NDArray[np.int64]], Iterator[ResultT]],
) -> Iterator[tuple[int, ResultT]]:
    """Yield position and result of each key [N] that is kept, file by file."""
    if store is None or not len(keys):
        return
    for arrays, there, asked in store.find(keys):
        yield from zip(asked.tolist(), unpack(arrays, there), strict=True)


class Shelf(Generic[ResultT]):
    """Results on their way to a store, written some at a time and at the end, come what may."""

    def __init__(
        self, store: ContentStore | None, pack: Callable[[Sequence[ResultT]], Arrays]
    ) -> None:
        self._store = store
        self._pack = pack
        self._keys: list[bytes] = []
        self._results: list[ResultT] = []

    def put(self, key: bytes, result: ResultT) -> None:
        """Take a result; write a file where there are enough."""
        if self._store is None:
            return
        self._keys.append(key)
        self._results.append(result)
        if len(self._keys) >= CHUNK:
            self.write()

    def write(self) -> None:
        """Write what there is."""
        if self._store is not None and self._keys:
            self._store.add(np.array(self._keys, dtype="S16"), self._pack(self._results))
        self._keys, self._results = [], []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.write()
