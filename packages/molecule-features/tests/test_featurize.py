"""Many molecules: order, repeats, cache, processes, failures."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from molecule_features import FeatureError, Features, Kind, featurize, register
from molecule_features import _running as running
from molecule_features._fingerprints import Fingerprint
from molpool_common import CacheWarning, Float32Array
from rdkit import Chem

HERE = Path(__file__).parent


def same(a: Features, b: Features) -> None:
    np.testing.assert_array_equal(a.values, b.values)
    assert a.reasons == b.reasons
    assert a.blocks == b.blocks


@pytest.mark.core
def test_blocks_stand_side_by_side(drugs: list[str]) -> None:
    found = featurize(drugs, "rdkit2d+morgan_count+maccs", cache=None)
    assert [(b.name, b.start, b.stop, b.kind) for b in found.blocks] == [
        ("rdkit2d", 0, len(found.names) - 2215, "descriptor"),
        ("morgan_count", len(found.names) - 2215, len(found.names) - 167, "count"),
        ("maccs", len(found.names) - 167, len(found.names), "bit"),
    ]
    assert found.values.dtype == np.float32
    assert len(set(found.names)) == found.values.shape[1]
    alone = featurize(drugs, ["maccs"], cache=None)
    np.testing.assert_array_equal(found.block("maccs"), alone.values)


@given(seed=st.integers(0, 2**32 - 1))
def test_order_and_repeats_do_not_count(seed: int) -> None:
    texts = ["CCO", "c1ccccc1", "CC(=O)O", "xx", "CCN", "CCO"]
    order = random.Random(seed).sample(range(6), 6)
    straight = featurize(texts, "rdkit2d+maccs", cache=None)
    shuffled = featurize([texts[i] for i in order], "rdkit2d+maccs", cache=None)
    np.testing.assert_array_equal(shuffled.values, straight.values[order])
    assert shuffled.reasons == [straight.reasons[i] for i in order]


@given(seed=st.integers(0, 2**32 - 1))
def test_the_way_a_molecule_is_written_does_not_count(seed: int) -> None:
    text = "CC(C)Cc1ccc(cc1)[C@H](C)C(=O)O"
    mol = Chem.MolFromSmiles(text)
    order = random.Random(seed).sample(range(mol.GetNumAtoms()), mol.GetNumAtoms())
    mixed = Chem.RenumberAtoms(mol, order)
    for atom in mixed.GetAtoms():
        atom.SetAtomMapNum(atom.GetIdx() + 1)
    ways = [text, Chem.MolToSmiles(Chem.RenumberAtoms(mol, order), canonical=False), mixed]
    found = featurize(ways, "rdkit2d+morgan_count", cache=None)
    np.testing.assert_array_equal(found.values[1:], found.values[[0, 0]])


def test_what_is_missing_or_wrong_is_a_row_of_nan_with_a_reason() -> None:
    given_molecules = ["CCO", None, "", "C1CC", float("nan"), "CN(C)(C)(C)C", np.str_("CCN")]
    found = featurize(given_molecules, "maccs", cache=None)
    assert found.failed.tolist() == [1, 2, 3, 4, 5]
    assert np.isnan(found.values[found.failed]).all()
    assert np.isfinite(found.values[[0, 6]]).all()
    for row, words in [(1, "empty"), (2, "empty"), (3, "ring"), (4, "empty"), (5, "valence")]:
        assert words in found.reasons[row]


def test_no_molecules() -> None:
    found = featurize([], "rdkit2d+minimol", cache=None)
    assert found.values.shape == (0, len(found.names))
    assert found.reasons == []


def test_a_cache_hit_is_the_miss_bit_for_bit(
    tmp_path: Path, drugs: list[str], odd: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = "rdkit2d+morgan_count+erg+shape3d"
    texts = [*drugs[:4], *odd, "C1#CC1", "xx"]
    fresh = featurize(texts, names, cache=None)
    same(fresh, featurize(texts, names, cache=tmp_path))

    def refuse(*_: object) -> None:
        raise AssertionError("computed what is cached")

    monkeypatch.setattr(running, "_computed", refuse)
    same(fresh, featurize(texts, names, cache=tmp_path))
    same(fresh, featurize(texts, names, cache=str(tmp_path)))


def test_only_what_is_new_is_computed(
    tmp_path: Path, drugs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    featurize(drugs[:5], "maccs", cache=tmp_path)
    seen: list[str] = []
    own = Fingerprint.transform

    def counted(self: Fingerprint, smiles: Sequence[str], /) -> Float32Array:
        seen.extend(smiles)
        return own(self, smiles)

    monkeypatch.setattr(Fingerprint, "transform", counted)
    featurize(drugs + drugs, "maccs", cache=tmp_path)
    assert sorted(seen) == sorted(drugs[5:])


def test_a_damaged_file_is_said_and_computed_again(tmp_path: Path, drugs: list[str]) -> None:
    before = featurize(drugs, "morgan_count", cache=tmp_path)
    (file,) = tmp_path.glob("*/*.chunk")
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(bytes(content))
    with pytest.warns(CacheWarning, match="damaged"):
        same(before, featurize(drugs, "morgan_count", cache=tmp_path))
    same(before, featurize(drugs, "morgan_count", cache=tmp_path))


def test_another_version_is_not_found_in_the_cache(
    tmp_path: Path, drugs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    featurize(drugs, "maccs", cache=tmp_path)
    monkeypatch.setattr(Fingerprint, "version", "of tomorrow")
    featurize(drugs, "maccs", cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.slow
def test_two_processes_write_one_cache(tmp_path: Path, drugs: list[str]) -> None:
    code = (
        "import sys; from molecule_features import featurize\n"
        "for text in sys.argv[2:]: featurize([text], 'maccs', cache=sys.argv[1])"
    )
    halves = (drugs[:6], drugs[:1:-1])
    running_now = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), *texts]) for texts in halves
    ]
    assert [process.wait(120) for process in running_now] == [0, 0]
    same(featurize(drugs, "maccs", cache=tmp_path), featurize(drugs, "maccs", cache=None))
    assert not list(tmp_path.glob("*/.*"))  # no temporary file is left


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(
    tmp_path: Path, drugs: list[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(CacheWarning, match="Nothing more is cached"):
        found = featurize(drugs, "maccs", cache=tmp_path / "file" / "below")
    same(found, featurize(drugs, "maccs", cache=None))


@pytest.mark.slow
def test_a_script_without_a_guard_and_a_molecule_that_hangs() -> None:
    # Spawned processes import the script by default: what it starts would start again in each.
    done = subprocess.run(
        [sys.executable, str(HERE / "script.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    reason = "slow: its process died, of memory or past the limit of 2 s"
    assert done.stdout.splitlines() == ["started", "True", reason]


def test_a_protein_is_refused_at_once() -> None:
    peptide = "N" + "CC(=O)N" * 2000 + "C"
    assert len(peptide) > 14_000
    found = featurize([peptide, "CCO", "C" * 200_000], "rdkit2d+morgan_count", cache=None)
    assert (found.reasons[0] or "").startswith("too large: 8002 heavy atoms, of at most 1000")
    assert (found.reasons[2] or "").startswith("too large: 200000 characters, of at most 1000")
    assert found.failed.tolist() == [0, 2]


def test_a_molecule_too_large_for_one_featuriser_has_the_others() -> None:
    found = featurize(["C" * 320], "morgan_count+minimol", cache=None)
    assert found.reasons == ["minimol: too large: 320 heavy atoms, of at most 300"]
    assert np.isfinite(found.block("morgan_count")).all()
    assert np.isnan(found.block("minimol")).all()


class _Lengths:
    """Another package's featuriser: the number of characters, for molecules without nitrogen."""

    name, version = "lengths", "3"
    kind: Kind = "descriptor"
    names: tuple[str, ...] = ("length",)

    def transform(self, smiles: Sequence[str], /) -> Float32Array:
        """Return float32 [N, 1]."""
        if any("N" in text for text in smiles):
            raise ValueError("nitrogen is not my business\nat all")
        return np.array([[len(text)] for text in smiles], dtype=np.float32)


