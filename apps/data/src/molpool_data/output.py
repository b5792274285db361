"""Where a command may write."""

from __future__ import annotations

from pathlib import Path

from molpool_common import InputError


def check_output(output: Path, *, force: bool) -> None:
    """Refuse, before anything is computed, a file that could not be written.

    Parameters
    ----------
    output : Path
        The file to be.
    force : bool
        Whether it may replace another.

    Raises
    ------
    InputError
        If the folder is missing, or the file exists and `force` is false.
    """
    if not output.parent.is_dir():
        raise InputError("--output", expected="a folder that exists", found=str(output.parent))
    if output.is_dir() or (output.exists() and not force):
        raise InputError(
            "--output",
            expected="a new file",
            found=f"{str(output)!r}, which exists",
            hint=None if output.is_dir() else "Give --force to replace it.",
        )
