"""Where the commands print, and how they write sizes."""

from __future__ import annotations

from rich.console import Console


def console(*, stderr: bool = False) -> Console:
    """Return a console that keeps words whole and colours nothing by guess."""
    return Console(stderr=stderr, highlight=False)


def size(count: int) -> str:
    """Return a number of bytes in the largest unit that leaves at least one, powers of 1000."""
    if count < 1000:
        return f"{count} B"
    if count < 1_000_000:
        return f"{count / 1000:.0f} kB"
    return f"{count / 1_000_000:.1f} MB"
