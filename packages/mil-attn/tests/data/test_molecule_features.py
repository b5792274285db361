"""Conformers: apart, within the window, lowest first, by the seed alone; failures with reasons.

Descriptors against RDKit, under rotation, and where they are not defined.
"""

from __future__ import annotations

from itertools import combinations
from math import cos, sin

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mil_attn._config import ConformerConfig, Descriptors2DConfig, DescriptorSet
from mil_attn.data._molecule_features import (
    SIZES,
    Conformers,
    boltzmann_weights,
    conformer_molecule,
    describe_conformers,
    describe_molecule,
    embed,
    names_2d,
    names_3d,
)
from rdkit import Chem
from rdkit.Chem import Descriptors, rdForceFieldHelpers, rdMolAlign, rdMolDescriptors

IBUPROFEN = "CC(C)Cc1ccc(cc1)C(C)C(=O)O"
CYCLOPROPYNE = "C1C#C1"
"""Cyclopropyne: distance geometry finds no conformer."""


def test_conformers_are_apart_ascending_and_within_the_window() -> None:
    config = ConformerConfig(count=12, rmsd=0.6, energy_window=3.0)
    found = embed(IBUPROFEN, config)
    assert len(found.positions) >= 2
    assert found.energies[0] == 0
    assert (np.diff(found.energies) >= 0).all()
    assert found.energies[-1] <= 3.0
    heavy = Chem.RemoveHs(conformer_molecule(IBUPROFEN, found, config))
    for i, j in combinations(range(len(found.positions)), 2):
        assert rdMolAlign.GetBestRMS(Chem.Mol(heavy), heavy, i, j) >= 0.6 - 1e-3


def test_energies_are_those_of_the_positions() -> None:
    config = ConformerConfig(count=5)
    found = embed(IBUPROFEN, config)
    mol = conformer_molecule(IBUPROFEN, found, config)
    properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol)
    energies = [
        rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, properties, confId=i).CalcEnergy()
        for i in range(mol.GetNumConformers())
    ]
    # Positions are kept in single precision: 1e-6 Å on bonds of 1e3 kcal/mol/Å².
    np.testing.assert_allclose(found.energies, np.array(energies) - energies[0], atol=1e-3)


def test_boltzmann_weights_by_hand() -> None:
    energies = np.array([0.0, 1.0, 0.5, 0.5, np.nan, np.nan, 700.0])
    found = boltzmann_weights(energies, np.array([0, 2, 4, 6, 7]))
    # R·T = 0.59248 kcal/mol at 298.15 K; CODATA's R is 8.314462618 J/mol/K.
    ratio = np.exp(-4184 / (8.314462618 * 298.15))
    np.testing.assert_allclose(found[:2], [1 / (1 + ratio), ratio / (1 + ratio)], rtol=1e-6)
    np.testing.assert_allclose(found[2:], [0.5, 0.5, 0.5, 0.5, 1.0])


@pytest.mark.parametrize("seed", [0, 1])
def test_fault_equal_conformers_of_seed_0_does_not_return(seed: int) -> None:
    """RDKit multiplies the seed with the conformer's number: 0 made all of them the same."""
    config = ConformerConfig(count=4, rmsd=0, mmff=False, seed=seed)
    found = embed(IBUPROFEN, config).positions
    assert len(found) == 4
    for one, other in combinations(found, 2):
        assert np.abs(one - other).max() > 0.1
    np.testing.assert_array_equal(found, embed(IBUPROFEN, config).positions)


def test_seeds_give_other_conformers() -> None:
    first, second = (
        embed(IBUPROFEN, ConformerConfig(count=4, rmsd=0, mmff=False, seed=seed)).positions
        for seed in (1, 2)
    )
    assert all(np.abs(one - other).max() > 0.1 for one in first for other in second)


