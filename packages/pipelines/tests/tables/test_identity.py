from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from molpool_pipelines.tables import _identity as identity
from molpool_pipelines.tables._identity import identify
from rdkit import Chem
from rdkit.Chem import Descriptors

LONG = "[Na+]." + "OC(=O)CN" * 700 + "CC(=O)[O-]"
SALTS = ["CN.Cl", "CN", "[Na+].[O-]C(C)=O", "CC(O)=O", "[Na+].[Cl-]", "C1CC", LONG]
SMILES = ["CCO", "OCC", "[Na+].[Cl-]", "C[C@H](N)O", "C[C@@H](N)O", "[2H]C", "*C", "[He]"]


def test_is_what_rdkit_says_with_and_without_a_cache(tmp_path: Path) -> None:
    mols = [Chem.MolFromSmiles(s) for s in SMILES]
    for cache in (None, tmp_path, tmp_path):
        found = identify(SMILES, cache, how="none")
        for mol, block, mass in zip(mols, found.blocks, found.masses, strict=True):
            if key := Chem.MolToInchiKey(mol):
                assert block == key[:14]
            assert mass == Descriptors.MolWt(mol)  # pyrefly: ignore[missing-attribute]
        assert found.bad == []
    # One molecule, as stereoisomers and writings are; a deuterium is not heavier in the block.
    assert found.blocks[0] == found.blocks[1]
    assert found.blocks[3] == found.blocks[4]


def test_a_second_call_computes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = identify(SMILES, tmp_path)

    def refuse(*_: Any) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(identity, "_compute", refuse)
    second = identify(SMILES[::-1], tmp_path, refuse)
    np.testing.assert_array_equal(second.blocks, first.blocks[::-1])
    np.testing.assert_array_equal(second.masses, first.masses[::-1])
    assert second.structures == first.structures[::-1]


def test_another_rdkit_computes_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    identify(SMILES, tmp_path)
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(identity, "rdkit_version", lambda: "2099.09.1")
    identify(SMILES, tmp_path, lambda done, total: told.append((done, total)))
    assert told == [(8, 8)]


def test_bad_rows_are_named_each_time(tmp_path: Path) -> None:
    smiles = ["CCO", "C1CC", None, "CCO", " ", "C1CC", "CN"]
    for _ in range(2):
        found = identify(smiles, tmp_path)
        assert [(b.row, b.smiles) for b in found.bad] == [
            (1, "C1CC"),
            (2, None),
            (4, " "),
            (5, "C1CC"),
        ]
        assert "unclosed ring" in found.bad[0].reason or "syntax" in found.bad[0].reason
        assert (found.blocks == "").tolist() == [False, True, True, False, True, True, False]
        assert np.isnan(found.masses).tolist() == (found.blocks == "").tolist()


def test_compares_parents_and_weighs_what_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By default a molecule too large to be standardised is too large to be read.
    monkeypatch.setenv("MOLPOOL_MAX_ATOMS", "10000")
    for cache in (None, tmp_path, tmp_path):
        found = identify(SALTS, cache)
        assert found.blocks[0] == found.blocks[1]
        assert found.blocks[2] == found.blocks[3]
        assert found.structures == [
            "CN", "CN", "CC(=O)O", "CC(O)=O", "[Na+].[Cl-]", "C1CC", LONG,
        ]  # fmt: skip
        assert found.masses[0] - found.masses[1] == pytest.approx(36.461, abs=1e-3)
        assert found.as_given == [6]


def test_each_rule_has_its_own_cache(tmp_path: Path) -> None:
    given = identify(SALTS, tmp_path, how="none")
    assert given.blocks[0] != given.blocks[1]
    assert given.structures == SALTS
    assert identify(SALTS, tmp_path).blocks[0] == given.blocks[1]
    keto, enol = identify(["CC(=O)CC(C)=O", "CC(O)=CC(C)=O"], tmp_path, how="tautomer").blocks
    assert keto == enol
