"""Fingerprints as counts and bits, by RDKit's generators."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from molpool_common import Float32Array, rdkit_version

from molecule_features._featurizer import Kind, MoleculeByMolecule

if TYPE_CHECKING:
    from rdkit.Chem import Mol

SIZE = 2048
"""Columns of a folded fingerprint. Morgan counts of 4 096 columns differ little and cost twice."""

MACCS_KEYS, ERG_VALUES = 167, 315
"""RDKit's MACCS keys start at 1, and key 0 is always 0: left in, so that columns have their own
numbers. ErG: 21 pairs of pharmacophores at 15 distances."""


class _Recipe(NamedTuple):
    """How the fingerprints of one family are computed.

    Parameters
    ----------
    kind : str
        What the numbers are.
    width : int
        How many.
    prefix : str
        Of the names of the columns.
    compute : callable
        Returns the numbers of a molecule.
    """

    kind: Kind
    width: int
    prefix: str
    compute: Callable[[Any], Any]


class Fingerprint(MoleculeByMolecule):
    """A fingerprint of RDKit.

    Parameters
    ----------
    name : str
        One of `FINGERPRINTS`.

    References
    ----------
    Morgan: Rogers and Hahn, J. Chem. Inf. Model. 50 (2010) 742–754. Atom pairs: Carhart et al.,
    J. Chem. Inf. Comput. Sci. 25 (1985) 64–73. Torsions: Nilakantan et al., ibid. 27 (1987) 82–85.
    Avalon: Gedeck et al., J. Chem. Inf. Model. 46 (2006) 1924–1936. MACCS: Durant et al., J. Chem.
    Inf. Comput. Sci. 42 (2002) 1273–1280. ErG: Stiefl et al., J. Chem. Inf. Model. 46 (2006)
    208–220.
    """

    milliseconds = 0.4

    def __init__(self, name: str) -> None:
        super().__init__(name, _recipe(name).kind)

    @property
    def version(self) -> str:
        """RDKit's, and the number of columns."""
        return f"1-rdkit-{rdkit_version()}-{self.width}"

    @property
    def names(self) -> tuple[str, ...]:
        """The family and the number of the column, from 0."""
        recipe = _recipe(self.name)
        return tuple(f"{recipe.prefix}_{i}" for i in range(recipe.width))

    @property
    def width(self) -> int:
        """Number of columns."""
        return _recipe(self.name).width

    def row(self, mol: Mol) -> Float32Array:
        """Return the counts or bits [F]."""
        return np.asarray(_recipe(self.name).compute(mol), dtype=np.float32)


def _folded(name: str) -> _Recipe:
    from rdkit.Chem import rdFingerprintGenerator

    family, _, kind = name.rpartition("_")
    make: dict[str, Callable[[], Any]] = {
        "morgan": partial(rdFingerprintGenerator.GetMorganGenerator, radius=2, fpSize=SIZE),
        "atom_pair": partial(rdFingerprintGenerator.GetAtomPairGenerator, fpSize=SIZE),
        "torsion": partial(rdFingerprintGenerator.GetTopologicalTorsionGenerator, fpSize=SIZE),
    }
    generator = make[family]()
    if kind == "count":
        return _Recipe("count", SIZE, name, generator.GetCountFingerprintAsNumPy)
    return _Recipe("bit", SIZE, name, generator.GetFingerprintAsNumPy)


def _avalon(name: str) -> _Recipe:
    from rdkit.Avalon import pyAvalonTools
    from rdkit.DataStructs import ConvertToNumpyArray

    compute = (
        pyAvalonTools.GetAvalonCountFP if name == "avalon_count" else pyAvalonTools.GetAvalonFP
    )

    def numbers(mol: Mol) -> Any:
        found = np.empty(0, dtype=np.int64)
        ConvertToNumpyArray(compute(mol, nBits=SIZE), found)
        return found

    return _Recipe("count" if name == "avalon_count" else "bit", SIZE, name, numbers)


def _maccs(name: str) -> _Recipe:
    from rdkit.Chem import rdMolDescriptors

    def bits(mol: Mol) -> Any:
        found = np.zeros(MACCS_KEYS)
        found[list(rdMolDescriptors.GetMACCSKeysFingerprint(mol).GetOnBits())] = 1
        return found

    return _Recipe("bit", MACCS_KEYS, name, bits)


def _erg(name: str) -> _Recipe:
    from rdkit.Chem import rdReducedGraphs

    return _Recipe("descriptor", ERG_VALUES, name, rdReducedGraphs.GetErGFingerprint)


FINGERPRINTS: dict[str, Callable[[str], _Recipe]] = {
    "morgan_count": _folded,
    "morgan_bit": _folded,
    "atom_pair_count": _folded,
    "atom_pair_bit": _folded,
    "torsion_count": _folded,
    "torsion_bit": _folded,
    "avalon_count": _avalon,
    "avalon_bit": _avalon,
    "maccs": _maccs,
    "erg": _erg,
}


@cache
def _recipe(name: str) -> _Recipe:
    return FINGERPRINTS[name](name)
