"""Two ways to put blocks of rows on sides: cut an order, or fill by need."""

from __future__ import annotations

import numpy as np

from molpool_common.errors import InputError
from molpool_common.splits._rows import Shares
from molpool_common.splits._split import Indices


def cut(size: Indices, shares: Shares) -> Indices:
    """Cut blocks, in their order, into sides with the given shares of the rows.

    A block goes where its middle row falls, so that each boundary is at most half a block off;
    boundaries then move as little as needed to leave no side without a block.

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
    for side in range(len(bounds)):
        at_least = bounds[side - 1] + 1 if side else 1
        at_most = len(size) - (len(bounds) - side)
        bounds[side] = min(max(int(bounds[side]), at_least), at_most)
    return np.searchsorted(bounds, np.arange(len(size)), side="right").astype(np.int64)


def fill_by_need(size: Indices, shares: Shares, rng: np.random.Generator) -> Indices:
    """Give each block to the side that lacks most rows, large blocks first.

    Blocks larger than half the smallest side go first, in falling size: in a split such as
    0.8/0.1/0.1 they end in train, where they disturb the shares least. The others follow in random
    order, and so every side gets small ones.

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
    side = np.empty(len(size), dtype=np.int64)
    for block in order.tolist():
        side[block] = np.argmax(lacking)
        lacking[side[block]] -= size[block]
    return fill_empty(side, size, len(shares))


def fill_empty(side: Indices, size: Indices, n_sides: int) -> Indices:
    """Give every empty side the smallest block of the side that has most blocks."""
    side = side.copy()
    while (blocks := np.bincount(side, minlength=n_sides)).min() == 0:
        members = np.flatnonzero(side == blocks.argmax())
        side[members[size[members].argmin()]] = blocks.argmin()
    return side


def assign_blocks(
    kind: str, block: Indices, size: Indices, shares: Shares, rng: np.random.Generator
) -> Indices:
    """Put molecules on sides so that no block is torn.

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
        If there are fewer blocks than sides.
    """
    blocks, member = np.unique(block, return_inverse=True)
    if len(blocks) < len(shares):
        raise InputError(
            kind,
            expected=f"at least {len(shares)} of them, one a side",
            found=str(len(blocks)),
        )
    rows = np.bincount(member, weights=size).astype(np.int64)
    return fill_by_need(rows, shares, rng)[member]
