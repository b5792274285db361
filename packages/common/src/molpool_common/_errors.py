"""Errors that are the user's to mend: one message with parameter, expected and found."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import TypeVar

MadeT = TypeVar("MadeT")

USER_ERROR = 2
"""Exit code of a command whose input is wrong."""


class InputError(ValueError):
    """Something the user gave is wrong.

    Parameters
    ----------
    parameter : str
        What is wrong: a dotted configuration key, a flag, a column.
    expected : str
        What would be right.
    found : str
        What was there.
    where : str or None
        File, line, row or key at which it was found.
    hint : str or None
        What to do about it, as a full sentence.

    Notes
    -----
    Every exception that carries `exit_code = 2` ends a command with its message alone, so that the
    packages' own families (`SamplingError`, ...) need not derive from this one.
    """

    exit_code = USER_ERROR

    def __init__(
        self,
        parameter: str,
        *,
        expected: str,
        found: str,
        where: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.parameter = parameter
        self.expected = expected
        self.found = found
        self.where = where
        self.hint = hint
        place = f" ({where})" if where else ""
        advice = f" {hint}" if hint else ""
        super().__init__(f"{parameter}{place}: expected {expected}; found {found}.{advice}")

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions rebuild from positional arguments, which keyword-only ones are not.
        return _rebuild, (self.parameter, self.expected, self.found, self.where, self.hint)


def _rebuild(
    parameter: str, expected: str, found: str, where: str | None, hint: str | None
) -> InputError:
    return InputError(parameter, expected=expected, found=found, where=where, hint=hint)


def only_warned(what: str, again: str, write: Callable[[], MadeT]) -> MadeT | None:
    """Return what `write` returns; where it fails, warn and return None.

    For figures and pages, without which a result is whole.

    Parameters
    ----------
    what : str
        What is then not written.
    again : str
        A sentence that says how to get it after all.
    write : callable
        Writes it.
    """
    try:
        return write()
    except Exception as error:  # whatever a figure, a font or a name makes of it
        warnings.warn(
            f"{what}: not written ({type(error).__name__}: {error}). {again}", stacklevel=3
        )
        return None


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """Return the valid name most like `name`, ignoring case, or None if none is close."""
    by_fold = {v.casefold(): v for v in valid}
    # 0.5 finds transposed and missing letters in short keys; difflib's 0.6 misses them.
    close = get_close_matches(name.casefold(), by_fold, n=1, cutoff=0.5)
    return by_fold[close[0]] if close else None


def did_you_mean(name: str, valid: Sequence[str]) -> str:
    """Return a hint sentence that names the nearest valid name, or lists the valid ones."""
    close = nearest(name, valid)
    if close is not None:
        return f"Did you mean {close!r}?"
    return f"Valid: {listed([repr(v) for v in valid])}."


def listed(items: Sequence[object], limit: int = 10) -> str:
    """Join items for a message, the first `limit` of them and a count of the rest."""
    shown = ", ".join(str(i) for i in items[:limit])
    rest = len(items) - limit
    return shown if rest <= 0 else f"{shown} and {rest} more"
