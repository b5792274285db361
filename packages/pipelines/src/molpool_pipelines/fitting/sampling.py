"""What was drawn, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import polars as pol
from numpy.typing import NDArray
from sampling_core import CurriculumState, JointSampler, RarePositiveSampler


class SamplingLog(pl.Callback):  # type: ignore[misc]  # lightning has no types here
    """Keeps, an epoch, the weight statistics and what was drawn of each task and quality.

    Parameters
    ----------
    sampler : JointSampler or RarePositiveSampler
        Draws the rows.
    targets : ndarray [N, T]
        Labels of the rows drawn from, NaN where missing.
    tasks : sequence of str
        Names of the T tasks.
    state : CurriculumState, optional
        Phase of the curriculum.
    quality : sequence of str, optional
        Quality of each row, counted by the labels that the curriculum knows.
    positives : bool
        Whether targets are classes, whose positives are counted too.
    """

    def __init__(
        self,
        sampler: JointSampler | RarePositiveSampler,
        targets: NDArray[np.float64],
        tasks: Sequence[str],
        *,
        state: CurriculumState | None = None,
        quality: Sequence[str] | None = None,
        positives: bool = False,
    ) -> None:
        self._sampler = sampler
        self._state = state
        self._rows = len(targets)
        self._counted = _columns(np.isfinite(targets), "labels", tasks)
        if positives:
            self._counted |= _columns(targets == 1, "positives", tasks)
        # Of the configured labels, best first, those that stand in the table.
        for label in state.qualities if state is not None else ():
            if label in (quality or []):
                self._counted[f"quality: {label}"] = np.array(quality) == label
        self.rows: list[dict[str, Any]] = []

    @property
    def held(self) -> dict[str, int]:
        """What the rows drawn from hold, named as the columns that count draws."""
        return {name: int(of_rows.sum()) for name, of_rows in self._counted.items()}

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the epoch that begins; its draws are a pure function of seed and epoch."""
        drawn = np.bincount(self._sampler.draws(), minlength=self._rows)
        row: dict[str, Any] = {
            "epoch": trainer.current_epoch,
            "phase": self._state.phase if self._state is not None else None,
            **self._sampler.statistics().as_dict(),
            "distinct_rows": int((drawn > 0).sum()),
        }
        row |= {name: int(drawn[of_rows].sum()) for name, of_rows in self._counted.items()}
        self.rows.append(row)

    def state_dict(self) -> dict[str, Any]:
        """Return the rows, so that a resumed run keeps the epochs before."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the rows of the epochs before."""
        self.rows = list(state_dict["rows"])

    def numbers(self, prefix: str) -> dict[str, float]:
        """Return the numbers of the latest epoch under prefixed names."""
        row = self.rows[-1]
        return {
            prefix + k: v for k, v in row.items() if isinstance(v, int | float) and k != "epoch"
        }

    def frame(self) -> pol.DataFrame:
        """Return one row an epoch."""
        return pol.DataFrame(self.rows, infer_schema_length=None)


def _columns(
    which: NDArray[np.bool_], what: str, tasks: Sequence[str]
) -> dict[str, NDArray[np.bool_]]:
    return {f"{what}: {task}": of_task for task, of_task in zip(tasks, which.T, strict=True)}
