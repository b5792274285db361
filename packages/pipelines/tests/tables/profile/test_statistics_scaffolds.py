from __future__ import annotations

from collections.abc import Callable

from molpool_common import MoleculeTable
from molpool_pipelines.tables.profile._statistics import profile_scaffolds


def test_scaffolds_by_hand(make_table: Callable[..., MoleculeTable]) -> None:
    # Toluene, in two spellings, and phenol on benzene; pyridine alone; ethanol without a ring.
    smiles = ["Cc1ccccc1", "c1ccccc1C", "Oc1ccccc1", "c1ccncc1", "CCO"]
    profile = profile_scaffolds(make_table(smiles, [[1.0]] * 5))
    assert (profile.n_molecules, profile.n_acyclic) == (4, 1)
    assert (profile.n_scaffolds, profile.n_singletons) == (2, 1)
    assert profile.largest == [("c1ccccc1", 2), ("c1ccncc1", 1)]


def test_only_the_largest_are_listed(make_table: Callable[..., MoleculeTable]) -> None:
    smiles = ["c1ccccc1", "c1ccncc1", "C1CC1"]
    profile = profile_scaffolds(make_table(smiles, [[1.0]] * 3), n_largest=2)
    assert profile.n_scaffolds == 3
    assert len(profile.largest) == 2
