"""Butina's clusters against RDKit's, and what holds for any fingerprints."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from molpool_common import InputError, IntArray, parse_smiles
from molpool_common._chem import morgan_bits, morgan_fingerprints
from molpool_common.splits import _butina, _methods, split
from molpool_common.splits._butina import butina, clusters_of_bits
from rdkit.DataStructs import BulkTanimotoSimilarity
from rdkit.ML.Cluster.Butina import ClusterData

RINGS = ("c1ccccc1", "c1ccncc1", "C1CCCCC1", "c1ccsc1", "c1ccc2ccccc2c1", "C1CCNCC1")
CHAINS = ("C", "CC", "OCC", "OC(=O)C", "CN", "N#CC", "FCC", "CNC(=O)", "ClCCC")
MOLS = parse_smiles([f"{chain}{ring}" for ring in RINGS for chain in CHAINS]).require_all()


def of_rdkit(distance: float, similarity: Any) -> IntArray:
    n = len(similarity)
    distances = [1 - similarity[i][j] for i in range(n) for j in range(i)]
    found = np.empty(n, dtype=np.int64)
    for number, members in enumerate(ClusterData(distances, n, distance, isDistData=True)):
        found[list(members)] = number
    return found


@pytest.mark.parametrize("distance", [0.0, 0.35, 0.5, 0.65, 0.8, 1.0])
@pytest.mark.parametrize("block", [1, 1 << 22])
def test_molecules_are_clustered_as_by_rdkit(
    distance: float, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_butina, "_PAIRS", block)
    prints = morgan_fingerprints(MOLS)
    similarity = [BulkTanimotoSimilarity(one, prints) for one in prints]
    np.testing.assert_array_equal(butina(MOLS, distance), of_rdkit(distance, similarity))


@given(
    bits=st.tuples(st.integers(1, 25), st.integers(1, 9)).flatmap(
        lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 1))
    ),
    distance=st.sampled_from([0.0, 0.3, 0.5, 2 / 3, 0.75]),
)
def test_any_bits_are_clustered_as_by_rdkit(bits: Any, distance: float) -> None:
    common = bits.astype(float) @ bits.T
    on = bits.sum(axis=1)
    either = np.maximum(on[:, None] + on - common, 1)
    expected = of_rdkit(distance, common / either)
    np.testing.assert_array_equal(clusters_of_bits(bits, distance), expected)


def test_the_distance_decides() -> None:
    found = [len(np.unique(butina(MOLS, distance))) for distance in (0.2, 0.5, 0.8)]
    assert found[0] > found[1] > found[2] > 1
    assert morgan_bits(MOLS).shape == (len(MOLS), 2048)


def test_a_split_by_clusters_tears_none() -> None:
    keys = [f"{i:03d}" for i in range(len(MOLS))]
    cluster = butina(MOLS, 0.5)
    sides = split("cluster", groups=keys, mols=MOLS, distance=0.5, seed=1)
    home = [set(cluster[side].tolist()) for side in sides]
    assert not (home[0] & home[1] | home[0] & home[2] | home[1] & home[2])


def test_too_many_molecules_are_refused_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_methods, "MOST", 3)
    keys = [str(i) for i in range(len(MOLS))]
    with pytest.raises(InputError, match=r"at most 3 molecules.*--data.cluster-method leaders"):
        split("cluster", groups=keys, mols=MOLS)
    assert sum(map(len, split("cluster", groups=keys, mols=MOLS, clusters="leaders"))) == len(MOLS)
