"""Fit a model to training rows, and read again what a fit left in its run folder.

`fit` returns a `Fitted`; `Fitted.write` leaves `coefficients.npz` (the artefact that predictions
are made from), `statistics.npz`, `metrics.json` and, where the scales were sampled,
`scales.parquet`; `FittedRun.load` reads them for figures and reports.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from molpool_common import InputError, RunFolder, checked, formulas_unmarked, load_config
from rt_ridge import (
    FeatureMap,
    RTRidgeError,
    Stage1CoeffSummaries,
    SufficientStatistics,
    judged_pairs,
    looks_curved,
    predicts_closer,
)

from molpool_pipelines.retention._calibrate import Calibrated, Fit, calibrate
from molpool_pipelines.retention._config import (
    COEFFICIENTS,
    CONFIG,
    FLAGGED,
    METRICS,
    RESIDUALS,
    STATISTICS,
    FitConfig,
    Progress,
    silent,
)
from molpool_pipelines.retention._identifiers import PreparedNames
from molpool_pipelines.retention._residuals import Residuals, residuals
from molpool_pipelines.retention._training import (
    RunFolds,
    Training,
    build_estimator,
    read_training,
)


def fit(config: FitConfig, training: Training | None = None, progress: Progress = silent) -> Fitted:
    """Fit what a configuration says; writes nothing.

    Parameters
    ----------
    config : FitConfig
        Rows, model, and whether intervals are calibrated.
    training : Training or None
        What `read_training` returned for this configuration, where it was called before.
    progress : callable
        Called with what is being done.

    Raises
    ------
    InputError, RTRidgeError
        If tables or configuration are wrong.
    """
    training = read_training(config, progress) if training is None else training
    known: dict[str, Any] = {"descriptors": training.descriptors, "classes": training.classes}
    # Estimators without compound effects do not take these arguments.
    known = {name: given for name, given in known.items() if given is not None}

    def estimated(stats: SufficientStatistics, features: FeatureMap, **rest: Any) -> Any:
        # Statistics alone know no runs; their effects are taken off before.
        estimator = build_estimator(config if rest else without_runs)
        estimator.run_col = config.run_col
        return estimator.fit(stats, features=features, **known, **rest)

    without_runs = config.model_copy(update={"run_effects": "none"})

    def of_all(rows: Training) -> Any:
        return estimated(rows.stats, rows.features, **rows.of_fit())

    progress("Choosing a structure" if config.chooses else f"Fitting by {config.method}")
    started = time.perf_counter()
    # On all rows: calibration refits for its quantiles only, the coefficients are those of the full
    # fit.
    estimator = of_all(training)
    training, estimator, tried = _with_squares(training, estimator, of_all, progress)
    seconds = {"statistics": training.seconds, "fit": time.perf_counter() - started}
    calibrated, notes = None, [*training.notes, *tried]
    if training.folds is not None:
        progress("Calibrating intervals on held-out runs")
        started = time.perf_counter()

        def of_others(
            stats: SufficientStatistics, equal: SufficientStatistics | None
        ) -> Stage1CoeffSummaries:
            known: dict[str, Any] = {"features": training.features}
            if not config.leaves_runs_out:
                again = estimated(stats, **known)
            else:
                # What was chosen stands: a choice within each fold would calibrate another model.
                # Where nothing is known by equal weights, some estimators have no word for them.
                beside = {} if equal is None else {"equal": equal}
                again = estimator.refit(stats, **known, **beside)
            found: Stage1CoeffSummaries = again.summaries_
            effects = estimator.summaries_.runs
            unseen = None if effects is None else effects.forgotten()
            return replace(found, tails=estimator.summaries_.tails, runs=unseen)

        calibrated, why = _calibrated(training, training.folds, of_others, estimator.summaries_)
        notes += why
        seconds["calibration"] = time.perf_counter() - started
    found = None
    if config.flag_threshold is not None:
        progress("Holding each row against the fit to all others")
        started = time.perf_counter()
        found = residuals(training, estimator.summaries_, config.flag_threshold)
        seconds["residuals"] = time.perf_counter() - started
    return Fitted(config, training, estimator, seconds, calibrated, found, notes)


def _with_squares(
    training: Training, estimator: Any, fit: Callable[[Training], Any], progress: Progress
) -> tuple[Training, Any, list[str]]:
    """Return what a fit is made from and the fit, with squares where runs left out gain by them."""
    config, rows = training.config, training.rows
    if not (config.tries_squares and rows is not None and training.held_out and training.stats.P):
        return training, estimator, []
    some = rows.of(judged_pairs(training.stats).keys)
    if not looks_curved(some, estimator.summaries_):
        return training, estimator, []
    progress("Trying squares of the covariates")
    squared = read_training(config.model_copy(update={"anchor_expansion": "poly2"}), silent)
    other = fit(squared)
    if predicts_closer(other.choice_, estimator.choice_):
        return squared, other, ["squares of covariates: runs left out gain by them"]
    return training, estimator, ["squares of covariates tried: runs left out gain nothing"]


def _calibrated(
    training: Training,
    folds: RunFolds,
    fit: Fit,
    of_all: Stage1CoeffSummaries,
) -> tuple[Calibrated | None, list[str]]:
    """Return the calibration; none, and why, where it cannot be and nobody asked for it."""
    try:
        found = calibrate(training, folds, fit, of_all)
        return found, found.notes()
    except (InputError, RTRidgeError) as error:
        if training.config.calibrate.enabled == "true":
            raise
        return None, [f"Intervals are the model's own, not calibrated: {error}"]


@dataclass(frozen=True)
class Fitted:
    """A fit, and all that is written of it.

    Attributes
    ----------
    config : FitConfig
        What was asked for.
    training : Training
        Its rows, summed up.
    estimator : object
        One of rt_ridge's, fitted.
    seconds : dict of str to float
        What took how long.
    calibrated : Calibrated or None
        Conformal quantiles, where intervals were to be calibrated.
    residuals : Residuals or None
        Of the training rows, where they were looked at.
    said : list of str
        How the files were read, and why intervals are not calibrated where they might be.
    """

    config: FitConfig
    training: Training
    estimator: Any
    seconds: dict[str, float]
    calibrated: Calibrated | None = None
    residuals: Residuals | None = None
    said: list[str] = field(default_factory=list)

    @property
    def summaries(self) -> Stage1CoeffSummaries:
        """The artefact."""
        found: Stage1CoeffSummaries = self.estimator.summaries_
        # The estimator's own summaries stay uncalibrated, as it may be fitted again.
        if self.calibrated is None:
            return found
        return replace(found, calibration=self.calibrated.calibration)

    @property
    def diagnostics(self) -> dict[str, float | None]:
        """Of the method that estimated the scales; None for what JSON has no number for."""
        posterior = getattr(self.estimator, "scale_posterior_", None)
        return {} if posterior is None else _finite(posterior.diagnostics)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out of the model, or estimated at exactly 0."""
        return tuple(getattr(self.estimator, "notes_", ()))

    @property
    def structure(self) -> list[dict[str, Any]] | None:
        """Candidates of the structure and their scores, where it was chosen."""
        table = self.summaries.structure
        return None if table is None else table.rows()

    @property
    def structure_unseen(self) -> list[dict[str, Any]] | None:
        """The same by pairs left out, where another candidate speaks of pairs never seen."""
        unseen = self.summaries.unseen
        return None if unseen is None or unseen.structure is None else unseen.structure.rows()

    def metrics(self) -> dict[str, Any]:
        """Return what metrics.json holds."""
        sampled = getattr(self.estimator, "scale_posterior_", None) is not None
        weighted = getattr(self.estimator, "weighted_", None)
        return {
            "model": self.config.model,
            # ridge and lasso have no scales to estimate.
            "method": self.config.method if sampled else None,
            "target": self.training.columns.target,
            **self.training.counts(),
            "covariates": list(self.training.features.names),
            "log_likelihood": self.estimator.log_likelihood_,
            "scales": {name: _finite(scale) for name, scale in self.estimator.scales_.items()},
            "priors": list(self.summaries.priors),
            "diagnostics": self.diagnostics,
            "calibration": None if self.calibrated is None else self.calibrated.metrics(),
            "structure": self.structure,
            "structure_unseen": self.structure_unseen,
            "notes": [*self.said, *self.notes],
            "flagged": None if self.residuals is None else self.residuals.n_flagged,
            "left_out": None if weighted is None else weighted.n_left_out,
            "seconds": self.seconds,
        }

    def write(self, run: RunFolder) -> None:
        """Write the artefact, the statistics and the metrics."""
        run.write_file(COEFFICIENTS, self.summaries.save)
        run.write_file(STATISTICS, self.training.stats.save)
        posterior = getattr(self.estimator, "scale_posterior_", None)
        # A single point is the mode, which metrics.json holds.
        if posterior is not None and len(posterior.points) > 1:
            draws = pl.DataFrame(posterior.points, schema=list(posterior.names))
            run.write_frame("scales.parquet", draws.with_columns(weight=posterior.weights))
        if self.residuals is not None:
            self.residuals.write(run)
        # Last of the files: `FittedRun.load` takes a folder with metrics for a complete fit.
        run.write_json(METRICS, self.metrics())
        run.log("finished", **self.seconds)


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    # JSON has neither NaN nor infinity.
    return {name: float(v) if np.isfinite(v) else None for name, v in values.items()}


