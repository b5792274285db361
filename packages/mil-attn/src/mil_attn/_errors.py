"""The package's exception."""

from __future__ import annotations


class MILError(ValueError):
    """Something given to this package is wrong; the message says what was expected and found."""

    exit_code = 2


class NonFiniteLossError(MILError):
    """A loss became NaN or infinite."""
