"""Models of `molpool-train chemprop`, and of `chemprop train`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from chemprop_multitask import Ensemble, MoleculeData, SeparateModels
from molpool_common import Float32Array, InputError, structures_of

from molpool_pipelines.models._descriptors import stored_descriptors
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
        first = ensemble.members[0]
        part = first.parts[0] if isinstance(first, SeparateModels) else first
        self._n_descriptors, self._signature = part.n_descriptors, part.descriptors
        self._structure = part.structure

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a run folder, the folder of an ensemble, or a model file.

        Raises
        ------
        ChempropError
            If there is no model, or one that cannot be read.
        """
        return cls(Ensemble.load(path))

    def predict(
        self, smiles: Sequence[str], batch_size: int, descriptors: Float32Array | None = None
    ) -> Predicted:
        """Predict molecules whose SMILES RDKit reads.

        Parameters
        ----------
        smiles : sequence of str
            N molecules.
        batch_size : int
            Molecules predicted at a time.
        descriptors : ndarray of float32 [N, D], optional
            Of a model that takes some which no name says.

        Raises
        ------
        InputError
            If the model takes descriptors of a file and none are given, or the other way round.
        """
        seen = structures_of(smiles, self._structure)
        gone, reasons = np.zeros(len(smiles), dtype=bool), [""] * len(smiles)
        if self._signature is not None:
            descriptors, gone, reasons = stored_descriptors(seen, self._signature)
        found = 0 if descriptors is None else descriptors.shape[1]
        if found != self._n_descriptors:
            raise InputError(
                "descriptors_path",
                expected=f"{self._n_descriptors or 'no'} descriptors, as the model takes them",
                found=str(found or "none"),
                hint="A model that was trained with --descriptors-path needs those of the table.",
            )
        data = MoleculeData(seen, descriptors=descriptors)
        mean, sd = self._ensemble.predict(data, batch_size=batch_size)
        mean[gone], sd[gone] = np.nan, np.nan
        why = [
            (reason or "no descriptors") if lost else None
            for reason, lost in zip(reasons, gone, strict=True)
        ]
        return Predicted(mean, sd if self.n_members > 1 else None, None, why)
