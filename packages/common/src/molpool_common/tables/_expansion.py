"""What a table takes once it is expanded, told before: a small file can stand for gigabytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from molpool_common._errors import InputError
from molpool_common._input_files import FREE, unpacked_size
from molpool_common.tables._files import compression_of, format_of, opened, shards
from molpool_common.tables._footer import check_pages, footer_metadata
from molpool_common.tables._settings import ReadConfig

_BLOCK = 1 << 20
_WORD, _VIEW = 8, 16
"""Bytes of a number, and of a text besides its letters."""


def check_expansion(path: Path, read: ReadConfig, key: str) -> None:
    """Refuse a file that takes more than `FREE` and more than ``read.expansion`` times its size.

    Parameters
    ----------
    path : Path
        The file, or a folder of Parquet files.
    read : ReadConfig
        What is known of it.
    key : str
        The configuration key that named it, for messages.

    Raises
    ------
    InputError
        If it takes more; `_expanded` stops at the limit.
    """
    for file in shards(path) if path.is_dir() else [path]:
        found = file.stat()
        limit = max(FREE, round(read.expansion * found.st_size))
        check_size(_expanded(file, limit, (found.st_mtime_ns, found.st_size)), file, read, key)


def check_size(size: int, file: Path, read: ReadConfig, key: str) -> None:
    """Refuse a file whose content takes `size` bytes; see `check_expansion`."""
    own = file.stat().st_size
    if size > max(FREE, read.expansion * own):
        raise InputError(
            key,
            expected=f"a file that takes at most {read.expansion:g} times its size when it is read",
            found=f"at least {size // 1_000_000:,} MB in {max(own / 1e6, 0.01):,.2f} MB",
            where=file.name,
            hint=f"--read.expansion {2 * size // max(own, 1)} lets it be read, memory permitting.",
        )


# Header, ids and rows of one table are asked for one after the other.
@lru_cache(maxsize=64)
def _expanded(file: Path, limit: int, changed: tuple[int, int]) -> int:
    """Return the bytes that the content of a file takes, or some number above the limit."""
    kind = format_of(file)
    if kind == "Parquet":
        return _parquet_bytes(file, limit)
    if kind == "Excel":
        return unpacked_size(file)  # of before 2007 it is not compressed
    if compression_of(file) is None:
        return changed[1]
    total = 0
    with opened(file) as handle:
        while total <= limit and (block := handle.read(_BLOCK)):
            total += len(block)
    return total


@contextmanager
def without_panic() -> Iterator[None]:
    """Have polars raise an error where a damaged Parquet file makes it panic, past all handlers."""
    try:
        yield
    except pl.exceptions.PanicException as panic:
        said = str(panic).splitlines()[0][:200]
        raise pl.exceptions.ComputeError(f"parquet: {said}") from None


@without_panic()
def _parquet_bytes(file: Path, limit: int) -> int:
    """Return what the columns take: repeated values are stored once."""
    # Without pyarrow, an extra, nobody looks; what it does not know it does not judge.
    with suppress(ImportError, NotImplementedError):
        footer_metadata(file)
        check_pages(file)
    lazy = pl.scan_parquet(file, glob=False)
    schema = lazy.collect_schema()
    rows = int(lazy.select(pl.len()).collect().item())
    fixed = rows * sum(map(_width, schema.values()))
    if fixed > limit:
        return fixed
    named = [n for n, t in schema.items() if t in (pl.String, pl.Categorical, pl.Enum)]
    texts = [pl.col(n).cast(pl.String).str.len_bytes().sum() for n in named]
    texts += [pl.col(n).bin.size().sum() for n, t in schema.items() if t == pl.Binary]
    texts += [pl.col(n).list.len().sum() * _WORD for n, t in schema.items() if t == pl.List]
    found = lazy.select(texts).collect(engine="streaming").row(0) if texts else ()
    return int(fixed + sum(found))


def _width(dtype: Any) -> int:
    """Return the bytes of a value, of texts and lists without what is in them."""
    if isinstance(dtype, pl.Struct):
        return sum(_width(part.dtype) for part in dtype.fields)
    if isinstance(dtype, pl.Array):
        return int(dtype.size) * _width(dtype.inner)
    return _VIEW if dtype in (pl.String, pl.Binary, pl.List) else _WORD
