"""The package's exception, and the phrases that its messages share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class SamplingError(ValueError):
    """What the caller gave cannot be sampled from; the message says what, where and what would do.

    `exit_code` is what a command that stops on it returns: 2, the input is wrong.
    """

    exit_code = 2


def listed(items: Iterable[object], limit: int = 10) -> str:
    """Join items for a message: the first `limit` of them and a count of the rest."""
    every = list(items)
    shown = ", ".join(str(item) for item in every[:limit])
    rest = len(every) - limit
    return shown if rest <= 0 else f"{shown} and {rest} more"


def did_you_mean(name: object, valid: Sequence[str]) -> str:
    """Name the valid names, and first the one that is spelt most like `name`."""
    by_fold = {v.casefold(): v for v in valid}
    close = get_close_matches(str(name).casefold(), by_fold, n=1, cutoff=0.5)
    hint = f"did you mean {by_fold[close[0]]!r}? " if close else ""
    return f"{hint}valid: {listed(map(repr, valid), limit=20)}"
