"""Features of a molecule as a whole: RDKit's descriptors and Morgan counts."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mil_attn.data.chem import RDKIT_ERRORS, first_line, quiet, read_smiles, require_rdkit
from mil_attn.data.config import Descriptors2DConfig
from mil_attn.data.descriptors_3d import defined

if TYPE_CHECKING:
    from collections.abc import Callable

    from rdkit.Chem import Mol

LEFT_OUT = ("Ipc",)
"""Grows exponentially with the molecule, past single precision; AvgIpc says the same."""


class Described(NamedTuple):
    """The features of one molecule.

    Parameters
    ----------
    values : ndarray of float32 [D]
        Descriptors; NaN where not defined.
    counts : ndarray of uint16 [bits]
        Morgan counts.
    reason : str
        Why the molecule has no features, "" where it has.
    """

    values: NDArray[np.float32]
    counts: NDArray[np.uint16]
    reason: str = ""


def feature_names(config: Descriptors2DConfig) -> tuple[str, ...]:
    """Return the names of the columns: RDKit's own, then ``morgan2_1``, ..."""
    require_rdkit()
    names = tuple(name for name, _ in _functions()) if config.descriptors else ()
    prefix = f"morgan{config.morgan_radius}_"
    return names + tuple(f"{prefix}{i + 1}" for i in range(config.morgan_bits))


def describe(smiles: str, config: Descriptors2DConfig) -> Described:
    """Return the features of a molecule; never raises for what a molecule is.

    References
    ----------
    Rogers and Hahn, J. Chem. Inf. Model. 50 (2010) 742–754 (Morgan counts).
    """
    with quiet():
        mol, reason = read_smiles(smiles)
        if mol is None:
            return nothing(config, reason)
        try:
            counts = _counts(mol, config)
        except RDKIT_ERRORS as error:
            return nothing(config, f"RDKit: {first_line(error)}")
        functions = _functions() if config.descriptors else ()
        values = np.array([_value(function, mol) for _, function in functions], dtype=np.float64)
    return Described(defined(values), counts)


def _value(function: Callable[[Any], float], mol: Mol) -> float:
    try:
        return float(function(mol))
    except RDKIT_ERRORS:  # no parameters for an atom: partial charges of metals
        return np.nan


def _counts(mol: Mol, config: Descriptors2DConfig) -> NDArray[np.uint16]:
    if not config.morgan_bits:
        return np.zeros(0, dtype=np.uint16)
    found = _morgan(config).GetCountFingerprintAsNumPy(mol)
    counts: NDArray[np.uint16] = np.minimum(found, np.iinfo(np.uint16).max).astype(np.uint16)
    return counts


def nothing(config: Descriptors2DConfig, reason: str) -> Described:
    """Return that a molecule has no features, and why."""
    n = len(_functions()) if config.descriptors else 0
    values = np.full(n, np.nan, dtype=np.float32)
    return Described(values, np.zeros(config.morgan_bits, dtype=np.uint16), reason)


@cache
def _functions() -> tuple[tuple[str, Callable[[Any], float]], ...]:
    from rdkit.Chem import Descriptors

    return tuple((n, f) for n, f in Descriptors.descList if n not in LEFT_OUT)


def _morgan(config: Descriptors2DConfig) -> Any:
    from rdkit.Chem import rdFingerprintGenerator

    return rdFingerprintGenerator.GetMorganGenerator(
        radius=config.morgan_radius, fpSize=config.morgan_bits
    )
