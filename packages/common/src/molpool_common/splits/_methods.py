"""The five methods: each prepares what it needs once and returns an assignment of molecules.

- `random` cuts a shuffled order.
- `scaffold` keeps molecules of one Bemis–Murcko scaffold together; those without a ring share the
  empty one, as in Chemprop and DeepChem. The rows of one molecule can differ in scaffold
  (tautomers); what is kept together is then the connected component of molecules and scaffolds.
- `cluster` keeps molecules of similar Morgan fingerprints together: by Butina's clusters, or by
  directed sphere exclusion (`sphere_exclusion`), where no two leaders are within the distance and
  each molecule joins its nearest.
- `stratified` gives each split its share of every task's labels, the rare ones first: iterative
  stratification, where a task of 0 and 1 counts a second time where it is 1.
- `time` tests on the latest molecules, as a model in use is. A molecule has the earliest time of
  its rows, and molecules of one time stay together: each split is strictly later than the last.

References
----------
Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data", ECML PKDD (2011).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from molpool_common._arrays import IntArray
from molpool_common._errors import InputError
from molpool_common.splits._butina import MOST, butina
from molpool_common.splits._rows import Assign, ClusterMethod, Indices, Rows, Shares, connected
from molpool_common.splits._times import parse_times

if TYPE_CHECKING:
    from rdkit.Chem import Mol


def cut(size: Indices, shares: Shares) -> Indices:
    """Cut blocks, in their order, into splits with the given shares of the rows.

    A block goes where its middle row falls, so that each boundary is at most half a block off;
    boundaries then move as little as needed to leave no split without a block.

    Parameters
    ----------
    size : ndarray of int64 [B]
        Rows of each block, B at least S.
    shares : ndarray [S]
        Positive, sum 1.

    Returns
    -------
    ndarray of int64 [B]
        Split of each block, never falling.
    """
    # Whole molecules move, so that shares of rows are met as nearly as their sizes allow.
    middle = np.cumsum(size) - size / 2
    bounds = np.searchsorted(middle, np.cumsum(shares)[:-1] * size.sum())
    for split in range(len(bounds)):
        at_least = bounds[split - 1] + 1 if split else 1
        at_most = len(size) - (len(bounds) - split)
        bounds[split] = min(max(int(bounds[split]), at_least), at_most)
    return np.searchsorted(bounds, np.arange(len(size)), side="right").astype(np.int64)


def fill_by_need(size: Indices, shares: Shares, rng: np.random.Generator) -> Indices:
    """Give each block to the split that lacks most rows, large blocks first.

    Blocks larger than half the smallest split go first, in falling size: in a split such as
    0.8/0.1/0.1 they end in train, where they disturb the shares least. The others follow in random
    order, and so every split gets small ones.

    Parameters
    ----------
    size : ndarray of int64 [B]
        Rows of each block, B at least S.
    shares : ndarray [S]
        Positive, sum 1.
    rng : numpy.random.Generator
        Orders the small blocks, and large ones of one size.

    Returns
    -------
    ndarray of int64 [B]
        Split of each block.
    """
    large = size > shares.min() * size.sum() / 2
    # Shuffled and then sorted stably: the random order holds among the small blocks, which are
    # equal here.
    order = rng.permutation(len(size))
    order = order[np.argsort(-np.where(large, size, 0)[order], kind="stable")]
    lacking = shares * size.sum()
    split = np.empty(len(size), dtype=np.int64)
    for block in order.tolist():
        split[block] = np.argmax(lacking)
        lacking[split[block]] -= size[block]
    return fill_empty(split, size, len(shares))


def fill_empty(split: Indices, size: Indices, n_splits: int) -> Indices:
    """Give every empty split the smallest block of the split that has most blocks."""
    split = split.copy()
    while (blocks := np.bincount(split, minlength=n_splits)).min() == 0:
        members = np.flatnonzero(split == blocks.argmax())
        split[members[size[members].argmin()]] = blocks.argmin()
    return split


def assign_blocks(
    kind: str, block: Indices, size: Indices, shares: Shares, rng: np.random.Generator
) -> Indices:
    """Assign molecules to splits so that no block is torn.

    Parameters
    ----------
    kind : str
        What the blocks are, for the message.
    block : ndarray of int64 [M]
        Block of each molecule, any labels.
    size : ndarray of int64 [M]
        Rows of each molecule.
    shares : ndarray [S]
        Positive, sum 1.
    rng : numpy.random.Generator
        Orders the small blocks.

    Raises
    ------
    InputError
        If there are fewer blocks than splits.
    """
    blocks, member = np.unique(block, return_inverse=True)
    if len(blocks) < len(shares):
        raise InputError(
            kind,
            expected=f"at least {len(shares)} of them, one per split",
            found=str(len(blocks)),
        )
    rows = np.bincount(member, weights=size).astype(np.int64)
    return fill_by_need(rows, shares, rng)[member]


def prepare_random(rows: Rows) -> Assign:
    """Return the assignment of molecules by a shuffle."""

    def assign(members: Indices, shares: Shares, rng: np.random.Generator) -> Indices:
        order = rng.permutation(len(members))
        split = np.empty(len(members), dtype=np.int64)
        split[order] = cut(rows.size[members[order]], shares)
        return split

    return assign


def prepare_scaffold(rows: Rows) -> Assign:
    """Return the assignment of molecules by scaffold."""
    from molpool_common._chem import murcko_scaffolds, scaffolds_of_smiles

    # Molecules of a long table are gigabytes: where they are not given, some are made at a time.
    few = rows.mols is None and rows.smiles is not None
    scaffolds = (
        scaffolds_of_smiles(rows.smiles or ())
        if few
        else murcko_scaffolds(rows.need_mols("scaffold"))
    )
    block = connected(rows.molecule, np.unique(scaffolds, return_inverse=True)[1])

    def assign(members: Indices, shares: Shares, rng: np.random.Generator) -> Indices:
        return assign_blocks("scaffolds", block[members], rows.size[members], shares, rng)

    return assign


DISTANCE = 0.65
"""Tanimoto distance within which molecules count as alike: the usual Butina cut-off for ECFP4."""


def prepare_cluster(rows: Rows, method: ClusterMethod, distance: float) -> Assign:
    """Return the assignment of molecules by cluster."""
    mols = rows.need_mols("cluster")
    if method == "butina" and len(mols) > MOST:
        raise InputError(
            "clusters",
            expected=f"at most {MOST:,} molecules for Butina's clusters, which compare all pairs",
            found=f"{len(mols):,}",
            hint="--data.cluster-method leaders takes any number.",
        )
    first = [mols[row] for row in rows.first_rows().tolist()]
    cluster = butina(first, distance) if method == "butina" else sphere_exclusion(first, distance)
    if len(cluster) != len(rows.size):
        cluster = connected(rows.molecule, cluster[rows.structure])

    def assign(members: Indices, shares: Shares, rng: np.random.Generator) -> Indices:
        return assign_blocks("clusters", cluster[members], rows.size[members], shares, rng)

    return assign


def sphere_exclusion(mols: Sequence[Mol], radius: float = DISTANCE) -> Indices:
    """Return the cluster of each molecule [M].

    Parameters
    ----------
    mols : sequence of Mol, length M
        Earlier ones lead first.
    radius : float
        Least Tanimoto distance of two leaders.

    References
    ----------
    Gobbi and Lee, "DISE: directed sphere exclusion", J. Chem. Inf. Comput. Sci. 43 (2003) 317–323.
    """
    from rdkit.DataStructs import BulkTanimotoSimilarity
    from rdkit.SimDivFilters.rdSimDivPickers import LeaderPicker

    from molpool_common._chem import morgan_fingerprints

    prints = morgan_fingerprints(mols, n_bits=1024)
    picks = LeaderPicker().LazyBitVectorPick(prints, len(prints), radius)
    leaders = [prints[i] for i in picks]
    return np.array([np.argmax(BulkTanimotoSimilarity(p, leaders)) for p in prints], dtype=np.int64)


def prepare_stratified(rows: Rows) -> Assign:
    """Return the assignment of molecules by iterative stratification."""
    labels = molecule_labels(rows)

    def assign(members: Indices, shares: Shares, rng: np.random.Generator) -> Indices:
        split = _stratify(labels[members], rows.size[members], shares, rng)
        return fill_empty(split, rows.size[members], len(shares))

    return assign


def molecule_labels(rows: Rows) -> IntArray:
    """Return how many rows of each molecule carry each label [U, L]."""
    targets = rows.need_targets()
    measured = ~np.isnan(targets)
    # A 0/1 task counts twice: where it was measured, and where it is 1, which the split of a rare
    # class lacks otherwise.
    binary = (~measured | (targets == 0) | (targets == 1)).all(axis=0)
    carried = np.hstack([measured, targets[:, binary] == 1]).astype(np.int64)
    counts = np.zeros((len(rows.size), carried.shape[1]), dtype=np.int64)
    np.add.at(counts, rows.molecule, carried)
    return counts


def _stratify(labels: IntArray, size: Indices, shares: Shares, rng: np.random.Generator) -> Indices:
    """Deal out the molecules label by label, that with fewest left first."""
    split = np.full(len(size), -1, dtype=np.int64)
    lacking = np.outer(shares, labels.sum(axis=0))
    lacking_rows = shares * size.sum()
    order = rng.permutation(len(size))
    left = labels.sum(axis=0)
    while left.any():
        # The rarest first (Sechidis et al. 2011): a frequent label can still be balanced when few
        # molecules are left.
        label = int(np.where(left > 0, left, np.iinfo(np.int64).max).argmin())
        dealt = order[(split[order] < 0) & (labels[order, label] > 0)]
        # Molecules of many rows first, while every split still has room for them.
        dealt = dealt[np.argsort(-labels[dealt, label], kind="stable")]
        for molecule in dealt.tolist():
            # The split that lacks most of this label; among equals, the one that lacks most rows.
            need = lacking[:, label]
            at_most = np.where(need == need.max(), lacking_rows, -np.inf)
            chosen = int(at_most.argmax())
            split[molecule] = chosen
            lacking[chosen] -= labels[molecule]
            lacking_rows[chosen] -= size[molecule]
        left = left - labels[dealt].sum(axis=0)
    for molecule in order[split[order] < 0].tolist():
        split[molecule] = int(lacking_rows.argmax())
        lacking_rows[split[molecule]] -= size[molecule]
    return split


def prepare_time(rows: Rows) -> Assign:
    """Return the assignment of molecules by time."""
    earliest = np.full(len(rows.size), np.inf)
    # The earliest: a molecule measured again is no new one.
    np.minimum.at(earliest, rows.molecule, parse_times(rows.need_times()))

    def assign(members: Indices, shares: Shares, rng: np.random.Generator) -> Indices:
        del rng  # nothing here is random
        times, moment = np.unique(earliest[members], return_inverse=True)
        if len(times) < len(shares):
            raise InputError(
                "times",
                expected=f"at least {len(shares)} distinct times, one per split",
                found=str(len(times)),
            )
        size = np.bincount(moment, weights=rows.size[members]).astype(np.int64)
        return cut(size, shares)[moment]

    return assign
