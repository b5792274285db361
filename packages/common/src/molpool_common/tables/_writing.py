"""Tables written frame by frame: whole, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from molpool_common._folders import atomic_path


class FrameWriter(Protocol):
    """Takes frames of the same columns, one after the other."""

    def write(self, frame: pl.DataFrame) -> None:
        """Append rows."""


@contextmanager
def frames_written(path: Path) -> Iterator[FrameWriter]:
    """Give a writer whose rows become the file `path` when the block ends, and nothing before.

    Parameters
    ----------
    path : Path
        Ending in ``.csv``, or else Parquet, one row group per frame (needs the extra ``parquet``).
        If the block raises, nothing is left of it.
    """
    with atomic_path(path) as temporary:
        writer: _Parquet | _CSV
        writer = _CSV(temporary) if path.suffix == ".csv" else _Parquet(temporary)
        try:
            yield writer
        finally:
            writer.close()


class _Parquet:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None

    def write(self, frame: pl.DataFrame) -> None:
        import pyarrow.parquet as pq  # type: ignore[import-untyped]  # it has no types

        # 64-bit strings and views are read by few others.
        table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd")
        self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class _CSV:
    def __init__(self, path: Path) -> None:
        self._handle = path.open("wb")
        self._first = True

    def write(self, frame: pl.DataFrame) -> None:
        frame.write_csv(self._handle, include_header=self._first)
        self._first = False

    def close(self) -> None:
        self._handle.close()
