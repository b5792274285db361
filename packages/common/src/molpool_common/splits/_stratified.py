"""Stratified split: each split gets its share of every task's labels, the rare ones first.

Iterative stratification of a multi-label table. A task counts as a label where it is measured, and
a task whose values are all 0 or 1 counts a second time where it is 1.

References
----------
Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data", ECML PKDD (2011).
"""

from __future__ import annotations

import numpy as np

from molpool_common._arrays import IntArray
from molpool_common.splits._fill import fill_empty
from molpool_common.splits._rows import Assign, Rows, Shares
from molpool_common.splits._split import Indices


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
