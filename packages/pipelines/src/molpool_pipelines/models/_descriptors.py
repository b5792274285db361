"""Extra features of molecules for Chemprop models: computed by name, or read from files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from zipfile import BadZipFile

import numpy as np
from molpool_common import (
    BoolArray,
    Float32Array,
    InputError,
    IntArray,
    MoleculeTable,
    check_readable,
    expanded,
)

if TYPE_CHECKING:
    from molpool_pipelines.models._config import FeatureFilesConfig


@dataclass(frozen=True)
class FeatureFiles:
    """Features that files have of the rows of a table.

    Parameters
    ----------
    descriptors : ndarray of float32 [N, D] or None
        Of the molecules.
    atom_features, bond_features : list of ndarray [A, F] and [B, G], length N, or None
        Of each molecule's atoms and bonds.
    """

    descriptors: Float32Array | None = None
    atom_features: list[Float32Array] | None = None
    bond_features: list[Float32Array] | None = None

    @classmethod
    def read(cls, config: FeatureFilesConfig) -> Self:
        """Read what a configuration names.

        Raises
        ------
        InputError
            If there is no such file, or it holds something else.
        """
        table, atoms, bonds = (getattr(config, f"{name}_path") for name in KEYS)
        return cls(
            None if table is None else read_descriptors(table),
            None if atoms is None else read_arrays(atoms, "atom_features_path"),
            None if bonds is None else read_arrays(bonds, "bond_features_path"),
        )

    def __bool__(self) -> bool:
        return any(getattr(self, name) is not None for name in KEYS)

    def of_rows(self, rows: IntArray) -> dict[str, Any]:
        """Return the features of rows [M], from 0, as `MoleculeData` takes them.

        Raises
        ------
        InputError
            If a file has fewer rows than are asked for.
        """
        found: dict[str, Any] = {}
        for name in KEYS:
            values = getattr(self, name)
            if values is None:
                continue
            if rows.max(initial=-1) >= len(values):
                raise InputError(
                    f"{name}_path",
                    expected=f"a row for each row of the table, at least {rows.max() + 1}",
                    found=str(len(values)),
                )
            found[name] = (
                values[rows] if name == "descriptors" else [values[row] for row in rows.tolist()]
            )
        return found


KEYS = tuple(field.name for field in fields(FeatureFiles))
"""What files may have, each under the key of its name and `_path`."""


@dataclass(frozen=True)
class Descriptors:
    """Where the extra features of a run's molecules come from: `features`, or the rows of files.

    Parameters
    ----------
    features : str or None
        Featurisers joined by +.
    files : FeatureFiles
        Rows for each row of the table.
    cache : str
        Folder of cached features, ``auto`` for the user's.
    """

    features: str | None = None
    files: FeatureFiles = FeatureFiles()
    cache: str = "auto"

    @property
    def signature(self) -> dict[str, Any] | None:
        """What a model stores to have descriptors computed again; None of a file."""
        if self.features is None:
            return None
        from molecule_features import FeatureSet

        return FeatureSet.named(self.features).signature()

    def of(self, table: MoleculeTable) -> dict[str, Any]:
        """Return the features of a table's molecules, as `MoleculeData` takes them.

        Raises
        ------
        InputError
            If a file has fewer rows than the table.
        """
        found = self.files.of_rows(table.origin["row"].to_numpy() - 1)
        if self.features is not None and len(table):
            from molecule_features import featurize

            values = featurize(table.modelled, self.features, cache=self.cache).values
            found["descriptors"] = values
        return found


def read_descriptors(path: str) -> Float32Array:
    """Read a file as Chemprop's ``--descriptors-path`` has it: ``.npz`` or ``.npy`` of [N, D].

    Raises
    ------
    InputError
        If there is no such file, or it holds something else.
    """
    array = _arrays(path, "descriptors_path")[0]
    if array.ndim != 2 or not array.shape[1]:
        raise InputError(
            "descriptors_path",
            expected="a row for each molecule, one or more columns",
            found=f"shape {array.shape}",
            where=path,
        )
    return array


def read_arrays(path: str, key: str) -> list[Float32Array]:
    """Read a file as Chemprop's ``--atom-features-path`` has it: ``.npz``, an array a molecule.

    Raises
    ------
    InputError
        If there is no such file, or it holds something else.
    """
    arrays = _arrays(path, key)
    for number, array in enumerate(arrays, start=1):
        if array.ndim != 2 or not array.shape[1]:
            raise InputError(
                key,
                expected="for each molecule a row for each atom or bond, one or more columns",
                found=f"shape {array.shape} of row {number}",
                where=path,
            )
    return arrays


def _arrays(path: str, key: str) -> list[Float32Array]:
    """Return the arrays of a file as they were written: ``arr_0``, ``arr_1`` and so on."""
    file, expected = Path(expanded(path)), ".npz or .npy with arrays of numbers"
    check_readable(file, key, expected)
    try:
        content = np.load(file, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return [np.asarray(content, dtype=np.float32)]
        if not content.files:
            raise ValueError("no array")
        return [np.asarray(content[name], dtype=np.float32) for name in content.files]
    except (OSError, ValueError, KeyError, TypeError, EOFError, MemoryError, BadZipFile) as error:
        raise InputError(
            key, expected=expected, found=f"{type(error).__name__}: {error}", where=str(file)
        ) from None


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
