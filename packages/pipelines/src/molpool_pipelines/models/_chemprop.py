"""Models of `molpool-train chemprop`, and of `chemprop train`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from chemprop_multitask import Ensemble, MoleculeData, SeparateModels
from molpool_common import InputError, structures_of
from multitask_models import AssayLimits

from molpool_pipelines.models._descriptors import KEYS, stored_descriptors
from molpool_pipelines.models._files import run_cache
from molpool_pipelines.models._protocol import Kind, Predicted

_WORDS = ("descriptors", "features of each atom", "features of each bond")


class ChempropModel:
    """Message passing neural networks of one set of tasks, whose mean predicts.

    Parameters
    ----------
    ensemble : Ensemble
        One or more members.
    cache : str
        Folder of cached descriptors, ``auto`` for the user's.
    """

    kind: Kind = "chemprop"
    chunk_rows = 1 << 20

    def __init__(self, ensemble: Ensemble, cache: str = "auto") -> None:
        self._ensemble, self._cache = ensemble, cache
        self.task_names = ensemble.task_names
        self.task_types = ensemble.members[0].task_types
        self.n_members = len(ensemble.members)
        first = ensemble.members[0]
        part = first.parts[0] if isinstance(first, SeparateModels) else first
        self._n_descriptors, self._signature = part.n_descriptors, part.descriptors
        self._n_of_atoms, self._n_of_bonds = part.n_graph_features
        self._structure = part.structure
        self._limits = AssayLimits.from_names(first.limits, self.task_names)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a run folder, the folder of an ensemble, or a model file.

        Raises
        ------
        ChempropError
            If there is no model, or one that cannot be read.
        """
        return cls(Ensemble.load(path), run_cache(path))

    def predict(
        self,
        smiles: Sequence[str],
        batch_size: int,
        features: Mapping[str, Any] | None = None,
        *,
        latent: bool = False,
    ) -> Predicted:
        """Predict molecules whose SMILES RDKit reads.

        Parameters
        ----------
        smiles : sequence of str
            N molecules.
        batch_size : int
            Molecules predicted at a time.
        features : mapping, optional
            Of a model that takes some which no name says: those of files.
        latent : bool
            Predict the values behind the assays, which may lie beyond their limits.

        Raises
        ------
        InputError
            If the model takes features of a file and none are given, or the other way round.
        """
        seen = structures_of(smiles, self._structure)
        gone, reasons = np.zeros(len(smiles), dtype=bool), [""] * len(smiles)
        given = dict(features or {})
        if self._signature is not None:
            given["descriptors"], gone, reasons = stored_descriptors(
                seen, self._signature, self._cache
            )
        data = MoleculeData(seen, **given)
        taken = (self._n_descriptors, self._n_of_atoms, self._n_of_bonds)
        found = (data.n_descriptors, *data.n_graph_features)
        for key, what, wanted, n in zip(KEYS, _WORDS, taken, found, strict=True):
            if n != wanted:
                raise InputError(
                    f"{key}_path",
                    expected=f"{wanted or 'no'} {what}, as the model takes them",
                    found=str(n or "none"),
                    hint="A model that was trained with such a file needs that of the table.",
                )
        mean, sd = self._ensemble.predict(data, batch_size=batch_size)
        mean = mean if latent else self._limits.report(mean)
        mean[gone], sd[gone] = np.nan, np.nan
        why = [
            (reason or "no descriptors") if lost else None
            for reason, lost in zip(reasons, gone, strict=True)
        ]
        return Predicted(mean, sd if self.n_members > 1 else None, None, why)
