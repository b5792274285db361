"""The package's exception and how its messages are worded."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches


class ChempropError(ValueError):
    """Something given to this package is wrong; the message says what was expected and found."""

    exit_code = 2


class NonFiniteLossError(ChempropError):
    """A loss became NaN or infinite.

    Parameters
    ----------
    stage : {"training", "validation"}
        Whose data the batch was of.
    epoch : int
        Epoch, from 0.
    rows : sequence of int
        Rows of these data, from 0: those with such a loss, or the whole batch.
    tasks : sequence of str
        Tasks with such a loss, or all of them.
    """

    def __init__(self, stage: str, epoch: int, rows: Sequence[int], tasks: Sequence[str]) -> None:
        self.stage = stage
        self.epoch = epoch
        self.rows = tuple(rows)
        self.tasks = tuple(tasks)
        numbers = listed([row + 1 for row in rows])
        super().__init__(self.describe(f"rows {numbers} of the {stage} data"))

    def describe(self, where: str) -> str:
        """Return the message with the rows called as a caller knows them."""
        return (
            f"{self.stage} loss in epoch {self.epoch + 1}: expected a finite number; "
            f"found NaN or infinity in {where}, tasks {listed([repr(t) for t in self.tasks])}. "
            "Look for extreme labels in these rows; "
            "else lower training.learning_rate or set training.gradient_clip."
        )

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions rebuild from their message, which is not what this one is made of.
        return type(self), (self.stage, self.epoch, self.rows, self.tasks)


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
