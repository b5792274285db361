from __future__ import annotations

import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from molpool_common import InputError
from molpool_pipelines.demo import DEMO_NOTICE, DEMO_TASKS, build_demo, label_counts
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import Descriptors, rdMolDescriptors
from scipy import stats

Values = NDArray[np.float64]
QUALITY_SD = {"high": 0.1, "medium": 0.3, "low": 0.8}


@pytest.fixture(scope="module")
def demo() -> pl.DataFrame:
    return build_demo()


@pytest.fixture(scope="module")
def molecules(demo: pl.DataFrame) -> list[Chem.Mol]:
    return [Chem.MolFromSmiles(s) for s in demo["SMILES"]]


PEERS = dict(Descriptors.descList)
"""RDKit's descriptor registry, another way to the properties than the module's."""


def descriptor(name: str, molecules: list[Chem.Mol]) -> Values:
    return np.array([PEERS[name](m) for m in molecules], dtype=np.float64)


@pytest.fixture(scope="module")
def properties(molecules: list[Chem.Mol]) -> dict[str, Values]:
    """LogP and QED without noise."""
    return {"LogP": descriptor("MolLogP", molecules), "QED": descriptor("qed", molecules)}


def test_the_table_has_ids_structures_six_tasks_and_a_quality(demo: pl.DataFrame) -> None:
    assert demo.columns == ["Molecule Name", "SMILES", *DEMO_TASKS, "Quality"]
    assert len(DEMO_TASKS) == 6
    assert demo.height == 1500
    assert demo["Molecule Name"][0] == "DEMO-00001"
    assert demo["Molecule Name"][-1] == "DEMO-01500"
    assert all(demo[task].dtype == pl.Float64 for task in DEMO_TASKS)
    assert set(demo["Quality"]) == {"high", "medium", "low"}


def test_the_notice_says_that_nothing_was_measured() -> None:
    assert "Synthetic" in DEMO_NOTICE
    assert "Nothing was measured" in DEMO_NOTICE
    assert "Nothing in it was measured" in (build_demo.__doc__ or "")


def test_the_same_seed_gives_the_same_table() -> None:
    assert build_demo(150, seed=3).equals(build_demo(150, seed=3))
    assert not build_demo(150, seed=3).equals(build_demo(150, seed=4))


def test_smiles_are_canonical_and_distinct(demo: pl.DataFrame, molecules: list[Chem.Mol]) -> None:
    assert [Chem.MolToSmiles(m) for m in molecules] == demo["SMILES"].to_list()
    assert demo["SMILES"].n_unique() == demo.height


def test_molecules_are_drug_like(molecules: list[Chem.Mol]) -> None:
    weight = descriptor("MolWt", molecules)
    log_p = descriptor("MolLogP", molecules)
    assert weight.min() >= 200
    assert weight.max() <= 550
    assert log_p.min() >= -2
    assert log_p.max() <= 6
    assert all(m.GetNumHeavyAtoms() <= 40 for m in molecules)


def test_no_reactive_handle_survives(molecules: list[Chem.Mol]) -> None:
    handles = ["S(=O)(=O)Cl", "N=C=O", "B(O)O", "cBr", "[CX3H1]=O", "C(=O)[OH]"]
    for handle in handles:
        pattern = Chem.MolFromSmarts(handle)
        assert not any(m.HasSubstructMatch(pattern) for m in molecules), handle


@pytest.mark.parametrize("n", [100, 157, 600, 1500])
def test_labels_are_forty_to_one(n: int) -> None:
    counts = label_counts(n)
    assert counts[0] == 40 * counts[-1]
    assert list(counts) == sorted(counts, reverse=True)
    ratios = np.divide(counts[:-1], counts[1:])
    # A geometric series, up to rounding each count to a whole number.
    assert np.all(np.abs(np.log(ratios) - np.log(40) / 5) < 1 / np.array(counts[1:]))


def test_label_counts_are_those_of_the_table(demo: pl.DataFrame) -> None:
    counts = [demo.height - demo[task].null_count() for task in DEMO_TASKS]
    assert tuple(counts) == label_counts(1500)
    assert (counts[0], counts[-1]) == (1400, 35)


def test_every_molecule_has_a_label(demo: pl.DataFrame) -> None:
    assert demo.filter(pl.all_horizontal(pl.col(t).is_null() for t in DEMO_TASKS)).is_empty()


