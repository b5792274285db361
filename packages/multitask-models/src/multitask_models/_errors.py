"""What the package raises and warns of."""

from __future__ import annotations


class ModelError(ValueError):
    """What the caller gave cannot be used; the message says what, where and what would do.

    `exit_code` is what a command that stops on it returns: 2, the input is wrong.
    """

    exit_code = 2


class MissingLabelWarning(UserWarning):
    """A task has no label to learn from, so that its predictions are NaN."""


class MissingPackageError(ImportError):
    """A model needs a package that is not installed; the message says what installs it."""

    exit_code = 2
