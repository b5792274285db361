"""Covariate shift: how errors grow with the distance of a run from those of the training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from molpool_common import FloatArray, IntArray

from rt_ridge._config import ShiftConfig, SimulateConfig
from rt_ridge._estimators import PartialPoolingRidge
from rt_ridge.prediction._summaries import Prediction
from rt_ridge.statistics._sufficient import SufficientStatistics, fit_features, regressor_statistics
from rt_ridge.studies._baselines import GroupwiseRidge
from rt_ridge.studies._evaluation import SupportMetrics
from rt_ridge.studies._simulate import Simulated, simulate
from rt_ridge.tables._compounds import CompoundDescriptors
from rt_ridge.tables._features import FeatureMap
from rt_ridge.tables._mapping import infer_clusters

if TYPE_CHECKING:
    import polars as pl


METHODS = ("partial pooling", "cluster x compound", "species x compound")
"""The hierarchical model, and ridge regressions of every pair on its own, by two groupings."""


@dataclass(frozen=True)
class ShiftResult:
    """What the study found.

    Attributes
    ----------
    runs : DataFrame
        anchors, replicate, method, bin, n, missing (share without a prediction), mae (min),
        rmse, coverage_95, z_mean, z_sd; one row per bin.
    bins : tuple of str
        The bins, from near to far.
    """

    runs: pl.DataFrame
    bins: tuple[str, ...]

    def summary(self) -> pl.DataFrame:
        """Return means over the replicates, and the half width of the 95 % interval of the MAE.

        Returns
        -------
        DataFrame
            anchors, method, bin, mae, mae_95 (Student's t; null for one replicate), coverage_95,
            z_mean, z_sd, missing, replicates.
        """
        import polars as pl
        from scipy.stats import t

        means = [pl.col(c).mean() for c in ("coverage_95", "z_mean", "z_sd", "missing")]
        spread = pl.col("mae").std() / pl.col("mae").count().sqrt()
        grouped = self.runs.group_by("anchors", "method", "bin", maintain_order=True).agg(
            pl.col("mae").mean(),
            spread.alias("mae_95"),
            *means,
            pl.col("mae").count().alias("replicates"),
        )
        # One replicate has no spread: its interval is null already, and t needs a degree of
        # freedom.
        freedom = np.maximum(grouped["replicates"].to_numpy() - 1.0, 1.0)
        return grouped.with_columns(pl.col("mae_95") * pl.Series(np.asarray(t.ppf(0.975, freedom))))


def run_shift(
    config: ShiftConfig | None = None, progress: Callable[[str], None] | None = None
) -> ShiftResult:
    """Run the covariate-shift study on simulated laboratories.

    Every laboratory is seen with each number of anchors: compounds measured in the far test runs
    too and then known in training. All numbers are scored on the same rows, those of compounds
    that are never anchors. Test rows are binned by the Mahalanobis distance of their readings
    from those of the training rows.

    Parameters
    ----------
    config : ShiftConfig or None
        What to run; None takes the defaults.
    progress : callable or None
        Called with a sentence after every fit.
    """
    import polars as pl

    config = config or ShiftConfig()
    edges = config.bins if config.bins[0] == 0 else [0.0, *config.bins]
    labels = tuple(f"{low:g}-{high:g}" for low, high in pairwise(edges))
    parts = []
    for replicate in range(config.replicates):
        for anchors in config.anchors:
            lab = simulate(_lab_config(config, replicate, anchors))
            where = (pl.lit(anchors).alias("anchors"), pl.lit(replicate).alias("replicate"))
            for method, table in _study(config, lab, edges):
                named = table.with_columns(pl.Series("bin", labels))
                parts.append(named.select(*where, pl.lit(method).alias("method"), pl.all()))
            if progress is not None:
                progress(f"replicate {replicate + 1} of {config.replicates}, {anchors} anchors")
    order = pl.col("method").replace_strict({name: i for i, name in enumerate(METHODS)})
    runs = pl.concat(parts).sort("anchors", order, "replicate", maintain_order=True)
    return ShiftResult(runs, labels)


def _lab_config(config: ShiftConfig, replicate: int, anchors: int) -> SimulateConfig:
    values = config.simulate.model_dump()
    # The same seed for each number of anchors: laboratories differ in nothing else.
    return SimulateConfig(**(values | {"seed": config.seed + replicate, "anchors": anchors}))


def _study(
    config: ShiftConfig, lab: Simulated, edges: list[float]
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield the errors by bin of each method in one laboratory."""
    import polars as pl

    covariates = config.simulate.covariates
    train = lab.train
    # Anchors are the compounds 0 .. anchors - 1: whatever their number, the rest is scored.
    test = lab.test.filter(pl.col("comp_id") >= max(config.anchors))
    if config.inferred_clusters:
        n_clusters = config.n_inferred_clusters or config.simulate.n_clusters
        run = "run" if config.clusters_of == "runs" else None
        clusters = infer_clusters(train, covariates, n_clusters, run=run, seed=config.seed)
        train, test = (
            frame.drop("species_cluster").join(clusters, on="species", maintain_order="left")
            for frame in (train, test)
        )
    features = fit_features(_statistics(train, covariates, "species"))
    bins = distance_bins(features, train, test, edges)
    for method, fit in _METHODS.items():
        prediction = fit(config, lab, train, test, features)
        yield method, _score(test["rt"].to_numpy(), prediction, bins, len(edges) - 1)


def distance_bins(
    features: FeatureMap, train: pl.DataFrame, test: pl.DataFrame, edges: list[float]
) -> IntArray:
    """Return the bin of each test row by its distance from the training rows, [N].

    Parameters
    ----------
    features : FeatureMap
        Centres the covariates.
    train, test : DataFrame
        Rows with covariates.
    edges : list of float
        Percentiles of the test rows' Mahalanobis distances, from 0 to 100.
    """
    z = features.transform(train)
    far = features.transform(test) - z.mean(axis=0)
    # A pseudo-inverse, since external standards are often collinear.
    precision = np.linalg.pinv(np.atleast_2d(np.cov(z.T)))
    distance = np.einsum("np,pq,nq->n", far, precision, far)
    # Squared distances: percentiles are the same as of distances.
    inner = np.percentile(distance, edges[1:-1])
    bins: IntArray = np.searchsorted(inner, distance, side="right").astype(np.int64)
    return bins


def _statistics(
    frame: pl.DataFrame, covariates: tuple[str, ...], group: str
) -> SufficientStatistics:
    parent = "species_cluster" if group == "species" else None
    return SufficientStatistics.from_frame(frame, covariates=covariates, group=group, parent=parent)


def _pooled(
    config: ShiftConfig,
    lab: Simulated,
    train: pl.DataFrame,
    test: pl.DataFrame,
    features: FeatureMap,
) -> Prediction:
    stats = regressor_statistics(_statistics(train, features.names, "species"), features)
    known = None
    if config.descriptors and config.simulate.n_descriptors:
        names = list(config.simulate.descriptors)
        known = CompoundDescriptors.from_frame(lab.compounds, columns=names)
    model = PartialPoolingRidge.from_config(config.ridge)
    model.fit(stats, features=features, descriptors=known)
    ids = (test[name].to_numpy() for name in ("species", "comp_id", "species_cluster"))
    prediction: Prediction = model.summaries_.predict(test, *ids)
    return prediction


def _groupwise(group: str) -> Callable[..., Prediction]:
    def predict(
        config: ShiftConfig,
        lab: Simulated,
        train: pl.DataFrame,
        test: pl.DataFrame,
        features: FeatureMap,
    ) -> Prediction:
        stats = regressor_statistics(_statistics(train, features.names, group), features)
        model = GroupwiseRidge(config.alpha, group_col=group).fit(stats, features=features)
        ids = (test[name].to_numpy() for name in (group, "comp_id"))
        prediction: Prediction = model.summaries_.predict(test, *ids)
        return prediction

    return predict


_METHODS: dict[str, Callable[..., Prediction]] = {
    METHODS[0]: _pooled,
    METHODS[1]: _groupwise("species_cluster"),
    METHODS[2]: _groupwise("species"),
}


def _score(y: FloatArray, prediction: Prediction, bins: IntArray, n_bins: int) -> pl.DataFrame:
    import polars as pl

    # The bins of support serve for distance as well: bin j is "support" j of edges 1, 2, ...
    metrics = SupportMetrics(range(1, n_bins + 1))
    metrics.update(y, prediction, bins + 1, bins)
    table = metrics.table()[1 : n_bins + 1]
    missing = pl.col("n_missing") / (pl.col("n") + pl.col("n_missing"))
    return table.select(
        "n", missing.alias("missing"), "mae", "rmse", "coverage_95", "z_mean", "z_sd"
    )
