"""What is wrong with a study and is the user's to mend."""

from __future__ import annotations

from molpool_common import USER_ERROR


class HPOError(ValueError):
    """A study, its space or its storage cannot be used as asked."""

    exit_code = USER_ERROR
