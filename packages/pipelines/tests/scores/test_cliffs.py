"""Activity cliffs against all pairs by RDKit."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from molpool_common import morgan_fingerprints, parse_smiles
from molpool_pipelines.demo import build_demo
from molpool_pipelines.scores import ALIKE, Predictions, activity_cliffs
from molpool_pipelines.scores._strata import NearestTraining
from rdkit.DataStructs import TanimotoSimilarity


@pytest.fixture(scope="module")
def smiles() -> list[str]:
    # Homologues, whose fingerprints are equal or nearly so, among others.
    series = [f"Cc1ccc(cc1)C(=O)N{'C' * k}O" for k in range(1, 13)]
    return list(dict.fromkeys([*series, *build_demo(100, seed=0)["SMILES"].to_list()]))


def test_pairs_are_those_of_rdkit(smiles: list[str]) -> None:
    mols = parse_smiles(smiles).require_all()
    prints = morgan_fingerprints(mols)
    expected = {
        (i, j): TanimotoSimilarity(prints[i], prints[j])
        for i, j in combinations(range(len(mols)), 2)
    }
    found = {(i, j): s for i, j, s in NearestTraining(mols).pairs(mols, 0.5) if i < j}
    assert found == pytest.approx({pair: s for pair, s in expected.items() if s > 0.5})


def test_the_steepest_come_first_and_no_molecule_twice(
    smiles: list[str], made: Callable[..., Predictions]
) -> None:
    mols = parse_smiles(smiles).require_all()
    alike = [(i, j) for i, j, _ in NearestTraining(mols).pairs(mols, ALIKE) if i < j]
    assert alike, "homologues look alike"
    y = np.zeros((len(smiles), 1))
    i, j = alike[0]
    y[i], y[j] = 4.0, -4.0
    split = np.array(["test" if k == i else "train" for k in range(len(y))], dtype=object)
    found = made(y, y, smiles=np.array(smiles, dtype=object), split=split)
    cliffs = activity_cliffs(found, "test")
    assert {cliffs[0].row, cliffs[0].other} == {i, j}
    assert cliffs[0].similarity > ALIKE
    assert cliffs[0].difference == pytest.approx(8 / y.std())
    used = [row for cliff in cliffs for row in (cliff.row, cliff.other)]
    assert len(used) == len(set(used))
    assert all(split[cliff.row] == "test" or split[cliff.other] == "test" for cliff in cliffs)


def test_repeats_of_a_molecule_are_no_cliff(made: Callable[..., Predictions]) -> None:
    y = [[0.0], [9.0], [0.0], [0.0]]
    same = np.array(["CCCCO", "CCCCO", "c1ccccc1", "CC"], dtype=object)
    assert activity_cliffs(made(y, y, smiles=same), "all") == []
    assert activity_cliffs(made(y, y), "all") == [], "no structures"
