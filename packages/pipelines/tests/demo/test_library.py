from __future__ import annotations

import pytest
from molpool_pipelines.demo._library import BLOCKS, REACTIONS, SUZUKI, Reaction
from rdkit import Chem
from rdkit.Chem import rdChemReactions


@pytest.mark.parametrize("name", list(BLOCKS))
def test_blocks_are_distinct_molecules(name: str) -> None:
    canonical = [Chem.MolToSmiles(Chem.MolFromSmiles(s)) for s in BLOCKS[name]]
    assert len(set(canonical)) == len(canonical)


@pytest.mark.parametrize(
    "reaction", [*REACTIONS, SUZUKI._replace(first="bromo acid")], ids=lambda r: r.name
)
def test_every_block_has_one_handle(reaction: Reaction) -> None:
    compiled = rdChemReactions.ReactionFromSmarts(reaction.smarts)
    for position, name in enumerate((reaction.first, reaction.second)):
        if name == "biaryl acid":  # made by the Suzuki coupling above
            continue
        template = compiled.GetReactantTemplate(position)
        for smiles in BLOCKS[name]:
            matches = Chem.MolFromSmiles(smiles).GetSubstructMatches(template)
            assert len(matches) == 1, (name, smiles)


def test_a_coupling_makes_the_expected_amide() -> None:
    amide = rdChemReactions.ReactionFromSmarts(REACTIONS[0].smarts)
    acid, amine = Chem.MolFromSmiles("OC(=O)c1ccccc1"), Chem.MolFromSmiles("C1COCCN1")
    product = amide.RunReactants((acid, amine))[0][0]
    Chem.SanitizeMol(product)
    assert Chem.MolToSmiles(product) == Chem.MolToSmiles(
        Chem.MolFromSmiles("O=C(c1ccccc1)N1CCOCC1")
    )
