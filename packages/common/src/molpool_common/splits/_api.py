"""Split a table once, or into folds, by a named method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from molpool_common._arrays import FloatArray
from molpool_common._errors import InputError, did_you_mean
from molpool_common.splits._methods import (
    DISTANCE,
    prepare_cluster,
    prepare_random,
    prepare_scaffold,
    prepare_stratified,
    prepare_time,
)
from molpool_common.splits._rows import (
    Assign,
    ClusterMethod,
    Groups,
    Indices,
    Rows,
    Split,
    Times,
    gather_rows,
)

if TYPE_CHECKING:
    from rdkit.Chem import Mol

_PREPARE: dict[str, Callable[[Rows], Assign]] = {
    "random": prepare_random,
    "scaffold": prepare_scaffold,
    "time": prepare_time,
    "stratified": prepare_stratified,
}

METHODS: tuple[str, ...] = (*_PREPARE, "cluster")
"""Names of the split methods."""


def split(
    method: str,
    ratios: Sequence[float] = (0.8, 0.1, 0.1),
    *,
    groups: Groups,
    mols: Sequence[Mol] | None = None,
    smiles: Sequence[str] | None = None,
    times: Times | None = None,
    targets: ArrayLike | None = None,
    structures: Groups | None = None,
    clusters: ClusterMethod = "butina",
    distance: float = DISTANCE,
    seed: int = 0,
) -> Split:
    """Split rows into train, validation and test so that no molecule is in two splits.

    Parameters
    ----------
    method : {"random", "scaffold", "time", "cluster", "stratified"}
        `random` shuffles molecules. `scaffold` and `cluster` keep molecules of one Bemis–Murcko
        scaffold, or of one fingerprint cluster, together; sets larger than half the smallest split
        are placed first and so mostly in train, the rest at random. `time` tests on the latest.
        `stratified` gives each split its share of every task's labels.
    ratios : sequence of float, length 3
        Shares of the rows in train, val and test, sum 1; val or test may be 0. Met to within the
        rows of the largest set that has to stay together.
    groups : sequence, length N
        Molecule key of each row, as `molecule_groups` makes it.
    mols, smiles : sequence, length N
        Structure of each row; one of the two for `scaffold` and `cluster`.
    times : sequence, length N
        For `time`: what `parse_times` reads. A molecule has the earliest time of its rows, and
        molecules of one time stay together.
    targets : array_like [N, T]
        For `stratified`: NaN = no label.
    structures : sequence, length N, optional
        Molecule key of each row where `groups` are more than molecules (`joined_groups`).
    clusters : {"butina", "leaders"}
        For `cluster`: Butina's clusters, or molecules around leaders.
    distance : float
        For `cluster`: Tanimoto distance within which molecules are alike.
    seed : int
        Of the shuffles. The order of rows has no influence on where a molecule goes.

    Returns
    -------
    Split
        Covers every row.

    Raises
    ------
    InputError
        If the method is unknown, what it needs is missing, ratios do not sum to 1, or there
        are fewer molecules (scaffolds, clusters, distinct times) than splits.
    """
    prepare = _prepare(method, clusters, distance)
    shares = _check_ratios(ratios)
    rows = gather_rows(groups, mols, smiles, times, targets, structures)
    wanted = np.flatnonzero(shares)
    _check_enough(
        len(rows.size), len(wanted), "molecules", f"{len(wanted)} splits", len(rows.molecule)
    )
    members = np.arange(len(rows.size), dtype=np.int64)
    part = wanted[prepare(rows)(members, shares[wanted], np.random.default_rng(seed))]
    return _to_rows(rows, groups, *(members[part == s] for s in range(3)))


def kfold(
    method: str,
    k: int,
    *,
    groups: Groups,
    val_ratio: float = 0.1,
    mols: Sequence[Mol] | None = None,
    smiles: Sequence[str] | None = None,
    times: Times | None = None,
    targets: ArrayLike | None = None,
    structures: Groups | None = None,
    clusters: ClusterMethod = "butina",
    distance: float = DISTANCE,
    seed: int = 0,
) -> list[Split]:
    """Split rows into k folds by the same methods and guarantees as `split`.

    The test splits partition the rows, and each fold's validation split is taken, by the same
    method, from the rows it does not test. `time` instead chains forward: the rows are cut into
    k + 1 consecutive blocks, fold i trains on blocks 0 to i, of which the latest `val_ratio`
    validate, and tests on block i + 1; block 0 is tested by none.

    Parameters
    ----------
    method : str
        As for `split`.
    k : int
        Folds, at least 2.
    groups, mols, smiles, times, targets, structures, clusters, distance, seed
        As for `split`.
    val_ratio : float
        Share of the rows not tested that validate, 0 to below 1.

    Returns
    -------
    list of Split
        k of them.

    Raises
    ------
    InputError
        As `split`, and if k is too small or larger than the number of molecules.
    """
    prepare = _prepare(method, clusters, distance)
    if k < 2:
        raise InputError("k", expected="at least 2 folds", found=str(k))
    if not 0 <= val_ratio < 1:
        raise InputError("val_ratio", expected="0 or more, below 1", found=str(val_ratio))
    rows = gather_rows(groups, mols, smiles, times, targets, structures)
    n_blocks = k + 1 if method == "time" else k
    _check_enough(len(rows.size), n_blocks, "k", f"{k} folds", len(rows.molecule))
    assign = prepare(rows)
    rng = np.random.default_rng(seed)
    members = np.arange(len(rows.size), dtype=np.int64)
    fold = assign(members, np.full(n_blocks, 1 / n_blocks), rng)
    folds = []
    for tested in range(n_blocks - k, n_blocks):
        rest = members[fold < tested] if method == "time" else members[fold != tested]
        train, val = _hold_out(assign, rest, val_ratio, rng)
        folds.append(_to_rows(rows, groups, train, val, members[fold == tested]))
    return folds


def _hold_out(
    assign: Assign, rest: Indices, val_ratio: float, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    # The caller validates on the fold's test part.
    if val_ratio == 0:
        return rest, rest[:0]
    _check_enough(len(rest), 2, "val_ratio", "train and validation in every fold", len(rest))
    part = assign(rest, np.array([1 - val_ratio, val_ratio]), rng)
    return rest[part == 0], rest[part == 1]


def _to_rows(rows: Rows, groups: Groups, *splits: Indices) -> Split:
    result = Split(*(np.flatnonzero(np.isin(rows.molecule, part)) for part in splits))
    # Also of methods that cannot fail: a leak between splits is the one fault that no later check
    # shows.
    result.check(groups)
    return result


def _prepare(method: str, clusters: ClusterMethod, distance: float) -> Callable[[Rows], Assign]:
    if method not in METHODS:
        raise InputError(
            "method",
            expected="the name of a split method",
            found=repr(method),
            hint=did_you_mean(method, METHODS),
        )
    if method == "cluster":
        return partial(prepare_cluster, method=clusters, distance=distance)
    return _PREPARE[method]


def _check_ratios(ratios: Sequence[float]) -> FloatArray:
    shares = np.asarray(ratios, dtype=np.float64)
    right = (
        shares.shape == (3,)
        and np.isfinite(shares).all()
        and shares[0] > 0
        and shares.min() >= 0
        and abs(shares.sum() - 1) <= 1e-6
    )
    if not right:
        raise InputError(
            "ratios",
            expected="train above 0, val and test 0 or more, sum 1",
            found=str(tuple(shares.tolist())),
        )
    # Renormalised: 0.7 + 0.2 + 0.1 is not 1 in binary.
    return np.asarray(shares / shares.sum())


def _check_enough(found: int, needed: int, parameter: str, purpose: str, rows: int) -> None:
    if found < needed:
        raise InputError(
            parameter,
            expected=f"at least {needed} molecules for {purpose}",
            found=f"{found} in {rows} rows" if rows > found else f"{found}",
            hint="Rows of one molecule, a salt and its base too, stay on one side: more molecules, "
            "or fewer parts, are the cure.",
        )
