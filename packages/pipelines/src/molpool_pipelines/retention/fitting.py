"""`molpool-rt fit`: from training rows to an artefact."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from molpool_common import InputError, RunFolder, validate_values
from rich.console import Console
from rt_ridge import (
    Columns,
    FeatureMap,
    GroupwiseLasso,
    GroupwiseRidge,
    PartialPoolingRidge,
    RidgeConfig,
    Stage1CoeffSummaries,
    SufficientStatistics,
    SupercategoryRidge,
)

from molpool_pipelines.retention.calibrating import Calibrated, RunFolds, calibrate
from molpool_pipelines.retention.config import FitConfig, ModelConfig
from molpool_pipelines.retention.descriptors import read_classes, read_descriptors
from molpool_pipelines.retention.folder import (
    COEFFICIENTS,
    METRICS,
    STATISTICS,
    free_folder,
    open_folder,
)
from molpool_pipelines.retention.screen import scale_table
from molpool_pipelines.retention.training import (
    describe_covariates,
    training_columns,
    training_statistics,
)
from molpool_pipelines.tables import TableFiles


def main(config: FitConfig, arguments: Sequence[str]) -> None:
    """Fit, leave a run folder, and say what was found."""
    console = Console(highlight=False)
    path = free_folder(config, "fit")
    fitted = fit_table(config, console)
    run = open_folder(config, path, arguments)
    fitted.write(run)
    fitted.show(console)
    console.print(
        f"{path / COEFFICIENTS}: coefficients of {fitted.stats.G:,} pairs", soft_wrap=True
    )


def fit_table(config: FitConfig, console: Console) -> Fitted:
    """Fit what a configuration says; writes nothing.

    Raises
    ------
    InputError, RTRidgeError
        If table or configuration are wrong.
    """
    table = TableFiles.find(config.data, "data")
    columns = training_columns(config, table)
    build_estimator(config)
    known = _known(config)
    # What cannot be calibrated is refused before a long fit.
    folds = RunFolds.read(config, table) if config.calibrate.enabled else None
    if config.parent_col and columns.parent is None and columns.group != config.parent_col:
        console.print(f"No column {config.parent_col!r}: groups have no supercategories.")
    started = time.perf_counter()
    with console.status(f"Summing up the rows of {table.name}"):
        stats, features = training_statistics(config, table, columns)
    if stats.n_rows < 2:
        raise InputError("data", expected="two rows or more", found="1 row", where=table.name)
    summed = time.perf_counter() - started
    console.print(
        f"{stats.n_rows:,} rows, {stats.G:,} pairs of {_count(stats.group_ids)} groups and"
        f" {_count(stats.compound_ids)} compounds; {describe_covariates(features.names)}"
        f" ({summed:.1f} s)"
    )
    started = time.perf_counter()
    with console.status(f"Fitting by {config.method}"):
        estimator = _estimated(config, stats, features, known)
    seconds = {"statistics": summed, "fit": time.perf_counter() - started}
    fitted = Fitted(config, stats, features, estimator, seconds)
    return fitted if folds is None else _calibrated(fitted, table, columns, folds, known, console)


def _calibrated(
    fitted: Fitted,
    table: TableFiles,
    columns: Columns,
    folds: RunFolds,
    known: dict[str, Any],
    console: Console,
) -> Fitted:
    """Return a fit with intervals measured on runs held out."""
    config, features = fitted.config, fitted.features
    started = time.perf_counter()

    def fit(stats: SufficientStatistics) -> Stage1CoeffSummaries:
        found: Stage1CoeffSummaries = _estimated(config, stats, features, known).summaries_
        return found

    described = known.get("descriptors")
    with console.status("Calibrating intervals on runs held out"):
        found = calibrate(
            config, table, columns, folds, features, fitted.stats.keys, fit, described
        )
    seconds = fitted.seconds | {"calibration": time.perf_counter() - started}
    return replace(fitted, seconds=seconds, calibrated=found)


def _estimated(
    config: FitConfig,
    stats: SufficientStatistics,
    features: FeatureMap,
    known: dict[str, Any],
) -> Any:
    """Return a new estimator, fitted."""
    return build_estimator(config).fit(stats, features=features, **known)


def _known(config: FitConfig) -> dict[str, Any]:
    """Return what is known of compounds besides their rows, as a fit takes it."""
    found: dict[str, Any] = {}
    for key in ("descriptors", "classes"):
        if getattr(config, key) is not None and config.model != "partial_pooling":
            raise InputError(key, expected="model partial_pooling", found=config.model)
    if config.descriptors is not None:
        columns = config.descriptor_cols
        found["descriptors"] = read_descriptors(config.descriptors, config.compound_col, columns)
    if config.classes is not None:
        found["classes"] = read_classes(config.classes, config.compound_col, config.class_col)
    if config.class_slopes != "none" and "classes" not in found:
        raise InputError("classes", expected="a table of them, for class_slopes", found="none")
    return found


def build_estimator(config: ModelConfig) -> Any:
    """Return the estimator that a configuration stands for."""
    if config.model == "ridge":
        return GroupwiseRidge(config.alpha, group_col=config.group_column)
    if config.model == "lasso":
        return GroupwiseLasso(config.alpha, group_col=config.group_column)
    ridge = validate_values(RidgeConfig, config.model_dump(include=set(RidgeConfig.model_fields)))
    kinds = {"partial_pooling": PartialPoolingRidge, "supercategory": SupercategoryRidge}
    estimator = kinds[config.model].from_config(ridge)
    estimator.ridge_config()
    return estimator


@dataclass(frozen=True)
class Fitted:
    """A fit, and all that is written of it.

    Attributes
    ----------
    config : FitConfig
        What was asked for.
    stats : SufficientStatistics
        Of the regressors.
    features : FeatureMap
        From covariates to regressors.
    estimator : object
        One of rt_ridge's, fitted.
    seconds : dict of str to float
        What took how long.
    calibrated : Calibrated or None
        Intervals measured on runs held out, where they were asked for.
    """

    config: FitConfig
    stats: SufficientStatistics
    features: FeatureMap
    estimator: Any
    seconds: dict[str, float]
    calibrated: Calibrated | None = None

    @property
    def summaries(self) -> Stage1CoeffSummaries:
        """The artefact."""
        found: Stage1CoeffSummaries = self.estimator.summaries_
        if self.calibrated is None:
            return found
        return replace(found, calibration=self.calibrated.calibration)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out of the model, or estimated at exactly 0."""
        return tuple(getattr(self.estimator, "notes_", ()))

    def metrics(self) -> dict[str, Any]:
        """Return what metrics.json holds."""
        posterior = getattr(self.estimator, "scale_posterior_", None)
        stats = self.stats
        return {
            "model": self.config.model,
            "method": self.config.method if posterior is not None else None,
            "rows": stats.n_rows,
            "pairs": stats.G,
            "groups": len(np.unique(stats.group_ids)),
            "compounds": len(np.unique(stats.compound_ids)),
            "supercategories": None
            if stats.parents is None
            else len(np.unique(stats.parents.parent)),
            "covariates": list(self.features.names),
            "log_likelihood": self.estimator.log_likelihood_,
            "scales": {
                name: {k: v if np.isfinite(v) else None for k, v in scale.items()}
                for name, scale in self.estimator.scales_.items()
            },
            "diagnostics": {} if posterior is None else finite(posterior.diagnostics),
            "calibration": None if self.calibrated is None else self.calibrated.metrics(),
            "notes": list(self.notes),
            "seconds": self.seconds,
        }

    def write(self, run: RunFolder) -> None:
        """Write the artefact, the statistics and the metrics."""
        run.write_file(COEFFICIENTS, self.summaries.save)
        run.write_file(STATISTICS, self.stats.save)
        posterior = getattr(self.estimator, "scale_posterior_", None)
        if posterior is not None and len(posterior.points) > 1:
            draws = pl.DataFrame(posterior.points, schema=list(posterior.names))
            run.write_frame("scales.parquet", draws.with_columns(weight=posterior.weights))
        run.write_json(METRICS, self.metrics())
        run.log("finished", **self.seconds)

    def show(self, console: Console) -> None:
        """Print the scales with their intervals, and what is to be said of them."""
        console.print(scale_table(self.estimator.scales_))
        posterior = getattr(self.estimator, "scale_posterior_", None)
        found = {} if posterior is None else finite(posterior.diagnostics)
        facts = [f"log likelihood {self.estimator.log_likelihood_:,.2f}"]
        facts += [f"{name} {value:.4g}" for name, value in found.items() if value is not None]
        console.print(", ".join(facts) + f" ({self.seconds['fit']:.1f} s)")
        if self.calibrated is not None:
            console.print(f"{self.calibrated.told()} ({self.seconds['calibration']:.1f} s)")
        for note in self.notes:
            console.print(f"Note: {note}")


def _count(ids: npt.NDArray[np.int64]) -> str:
    return f"{len(np.unique(ids)):,}"


def finite(values: dict[str, float]) -> dict[str, float | None]:
    """Return values with None for what JSON cannot say."""
    return {name: float(v) if np.isfinite(v) else None for name, v in values.items()}


def artefact_path(run: str) -> Path:
    """Return the artefact of a run folder, or the file itself."""
    path = Path(run)
    return path / COEFFICIENTS if path.is_dir() else path
