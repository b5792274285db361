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
    run: str | None = None,
    seed: int = 0,
) -> pl.DataFrame:
    """Group species by k-means on their mean readings, each covariate standardised.

    With `run` it is the runs that are grouped, and a species belongs where most of its runs do:
    labels are then as uncertain as single runs are.

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
    run : str or None
        Column of the run, to group runs instead.
    seed : int
        Of the ten starts of k-means.

    Returns
    -------
    DataFrame
        `species`, ascending, and species_cluster, numbered by their first species.

    Raises
    ------
    RTRidgeError
        If there are fewer species, or runs, than clusters.
    """
    import numpy as np
    import polars as pl
    from sklearn.cluster import KMeans
    from sklearn.preprocessing import StandardScaler

    unit = [species] if run is None else [species, run]
    means = frame.group_by(unit).agg(pl.col(name).mean() for name in covariates).sort(unit)
    if means.height < n_clusters:
        what = "species" if run is None else "runs"
        raise RTRidgeError(
            f"n_clusters: expected at most {means.height} {what}; found {n_clusters}"
        )
    points = StandardScaler().fit_transform(means.select(covariates).to_numpy())
    found = KMeans(n_clusters, n_init=10, random_state=seed).fit_predict(points)
    votes = means.select(species).with_columns(pl.Series("cluster", found, dtype=pl.Int64))
    # Where votes tie, the lowest number wins; modes come in no order.
    most = pl.col("cluster").mode().min()
    labels = votes.group_by(species).agg(most).sort(species)
    _, first, place = np.unique(labels["cluster"], return_index=True, return_inverse=True)
    # k-means numbers its clusters at random; the first species of each gives a stable order.
    number = np.argsort(np.argsort(first))[place]
    return labels.select(species).with_columns(pl.Series("species_cluster", number, dtype=pl.Int64))
