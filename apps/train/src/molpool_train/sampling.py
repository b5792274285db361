"""What was drawn, epoch by epoch."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import numpy as np
import polars as pol
from molpool_common.molecules import MoleculeTable
from sampling_core import Sampling


class SamplingLog(pl.Callback):  # type: ignore[misc]  # lightning has no types here
    """Keeps, an epoch, the weight statistics and what was drawn of each task and quality.

    Parameters
    ----------
    sampling : Sampling
        With a sampler.
    train : MoleculeTable
        The rows drawn from.
    """

    def __init__(self, sampling: Sampling, train: MoleculeTable) -> None:
        if sampling.sampler is None:
            raise ValueError("sampling.sampler: expected a sampler; found None")
        self._sampler = sampling.sampler
        self._state = sampling.state
        self._labelled = np.isfinite(train.targets)
        self._tasks = train.task_names
        # Of the configured labels, best first, those that stand in the table.
        self._quality = {
            label: np.array(train.quality) == label
            for label in (self._state.qualities if self._state is not None else ())
            if label in (train.quality or [])
        }
        self.rows: list[dict[str, Any]] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the epoch that begins; its draws are a pure function of seed and epoch."""
        drawn = np.bincount(self._sampler.draws(), minlength=len(self._labelled))
        row: dict[str, Any] = {
            "epoch": trainer.current_epoch,
            "phase": self._state.phase if self._state is not None else None,
            **self._sampler.statistics().as_dict(),
            "distinct_rows": int((drawn > 0).sum()),
        }
        for task, n in zip(self._tasks, drawn @ self._labelled, strict=True):
            row[f"labels: {task}"] = int(n)
        for label, of_label in self._quality.items():
            row[f"quality: {label}"] = int(drawn[of_label].sum())
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


def label_counts(train: MoleculeTable) -> dict[str, int]:
    """Return how many labels of each task the training table holds, named as in `SamplingLog`."""
    counts = np.isfinite(train.targets).sum(axis=0)
    return {f"labels: {t}": int(n) for t, n in zip(train.task_names, counts, strict=True)}
