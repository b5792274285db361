"""The package's exceptions."""

from __future__ import annotations

from collections.abc import Sequence

from molpool_common import listed


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
