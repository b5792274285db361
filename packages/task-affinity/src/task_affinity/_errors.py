"""The package's exceptions."""


class TaskAffinityError(ValueError):
    """What the caller gave cannot be measured or grouped.

    The message says which parameter, what was expected, what was found, and for which tasks.
    `exit_code` is what a command that stops on it returns: 2, the input is wrong.
    """

    exit_code = 2


class NoGradientStepsError(TaskAffinityError, RuntimeError):
    """No measured batch had a label of some tasks, so that nothing is known of them."""
