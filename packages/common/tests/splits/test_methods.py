"""What each method promises besides."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from molpool_common._chem import morgan_bits, murcko_scaffolds
from molpool_common._errors import InputError
from molpool_common.splits import Split, kfold, molecule_groups, split
from molpool_common.splits._methods import connected, cut, fill_by_need, sphere_exclusion
from rdkit import Chem
from sklearn.model_selection import StratifiedShuffleSplit

RINGS = ["c1ccccc1", "C1CCCC1", "c1ccncc1", "c1ccc2ccccc2c1", "C1CCOCC1", "c1ccsc1", "c1ccoc1"]
CHAINS = [end + "C" * n for n in range(1, 6) for end in ("", "O", "N", "F")]
SMILES = [chain + ring for ring in RINGS for chain in CHAINS]
MOLS = [Chem.MolFromSmiles(s) for s in SMILES]


def test_molecule_groups_join_stereoisomers() -> None:
    mols = [Chem.MolFromSmiles(s) for s in ("C[C@H](N)O", "CCO", "C[C@@H](N)O")]
    a, b, c = molecule_groups(mols)
    assert a == c != b
    with pytest.raises(InputError, match=r"mols \(rows 1\): expected a molecule of each row"):
        molecule_groups([mols[0], None])


# --- scaffold ---


def _shared(sides: Split, labels: Sequence[Any]) -> set[Any]:
    """Return the labels that rows of two sides have."""
    sets = [{labels[i] for i in side.tolist()} for side in sides]
    return {label for a, b in combinations(sets, 2) for label in a & b}


def test_no_scaffold_straddles() -> None:
    scaffolds = murcko_scaffolds(MOLS)
    groups = np.arange(len(MOLS))
    folds = kfold("scaffold", 3, groups=groups, mols=MOLS)
    for sides in (split("scaffold", groups=groups, mols=MOLS), *folds):
        assert _shared(sides, scaffolds) == set()


def test_smiles_do_as_well_as_molecules() -> None:
    groups = np.arange(len(MOLS))
    by_mols = split("scaffold", groups=groups, mols=MOLS, seed=3)
    by_smiles = split("scaffold", groups=groups, smiles=SMILES, seed=3)
    assert [s.tolist() for s in by_mols] == [s.tolist() for s in by_smiles]


def test_rows_of_one_molecule_tie_their_scaffolds_together() -> None:
    # Rows 0 and 1 are one molecule drawn as two tautomers with and without a ring.
    smiles = ["O=C1CCCC1", "OC=CCC=O", "CCC", "CC1CCCC1=O", "c1ccccc1", "c1ccncc1", "c1ccsc1"]
    groups = ["a", "a", "b", "c", "d", "e", "f"]
    for seed in range(20):
        sides = split("scaffold", (0.4, 0.3, 0.3), groups=groups, smiles=smiles, seed=seed)
        (home,) = [set(s.tolist()) for s in sides if 0 in s]
        assert {0, 1, 2, 3} <= home


@pytest.mark.parametrize("seed", range(5))
def test_large_scaffolds_train(seed: int) -> None:
    # 60 + 20 rows of two large scaffolds, 20 of scaffolds of one row.
    small = [f"C1C{'C' * n}1" for n in range(1, 21)]
    smiles = ["c1ccccc1"] * 60 + ["c1ccncc1"] * 20 + small
    sides = split("scaffold", groups=np.arange(100), smiles=smiles, seed=seed)
    assert set(range(80)) == set(sides.train.tolist())
    assert len(sides.val) == len(sides.test) == 10


def test_one_scaffold_cannot_be_split() -> None:
    with pytest.raises(InputError, match=r"scaffolds: expected at least 3 .*found 1"):
        split("scaffold", groups=np.arange(10), smiles=["C" * n for n in range(1, 11)])


@given(
    rows=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=25),
)
def test_components_agree_with_brute_force(rows: list[tuple[int, int]]) -> None:
    molecule = np.unique([m for m, _ in rows], return_inverse=True)[1]
    label = np.unique([s for _, s in rows], return_inverse=True)[1]
    home = list(range(len(rows)))
    for _ in rows:  # each pass carries the least home one link further
        for i in range(len(rows)):
            linked = [
                home[j]
                for j in range(len(rows))
                if molecule[j] == molecule[i] or label[j] == label[i]
            ]
            home[i] = min(linked)
    component = connected(molecule, label)[molecule]
    for i in range(len(rows)):
        for j in range(len(rows)):
            assert (component[i] == component[j]) == (home[i] == home[j])


# --- cluster ---


def test_clusters_agree_with_a_dense_distance_matrix() -> None:
    bits = morgan_bits(MOLS, n_bits=1024).astype(np.int64)
    shared = bits @ bits.T
    counts = bits.sum(axis=1)
    similarity = shared / (counts[:, None] + counts[None, :] - shared)
    leaders: list[int] = []
    for i in range(len(MOLS)):
        if all(similarity[i, j] <= 1 - 0.65 for j in leaders):
            leaders.append(i)
    assert 3 < len(leaders) < len(MOLS) / 3
    nearest = similarity[:, leaders].argmax(axis=1)
    np.testing.assert_array_equal(sphere_exclusion(MOLS, radius=0.65), nearest)


def test_no_cluster_straddles() -> None:
    groups = np.arange(len(MOLS))
    # Molecules are numbered in the order of their keys, and the first leads.
    keys = [f"{g:03d}" for g in groups]
    sides = split("cluster", groups=keys, mols=MOLS, clusters="leaders", seed=1)
    assert _shared(sides, sphere_exclusion(MOLS).tolist()) == set()


# --- time ---


@given(
    rows=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 30)), min_size=20, max_size=60),
)
def test_each_side_is_later_than_the_one_before(rows: list[tuple[int, int]]) -> None:
    earliest: dict[int, int] = defaultdict(lambda: 99)
    for molecule, time in rows:
        earliest[molecule] = min(earliest[molecule], time)
    if len(set(earliest.values())) < 3:
        return
    groups = [m for m, _ in rows]
    train, val, test = split("time", groups=groups, times=[t for _, t in rows])
    times = np.array([earliest[m] for m in groups])
    assert times[train].max() < times[val].min()
    assert times[val].max() < times[test].min()


def test_time_tests_on_the_latest_share() -> None:
    times = np.random.default_rng(0).permutation(100)
    sides = split("time", (0.7, 0.1, 0.2), groups=np.arange(100), times=times)
    assert set(times[sides.test]) == set(range(80, 100))
    assert set(times[sides.val]) == set(range(70, 80))


def test_time_folds_chain_forward() -> None:
    times = np.random.default_rng(0).permutation(120)
    folds = kfold("time", 3, groups=np.arange(120), times=times, val_ratio=0.1)
    for i, fold in enumerate(folds):
        seen = 30 * (i + 1)
        assert set(times[fold.test]) == set(range(seen, seen + 30))
        assert set(times[fold.val]) == set(range(seen - seen // 10, seen))
        assert set(times[fold.train]) == set(range(seen - seen // 10))


def test_molecules_of_one_time_stay_together() -> None:
    years = [2019] * 50 + [2020] * 30 + [2021] * 20
    sides = split("time", groups=np.arange(100), times=years)
    assert [len(s) for s in sides] == [50, 30, 20]
    with pytest.raises(InputError, match="times: expected at least 3 distinct times"):
        split("time", groups=np.arange(80), times=years[:80])


# --- stratified ---


def _sparse_targets(seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    rng = np.random.default_rng(seed)
    prevalence = [0.01, 0.05, 0.3, 0.9]
    measured = rng.random((3000, 4)) < prevalence
    return np.where(measured, (rng.random((3000, 4)) < 0.1).astype(float), np.nan)


@pytest.mark.parametrize("seed", range(3))
def test_every_side_gets_its_share_of_rare_labels(seed: int) -> None:
    targets = _sparse_targets(seed)
    sides = split("stratified", groups=np.arange(3000), targets=targets, seed=seed)
    for side, ratio in zip(sides, (0.8, 0.1, 0.1), strict=True):
        measured = (~np.isnan(targets[side])).sum(axis=0)
        positive = np.nansum(targets[side], axis=0)
        # The rarest labels are dealt first and come out within one; what is dealt later gives way.
        assert abs(positive[0] - ratio * np.nansum(targets[:, 0])) <= 1
        expected = ratio * (~np.isnan(targets)).sum(axis=0)
        np.testing.assert_allclose(measured, expected, atol=4, rtol=0.01)
        np.testing.assert_allclose(positive, ratio * np.nansum(targets, axis=0), atol=3, rtol=0.03)
        assert len(side) == pytest.approx(ratio * 3000, abs=5)


def test_the_rarest_task_reaches_every_fold() -> None:
    targets = _sparse_targets(0)
    total = (~np.isnan(targets[:, 0])).sum()
    for fold in kfold("stratified", 5, groups=np.arange(3000), targets=targets):
        assert (~np.isnan(targets[fold.test, 0])).sum() == pytest.approx(total / 5, abs=2)


def test_one_binary_task_agrees_with_scikit_learn() -> None:
    y = (np.random.default_rng(2).random(400) < 0.07).astype(float)
    sides = split("stratified", (0.75, 0, 0.25), groups=np.arange(400), targets=y[:, None])
    peer = StratifiedShuffleSplit(1, test_size=0.25, random_state=0)
    _, test = next(peer.split(y[:, None], y))
    # Either may round a half of a label its own way.
    assert abs(y[sides.test].sum() - y[test].sum()) <= 1
    assert abs(len(sides.test) - len(test)) <= 1


def test_labels_of_a_molecule_count_by_rows() -> None:
    # One molecule has half of the task's labels: with it in train, test needs the others.
    groups = ["big"] * 10 + [f"s{i}" for i in range(40)]
    targets = np.full((50, 1), np.nan)
    targets[:20] = 0.5
    for seed in range(5):
        train, _, test = split(
            "stratified", (0.5, 0, 0.5), groups=groups, targets=targets, seed=seed
        )
        assert Counter(np.isnan(targets[train, 0]).tolist())[False] == 10
        assert Counter(np.isnan(targets[test, 0]).tolist())[False] == 10


# --- fill ---


@pytest.mark.parametrize(
    ("sizes", "shares", "sides"),
    [
        # Middles at 0.5, 2, 4.5, 7, 9 of ten rows; bounds at 6 and 8.
        ([1, 2, 3, 2, 2], [0.6, 0.2, 0.2], [0, 0, 0, 1, 2]),
        # A block that starts before the bound at 5 but has its middle, 6, after it.
        ([4, 4, 2], [0.5, 0.5], [0, 1, 1]),
        # A block that ends after the bound at 6 but has its middle, 5.5, before it.
        ([4, 3, 3], [0.6, 0.4], [0, 0, 1]),
    ],
)
def test_cut_by_hand(sizes: list[int], shares: list[float], sides: list[int]) -> None:
    assert cut(np.array(sizes), np.array(shares)).tolist() == sides


@pytest.mark.parametrize("sizes", [[1, 1, 100], [100, 1, 1], [1, 100, 1]])
def test_no_side_is_left_empty(sizes: list[int]) -> None:
    shares = np.array([0.8, 0.1, 0.1])
    assert cut(np.array(sizes), shares).tolist() == [0, 1, 2]
    filled = fill_by_need(np.array(sizes), shares, np.random.default_rng(0))
    assert sorted(filled.tolist()) == [0, 1, 2]


@given(sizes=st.lists(st.integers(1, 30), min_size=20, max_size=60), seed=st.integers(0, 99))
def test_filling_overshoots_by_less_than_a_block(sizes: list[int], seed: int) -> None:
    shares = np.array([0.6, 0.2, 0.2])
    side = fill_by_need(np.array(sizes), shares, np.random.default_rng(seed))
    filled = np.bincount(side, weights=sizes, minlength=3)
    assert (filled - shares * sum(sizes) < max(sizes)).all()
