"""Conformers of one molecule: embedded, relaxed, pruned."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mil_attn.data.chem import RDKIT_ERRORS, first_line, quiet, read_smiles
from mil_attn.data.config import ConformerConfig
from mil_attn.errors import MILError

if TYPE_CHECKING:
    from rdkit.Chem import Mol


class Conformers(NamedTuple):
    """The conformers of a molecule, lowest first.

    Parameters
    ----------
    positions : ndarray of float32 [K, A, 3]
        Å; A atoms with hydrogens, in the order of ``Chem.AddHs(Chem.MolFromSmiles(smiles))``.
    energies : ndarray of float64 [K]
        kcal/mol above the lowest; NaN where they are not relaxed.
    reason : str
        Why there is none, "" where there are some.
    """

    positions: NDArray[np.float32]
    energies: NDArray[np.float64]
    reason: str = ""


def no_conformers(reason: str) -> Conformers:
    """Return that there are none, and why."""
    return Conformers(np.zeros((0, 0, 3), dtype=np.float32), np.zeros(0), reason)


def embed(smiles: str, config: ConformerConfig) -> Conformers:
    """Return the conformers of a molecule; never raises for what a molecule is.

    Parameters
    ----------
    smiles : str
        The molecule.
    config : ConformerConfig
        Number, energy window, RMSD, seed. The seed alone decides, not the molecules around.

    References
    ----------
    Riniker and Landrum, J. Chem. Inf. Model. 55 (2015) 2562–2574; Wang et al., ibid. 60 (2020)
    2044–2058 (ETKDGv3); Halgren, J. Comput. Chem. 17 (1996) 490–519 (MMFF94).
    """
    with quiet():
        try:
            mol, reason = read_smiles(smiles)
            return no_conformers(reason) if mol is None else _embed(mol, config)
        except RDKIT_ERRORS as error:
            return no_conformers(f"RDKit: {first_line(error)}")


def conformer_molecule(smiles: str, conformers: Conformers, config: ConformerConfig) -> Mol:
    """Return the molecule with hydrogens that `embed` embedded, conformers numbered from 0."""
    from rdkit import Chem

    with quiet():
        mol, reason = read_smiles(smiles)
        if mol is None:
            raise MILError(f"smiles: expected a molecule; found {smiles!r} ({reason}).")
        mol = _with_hydrogens(mol, config)
    for positions in conformers.positions:
        conformer = Chem.Conformer(mol.GetNumAtoms())
        conformer.Set3D(True)
        conformer.SetPositions(positions.astype(np.float64))
        mol.AddConformer(conformer, assignId=True)
    return mol


def _embed(heavy: Mol, config: ConformerConfig) -> Conformers:
    mol = _with_hydrogens(heavy, config)
    late = _place(mol, config)
    if not mol.GetNumConformers():
        limit = f" in {config.max_seconds} s" if late else ""
        return no_conformers(
            f"no conformer embeds{limit} (ETKDGv3, {config.count} asked for, seed {config.seed})"
        )
    energies = _relax(mol, config)
    positions = np.stack([c.GetPositions() for c in mol.GetConformers()]).astype(np.float32)
    usable = np.isfinite(positions).all(axis=(1, 2)) & ~np.isinf(energies)
    if not usable.any():
        return no_conformers("no conformer of finite energy")
    kept = _kept(mol, energies, usable, config)
    return Conformers(positions[kept], energies[kept] - energies[kept[0]])


def _with_hydrogens(mol: Mol, config: ConformerConfig) -> Mol:
    from rdkit import Chem

    if config.largest_fragment:
        mol = max(Chem.GetMolFrags(mol, asMols=True), key=lambda part: part.GetNumHeavyAtoms())
    return Chem.AddHs(mol)


def _place(mol: Mol, config: ConformerConfig) -> bool:
    """Embed, from random coordinates where distance geometry fails; return whether time ran out."""
    from rdkit.Chem import rdDistGeom

    parameters: Any = rdDistGeom.ETKDGv3()
    parameters.randomSeed = _rdkit_seed(config.seed)
    parameters.numThreads = 1
    parameters.timeout = config.max_seconds
    began = monotonic()
    for random in (False, True):
        parameters.useRandomCoords = random
        rdDistGeom.EmbedMultipleConfs(mol, config.count, parameters)
        late = bool(config.max_seconds) and monotonic() - began >= config.max_seconds
        if late or mol.GetNumConformers():
            return late
    return False


def _rdkit_seed(seed: int) -> int:
    """Return a seed that RDKit can use, from 1 to 2**20.

    RDKit multiplies it with the number of the conformer: with 0 all conformers would be the same,
    seeds 1 and 2 would share half of theirs, and large ones would overflow.
    """
    return 1 + int(np.random.SeedSequence(seed).generate_state(1)[0]) % 2**20


def _relax(mol: Mol, config: ConformerConfig) -> NDArray[np.float64]:
    """Relax in place and return energies [K], NaN where no force field knows the molecule.

    An energy that is not finite becomes infinite.
    """
    from rdkit.Chem import rdForceFieldHelpers

    if not config.mmff:
        return np.full(mol.GetNumConformers(), np.nan)
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
        relax: Any = rdForceFieldHelpers.MMFFOptimizeMoleculeConfs
    elif rdForceFieldHelpers.UFFHasAllMoleculeParams(mol):
        relax = rdForceFieldHelpers.UFFOptimizeMoleculeConfs
    else:
        return np.full(mol.GetNumConformers(), np.nan)
    done = relax(mol, numThreads=1, maxIters=config.mmff_iterations)
    energies = np.array([energy for _, energy in done], dtype=np.float64)
    return np.where(np.isfinite(energies), energies, np.inf)


def _kept(
    mol: Mol, energies: NDArray[np.float64], usable: NDArray[np.bool_], config: ConformerConfig
) -> list[int]:
    """Return which conformers stay, lowest first; in their order where energies are not known."""
    order = np.argsort(energies, kind="stable")
    order = order[usable[order]]
    if config.energy_window is not None:
        order = order[~(energies[order] > energies[order[0]] + config.energy_window)]
    if config.rmsd == 0 or len(order) < 2:
        return [int(i) for i in order]
    return _apart(_distances(mol), order.tolist(), config.rmsd)


def _apart(distances: NDArray[np.float64], order: list[int], least: float) -> list[int]:
    """Return each of an order that is at least so far from all before it that stay."""
    kept: list[int] = []
    for i in order:
        if not kept or distances[i, kept].min() >= least:
            kept.append(i)
    return kept


_MATCHES = 1000
"""Symmetries tried: rings and tert-butyls multiply; past this the best of those tried counts."""


def _distances(mol: Mol) -> NDArray[np.float64]:
    """Return the RMSD [K, K] between conformers, heavy atoms, best of all symmetries, in Å."""
    from rdkit import Chem
    from rdkit.Chem import rdMolAlign

    heavy = Chem.RemoveHs(mol, sanitize=False)
    n = mol.GetNumConformers()
    lower = rdMolAlign.GetAllConformerBestRMS(heavy, numThreads=1, maxMatches=_MATCHES)
    distances = np.zeros((n, n))
    distances[np.tril_indices(n, -1)] = list(lower)
    return distances + distances.T
