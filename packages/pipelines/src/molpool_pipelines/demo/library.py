"""Drug-like molecules enumerated from building blocks through RDKit reactions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from molpool_common import InputError
from rdkit import Chem
from rdkit.Chem import rdChemReactions

from molpool_pipelines.demo.blocks import BLOCKS, REACTIONS, SUZUKI, Reaction
from molpool_pipelines.demo.properties import log_p, weight

if TYPE_CHECKING:
    from numpy.random import Generator

MOLECULAR_WEIGHT = (200.0, 550.0)
"""Bounds on the average molecular weight, g/mol, inclusive."""

LOG_P = (-2.0, 6.0)
"""Bounds on Crippen's logP, inclusive."""

HEAVY_ATOMS = (14, 40)
"""Bounds on the number of heavy atoms, inclusive."""


def enumerate_molecules(n: int, rng: Generator) -> list[Chem.Mol]:
    """Draw `n` distinct drug-like products of the reactions.

    Parameters
    ----------
    n : int
        Number of molecules.
    rng : numpy.random.Generator
        Draws the order in which pairs of blocks are joined.

    Returns
    -------
    list of rdkit.Chem.Mol
        Sanitised molecules, distinct by canonical SMILES.

    Raises
    ------
    InputError
        If the building blocks make fewer than `n` molecules.
    """
    found: dict[str, Chem.Mol] = {}
    for molecule in _products(rng):
        if is_drug_like(molecule):
            found.setdefault(Chem.MolToSmiles(molecule), molecule)
        if len(found) == n:
            return list(found.values())
    raise InputError(
        "n",
        expected=f"at most {len(found)}, all that the building blocks make",
        found=str(n),
    )


def is_drug_like(molecule: Chem.Mol) -> bool:
    """Return whether weight, logP and heavy atoms are within the module's bounds."""
    return (
        HEAVY_ATOMS[0] <= molecule.GetNumHeavyAtoms() <= HEAVY_ATOMS[1]
        and MOLECULAR_WEIGHT[0] <= weight(molecule) <= MOLECULAR_WEIGHT[1]
        and LOG_P[0] <= log_p(molecule) <= LOG_P[1]
    )


def _products(rng: Generator) -> Iterator[Chem.Mol]:
    """Yield the product of every pair of blocks of every reaction, in random order."""
    blocks = {name: [Chem.MolFromSmiles(s) for s in smiles] for name, smiles in BLOCKS.items()}
    couple = _compile(SUZUKI)
    pairs = itertools.product(blocks["bromo acid"], blocks["boronic acid"])
    blocks["biaryl acid"] = [_join(couple, pair) for pair in pairs]

    compiled = [_compile(reaction) for reaction in REACTIONS]
    jobs = [
        (number, i, j)
        for number, reaction in enumerate(REACTIONS)
        for i in range(len(blocks[reaction.first]))
        for j in range(len(blocks[reaction.second]))
    ]
    for position in rng.permutation(len(jobs)):
        number, i, j = jobs[position]
        reaction = REACTIONS[number]
        yield _join(compiled[number], (blocks[reaction.first][i], blocks[reaction.second][j]))


def _compile(reaction: Reaction) -> rdChemReactions.ChemicalReaction:
    compiled = rdChemReactions.ReactionFromSmarts(reaction.smarts)
    compiled.Initialize()
    return compiled


def _join(reaction: rdChemReactions.ChemicalReaction, pair: Sequence[Chem.Mol]) -> Chem.Mol:
    # One handle a block means that symmetry-equivalent products are all that can come after the
    # first.
    product: Chem.Mol = reaction.RunReactants(tuple(pair))[0][0]
    Chem.SanitizeMol(product)
    return product


def heavy_atoms(molecules: Sequence[Chem.Mol]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the number of heavy atoms of each molecule, float64 [N]."""
    return np.array([m.GetNumHeavyAtoms() for m in molecules], dtype=np.float64)
