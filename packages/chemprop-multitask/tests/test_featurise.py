"""Graphs that were packed, stored and found again, against Chemprop's own featuriser."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from chemprop.data.collate import BatchMolGraph
from chemprop.data.molgraph import MolGraph
from chemprop.featurizers import SimpleMoleculeMolGraphFeaturizer
from chemprop_multitask import ChempropError, ChempropModel, GraphStore, MoleculeData
from chemprop_multitask import _featurise as featurise_module
from chemprop_multitask._featurise import featurise, featurise_smiles, pack
from hypothesis import given, settings
from hypothesis import strategies as st
from molpool_common import CacheWarning
from rdkit import Chem, rdBase

POOL = [
    "C",
    "[He]",
    "[H][H]",
    "[Na+].[Cl-]",
    "[NH4+]",
    "[O-]S(=O)(=O)[O-].[Mg+2]",
    "CC(C)N.Cl",
    "[2H]C([2H])O",
    "[13CH4]",
    "C[C@H](N)C(=O)O",
    "F/C=C/F",
    "F/C=C\\F",
    "[Fe]",
    "*C",
    "FS(F)(F)(F)(F)F",
    "O=[Os](=O)(=O)=O",
    "c1ccc2[nH]ccc2c1",
    "C#N",
    "[CH3]",
    "CCO name",
    "[NH3]->[Cu]",
    "C~C",
    "C$C",
    "[Fe+2]1<-n2ccccc2-c2cccc[n]->12",
    "C" * 700,  # more atoms than a byte counts
]

ODD_BONDS = POOL[-5:-1]
"""Bonds without a bit of their own, which cuik-molmaker takes for aromatic ones."""


def chemprop_graph(smiles: str) -> MolGraph:
    return SimpleMoleculeMolGraphFeaturizer()(Chem.MolFromSmiles(smiles))


def assert_same(graph: MolGraph, peer: MolGraph) -> None:
    for ours, theirs in zip(graph, peer, strict=True):
        if theirs.dtype.kind == "f":
            theirs = theirs.astype(np.float32)
            # As bits: zeros of either sign would compare equal.
            np.testing.assert_array_equal(ours.view(np.uint32), theirs.view(np.uint32))
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype


@given(st.lists(st.sampled_from(POOL), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_packed_graphs_are_chemprops_to_the_bit(smiles: list[str]) -> None:
    packed = pack(smiles)
    for row, text in enumerate(smiles):
        assert_same(packed.graph(row), chemprop_graph(text))
    order = np.random.default_rng(0).integers(len(smiles), size=2 * len(smiles))
    flat = packed.flat(order)
    peer = BatchMolGraph([chemprop_graph(smiles[i]) for i in order])
    for name, array in flat._asdict().items():
        np.testing.assert_array_equal(array, getattr(peer, name).numpy())


def test_the_quick_way_is_taken_and_agrees_with_the_other() -> None:
    usual = [smiles for smiles in POOL if smiles not in ODD_BONDS]
    quick = featurise_smiles(usual)
    assert quick is not None
    slow = featurise(map(Chem.MolFromSmiles, usual))
    for name, array in vars(slow).items():
        np.testing.assert_array_equal(getattr(quick, name), array)


@pytest.mark.parametrize("smiles", ODD_BONDS)
def test_odd_bonds_are_left_to_chemprop(smiles: str) -> None:
    assert featurise_smiles(["CC", smiles, "c1ccccc1"]) is None


def test_one_odd_molecule_does_not_slow_the_others_down(monkeypatch: pytest.MonkeyPatch) -> None:
    slow: list[int] = []

    def count(mols: Any) -> Any:
        read = list(mols)
        slow.append(len(read))
        return featurise(read)

    monkeypatch.setattr(featurise_module, "featurise", count)
    smiles = ["C" * n for n in range(1, 200)] + ["C~C"]
    packed = pack(smiles)
    for row in (0, 150, 199):
        assert_same(packed.graph(row), chemprop_graph(smiles[row]))
    assert sum(slow) <= 16


def test_other_features_than_chemprops_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from chemprop.featurizers import MultiHotAtomFeaturizer

    calls = MultiHotAtomFeaturizer.__call__
    monkeypatch.setattr(
        MultiHotAtomFeaturizer, "__call__", lambda self, atom: calls(self, atom) * 1.01
    )
    assert featurise_smiles(["CCO"]) is None
    assert_same(pack(["CCO"]).graph(0), chemprop_graph("CCO"))


@pytest.mark.parametrize("odd", ["", "CCO |t|"], ids=["no atoms", "faulty extension"])
def test_what_the_quick_way_does_not_read_is_chemprops(odd: str) -> None:
    try:
        peer = chemprop_graph(odd)
    except Exception:
        with pytest.raises(ChempropError, match="in row 2"):
            pack(["CC", odd])
        return
    assert_same(pack(["CC", odd]).graph(1), peer)


def test_a_second_store_finds_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(featurise_module, "_CHUNK", 7)
    first = GraphStore(tmp_path)
    first.graphs([*POOL, *POOL], lambda done, total: told.append((done, total)))
    assert (first.hits, first.misses) == (0, len(POOL))
    assert told == [(7, 25), (14, 25), (21, 25), (25, 25)]
    assert len(list(first.folder.glob("*.chunk"))) == 4  # type: ignore[union-attr]
    second = GraphStore(str(tmp_path))
    found = second.graphs(POOL[::-1], lambda *_: pytest.fail("featurised again"))
    for row, text in enumerate(POOL[::-1]):
        assert_same(found.graph(row), chemprop_graph(text))
    assert (second.hits, second.misses) == (len(POOL), 0)
    again = second.graphs(POOL[3:5])  # from memory
    assert_same(again.graph(0), chemprop_graph(POOL[3]))
    assert (second.hits, second.misses) == (len(POOL), 0)


def test_without_a_folder_graphs_are_kept_in_memory() -> None:
    store = GraphStore()
    store.graphs(POOL)
    store.graphs([*POOL[5:], "CCCCC"])
    assert (store.hits, store.misses) == (0, len(POOL) + 1)
    assert_same(store.graphs(["CCCCC", "C"]).graph(0), chemprop_graph("CCCCC"))
    assert store.misses == len(POOL) + 1


@pytest.mark.parametrize("what", ["version", "rdBase"])
def test_graphs_of_other_versions_are_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    GraphStore(tmp_path).graphs(["CCO"])
    rdkit = SimpleNamespace(rdkitVersion="99.0", BlockLogs=rdBase.BlockLogs)
    other: Any = {"version": lambda _: "99.0", "rdBase": rdkit}
    monkeypatch.setattr(featurise_module, what, other[what])
    store = GraphStore(tmp_path)
    store.graphs(["CCO"])
    assert store.misses == 1


def test_a_damaged_file_is_featurised_again(tmp_path: Path) -> None:
    store = GraphStore(tmp_path)
    store.graphs(POOL)
    assert store.folder is not None
    (path,) = store.folder.glob("*.chunk")
    path.write_bytes(path.read_bytes()[:-50])
    second = GraphStore(tmp_path)
    with pytest.warns(CacheWarning, match="damaged file"):
        graphs = second.graphs(POOL)
    assert_same(graphs.graph(9), chemprop_graph(POOL[9]))
    assert (second.hits, second.misses) == (0, len(POOL))
    third = GraphStore(tmp_path)
    third.graphs(POOL)
    assert third.hits == len(POOL)


def test_a_bad_smiles_is_named_by_its_row(tmp_path: Path) -> None:
    with pytest.raises(ChempropError, match="found 'C1CC' in row 3"):
        MoleculeData(["CC", "CC", "C1CC", "C1CCC"], cache=tmp_path)


def test_parsed_molecules_keep_their_order_of_atoms(tmp_path: Path) -> None:
    mol = Chem.RenumberAtoms(Chem.MolFromSmiles("CCO"), [2, 1, 0])
    data = MoleculeData([mol, "CCO"], cache=tmp_path)
    assert_same(data.graph(0), SimpleMoleculeMolGraphFeaturizer()(mol))
    assert_same(data.graph(1), chemprop_graph("CCO"))


def test_a_molecule_takes_less_than_ten_bytes_an_atom(smiles: list[str]) -> None:
    many = pack(smiles * 100)
    fixed = many.atom_rows.nbytes + many.bond_rows.nbytes
    assert (many.nbytes - fixed) / len(many.atoms) < 10
    assert many.nbytes < sum(sum(a.nbytes for a in chemprop_graph(s)) for s in smiles) * 100 / 25


@pytest.mark.slow
def test_a_model_is_the_same_with_and_without_a_cache(
    tmp_path: Path, smiles: list[str], table: Any, settings: Any
) -> None:
    def predictions(cache: Path | None) -> Any:
        model = ChempropModel.from_config(settings(), task_names="abc")
        model.fit(MoleculeData(smiles, table, task_names="abc", cache=cache))
        return model.predict(MoleculeData(smiles, cache=cache))

    plain = predictions(None)
    for _ in range(2):
        np.testing.assert_array_equal(predictions(tmp_path), plain)
