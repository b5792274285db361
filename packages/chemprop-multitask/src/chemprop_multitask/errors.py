"""The package's exception and how its messages are worded."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches


class ChempropError(ValueError):
    """Something given to this package is wrong; the message says what was expected and found."""

    exit_code = 2


def did_you_mean(name: str, valid: Sequence[str]) -> str:
    """Return a sentence that names the nearest valid name, or lists the valid ones."""
    by_fold = {v.casefold(): v for v in valid}
    close = get_close_matches(name.casefold(), by_fold, n=1, cutoff=0.5)
    if close:
        return f"Did you mean {by_fold[close[0]]!r}?"
    return f"Valid: {listed([repr(v) for v in valid])}."


def listed(items: Sequence[object], limit: int = 10) -> str:
    """Join items for a message, the first `limit` of them and a count of the rest."""
    shown = ", ".join(str(i) for i in items[:limit])
    rest = len(items) - limit
    return shown if rest <= 0 else f"{shown} and {rest} more"
