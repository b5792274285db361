"""Models of `molpool-train chemprop`, and of `chemprop train`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from chemprop_multitask import Ensemble

from molpool_pipelines.models._protocol import Kind, Predicted


class ChempropModel:
    """Message passing neural networks of one set of tasks, whose mean predicts.

    Parameters
    ----------
    ensemble : Ensemble
        One or more members.
    """

    kind: Kind = "chemprop"
    chunk_rows = 1 << 20

    def __init__(self, ensemble: Ensemble) -> None:
        self._ensemble = ensemble
        self.task_names = ensemble.task_names
        self.task_types = ensemble.members[0].task_types
        self.n_members = len(ensemble.members)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a run folder, the folder of an ensemble, or a model file.

        Raises
        ------
        ChempropError
            If there is no model, or one that cannot be read.
        """
        return cls(Ensemble.load(path))

    def predict(self, smiles: Sequence[str], batch_size: int) -> Predicted:
        """Predict molecules whose SMILES RDKit reads."""
        mean, sd = self._ensemble.predict(smiles, batch_size=batch_size)
        return Predicted(mean, sd if self.n_members > 1 else None, None, [None] * len(smiles))