def standard_deviations(scales: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scales without the groups' offsets of log σ, of which there is one per group."""
    return {name: scale for name, scale in scales.items() if not name.startswith("sigma_offset[")}


@dataclass(frozen=True)
class FittedRun:
    """The run folder of a fit, read again.

    Attributes
    ----------
    name : str
        Of the folder.
    summaries : Stage1CoeffSummaries
        The artefact.
    metrics : dict
        metrics.json.
    settings : str
        Keys of the configuration that are not at their default, dotted, one per line.
    statistics : SufficientStatistics or None
        Of the regressors.
    runs, flagged : DataFrame or None
        See `Residuals`.
    names : PreparedNames
        Of the ids of its table, where that was prepared.
    """

    name: str
    summaries: Stage1CoeffSummaries
    metrics: dict[str, Any]
    settings: str
    statistics: SufficientStatistics | None
    runs: pl.DataFrame | None = None
    flagged: pl.DataFrame | None = None
    names: PreparedNames = field(default_factory=lambda: PreparedNames({}))

    @classmethod
    def load(cls, folder: str) -> FittedRun:
        """Read a run folder, or raise `InputError` or `RTRidgeError`."""
        path = Path(folder)
        absent = [n for n in (COEFFICIENTS, METRICS, CONFIG) if not (path / n).is_file()]
        if absent:
            raise InputError(
                "runs",
                expected="folders of molpool-rt fit",
                found=f"{folder!r} without {absent[0]}",
            )
        statistics = path / STATISTICS
        config = load_config(FitConfig, checked(path / CONFIG))
        # Against today's defaults; keys that a fit of an earlier version lacked are then at them.
        changed = config.model_dump(mode="json", exclude_defaults=True)
        return cls(
            path.resolve().name,
            Stage1CoeffSummaries.load(path / COEFFICIENTS),
            json.loads(checked(path / METRICS).read_text(encoding="utf-8")),
            "\n".join(_lines(changed)),
            # Fits of other callers may come without; only the shrinkage plot needs them.
            SufficientStatistics.load(statistics) if statistics.is_file() else None,
            _texts(path / RESIDUALS),
            _texts(path / FLAGGED),
            PreparedNames.of_fit(config.data),
        )


def _texts(file: Path) -> pl.DataFrame | None:
    """Return a table of residuals, the names in it as text."""
    if not file.is_file():
        return None
    names = dict.fromkeys(("file", "run", "species", "compound", "candidate"), pl.String)
    return formulas_unmarked(pl.read_csv(checked(file), schema_overrides=names))


def _lines(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _lines(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}: {json.dumps(value, ensure_ascii=False)}"
