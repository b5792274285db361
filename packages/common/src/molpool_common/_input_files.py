"""Files that are read: there, of the ordinary kind, and no larger than they look."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

from molpool_common._digests import checked
from molpool_common._errors import InputError, did_you_mean, listed

_KINDS = {
    stat.S_IFDIR: "the folder",
    stat.S_IFIFO: "the pipe",
    stat.S_IFCHR: "the device",
    stat.S_IFBLK: "the device",
    stat.S_IFSOCK: "the socket",
}

_MOST_TEXT = 100_000_000
"""Bytes of a text that is read whole: configurations, records of runs."""

_LONGEST_NAME = 200

EXPANSION = 100
"""How many times its size a file may take when it is read, unless the user says otherwise."""

FREE = 128_000_000
"""Bytes that any file may take, whatever its size."""


_TABLES = (".csv", ".tsv", ".parquet", ".xlsx", ".smi", ".sdf")


def check_readable(path: Path, key: str, expected: str = "an existing file") -> None:
    """Raise `InputError`, naming the file that may be meant, unless `path` is an ordinary file.

    A pipe or a device would be read for ever, or once only.

    Parameters
    ----------
    path : Path
        The file.
    key : str
        The configuration key or flag that names it, for messages.
    expected : str
        What it should be.
    """
    name = _shown(path)
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            key, expected=expected, found=f"no file {name}", hint=_close_name(path)
        ) from None
    except (OSError, ValueError) as error:  # a loop of links, a name too long or with a zero byte
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(key, expected=expected, found=f"{name}: {reason.lower()}") from None
    if kind != stat.S_IFREG:
        found = f"{_KINDS.get(kind, 'no file')} {name}"
        raise InputError(key, expected=expected, found=found, hint=_tables_in(path))
    try:
        with path.open("rb") as handle:
            handle.read(1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(
            key, expected="a file that can be read", found=f"{name}: {reason}"
        ) from None


def _tables_in(path: Path) -> str | None:
    """Return a hint that names the tables in a folder which was given for one of them."""
    inside = sorted(p.name for p in path.glob("*.*") if p.suffix in _TABLES)
    return f"In it: {listed(inside, 6)}." if inside else None


def read_text(path: Path, key: str, *, encoding: str = "utf-8") -> str:
    """Return the text of an ordinary file that is read whole.

    Raises
    ------
    InputError
        If it is not there, of another kind, not what a run wrote there, too large, or no text in
        this encoding.
    """
    check_readable(path, key)
    found = path.stat().st_size
    if found > _MOST_TEXT:
        raise InputError(
            key,
            expected=f"at most {_MOST_TEXT // 1_000_000} MB of text",
            found=f"{found // 1_000_000} MB",
            where=str(path),
        )
    try:
        # Files of the kernel say that they are empty and never end.
        with checked(path).open("rb") as handle:
            return handle.read(_MOST_TEXT).decode(encoding)
    except (OSError, UnicodeError) as error:
        raise InputError(
            key, expected="a readable UTF-8 text file", found=str(error), where=str(path)
        ) from None


def unpacked_size(path: Path) -> int:
    """Return the bytes that the parts of a zip archive take; 0 of another file."""
    if not zipfile.is_zipfile(path):
        return 0
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(part.file_size for part in archive.infolist())
    except NotImplementedError as error:  # of a version that no program writes
        raise zipfile.BadZipFile(str(error)) from None


def check_unpacked(path: Path, key: str) -> None:
    """Refuse an archive of arrays or weights that takes far more than its file.

    Ours are not compressed. Tables have a limit of their own, `ReadConfig.expansion`.
    """
    found, own = unpacked_size(path), path.stat().st_size
    if found > max(FREE, EXPANSION * own):
        raise InputError(
            key,
            expected=f"an archive that takes at most {EXPANSION} times its size in memory",
            found=f"{found // 1_000_000:,} MB in {own / 1e6:,.2f} MB",
            where=path.name,
            hint="Write it without compression, as numpy.savez does.",
        )


def _close_name(path: Path) -> str | None:
    try:
        names = [other.name for other in path.parent.iterdir() if other.is_file()]
    except OSError:
        return None
    hint = did_you_mean(path.name, names) if names else ""
    return hint if hint.startswith("Did") else None


def _shown(path: Path) -> str:
    text = str(path)
    if len(text) > _LONGEST_NAME:
        text = f"{text[:_LONGEST_NAME]}... ({len(text):,} characters)"
    return repr(text)