def test_a_molecule_that_a_featuriser_refuses_costs_no_other(tmp_path: Path) -> None:
    register("lengths", _Lengths)
    for _ in range(2):
        found = featurize(["CCO", "CCN", "CC"], "lengths", cache=tmp_path)
        assert found.reasons == ["", "lengths: nitrogen is not my business", ""]
        np.testing.assert_array_equal(found.values[:, 0], [3, np.nan, 2])


def test_values_of_another_shape_name_the_featuriser() -> None:
    class Wide(_Lengths):
        name = "wide"
        names = ("one", "two")

    register("wide", Wide)
    with pytest.raises(
        FeatureError, match=r"'wide': expected values of shape \(1, 2\); found \(1, 1"
    ):
        featurize(["CCO"], "wide", cache=None)


def test_progress_tells_of_what_is_computed(tmp_path: Path, drugs: list[str]) -> None:
    told: list[tuple[str, int, int]] = []

    def tell(name: str, done: int, total: int) -> None:
        told.append((name, done, total))

    for _ in range(2):
        featurize(drugs, "maccs", cache=tmp_path, progress=tell)
    assert told == [("maccs", len(drugs), len(drugs))]


@pytest.mark.parametrize("workers", [0, -1])
def test_workers_must_be_positive(workers: int) -> None:
    with pytest.raises(FeatureError, match=f"workers: expected at least 1; found {workers}"):
        featurize(["CCO"], workers=workers)


def test_one_text_is_no_list() -> None:
    with pytest.raises(FeatureError, match="expected a list of SMILES"):
        featurize("CCO")


def test_an_unknown_block_is_named(drugs: list[str]) -> None:
    with pytest.raises(FeatureError, match="expected one of maccs; found 'erg'"):
        featurize(drugs, "maccs", cache=None).block("erg")


@pytest.mark.realdata
@pytest.mark.slow
def test_biogens_molecules_all_have_features(tmp_path: Path) -> None:
    from molpool_common import read_table

    root = os.environ.get("MOLPOOL_DATA") or Path(__file__).parents[4] / "shared" / "data"
    path = Path(root) / "admet/biogen/ADME_public_set_3521.csv"
    if not path.is_file():
        pytest.skip(f"no {path}")
    frame = read_table(path)
    column = next(name for name in frame.columns if name.casefold() == "smiles")
    found = featurize(frame[column].to_list()[:200], "rdkit2d+morgan_count", cache=tmp_path)
    assert not len(found.failed)
    assert np.isnan(found.values).mean() < 0.001


@pytest.mark.parametrize("name", ["rdkit2d", "maccs"])
def test_ctrl_c_is_heard_after_descriptors(drugs: list[str], name: str) -> None:
    """Each match of a substructure in RDKit leaves a handler behind that swallows it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        featurize(drugs[:3], name, cache=None, workers=1)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
