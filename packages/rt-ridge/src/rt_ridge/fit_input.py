"""From arrays of rows to sufficient statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from molpool_common import FloatArray, IntArray

from rt_ridge.errors import RTRidgeError
from rt_ridge.features import FeatureCenter, FeatureMap
from rt_ridge.statistics import SufficientStatistics


def as_groups(groups: Any, n_rows: int) -> IntArray:
    """Return ids [N, 2] or [N, 3]; zeros where none are given.

    Raises
    ------
    RTRidgeError
        If they have another shape, or are not whole numbers.
    """
    if groups is None:
        return np.zeros((n_rows, 2), dtype=np.int64)
    ids = np.asarray(groups)
    if ids.dtype.names is not None:
        ids = np.stack([ids[name] for name in ids.dtype.names], axis=1)
    if ids.ndim != 2 or ids.shape[1] not in (2, 3) or len(ids) != n_rows:
        raise RTRidgeError(
            f"groups: expected [{n_rows}, 2] (group, compound) or [{n_rows}, 3] (and "
            f"supercategory); found shape {list(ids.shape)}"
        )
    if not np.issubdtype(ids.dtype, np.integer):
        raise RTRidgeError(f"groups: expected whole numbers; found {ids.dtype}")
    return ids.astype(np.int64)


def to_statistics(
    X: FloatArray,
    y: FloatArray,
    groups: Any,
    names: Sequence[str],
    group_col: str,
    center: FeatureCenter,
) -> tuple[SufficientStatistics, FeatureMap]:
    """Reduce rows to the statistics of their pairs.

    Parameters
    ----------
    X, y : ndarray, [N, P], [N]
        Covariates and target.
    groups : array_like of int or None
        See `as_groups`.
    names : sequence of str
        Of the covariates.
    group_col : str
        What the group is called.
    center : {"global", "none"}
        Whether the covariates are centred at their mean.
    """
    import polars as pl

    ids = as_groups(groups, len(X))
    mean = X.mean(axis=0)
    features = FeatureMap.fit(names, mean, np.eye(len(names)), center=center)
    # Numbered names, since a covariate may be called like a column of ids.
    inner = [f"x{j}" for j in range(X.shape[1])]
    frame = pl.DataFrame(features.transform(X), schema=inner)
    frame = frame.with_columns(
        pl.Series("group", ids[:, 0]), pl.Series("compound", ids[:, 1]), pl.Series("rt", y)
    )
    parent = None
    if ids.shape[1] == 3:
        parent = "parent"
        frame = frame.with_columns(pl.Series(parent, ids[:, 2]))
    stats = SufficientStatistics.from_frame(
        frame, group="group", compound="compound", parent=parent, covariates=inner, target="rt"
    )
    return replace(stats, covariates=tuple(names), group_col=group_col), features
