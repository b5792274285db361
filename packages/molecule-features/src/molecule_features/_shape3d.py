"""Shape and pharmacophores of one conformer."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from molpool_common import Float32Array, FloatArray, rdkit_version

from molecule_features._featurizer import MOLECULE_ERRORS, MoleculeByMolecule, defined

if TYPE_CHECKING:
    from rdkit.Chem import Mol

CONFORMERS = 5
"""Tried; the one of lowest energy is described."""

_SEED, _SECONDS, _RELAXATION = 20260, 10, 200
"""RDKit's seed; seconds for an embedding; steps of the force field."""

_USR, _USRCAT = 12, 60


class Shape3D(MoleculeByMolecule):
    """Moments of inertia and their ratios, USR and USRCAT of the lowest of five conformers.

    The conformers follow from the molecule alone (fixed seed, canonical order of atoms), of the
    largest part where there are several. An embedding that takes more than 10 s is given up.

    References
    ----------
    Wang et al., J. Chem. Inf. Model. 60 (2020) 2044–2058 (ETKDGv3); Sauer and Schwarz, J. Chem.
    Inf. Comput. Sci. 43 (2003) 987–1003 (ratios of moments); Ballester and Richards, J. Comput.
    Chem. 28 (2007) 1711–1723 (USR); Schreyer and Blundell, J. Cheminform. 4:27 (2012) (USRCAT).
    """

    milliseconds = 60.0
    max_heavy_atoms = 150

    def __init__(self) -> None:
        super().__init__("shape3d", "descriptor")

    @property
    def version(self) -> str:
        """RDKit's, and the number of descriptors."""
        return f"1-rdkit-{rdkit_version()}-{self.width}"

    @property
    def names(self) -> tuple[str, ...]:
        """RDKit's own, then usr_0 to usr_11 and usrcat_0 to usrcat_59."""
        usr = (f"usr_{i}" for i in range(_USR))
        return (*_functions(), *usr, *(f"usrcat_{i}" for i in range(_USRCAT)))

    def row(self, mol: Mol) -> Float32Array:
        """Return the descriptors [F].

        Raises
        ------
        ValueError
            If no conformer embeds.
        """
        from rdkit.Chem import rdMolDescriptors

        placed = lowest_conformer(mol)
        single = [function(placed) for function in _functions().values()]
        return defined(
            np.concatenate(
                [
                    np.array(single, dtype=np.float64),
                    _or_nan(rdMolDescriptors.GetUSR, placed, _USR),
                    _or_nan(rdMolDescriptors.GetUSRCAT, placed, _USRCAT),
                ]
            )
        )


def lowest_conformer(mol: Mol) -> Mol:
    """Return the largest part of a molecule with hydrogens and one relaxed conformer.

    Raises
    ------
    ValueError
        If no conformer embeds.
    """
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

    # Distances between a molecule and its counter-ion are arbitrary in an embedding.
    part = max(Chem.GetMolFrags(mol, asMols=True), key=lambda m: m.GetNumHeavyAtoms())
    placed = Chem.AddHs(part)
    parameters: Any = rdDistGeom.ETKDGv3()
    parameters.randomSeed, parameters.timeout, parameters.numThreads = _SEED, _SECONDS, 1
    ids = list(rdDistGeom.EmbedMultipleConfs(placed, CONFORMERS, parameters))
    if not ids:
        raise ValueError(f"no conformer embeds in {_SECONDS} s (ETKDGv3, seed {_SEED})")
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(placed):
        done = rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(
            placed, numThreads=1, maxIters=_RELAXATION
        )
        energies = [energy if np.isfinite(energy) else np.inf for _, energy in done]
        chosen = ids[int(np.argmin(energies))]
        for other in ids:
            if other != chosen:
                placed.RemoveConformer(other)
    else:
        # No force field knows the element: the first is as good as any.
        for other in ids[1:]:
            placed.RemoveConformer(other)
    return placed


@cache
def _functions() -> dict[str, Callable[[Any], float]]:
    from rdkit.Chem import Descriptors3D

    return dict(Descriptors3D.descList)


def _or_nan(function: Callable[[Any], Any], mol: Mol, width: int) -> FloatArray:
    """Return the values [width], NaN where the molecule has too few atoms for them."""
    try:
        return np.array(list(function(mol)), dtype=np.float64)
    except MOLECULE_ERRORS:
        return np.full(width, np.nan)