@pytest.mark.parametrize("quality", list(QUALITY_SD))
def test_noise_has_the_promised_sd(
    demo: pl.DataFrame, molecules: list[Chem.Mol], properties: dict[str, Values], quality: str
) -> None:
    truth = properties["LogP"]
    size = np.array([m.GetNumHeavyAtoms() for m in molecules])
    promised = truth.std() * QUALITY_SD[quality] * size / size.mean()
    noise = (demo["LogP"].to_numpy() - truth) / promised
    noise = noise[(demo["Quality"] == quality).to_numpy() & np.isfinite(noise)]
    # Sum of squares of n standard normals: a correct build fails one seed in a million.
    tails = stats.chi2(len(noise)).cdf(np.sum(noise**2))
    assert 5e-7 < tails < 1 - 5e-7
    # Normal about zero: also one in a million.
    assert abs(noise.mean()) * np.sqrt(len(noise)) < stats.norm.isf(5e-7)


@pytest.mark.parametrize("task", ["LogP", "QED"])
def test_noise_is_ordered_by_quality(
    demo: pl.DataFrame, properties: dict[str, Values], task: str
) -> None:
    noise = demo[task].to_numpy() - properties[task]
    sd = {q: np.nanstd(noise[(demo["Quality"] == q).to_numpy()]) for q in QUALITY_SD}
    # Neighbouring sds differ threefold and 2.7-fold; each group has over 70 rows, so that a swap
    # has a probability below 1e-12 (F test).
    assert sd["high"] < sd["medium"] < sd["low"]


def test_noise_grows_with_the_molecule(
    demo: pl.DataFrame, molecules: list[Chem.Mol], properties: dict[str, Values]
) -> None:
    size = np.array([m.GetNumHeavyAtoms() for m in molecules])
    quality = np.array([QUALITY_SD[q] for q in demo["Quality"]])
    noise = (demo["LogP"].to_numpy() - properties["LogP"]) / quality
    known = np.isfinite(noise)
    # One-sided rank correlation; with homoscedastic noise it passes one seed in a thousand.
    result = stats.spearmanr(size[known], np.abs(noise[known]), alternative="greater")
    assert result.pvalue < 1e-3


def test_without_rdkit_the_error_names_the_extra() -> None:
    code = "import sys; sys.modules['rdkit'] = None; import molpool_pipelines.demo"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ImportError: the demo needs RDKit: install molpool-common[chem]" in done.stderr


def test_later_assays_see_the_more_drug_like_molecules(
    demo: pl.DataFrame, properties: dict[str, Values]
) -> None:
    qed = properties["QED"]
    measured = demo["LogS"].is_not_null().to_numpy()
    # Missing not at random, as documented; labels drawn evenly would pass one seed in a thousand.
    test = stats.mannwhitneyu(qed[measured], qed[~measured], alternative="greater")
    assert test.pvalue < 1e-3


def test_log_s_is_delaneys_formula_plus_noise(
    demo: pl.DataFrame, molecules: list[Chem.Mol]
) -> None:
    rows = (demo["Quality"] == "high").to_numpy() & demo["LogS"].is_not_null().to_numpy()
    esol = np.array(
        [
            0.16
            - 0.63 * PEERS["MolLogP"](m)
            - 0.0062 * PEERS["MolWt"](m)
            + 0.066 * rdMolDescriptors.CalcNumRotatableBonds(m)
            - 0.74 * sum(a.GetIsAromatic() for a in m.GetAtoms()) / m.GetNumHeavyAtoms()
            for m in molecules
        ]
    )
    noise = (demo["LogS"].to_numpy() - esol)[rows]
    # High quality: sd 0.1 of the task's, at most 40/24 of that for the largest molecules; six sds
    # of the largest over 300 rows fail less than one seed in a million.
    assert np.abs(noise).max() < 6 * 0.1 * esol.std() * 40 / 24


@pytest.mark.parametrize(
    ("n", "seed", "parameter"), [(99, 0, "n"), (100_000, 0, "n"), (200, -1, "seed")]
)
def test_what_cannot_be_built_is_refused(n: int, seed: int, parameter: str) -> None:
    with pytest.raises(InputError, match=f"^{parameter}: expected") as caught:
        build_demo(n, seed)
    assert str(n if parameter == "n" else seed) in str(caught.value)
