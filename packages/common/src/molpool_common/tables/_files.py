"""Where a table is: a file as it is named, a pattern, a folder of Parquet files, standard input."""

from __future__ import annotations

import atexit
import glob
import gzip
import io
import os
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import IO, Any

from molpool_common._digests import checked
from molpool_common._errors import InputError
from molpool_common._folders import MARKER
from molpool_common._input_files import check_readable

STDIN = "-"
"""Name by which standard input is asked for."""

_PARQUET = (".parquet", ".pq")
_BY_NAME = {
    **dict.fromkeys((".sdf", ".sd", ".mol"), "SDF"),
    **dict.fromkeys((".smi", ".smiles"), "SMILES"),
}
_MAGIC = (
    (b"PAR1", "Parquet"),
    (b"PK\x03\x04", "Excel"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Excel"),
)
_COMPRESSED = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))
_WILD = frozenset("*?[")


def is_parquet(path: Path) -> bool:
    """Return whether the name of a table says Parquet; anything else is looked into."""
    return path.suffix in _PARQUET


def expand_tables(text: str | Path, key: str = "data_path") -> list[Path]:
    """Return the tables that a name or a pattern stands for.

    Parameters
    ----------
    text : str or Path
        A file, a folder of Parquet files, ``-``; or, where no such thing is there, a pattern with
        ``*``, ``?`` or ``[``, whose files come in order of name.
    key : str
        The configuration key that names it, for messages.

    Raises
    ------
    InputError
        If there is none.
    """
    text = os.path.expanduser(text)
    if not is_pattern(text):
        return [located(text, key)]
    found = [path for path in sorted(map(Path, glob.glob(text))) if path.is_file()]
    if not found:
        raise InputError(
            key, expected="a pattern that matches a file", found=f"nothing at {text!r}"
        )
    return found


def is_pattern(text: str) -> bool:
    """Return whether a name is none of a file, and has ``*``, ``?`` or ``[`` in it."""
    return bool(_WILD & set(text)) and not os.path.lexists(text)


def check_file(path: Path, key: str = "data_path") -> None:
    """Raise `InputError`, naming the file that is meant, unless `path` is a table's place."""
    path = path.expanduser()
    if str(path) == STDIN or (path.is_dir() and shards(path)):
        return
    check_readable(path, key)


def shards(folder: Path) -> list[Path]:
    """Return the Parquet files right in a folder, in order of name; none of a run's folder."""
    if (folder / MARKER).exists():
        return []
    return sorted(p for p in folder.iterdir() if is_parquet(p) and p.is_file())


def located(path: str | Path, key: str = "data_path") -> Path:
    """Return the file or folder to read, standard input copied to a file once; checks it."""
    path = Path(path).expanduser()
    check_file(path, key)
    # Predictions and prepared rows are read as tables too.
    return _standard_input() if str(path) == STDIN else checked(path)


@cache
def _standard_input() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="molpool-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    # A table is read more than once, which a pipe allows only once.
    with (folder / "stdin").open("wb") as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
    return folder / "stdin"


def compression_of(path: Path) -> str | None:
    """Return ``gzip``, ``zstd`` or None, by the first bytes."""
    with path.open("rb") as handle:
        start = handle.read(4)
    return next((name for magic, name in _COMPRESSED if start.startswith(magic)), None)


def format_of(path: Path) -> str:
    """Return ``Parquet``, ``Excel``, ``SDF``, ``SMILES`` or ``text``: by content, then by name."""
    if path.is_dir() or is_parquet(path):
        return "Parquet"
    with path.open("rb") as handle:
        start = handle.read(8)
    for magic, name in _MAGIC:
        if start.startswith(magic):
            return name
    suffixes = [s.lower() for s in path.suffixes]
    last = suffixes[-2:-1] if suffixes[-1:] and suffixes[-1] in (".gz", ".zst") else suffixes[-1:]
    return _BY_NAME.get(last[0], "text") if last else "text"


def opened(path: Path) -> IO[bytes]:
    """Open a file for its bytes, decompressed.

    Raises
    ------
    ImportError
        For zstd without pyarrow, naming the extra that brings it.
    """
    kind = compression_of(path)
    if kind == "gzip":
        return io.BufferedReader(gzip.open(path, "rb"), 1 << 20)
    if kind is None:
        return path.open("rb")
    try:
        import pyarrow as pa  # type: ignore[import-untyped]  # it has no types
    except ImportError as error:
        raise ImportError(
            "zstd needs pyarrow, which the extra `parquet` installs: "
            "pip install 'molpool-common[parquet]'"
        ) from error
    stream: Any = pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")
    return io.BufferedReader(stream, 1 << 20)
