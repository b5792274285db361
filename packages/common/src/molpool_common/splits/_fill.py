"""Two ways to assign blocks of rows to splits: cut an order, or fill by need."""

from __future__ import annotations

import numpy as np

from molpool_common.errors import InputError
from molpool_common.splits._rows import Shares
from molpool_common.splits._split import Indices


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
        Side of each block, never falling.
    """
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
        Side of each block.
    """
    large = size > shares.min() * size.sum() / 2
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
