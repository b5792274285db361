"""Rows of a table to rows of predictions, some thousand at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
from chemprop_multitask import ChempropError
from molpool_common import InputError, listed, parse_smiles
from numpy.typing import NDArray

from molpool_pipelines.models.predicted_columns import prediction_columns, spread
from molpool_pipelines.models.saved import Predicted, SavedModel
from molpool_pipelines.scores import (
    NearestTraining,
    PredictConfig,
    TrainingMolecules,
    training_molecules,
)

if TYPE_CHECKING:
    from rdkit.Chem import Mol


class _Read(NamedTuple):
    """Which of N SMILES are molecules: their positions, molecules, and why the others are none."""

    rows: NDArray[np.int64]
    mols: list[Mol]
    reasons: list[str | None]


@dataclass(frozen=True)
class ChunkPredictor:
    """Predicts chunks of a table.

    Parameters
    ----------
    model : SavedModel
        The model.
    batch_size : int
        Molecules predicted at a time.
    stop_at_bad : bool
        Whether a SMILES that does not parse is an error.
    nearest : NearestTraining or None
        Finds the nearest training molecule, where that is asked for.
    training : TrainingMolecules or None
        Those molecules.
    note : str or None
        What the user should know.
    """

    model: SavedModel
    batch_size: int = 256
    stop_at_bad: bool = False
    nearest: NearestTraining | None = None
    training: TrainingMolecules | None = None
    note: str | None = None

    @classmethod
    def from_config(cls, config: PredictConfig, model: SavedModel, path: Path) -> ChunkPredictor:
        """Return the predictor of a configuration; reads the training molecules of the run."""
        stop = config.on_bad_smiles == "error"
        section = config.applicability
        if not section.enabled:
            return cls(model, config.batch_size, stop)
        training = training_molecules(path)
        if training is None:
            note = "No similarity to training molecules: model_dir is no run that names them."
            return cls(model, config.batch_size, stop, note=note)
        nearest = NearestTraining(training.mols, section.radius, section.n_bits)
        return cls(model, config.batch_size, stop, nearest, training)

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of a chunk (``row, id, SMILES``) with their predictions.

        Of each task ``TASK predicted`` and, where the model has them, ``TASK_sd`` and
        ``TASK decision``; ``similarity`` and ``nearest``, the id of the most similar training
        molecule; and ``error``, why a row has no prediction.

        Raises
        ------
        InputError
            At SMILES that do not parse, if these are errors.
        """
        smiles = frame["SMILES"].to_list()
        read, predicted = self._predicted(smiles, frame)
        for place, reason in zip(read.rows.tolist(), predicted.reasons, strict=True):
            read.reasons[place] = reason
        tasks, n = self.model.task_names, frame.height
        columns = [*frame.get_columns(), *prediction_columns(tasks, predicted, read.rows, n)]
        columns += self._similarity(read, n)
        columns.append(pl.Series("error", read.reasons, dtype=pl.String))
        return pl.DataFrame(columns)

    def _predicted(
        self, smiles: Sequence[str | None], frame: pl.DataFrame
    ) -> tuple[_Read, Predicted]:
        """Return predictions of the rows that are molecules."""
        if self.nearest is None and self.model.kind == "chemprop":
            # Featurising reads SMILES itself; only where it stops is it worth while to read them.
            read = _not_empty(smiles)
            try:
                return self._told(read, smiles, frame)
            except ChempropError:
                pass
        return self._told(_parsed(smiles), smiles, frame)

    def _told(
        self, read: _Read, smiles: Sequence[str | None], frame: pl.DataFrame
    ) -> tuple[_Read, Predicted]:
        if self.stop_at_bad:
            _refuse_bad(frame, read.reasons)
        texts = [smiles[i] or "" for i in read.rows.tolist()]
        return read, self.model.predict(texts, self.batch_size)

    def _similarity(self, read: _Read, n: int) -> list[pl.Series]:
        if self.nearest is None or self.training is None:
            return []
        found = self.nearest.find(read.mols)
        ids: list[str | None] = [None] * n
        for place, row in zip(read.rows.tolist(), found.row.tolist(), strict=True):
            ids[place] = self.training.ids[row]
        return [
            spread("similarity", found.similarity, read.rows, n),
            pl.Series("nearest", ids, dtype=pl.String),
        ]


def _not_empty(smiles: Sequence[str | None]) -> _Read:
    reasons = [None if text and text.strip() else "empty" for text in smiles]
    rows = np.flatnonzero([reason is None for reason in reasons])
    return _Read(rows, [], list(reasons))


def _parsed(smiles: Sequence[str | None]) -> _Read:
    parsed = parse_smiles(smiles)
    reasons: list[str | None] = [None] * len(smiles)
    for bad in parsed.bad:
        reasons[bad.row] = bad.reason
    rows = np.flatnonzero([reason is None for reason in reasons])
    return _Read(rows, [mol for mol in parsed.mols if mol is not None], reasons)


def _refuse_bad(frame: pl.DataFrame, reasons: Sequence[str | None]) -> None:
    bad = [i for i, reason in enumerate(reasons) if reason is not None]
    if bad:
        text, row = frame["SMILES"][bad[0]], frame["row"][bad[0]]
        raise InputError(
            "SMILES",
            expected="SMILES that RDKit parses",
            found=f"{'nothing' if text is None else repr(text)} in row {row} ({reasons[bad[0]]})",
            hint=f"Rows: {listed([frame['row'][i] for i in bad])}. --on-bad-smiles null keeps them "
            "without predictions.",
        )
