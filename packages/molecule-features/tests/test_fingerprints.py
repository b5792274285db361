"""Fingerprints, held against RDKit's own calls and against scikit-fingerprints."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from molecule_features import featurize
from rdkit import Chem
from rdkit.Avalon import pyAvalonTools
from rdkit.Chem import rdMolDescriptors, rdReducedGraphs
from rdkit.DataStructs import ConvertToNumpyArray

PEERS = {
    "morgan_count": ("ECFPFingerprint", {"count": True, "fp_size": 2048}),
    "morgan_bit": ("ECFPFingerprint", {"fp_size": 2048}),
    "atom_pair_count": ("AtomPairFingerprint", {"count": True, "fp_size": 2048}),
    "atom_pair_bit": ("AtomPairFingerprint", {"fp_size": 2048}),
    "torsion_count": ("TopologicalTorsionFingerprint", {"count": True, "fp_size": 2048}),
    "torsion_bit": ("TopologicalTorsionFingerprint", {"fp_size": 2048}),
    "avalon_count": ("AvalonFingerprint", {"count": True, "fp_size": 2048}),
    "avalon_bit": ("AvalonFingerprint", {"fp_size": 2048}),
}


@pytest.mark.parametrize("name", sorted(PEERS))
def test_folded_fingerprints_are_those_of_scikit_fingerprints(name: str, drugs: list[str]) -> None:
    import skfp.fingerprints

    peer, parameters = PEERS[name]
    expected = getattr(skfp.fingerprints, peer)(**parameters).transform(drugs)
    found = featurize(drugs, name, cache=None)
    np.testing.assert_array_equal(found.values, expected)
    assert found.blocks[0].kind == ("count" if name.endswith("count") else "bit")
    assert found.names[:2] == (f"{name}_0", f"{name}_1")


def test_avalon_counts_are_rdkits(drugs: list[str]) -> None:
    expected = np.empty(0)
    ConvertToNumpyArray(
        pyAvalonTools.GetAvalonCountFP(Chem.MolFromSmiles(drugs[0]), 2048), expected
    )
    found = featurize(drugs, "avalon_count", cache=None)
    np.testing.assert_array_equal(found.values[0], expected)


def test_maccs_keys_keep_their_numbers(drugs: list[str]) -> None:
    found = featurize(drugs, "maccs", cache=None)
    for text, row in zip(drugs, found.values, strict=True):
        on = list(rdMolDescriptors.GetMACCSKeysFingerprint(Chem.MolFromSmiles(text)).GetOnBits())
        assert np.flatnonzero(row).tolist() == on
    # Key 165 is "ring", key 0 does not exist.
    assert found.values[0, 165] == 1
    assert found.values[:, 0].sum() == 0


def test_erg_is_rdkits(drugs: list[str]) -> None:
    expected: list[Any] = [
        rdReducedGraphs.GetErGFingerprint(Chem.MolFromSmiles(text)) for text in drugs
    ]
    found = featurize(drugs, "erg", cache=None)
    np.testing.assert_array_equal(found.values, np.array(expected, dtype=np.float32))


@pytest.mark.core
def test_counts_of_a_long_chain_do_not_wrap_around() -> None:
    found = featurize(["C" * 450], "morgan_count", cache=None)
    # All inner carbons but two a side have one neighbourhood of radius 2.
    assert found.values.max() == 448


@pytest.mark.parametrize("name", [*PEERS, "maccs", "erg"])
def test_odd_molecules_have_fingerprints_or_a_reason(name: str, odd: list[str]) -> None:
    found = featurize(odd, name, cache=None)
    for reason, row in zip(found.reasons, found.values, strict=True):
        assert np.isfinite(row).all() or reason
