"""From training rows to the statistics of their regressors, in one pass, or two for squares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from molpool_common import listed
from rt_ridge import Columns, FeatureMap, SufficientStatistics, fit_features, regressor_statistics

from molpool_pipelines.retention.config import FitConfig
from molpool_pipelines.tables import TableFiles


def training_columns(config: FitConfig, table: TableFiles) -> Columns:
    """Return the columns that a fit reads, all of them there.

    Raises
    ------
    InputError
        If a column is missing.
    """
    group = table.require(config.group_column, "group_col")
    parent = config.parent_col
    if parent == group or (parent not in table and not needs_parents(config)):
        parent = None
    if parent is not None:
        table.require(parent, "parent_col")
    if config.calibrate.enabled:
        table.require(config.calibrate.run_col, "calibrate.run_col")
    return Columns.of(
        table.matching(config.covariates, "covariates") if config.covariates else [],
        group=group,
        compound=table.require(config.compound_col, "compound_col"),
        parent=parent,
        target=table.require(config.target_col, "target_col"),
    )


def needs_parents(config: FitConfig) -> bool:
    """Whether a model has effects of supercategories."""
    return config.model == "partial_pooling" and (
        config.intercept_prior == "comp_hier_supercat"
        or config.slope_head_mode == "cluster_supercat"
        or config.cluster_slopes
        or config.descriptor_heads != "none"
        or config.descriptor_slopes in ("cluster", "species")
        or config.class_slopes == "cluster"
        or config.slope_shrinkage == "supercat"
    )


def training_statistics(
    config: FitConfig, table: TableFiles, columns: Columns
) -> tuple[SufficientStatistics, FeatureMap]:
    """Sum up the training rows and fit the features to them.

    Parameters
    ----------
    config : FitConfig
        Features, and how many rows and pairs at most.
    table: TableFiles
        The files.
    columns : Columns
        What is read of them.

    Returns
    -------
    stats : SufficientStatistics
        Of the regressors.
    features : FeatureMap
        How they come from the covariates.
    """
    plain = _summed(config, table, columns, None)
    features = fit_features(
        plain,
        center=config.feature_center,
        rotation=config.feature_rotation if plain.P else "none",
        expansion=config.anchor_expansion if plain.P else "none",
    )
    if features.expansion == "none":
        stats = regressor_statistics(plain, features)
    else:
        # Squares are about the centre, which was not known before: the rows are read once more.
        stats = _summed(config, table, columns, features)
    return _fewer_pairs(stats, config), features


def _summed(
    config: FitConfig, table: TableFiles, columns: Columns, features: FeatureMap | None
) -> SufficientStatistics:
    roles: dict[str, Any] = {"features": features, "parent": columns.parent}
    roles |= {"covariates": columns.covariates, "target": columns.target}
    roles |= {"group": columns.group, "compound": columns.compound}
    if config.max_train_rows is None:
        return SufficientStatistics.from_parquet(table.files, **roles)
    # The rows of a trial fit into memory.
    chunks = [chunk.frame for chunk in table.chunks(columns.names, config.max_train_rows)]
    frame = pl.concat(chunks) if chunks else pl.DataFrame(schema=columns.names)
    return SufficientStatistics.from_frame(frame, **roles)


def _fewer_pairs(stats: SufficientStatistics, config: FitConfig) -> SufficientStatistics:
    if config.max_groups is None or config.max_groups >= stats.G:
        return stats
    chosen = np.random.default_rng(config.seed).permutation(stats.G)[: config.max_groups]
    mask = np.zeros(stats.G, dtype=np.bool_)
    mask[chosen] = True
    return stats.subset(mask)


def describe_covariates(names: Sequence[str]) -> str:
    """Return the covariates for the screen."""
    return f"{len(names)} covariates: {listed(names, 6)}" if names else "no covariates"
