"""What holds for every method, whatever the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from molpool_common._errors import InputError
from molpool_common.splits import METHODS, Split, kfold, split
from numpy.typing import NDArray
from rdkit import Chem

RATIOS = (0.6, 0.2, 0.2)
MOLS = [
    Chem.MolFromSmiles(group + ring)
    for ring in ("c1ccccc1", "C1CCCC1", "c1ccncc1", "c1ccc2ccccc2c1", "C1CCOCC1", "c1ccsc1", "C")
    for group in ("C", "CCO", "NCC", "FC(F)C", "CC(=O)N", "ClCCS")
]


@dataclass(frozen=True)
class Table:
    groups: list[str]
    mols: list[Any]
    times: list[int]
    targets: NDArray[np.float64]

    def arguments(self) -> dict[str, Any]:
        return vars(self)

    def take(self, rows: NDArray[np.int64]) -> Table:
        return Table(
            [self.groups[r] for r in rows],
            [self.mols[r] for r in rows],
            [self.times[r] for r in rows],
            self.targets[rows],
        )


@st.composite
def tables(draw: st.DrawFn, least: int = 1) -> Table:
    """Rows of random molecules; rows of one key need not agree in structure or time."""
    n = draw(st.integers(3 * least, 60))
    n_molecules = draw(st.integers(least, n))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # Squared, so that some molecules have far more rows than others.
    molecule = (n_molecules * rng.random(n) ** 2).astype(int)
    labels = np.where(rng.random((n, 3)) < [0.1, 0.5, 0.9], rng.integers(0, 2, (n, 3)), np.nan)
    labels[:, 2] += rng.normal(size=n)
    return Table(
        groups=[f"M{m}" for m in molecule],
        mols=[MOLS[(m * 7 + (rng.random() < 0.1)) % len(MOLS)] for m in molecule],
        times=(rng.permutation(n_molecules)[molecule] + rng.integers(0, 3, n)).tolist(),
        targets=labels,
    )


def _split_or_skip(method: str, table: Table, ratios: tuple[float, ...], seed: int) -> Split:
    try:
        return split(method, ratios, **table.arguments(), seed=seed)
    except InputError as error:
        # The only excuse is too few things to put on the sides; for these two, too few molecules.
        few_molecules = len(set(table.groups)) < np.count_nonzero(ratios)
        excused = few_molecules or method not in {"random", "stratified"}
        assume(not (excused and "at least" in str(error)))
        raise


@pytest.mark.parametrize("method", METHODS)
@given(table=tables(), seed=st.integers(0, 9), ratios=st.sampled_from([RATIOS, (0.7, 0, 0.3)]))
def test_disjoint_cover_and_no_molecule_straddles(
    method: str, table: Table, seed: int, ratios: tuple[float, ...]
) -> None:
    sides = _split_or_skip(method, table, ratios, seed)
    rows = np.concatenate([sides.train, sides.val, sides.test])
    assert sorted(rows.tolist()) == list(range(len(table.groups)))
    for side, ratio in zip(sides, ratios, strict=True):
        assert side.dtype == np.int64
        assert (np.diff(side) > 0).all()
        assert bool(len(side)) == (ratio > 0)
    of_side = [{table.groups[r] for r in side} for side in sides]
    assert sum(map(len, of_side)) == len(set(table.groups))


@pytest.mark.parametrize("method", METHODS)
@given(table=tables(), seed=st.integers(0, 9), shuffle=st.integers(0, 99))
def test_order_of_rows_does_not_move_molecules(
    method: str, table: Table, seed: int, shuffle: int
) -> None:
    # The cluster method looks at the first row of a molecule: let all its rows agree.
    first = {g: table.mols[i] for i, g in reversed(list(enumerate(table.groups)))}
    table = Table(table.groups, [first[g] for g in table.groups], table.times, table.targets)
    order = np.random.default_rng(shuffle).permutation(len(table.groups))
    sides = _split_or_skip(method, table, RATIOS, seed)
    shuffled = _split_or_skip(method, table.take(order), RATIOS, seed)
    for one, other in zip(sides, shuffled, strict=True):
        assert one.tolist() == sorted(order[other].tolist())


@pytest.mark.parametrize("method", METHODS)
@given(table=tables(least=15), seed=st.integers(0, 9), k=st.integers(2, 4))
def test_folds_test_every_row_once(method: str, table: Table, seed: int, k: int) -> None:
    try:
        folds = kfold(method, k, **table.arguments(), val_ratio=0.2, seed=seed)
    except InputError as error:
        assume("at least" not in str(error))
        raise
    assert len(folds) == k
    tested = np.concatenate([f.test for f in folds])
    assert len(set(tested.tolist())) == len(tested)
    for fold in folds:
        fold.check(table.groups)
        assert all(len(side) for side in fold)
        rows = np.concatenate(list(fold)).tolist()
        assert len(rows) == len(set(rows))
        if method != "time":
            assert sorted(rows) == list(range(len(table.groups)))
    if method != "time":
        assert sorted(tested.tolist()) == list(range(len(table.groups)))


@pytest.mark.parametrize("method", [m for m in METHODS if m != "time"])
def test_seed_decides(method: str) -> None:
    rng = np.random.default_rng(0)
    n = 2 * len(MOLS)
    table = Table(
        groups=[f"M{i % len(MOLS)}" for i in range(n)],
        mols=[MOLS[i % len(MOLS)] for i in range(n)],
        times=list(range(n)),
        targets=np.where(rng.random((n, 2)) < 0.5, 1.0, np.nan),
    )
    first, again, *others = (
        split(method, RATIOS, **table.arguments(), seed=s) for s in (0, 0, 1, 2, 3)
    )
    assert [side.tolist() for side in first] == [side.tolist() for side in again]
    assert any(first.test.tolist() != other.test.tolist() for other in others)
    folds, same = (kfold(method, 3, **table.arguments(), seed=5) for _ in range(2))
    assert [f.val.tolist() for f in folds] == [f.val.tolist() for f in same]


@given(sizes=st.lists(st.integers(1, 4), min_size=30, max_size=80), seed=st.integers(0, 99))
@pytest.mark.parametrize("method", ["random", "time"])
def test_ratios_are_met_within_one_molecule(method: str, sizes: list[int], seed: int) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    ratios = (0.7, 0.15, 0.15)
    # Each boundary is at most half a molecule off, and a side has two.
    sides = split(method, ratios, groups=groups, times=groups, seed=seed)
    for side, ratio in zip(sides, ratios, strict=True):
        assert abs(len(side) - ratio * len(groups)) <= max(sizes)
