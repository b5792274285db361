"""Digests of the files of a run: written as they are, checked where they are read.

``SHA256SUMS`` in the folder of a run has a line per file, as `sha256sum` writes and checks them. A
file's line is appended before the file gets its name: a process killed in between leaves a line
without its file, which takes nothing from the file that is there. Of several lines any may hold.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from molpool_common._errors import InputError

SUMS = "SHA256SUMS"
_DEPTH = 4
"""Folders above a file in which its digest is looked for: members of blends lie so deep."""
_APPENDED = {"log.jsonl", "journal.log"}
"""Files that grow, and have no digest."""


class DamagedFileError(InputError):
    """A file is not what was written."""


def checked(path: str | Path) -> Path:
    """Return the path of a file, or of a folder, whose content is what a run wrote there.

    Parameters
    ----------
    path : str or Path
        A file with or without a digest; of a folder, all files that have one are checked.

    Raises
    ------
    DamagedFileError
        If the content differs, or a file of the folder is absent.
    InputError
        If it is a device or a pipe, which may never end.
    """
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise InputError(path.name, expected="a file", found=f"the device or pipe {str(path)!r}")
    folder = _sums_above(path)
    if folder is None:
        return path
    place = _relative(path, folder)
    known = _read(folder)
    names = [place] if not path.is_dir() else [n for n in known if n.startswith(f"{place}/")]
    for name in names:
        expected = known.get(name)
        if expected is not None and (found := _found(folder / name)) not in expected:
            raise DamagedFileError(
                name,
                expected=f"SHA-256 {sorted(expected)[-1]}, as it was written",
                found=found,
                where=str(folder),
                hint="The file has changed since: restore it, or run the command again. Where the "
                f"change was on purpose, remove its line from {SUMS}.",
            )
    return path


def record(path: Path, content: Path) -> None:
    """Append the digest of a file that is about to get its name, where its folder has digests.

    Parameters
    ----------
    path : Path
        The name that it gets.
    content : Path
        Where it is now.
    """
    folder = _sums_above(path)
    name = "" if folder is None else _relative(path, folder)
    if folder is None or not _has_digest(name):
        return
    with (folder / SUMS).open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        # A process killed while it appended leaves half a line.
        file.seek(max(0, end - 1))
        torn = end > 0 and file.read(1) != b"\n"
        file.write((b"\n" if torn else b"") + _line(name, sha256(content)).encode())
        file.flush()
        # Before the file has its name: a machine that goes down would else keep it without.
        os.fsync(file.fileno())


def seal(folder: Path) -> None:
    """Write the digests of all files of a run folder as they are now."""
    lines = [_line(name, sha256(folder / name)) for name in sorted(_files(folder))]
    temporary = folder / f".{SUMS}.{os.getpid()}.tmp"
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, folder / SUMS)
    finally:
        temporary.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _found(path: Path) -> str:
    try:
        return sha256(path)
    except FileNotFoundError:
        return "no file"


def _sums_above(path: Path) -> Path | None:
    """Return the folder above a file that has its digest, the nearest."""
    parents = [path.absolute(), *path.absolute().parents][: _DEPTH + 1]
    return next((p for p in parents if (p / SUMS).is_file()), None)


def _relative(path: Path, folder: Path) -> str:
    return path.absolute().relative_to(folder).as_posix()


def _has_digest(name: str) -> bool:
    hidden = any(part.startswith(".") for part in name.split("/"))
    # A line is a name.
    return not hidden and "\n" not in name and name not in {SUMS, *_APPENDED}


def _files(folder: Path) -> Iterator[str]:
    """Yield the names of files that are of this run, not of one in a folder below."""
    for root, folders, files in os.walk(folder):
        here = Path(root)
        folders[:] = [name for name in folders if not (here / name / SUMS).is_file()]
        names = (_relative(here / name, folder.absolute()) for name in files)
        yield from filter(_has_digest, names)


def _line(name: str, digest: str) -> str:
    return f"{digest}  {name}\n"


def _read(folder: Path) -> dict[str, set[str]]:
    """Return the digests that each file may have."""
    found: dict[str, set[str]] = {}
    for line in (folder / SUMS).read_text(encoding="utf-8", errors="replace").split("\n"):
        digest, separator, name = line.partition("  ")
        # The last line may be torn.
        if separator and len(digest) == 64:
            found.setdefault(name, set()).add(digest)
    return found