def test_settings_may_keep_all() -> None:
    found = embed(IBUPROFEN, ConformerConfig(count=6, rmsd=0, energy_window=None))
    assert len(found.positions) == 6
    raw = embed(IBUPROFEN, ConformerConfig(count=6, rmsd=0, mmff=False))
    assert len(raw.positions) == 6
    assert np.isnan(raw.energies).all()


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        (CYCLOPROPYNE, r"no conformer embeds \(ETKDGv3, 2 asked for, seed 0\)"),
        ("c1ccc", "not a SMILES: "),
        ("", "not a SMILES: empty"),
        ("C(C)(C)(C)(C)C", "not a SMILES: .*valence"),
    ],
)
def test_failures_are_told_and_quiet(
    smiles: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    found = embed(smiles, ConformerConfig(count=2))
    assert len(found.positions) == 0
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(found.reason)
    assert capfd.readouterr() == ("", "")


def test_force_fields_fall_back(capfd: pytest.CaptureFixture[str]) -> None:
    boron = embed("CB(O)O", ConformerConfig(count=2))  # UFF has boron, MMFF94 has not
    assert boron.energies[0] == 0
    platinum = embed("C[Pt]C", ConformerConfig(count=2))  # neither knows it
    assert len(platinum.positions) > 0
    assert np.isnan(platinum.energies).all()
    assert capfd.readouterr() == ("", "")


def test_of_a_salt_the_largest_fragment_is_embedded() -> None:
    salt = "[Na+].CC(=O)[O-]"
    assert embed(salt, ConformerConfig(count=1)).positions.shape == (1, 7, 3)
    whole = ConformerConfig(count=1, largest_fragment=False)
    assert embed(salt, whole).positions.shape == (1, 8, 3)


@pytest.mark.slow
def test_a_molecule_that_takes_too_long_is_a_failure() -> None:
    """Cyclosporin A: minutes of distance geometry, in rdkit issue 8259 half an hour."""
    cyclosporin = (
        "C/C=C/C[C@@H](C)[C@@H](O)[C@H]1C(=O)N[C@@H](CC)C(=O)N(C)CC(=O)N(C)[C@@H](CC(C)C)C(=O)"
        "N[C@@H](C(C)C)C(=O)N(C)[C@@H](CC(C)C)C(=O)N[C@@H](C)C(=O)N[C@H](C)C(=O)"
        "N(C)[C@@H](CC(C)C)C(=O)N(C)[C@@H](CC(C)C)C(=O)N(C)[C@@H](C(C)C)C(=O)N1C"
    )
    found = embed(cyclosporin, ConformerConfig(count=2, max_seconds=1))
    assert found.reason.startswith("no conformer embeds in 1 s (")


FAMILIES: tuple[DescriptorSet, ...] = tuple(SIZES)
ONE = ConformerConfig(count=2, rmsd=0)
SMILES = "CC(=O)Nc1ccc(O)cc1"


def described(found: Conformers, families: tuple[DescriptorSet, ...]) -> np.ndarray:
    return describe_conformers(conformer_molecule(SMILES, found, ONE), families)


def test_columns_are_rdkits_in_the_order_asked_for() -> None:
    found = embed(SMILES, ONE)
    values = described(found, ("whim", "usrcat"))
    names = names_3d(("whim", "usrcat"))
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
    values = describe_conformers(conformer_molecule("[Na+]", found, ConformerConfig()), [family])
    assert values.shape == (1, SIZES[family])
    assert not np.isinf(values).any()
    # Sums over pairs of atoms, and moments, of a single atom are 0.
    assert (family in ("rdf", "morse", "shape")) == bool(np.isfinite(values).all())


def test_2d_descriptors_are_rdkits() -> None:
    config = Descriptors2DConfig(morgan_bits=64, morgan_radius=0)
    names = names_2d(config)
    found = describe_molecule(SMILES, config)
    mol = Chem.MolFromSmiles(SMILES)
    by_name = dict(zip(names, found.values.tolist(), strict=False))
    mass = Descriptors.MolWt(mol)  # pyrefly: ignore[missing-attribute]
    assert by_name["MolWt"] == pytest.approx(mass, rel=1e-6)
    assert by_name["TPSA"] == pytest.approx(rdMolDescriptors.CalcTPSA(mol), rel=1e-6)
    assert "Ipc" not in by_name
    assert len(names) == len(found.values) + 64
    assert names[-1] == "morgan0_64"
    assert found.counts.sum() == mol.GetNumAtoms()  # radius 0: one environment an atom


def test_2d_descriptors_that_fail_are_nan_and_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    found = describe_molecule("C[Pt]C", Descriptors2DConfig())
    assert found.reason == ""
    assert np.isnan(found.values).any()
    assert not np.isinf(found.values).any()
    assert describe_molecule("c1ccc", Descriptors2DConfig()).reason.startswith("not a SMILES")
    assert capfd.readouterr() == ("", "")


def test_counts_alone_or_descriptors_alone() -> None:
    counts = Descriptors2DConfig(descriptors=False, morgan_bits=8)
    assert names_2d(counts) == tuple(f"morgan2_{i}" for i in range(1, 9))
    assert len(describe_molecule("CC", counts).values) == 0
    values = Descriptors2DConfig(morgan_bits=0)
    assert len(describe_molecule("CC", values).counts) == 0
