"""Extra descriptors of molecules for Chemprop models: computed by name, or read from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from molpool_common import (
    BoolArray,
    Float32Array,
    InputError,
    MoleculeTable,
    check_readable,
    expanded,
)

KEY = "descriptors_path"


@dataclass(frozen=True)
class Descriptors:
    """Where the descriptors of a run's molecules come from: `features`, or the rows of a file.

    Parameters
    ----------
    features : str or None
        Featurisers joined by +.
    file : ndarray of float32 [N, D] or None
        A row for each row of the table.
    cache : str
        Folder of cached features, ``auto`` for the user's.
    """

    features: str | None = None
    file: Float32Array | None = None
    cache: str = "auto"

    @property
    def signature(self) -> dict[str, Any] | None:
        """What a model stores to have them computed again; None of a file."""
        if self.features is None:
            return None
        from molecule_features import FeatureSet

        return FeatureSet.named(self.features).signature()

    def of(self, table: MoleculeTable) -> Float32Array:
        """Return the descriptors [N, D] of a table's molecules.

        Raises
        ------
        InputError
            If a file has fewer rows than the table.
        """
        if self.file is None:
            return self.of_smiles(table.modelled)
        rows = table.origin["row"].to_numpy() - 1
        if len(rows) and rows.max() >= len(self.file):
            raise InputError(
                KEY,
                expected=f"a row for each row of the table, at least {rows.max() + 1}",
                found=str(len(self.file)),
            )
        found: Float32Array = self.file[rows]
        return found

    def of_smiles(self, smiles: Sequence[str]) -> Float32Array:
        """Return the descriptors [N, D] of molecules, by `features`."""
        assert self.features is not None
        from molecule_features import featurize

        values: Float32Array = featurize(smiles, self.features, cache=self.cache).values
        return values


def read_descriptors(path: str) -> Float32Array:
    """Read a file as Chemprop's ``--descriptors-path`` has it: ``.npz`` or ``.npy`` of [N, D].

    Raises
    ------
    InputError
        If there is no such file, or it holds something else.
    """
    file = Path(expanded(path))
    check_readable(file, KEY, ".npz or .npy with an array of numbers")
    try:
        content = np.load(file, allow_pickle=False)
        values = content if isinstance(content, np.ndarray) else content[content.files[0]]
        array = np.asarray(values, dtype=np.float32)
    except (OSError, ValueError, IndexError, TypeError, EOFError, MemoryError, BadZipFile) as error:
        raise InputError(
            KEY,
            expected=".npz or .npy with an array of numbers",
            found=f"{type(error).__name__}: {error}",
            where=str(file),
        ) from None
    if array.ndim != 2 or not array.shape[1]:
        raise InputError(
            KEY,
            expected="a row for each molecule, one or more columns",
            found=f"shape {array.shape}",
            where=str(file),
        )
    return array


def stored_descriptors(
    smiles: Sequence[str], signature: Mapping[str, Any], cache: str = "auto"
) -> tuple[Float32Array, BoolArray, list[str]]:
    """Return descriptors [N, D] as a model stored what they are, rows without any, and why.

    Raises
    ------
    FeatureError
        If the featurisers or their columns are others than the model was trained on.
    """
    from molecule_features import featurize

    found = featurize(smiles, signature["features"], cache=cache, stored=signature)
    return found.values, np.asarray(np.isnan(found.values).all(axis=1)), found.reasons


def named_features(
    smiles: Sequence[str], features: str, cache: str = "auto"
) -> tuple[Float32Array, tuple[str, ...], list[str]]:
    """Return features [N, F] of molecules, their names, and why a molecule has none at all.

    What models over bags take as 2D features (`mil_attn.Describe2D`).

    Raises
    ------
    FeatureError
        If there is no such featuriser.
    """
    from molecule_features import featurize

    found = featurize(smiles, features, cache=cache)
    gone = np.asarray(np.isnan(found.values).all(axis=1))
    reasons = [
        (reason or "no features") if lost else ""
        for reason, lost in zip(found.reasons, gone, strict=True)
    ]
    return found.values, found.names, reasons
