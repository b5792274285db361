"""How molecules gather on scaffolds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from molpool_common import MoleculeTable, murcko_scaffolds, parse_smiles

from molpool_pipelines.tables.profile.tasks import molecule_numbers


@dataclass(frozen=True)
class ScaffoldProfile:
    """Bemis-Murcko scaffolds of the distinct molecules.

    Parameters
    ----------
    n_molecules : int
        Molecules; each counts once.
    n_acyclic : int
        Those without a ring, which have no scaffold.
    n_scaffolds, n_singletons : int
        Distinct scaffolds, and those of one molecule.
    largest : list of (str, int)
        SMILES and molecules of the most frequent scaffolds, most frequent first.
    """

    n_molecules: int
    n_acyclic: int
    n_scaffolds: int
    n_singletons: int
    largest: list[tuple[str, int]]


def profile_scaffolds(table: MoleculeTable, n_largest: int = 10) -> ScaffoldProfile:
    """Count scaffolds; a molecule has that of its first row."""
    first = np.unique(molecule_numbers(table), return_index=True)[1]
    mols = parse_smiles([table.smiles[i] for i in first]).require_all()
    counts = Counter(murcko_scaffolds(mols))
    n_acyclic = counts.pop("", 0)
    by_size = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ScaffoldProfile(
        n_molecules=len(first),
        n_acyclic=n_acyclic,
        n_scaffolds=len(counts),
        n_singletons=sum(n == 1 for n in counts.values()),
        largest=by_size[:n_largest],
    )
