"""Drug-like molecules, enumerated from hand-written building blocks through RDKit reactions.

Every block carries exactly one handle of its class, so that each reaction has one product. The
blocks are everyday fragments of medicinal chemistry written down for this demo; none is taken from
a catalogue or a data set.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from molpool_common import InputError
from rdkit import Chem
from rdkit.Chem import rdChemReactions

from molpool_pipelines.demo._properties import log_p, weight

if TYPE_CHECKING:
    from numpy.random import Generator


class Reaction(NamedTuple):
    """One two-component coupling.

    Attributes
    ----------
    name : str
        The reaction's usual name.
    smarts : str
        Reaction SMARTS with two reactant templates and one product template.
    first, second : str
        Keys of `BLOCKS`; the first reactant's block and the second's.
    """

    name: str
    smarts: str
    first: str
    second: str


def _smiles(text: str) -> tuple[str, ...]:
    """Split SMILES written several to a line."""
    return tuple(text.split())


BLOCKS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "amine": _smiles(
            """
            NCc1ccccc1 NCc1ccc(F)cc1 NCc1cccnc1 NCc1ccco1 NCCc1ccccc1 NCCc1c[nH]c2ccccc12
            NC1CCCCC1 NC1CCOCC1 NCC1CC1 NCCOC NCC(F)(F)F NCCN1CCOCC1 NCC1CCCO1 NC1CC1
            NC1CCN(C)CC1 NCc1nccs1 NCc1cnn(C)c1 NCCC(=O)OC NCCS(C)(=O)=O NC(C)c1ccccc1
            C1CCNCC1 C1COCCN1 CN1CCNCC1 O=C1CNCCN1 CC(=O)N1CCNCC1 c1ccc(N2CCNCC2)cc1
            c1ccc(N2CCNCC2)nc1 C1CCNC1 FC1(F)CCNC1 OC1CCNCC1 C1Cc2ccccc2CN1 C1COC2(CN1)CCC2
            CN(C)C1CCNC1 COC1CCNCC1 O=S1(=O)CCNCC1 CNCc1ccccc1 CNC1CCCC1
            Nc1ccccc1 Nc1ccc(F)cc1 Nc1ccc(OC)cc1 Nc1cccc(Cl)c1 Nc1ccc(C#N)cc1 Nc1cccnc1
            Nc1ccc2[nH]ncc2c1 Nc1ccc(N2CCOCC2)cc1 Nc1cnn(C)c1 Nc1ccc2OCOc2c1 Nc1cccc(C(F)(F)F)c1
            """
        ),
        "acid": _smiles(
            """
            OC(=O)c1ccccc1 OC(=O)c1ccc(F)cc1 OC(=O)c1ccc(OC)cc1 OC(=O)c1cccc(Cl)c1
            OC(=O)c1ccc(C#N)cc1 OC(=O)c1cccnc1 OC(=O)c1ccncc1 OC(=O)c1cnccn1 OC(=O)c1ccco1
            OC(=O)c1cccs1 OC(=O)c1cc(C)on1 OC(=O)c1cnn(C)c1 OC(=O)c1c[nH]c2ccccc12
            OC(=O)c1ccc2[nH]cnc2c1 OC(=O)c1ccc2ccccc2c1 OC(=O)c1ccnc2ccccc12 OC(=O)Cc1ccccc1
            OC(=O)Cc1ccc(Cl)cc1 OC(=O)CCc1ccccc1 OC(=O)COc1ccccc1 OC(=O)COc1ccc(F)cc1
            OC(=O)C1CCCCC1 OC(=O)C1CC1 OC(=O)C1CCOCC1 OC(=O)C1CCN(C(C)=O)CC1 OC(=O)C(C)(C)C
            OC(=O)CN1CCOCC1 OC(=O)Cn1cccn1 OC(=O)C1CCC(F)(F)CC1 OC(=O)c1ccc(S(C)(=O)=O)cc1
            OC(=O)c1ccc(NC(C)=O)cc1 OC(=O)c1cccc(C(F)(F)F)c1
            """
        ),
        "aldehyde": _smiles(
            """
            O=Cc1ccccc1 O=Cc1ccc(F)cc1 O=Cc1ccc(Cl)cc1 O=Cc1ccc(OC)cc1 O=Cc1cccnc1 O=Cc1ccco1
            O=Cc1cccs1 O=Cc1c[nH]c2ccccc12 O=Cc1cnn(C)c1 O=CC1CCCCC1 O=CC1CCOCC1 O=Cc1ccc2OCOc2c1
            O=Cc1ccc(C#N)cc1 O=Cc1nccs1 O=CCCc1ccccc1
            """
        ),
        "sulfonyl chloride": _smiles(
            """
            O=S(=O)(Cl)c1ccccc1 O=S(=O)(Cl)c1ccc(C)cc1 O=S(=O)(Cl)c1ccc(F)cc1
            O=S(=O)(Cl)c1ccc(OC)cc1 O=S(=O)(Cl)c1cccc(C#N)c1 O=S(=O)(Cl)c1cccnc1
            O=S(=O)(Cl)c1cccs1 O=S(=O)(Cl)c1cnn(C)c1 O=S(=O)(Cl)C1CC1 O=S(=O)(Cl)CCC
            O=S(=O)(Cl)Cc1ccccc1 O=S(=O)(Cl)c1c(C)noc1C O=S(=O)(Cl)c1ccc2ccccc2c1
            """
        ),
        "isocyanate": _smiles(
            """
            O=C=Nc1ccccc1 O=C=Nc1ccc(F)cc1 O=C=Nc1ccc(OC)cc1 O=C=Nc1cccc(Cl)c1
            O=C=Nc1ccc(C#N)cc1 O=C=NC1CCCCC1 O=C=NCc1ccccc1 O=C=NCC O=C=NC(C)(C)C
            O=C=Nc1cccc(C(F)(F)F)c1
            """
        ),
        "activated chloride": _smiles(
            """
            Clc1ncccn1 Clc1ccnc(C)n1 Clc1ncnc2ccccc12 Clc1nc2ccccc2s1 Clc1ccc(C#N)cn1
            Clc1ncc(C(F)(F)F)cn1 Clc1ccc(C(=O)OC)cn1 Clc1nc(C)nc2sccc12 Clc1ncnc2n(C)cnc12
            Clc1ccc2nncn2n1 Clc1nccc(-c2ccccc2)n1
            """
        ),
        "aryl bromide": _smiles(
            """
            Brc1ccc(C(=O)N2CCOCC2)cc1 Brc1ccc(C(=O)NC2CC2)cc1 Brc1cccc(NC(C)=O)c1
            Brc1ccc(S(=O)(=O)N(C)C)cc1 Brc1cnc(N2CCOCC2)nc1 Brc1ccc2c(c1)CC(=O)N2
            Brc1ccc2ncn(C)c2c1 Brc1cnc2[nH]ccc2c1 Brc1ccc(CN2CCCC2)cc1 Brc1cccc(C(=O)NC)c1
            Brc1ccc(N2CCN(C)CC2)nc1 Brc1cc(C(=O)NCCOC)on1 Brc1cnc2cc(OC)ccn12
            """
        ),
        "bromo acid": _smiles(
            """
            OC(=O)c1ccc(Br)cc1 OC(=O)c1cccc(Br)c1 OC(=O)c1ccc(Br)nc1 OC(=O)c1cncc(Br)c1
            OC(=O)Cc1ccc(Br)cc1 OC(=O)c1ccc(Br)s1
            """
        ),
        "boronic acid": _smiles(
            """
            OB(O)c1ccccc1 OB(O)c1ccc(F)cc1 OB(O)c1ccc(OC)cc1 OB(O)c1cccc(Cl)c1 OB(O)c1ccc(C#N)cc1
            OB(O)c1cccnc1 OB(O)c1ccncc1 OB(O)c1cnn(C)c1 OB(O)c1ccsc1 OB(O)c1ccco1
            OB(O)c1cncnc1 OB(O)c1ccc(C(F)(F)F)cc1 OB(O)c1c(C)noc1C OB(O)c1ccc2OCOc2c1
            """
        ),
    }
)
"""Class of block -> SMILES."""

SUZUKI = Reaction(
    "Suzuki coupling", "[c:1]Br.[c:2]B(O)O>>[c:1]-[c:2]", "aryl bromide", "boronic acid"
)

REACTIONS: tuple[Reaction, ...] = (
    Reaction(
        "amide coupling",
        "[C:1](=[O:2])[OX2H1].[NX3;!H0;!$(N-C=O):3]>>[C:1](=[O:2])-[N:3]",
        "acid",
        "amine",
    ),
    Reaction(
        "reductive amination",
        "[CX3H1:1]=O.[NX3;!H0;!$(N-C=O):2]>>[CH2:1]-[N:2]",
        "aldehyde",
        "amine",
    ),
    Reaction(
        "sulfonamide formation",
        "[S:1](=[O:2])(=[O:3])Cl.[NX3;!H0;!$(N-C=O):4]>>[S:1](=[O:2])(=[O:3])-[N:4]",
        "sulfonyl chloride",
        "amine",
    ),
    Reaction(
        "urea formation",
        "[N:1]=[C:2]=[O:3].[NX3;!H0;!$(N-C=O):4]>>[N:1]-[C:2](=[O:3])-[N:4]",
        "isocyanate",
        "amine",
    ),
    Reaction(
        "SNAr",
        "[c:1]Cl.[NX3;!H0;!$(N-C=O):2]>>[c:1]-[N:2]",
        "activated chloride",
        "amine",
    ),
    SUZUKI,
    Reaction(
        "amide coupling of a biaryl acid",
        "[C:1](=[O:2])[OX2H1].[NX3;!H0;!$(N-C=O):3]>>[C:1](=[O:2])-[N:3]",
        "biaryl acid",
        "amine",
    ),
)
"""The couplings, the last over acids that a Suzuki coupling makes first."""


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
            # Canonical: two couplings may give one molecule.
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
    # All pairs are listed and shuffled, not drawn: no pair comes twice, and the end is known.
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
