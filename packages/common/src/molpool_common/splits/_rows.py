"""What is split: rows, the molecules they belong to, and what the methods look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from molpool_common.errors import InputError, listed
from molpool_common.splits._split import Indices

if TYPE_CHECKING:
    from rdkit.Chem import Mol

T = TypeVar("T")
Shares = NDArray[np.float64]
Assign = Callable[[Indices, Shares, np.random.Generator], Indices]
"""Put molecules on sides: ascending molecule indices [M], positive shares [S] that sum to 1, and a
generator give the side of each molecule [M], every side with at least one molecule."""


@dataclass(frozen=True)
class Rows:
    """A table as the split methods see it; molecules are numbered in the order of their keys.

    Molecule numbers do not depend on the order of rows, and so neither does a split by them.

    Parameters
    ----------
    molecule : ndarray of int64 [N]
        Molecule of each row, 0 to U - 1.
    size : ndarray of int64 [U]
        Rows of each molecule.
    mols : sequence of Mol, length N, or None
        Structure of each row.
    times : ndarray [N] or None
        Time of each row.
    targets : ndarray [N, T] or None
        NaN = no label.
    """

    molecule: Indices
    size: Indices
    mols: Sequence[Mol] | None
    times: NDArray[np.float64] | None
    targets: NDArray[np.float64] | None

    def need_mols(self, method: str) -> Sequence[Mol]:
        """Return the structures or raise."""
        return _given(self.mols, "mols", "a molecule or SMILES a row", method)

    def need_times(self) -> NDArray[np.float64]:
        """Return the times or raise."""
        return _given(self.times, "times", "a time a row", "time")

    def need_targets(self) -> NDArray[np.float64]:
        """Return the targets or raise."""
        return _given(self.targets, "targets", "labels [N, T]", "stratified")

    def first_rows(self) -> Indices:
        """Return the first row of each molecule [U]."""
        return np.unique(self.molecule, return_index=True)[1].astype(np.int64)


def molecule_groups(mols: Sequence[Mol]) -> NDArray[np.str_]:
    """Return the molecule key of each row: the first block of its InChIKey.

    Rows with one key are one molecule to every split: stereoisomers and isotopologues together.

    Parameters
    ----------
    mols : sequence of Mol, length N
        Structure of each row.
    """
    from molpool_common.chem import inchikey_blocks

    return np.asarray(inchikey_blocks(mols), dtype=np.str_)


def gather_rows(
    groups: Sequence[object] | NDArray[np.generic],
    mols: Sequence[Mol] | None,
    smiles: Sequence[str] | None,
    times: Sequence[object] | NDArray[Any] | None,
    targets: ArrayLike | None,
) -> Rows:
    """Check what a caller gave and number its molecules."""
    from molpool_common.splits._time import parse_times

    keys = _keys(groups)
    _, molecule, size = np.unique(keys, return_inverse=True, return_counts=True)
    for name, given in (("mols", mols), ("smiles", smiles), ("times", times)):
        _check_length(name, given, len(keys))
    if mols is None and smiles is not None:
        from molpool_common.chem import parse_smiles

        mols = parse_smiles(smiles).require_all()
    return Rows(
        molecule=molecule.astype(np.int64),
        size=size.astype(np.int64),
        mols=mols,
        times=None if times is None else parse_times(times),
        targets=None if targets is None else _targets(targets, len(keys)),
    )


def _keys(groups: Sequence[object] | NDArray[np.generic]) -> NDArray[np.str_]:
    keys = list(groups)
    if not keys:
        raise InputError("groups", expected="a molecule key a row", found="no rows")
    missing = [row for row, key in enumerate(keys) if key is None or key != key or key == ""]
    if missing:
        raise InputError(
            "groups", expected="a molecule key a row", found="none", where=f"rows {listed(missing)}"
        )
    return np.asarray([str(key) for key in keys], dtype=np.str_)


def _targets(targets: ArrayLike, n_rows: int) -> NDArray[np.float64]:
    array = np.asarray(targets, dtype=np.float64)
    if array.ndim != 2:
        raise InputError("targets", expected="labels [N, T]", found=f"shape {array.shape}")
    _check_length("targets", array, n_rows)
    return array


def _check_length(name: str, given: Any, n_rows: int) -> None:
    if given is not None and len(given) != n_rows:
        raise InputError(name, expected=f"{n_rows} rows, as groups has", found=str(len(given)))


def _given(value: T | None, parameter: str, expected: str, method: str) -> T:
    if value is None:
        raise InputError(parameter, expected=f"{expected} for method {method!r}", found="none")
    return value
