"""Supercategories of species from the readings of their standards alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rt_ridge.errors import RTRidgeError

if TYPE_CHECKING:
    import polars as pl


def infer_clusters(
    frame: pl.DataFrame,
    covariates: Sequence[str],
    n_clusters: int,
    *,
    species: str = "species",
    seed: int = 0,
) -> pl.DataFrame:
    """Group species by k-means on their mean readings, each covariate standardised.

    Parameters
    ----------
    frame : DataFrame
        Training rows.
    covariates : sequence of str
        Run covariates.
    n_clusters : int
        Clusters k.
    species : str
        Column of the species.
    seed : int
        Of the ten starts of k-means.

    Returns
    -------
    DataFrame
        `species`, ascending, and species_cluster, numbered by their first species.

    Raises
    ------
    RTRidgeError
        If there are fewer species than clusters.
    """
    import numpy as np
    import polars as pl
    from sklearn.cluster import KMeans
    from sklearn.preprocessing import StandardScaler

    means = frame.group_by(species).agg(pl.col(name).mean() for name in covariates).sort(species)
    if means.height < n_clusters:
        raise RTRidgeError(
            f"n_clusters: expected at most {means.height} species; found {n_clusters}"
        )
    points = StandardScaler().fit_transform(means.select(covariates).to_numpy())
    found = KMeans(n_clusters, n_init=10, random_state=seed).fit_predict(points)
    _, first, place = np.unique(found, return_index=True, return_inverse=True)
    # k-means numbers its clusters at random; the first species of each gives a stable order.
    number = np.argsort(np.argsort(first))[place]
    return means.select(species).with_columns(pl.Series("species_cluster", number, dtype=pl.Int64))
