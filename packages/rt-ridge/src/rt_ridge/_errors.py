"""The package's exception, and the phrases that its messages share."""

from molpool_common import did_you_mean as did_you_mean
from molpool_common import listed as listed


class RTRidgeError(ValueError):
    """What the caller gave cannot be fitted or predicted from.

    The message says which parameter, what was expected, what was found, and in which row or key.
    `exit_code` is what a command that stops on it returns: 2, the input is wrong.
    """

    exit_code = 2
