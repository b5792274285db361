"""The package's exception."""


class ChempropError(ValueError):
    """Something given to this package is wrong; the message says what was expected and found."""

    exit_code = 2
