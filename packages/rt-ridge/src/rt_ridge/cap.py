"""At most so many rows a pair."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rt_ridge.errors import RTRidgeError

if TYPE_CHECKING:
    import polars as pl


def cap_pairs(
    frame: pl.DataFrame,
    cap: int,
    *,
    group: str = "species",
    compound: str = "comp_id",
    seed: int = 0,
) -> pl.DataFrame:
    """Keep at most `cap` rows of each pair, drawn at random, in their order.

    Parameters
    ----------
    frame : DataFrame
        A row a measurement.
    cap : int
        Most rows a pair, at least 1.
    group, compound : str
        Columns of the pair.
    seed : int
        Of the draw.

    Raises
    ------
    RTRidgeError
        If `cap` is below 1.
    """
    if cap < 1:
        raise RTRidgeError(f"cap: expected at least 1; found {cap}")
    ids = (frame[group].to_numpy(), frame[compound].to_numpy())
    order = np.lexsort((np.random.default_rng(seed).random(frame.height), *ids))
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (np.diff(ids[0][order]) != 0) | (np.diff(ids[1][order]) != 0)
    start = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    kept = order[np.arange(len(order)) - start < cap]
    return frame[np.sort(kept)]
