"""Molecules from SMILES."""

from __future__ import annotations

import importlib.util
import math
import os
import re
import signal
import sys
import time
from typing import Any

import numpy as np
import pytest
from molpool_common import _chem as chem
from molpool_common._chem import (
    inchikey_blocks,
    morgan_bits,
    morgan_fingerprints,
    murcko_scaffolds,
    parse_smiles,
    scaffolds_of_smiles,
)
from molpool_common._errors import InputError
from rdkit import Chem, DataStructs

BAD: list[tuple[Any, str]] = [
    ("", "empty"),
    ("  ", "empty"),
    (None, "empty"),
    (math.nan, "empty"),
    ("CN(C)(C)C", "valence"),
    ("c1cccc1", "kekulize"),
    ("not a smiles", "(?i)syntax"),
    ("C1CC", "(?i)unclosed ring|syntax"),
]


@pytest.mark.parametrize(("smiles", "reason"), BAD)
def test_each_bad_smiles_has_its_reason(smiles: Any, reason: str) -> None:
    parsed = parse_smiles(["CCO", smiles, "c1ccccc1"])
    assert [m is None for m in parsed.mols] == [False, True, False]
    (bad,) = parsed.bad
    assert bad.row == 1
    assert bad.smiles == (smiles if isinstance(smiles, str) else None)
    assert re.search(reason, bad.reason)


def test_nothing_is_printed_and_the_log_comes_back(capfd: pytest.CaptureFixture[str]) -> None:
    parsed = parse_smiles([s for s, _ in BAD])
    inchikey_blocks([Chem.MolFromSmiles("*CC*")])
    assert len(parsed.bad) == len(BAD)
    assert capfd.readouterr() == ("", "")
    Chem.MolFromSmiles("CN(C)(C)C")
    assert "valence" in capfd.readouterr().err


def test_require_all_names_rows_and_parameter() -> None:
    assert len(parse_smiles(["C", "CC"]).require_all()) == 2
    with pytest.raises(InputError, match=r"SMILES \(rows 1, 2\).*'CN\(C\)\(C\)C' \(.*valence"):
        parse_smiles(["C", "CN(C)(C)C", ""]).require_all("SMILES")


# Keys from PubChem: ethanol 702, aspirin 2244, L-alanine 5950.
@pytest.mark.parametrize(
    ("smiles", "block"),
    [
        ("OCC", "LFQSCWFLJHTTHZ"),
        ("CC(=O)Oc1ccccc1C(O)=O", "BSYNRYMUTXBXSQ"),
        ("C[C@H](N)C(=O)O", "QNAYBMKLOCPYGJ"),
    ],
)
def test_first_block_of_the_inchikey(smiles: str, block: str) -> None:
    assert inchikey_blocks([Chem.MolFromSmiles(smiles)]) == [block]


def test_stereoisomers_and_isotopes_share_a_block() -> None:
    mols = [Chem.MolFromSmiles(s) for s in ("C[C@H](N)O", "C[C@@H](N)O", "CC(N)O", "[2H]C(C)(N)O")]
    assert len(set(inchikey_blocks(mols))) == 1


def test_fallback_key_where_inchi_has_none() -> None:
    mols = [Chem.MolFromSmiles(s) for s in ("*C[C@H](F)*", "*[C@H](F)C*", "*CCC*")]
    assert Chem.MolToInchiKey(mols[0]) == ""  # type: ignore[no-untyped-call]
    key, same, other = inchikey_blocks(mols)
    assert key == same
    assert key != other
    assert len(key) == 14
    assert key.startswith("#")


# Bemis and Murcko's framework of each: rings, linkers and double-bonded atoms, no side chains.
@pytest.mark.parametrize(
    ("smiles", "scaffold"),
    [
        ("CCCO", ""),
        ("Cc1ccccc1O", "c1ccccc1"),
        ("c1ccccc1CCN(C)C1CCCC1", "c1ccc(CCNC2CCCC2)cc1"),
        ("CC1CCC(=O)C1", "O=C1CCCC1"),
        ("C[C@H]1CC[C@@H](c2ccccc2)C1", "c1ccc(C2CCCC2)cc1"),
    ],
)
def test_murcko_scaffold(smiles: str, scaffold: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    expected = Chem.MolToSmiles(Chem.MolFromSmiles(scaffold))
    assert murcko_scaffolds([mol, mol]) == [expected] * 2


def test_morgan_bits_do_not_depend_on_how_the_smiles_is_written() -> None:
    bits = morgan_bits([Chem.MolFromSmiles(s) for s in ("OCC", "CCO", "CCN")], n_bits=512)
    assert bits.shape == (3, 512)
    assert bits.dtype == np.uint8
    assert set(np.unique(bits)) == {0, 1}
    np.testing.assert_array_equal(bits[0], bits[1])
    assert (bits[0] != bits[2]).any()


def test_morgan_bits_of_ethanol() -> None:
    # Three atom environments at radius 0 and, at radius 1, CH3-CH2, C-CH2-O and CH2-OH; the larger
    # ones repeat these.
    assert morgan_bits([Chem.MolFromSmiles("CCO")]).sum() == 6


def test_bits_and_bit_vectors_are_the_same_fingerprint() -> None:
    mols = [Chem.MolFromSmiles(s) for s in ("Cc1ccccc1O", "c1ccccc1CCN")]
    a, b = morgan_bits(mols).astype(bool)
    similarity = (a & b).sum() / (a | b).sum()
    assert DataStructs.TanimotoSimilarity(*morgan_fingerprints(mols)) == pytest.approx(similarity)


def test_no_molecules_make_an_empty_array() -> None:
    assert morgan_bits([]).shape == (0, 2048)


def test_without_rdkit_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rdkit", None)
    spec = importlib.util.spec_from_file_location("chem_without_rdkit", chem.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.raises(ImportError, match=r"molpool-common\[chem\]"):
        spec.loader.exec_module(module)


def test_ctrl_c_still_reaches_python_after_inchi() -> None:
    # RDKit's InChI leaves a handler of its own behind, which swallows the next SIGINT.
    # A background job starts with Ctrl-C ignored: ask for Python's own handling.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        chem.inchikey_blocks([Chem.MolFromSmiles("CCO")])
        with pytest.raises(KeyboardInterrupt):
            _press_ctrl_c()
    finally:
        signal.signal(signal.SIGINT, before)


def _press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)


def test_scaffolds_of_smiles_are_those_of_their_molecules(monkeypatch: pytest.MonkeyPatch) -> None:
    smiles = ["c1ccccc1CCO", "CCO", "C1CC1c1ccncc1", "c1ccccc1CCO"]
    expected = murcko_scaffolds(parse_smiles(smiles).require_all())
    assert scaffolds_of_smiles(smiles) == expected
    with pytest.raises(InputError, match="rows 1"):
        scaffolds_of_smiles(["CCO", "nope"])
    # What was remembered does not pass a limit that is lower now.
    monkeypatch.setenv("MOLPOOL_MAX_ATOMS", "5")
    with pytest.raises(InputError, match="too large"):
        scaffolds_of_smiles(smiles)
