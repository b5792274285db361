"""Descriptors against RDKit, under rotation, and where they are not defined."""

from __future__ import annotations

from math import cos, sin

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mil_attn._config import ConformerConfig, Descriptors2DConfig, DescriptorSet
from mil_attn.data import _molecule_features as descriptors_2d
from mil_attn.data import _molecule_features as descriptors_3d
from mil_attn.data._molecule_features import Conformers, conformer_molecule, embed
from rdkit import Chem
from rdkit.Chem import Descriptors, rdMolDescriptors

FAMILIES: tuple[DescriptorSet, ...] = tuple(descriptors_3d.SIZES)
ONE = ConformerConfig(count=2, rmsd=0)
SMILES = "CC(=O)Nc1ccc(O)cc1"


def described(found: Conformers, families: tuple[DescriptorSet, ...]) -> np.ndarray:
    return descriptors_3d.describe_conformers(conformer_molecule(SMILES, found, ONE), families)


def test_columns_are_rdkits_in_the_order_asked_for() -> None:
    found = embed(SMILES, ONE)
    values = described(found, ("whim", "usrcat"))
    names = descriptors_3d.names_3d(("whim", "usrcat"))
    assert values.shape == (2, len(names))
    assert (names[0], names[113], names[114]) == ("whim_1", "whim_114", "usrcat_1")
    mol = conformer_molecule(SMILES, found, ONE)
    expected = rdMolDescriptors.GetUSRCAT(mol, confId=1)
    np.testing.assert_allclose(values[1, 114:], expected, rtol=1e-6)


@settings(max_examples=5, deadline=None)
@given(angle=st.floats(0.1, 6.2), shift=st.floats(-20, 20))
def test_where_a_conformer_lies_does_not_count(angle: float, shift: float) -> None:
    families: tuple[DescriptorSet, ...] = ("usrcat", "autocorr3d", "rdf", "morse")
    found = embed(SMILES, ONE)
    turn = np.array([[cos(angle), -sin(angle), 0], [sin(angle), cos(angle), 0], [0, 0, 1]])
    moved = found._replace(positions=(found.positions @ turn + shift).astype(np.float32))
    # RDKit rounds these to 3 decimals; single precision of 20 Å leaves 1e-6.
    np.testing.assert_allclose(
        described(moved, families), described(found, families), rtol=1e-4, atol=2.1e-3
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_undefined_descriptors_are_nan(family: DescriptorSet) -> None:
    found = embed("[Na+]", ConformerConfig(count=1))
    values = descriptors_3d.describe_conformers(
        conformer_molecule("[Na+]", found, ConformerConfig()), [family]
    )
    assert values.shape == (1, descriptors_3d.SIZES[family])
    assert not np.isinf(values).any()
    assert (family in ("rdf", "morse")) == bool(np.isfinite(values).all())


def test_2d_descriptors_are_rdkits() -> None:
    config = Descriptors2DConfig(morgan_bits=64, morgan_radius=0)
    names = descriptors_2d.names_2d(config)
    found = descriptors_2d.describe_molecule(SMILES, config)
    mol = Chem.MolFromSmiles(SMILES)
    by_name = dict(zip(names, found.values.tolist(), strict=False))
    assert by_name["MolWt"] == pytest.approx(Descriptors.MolWt(mol), rel=1e-6)
    assert by_name["TPSA"] == pytest.approx(rdMolDescriptors.CalcTPSA(mol), rel=1e-6)
    assert "Ipc" not in by_name
    assert len(names) == len(found.values) + 64
    assert names[-1] == "morgan0_64"
    assert found.counts.sum() == mol.GetNumAtoms()  # radius 0: one environment an atom


def test_2d_descriptors_that_fail_are_nan_and_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    found = descriptors_2d.describe_molecule("C[Pt]C", Descriptors2DConfig())
    assert found.reason == ""
    assert np.isnan(found.values).any()
    assert not np.isinf(found.values).any()
    assert descriptors_2d.describe_molecule("c1ccc", Descriptors2DConfig()).reason.startswith(
        "not a SMILES"
    )
    assert capfd.readouterr() == ("", "")


def test_counts_alone_or_descriptors_alone() -> None:
    counts = Descriptors2DConfig(descriptors=False, morgan_bits=8)
    assert descriptors_2d.names_2d(counts) == tuple(f"morgan2_{i}" for i in range(1, 9))
    assert len(descriptors_2d.describe_molecule("CC", counts).values) == 0
    values = Descriptors2DConfig(morgan_bits=0)
    assert len(descriptors_2d.describe_molecule("CC", values).counts) == 0
