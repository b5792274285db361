"""How far molecules are from those that trained."""

from __future__ import annotations

import numpy as np
import pytest
from molpool_pipelines.fitting import _intervals
from molpool_pipelines.fitting._intervals import distance_to
from rdkit import Chem
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
from rdkit.DataStructs import BulkTanimotoSimilarity

KNOWN = ["CCO", "c1ccccc1O", "CCO", "CC(=O)Nc1ccc(O)cc1"]
OTHERS = ["CCN", "c1ccccc1", "OCC", "C"]


def test_distances_are_those_of_rdkit() -> None:
    generator = GetMorganGenerator(radius=2, fpSize=2048)
    known, others = (
        [generator.GetFingerprint(Chem.MolFromSmiles(s)) for s in each] for each in (KNOWN, OTHERS)
    )
    expected = [1 - max(BulkTanimotoSimilarity(one, known)) for one in others]
    # Again, now that fingerprints are kept.
    for _ in range(2):
        found = distance_to(KNOWN, OTHERS)
        assert found is not None
        np.testing.assert_allclose(found, expected)
    assert expected[2] == 0 < expected[0]


def test_nothing_known_or_asked_and_too_many_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert distance_to([], OTHERS) is None
    found = distance_to(KNOWN, [])
    assert found is not None
    assert len(found) == 0
    monkeypatch.setattr(_intervals, "_MOST_PAIRS", 11)
    # Of four known molecules three are distinct.
    assert distance_to(KNOWN, OTHERS) is None
    assert distance_to(KNOWN, OTHERS[:3]) is not None
