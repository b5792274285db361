"""What a fit is made from: rows summed up by pair, features, estimator, compounds, folds of runs.

The rows are read some at a time and only their sufficient statistics are held: one pass, two where
covariates are squared, and one more over the column of the run where intervals are calibrated.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from molpool_common import (
    BoolArray,
    InputError,
    IntArray,
    ReadConfig,
    engine_workers,
    listed,
    mapped,
    validate_values,
)
from rt_ridge import (
    STRUCTURE,
    AutoRidge,
    Columns,
    CompoundClasses,
    CompoundDescriptors,
    FeatureMap,
    GroupwiseLasso,
    GroupwiseRidge,
    HeldOut,
    PartialPoolingRidge,
    RidgeConfig,
    StoredRows,
    SufficientStatistics,
    SupercategoryRidge,
    fit_features,
    regressor_statistics,
)

from molpool_pipelines.retention._compounds import read_classes, read_descriptors
from molpool_pipelines.retention._config import FitConfig, ModelConfig, Progress, silent
from molpool_pipelines.retention._covariates import (
    CentredFiles,
    everywhere,
    lacking,
    matching_covariates,
    refuse_absent,
    run_names,
)
from molpool_pipelines.retention._held_out import (
    LeftOut,
    RunTable,
    read_held_out,
    read_rows,
)
from molpool_pipelines.retention._identifiers import PreparedNames, as_prepared, id_column
from molpool_pipelines.retention._plausible import OddTimes
from molpool_pipelines.tables import TableFiles


@dataclass(frozen=True)
class Training:
    """All that a fit is made from.

    Attributes
    ----------
    config : FitConfig
        What is asked for.
    table : CentredFiles
        The training rows, on disk.
    columns : Columns
        What is read of them.
    stats : SufficientStatistics
        Of the regressors.
    features : FeatureMap
        From covariates to regressors.
    descriptors : CompoundDescriptors or None
        Of the compounds.
    classes : CompoundClasses or None
        Of the compounds.
    folds : RunFolds or None
        Runs that are held out together, where intervals are to be calibrated.
    left_out : LeftOut or None
        Runs that are left out together, where the structure is to be chosen.
    rows : StoredRows or None
        The rows, where they are weighted or runs have effects.
    runs : list of str
        Runs in their order, where they have effects.
    seconds : float
        What summing up took.
    n_read : int
        Rows read; those of pairs that `max_groups` did not draw are not in `stats`.
    notes : list of str
        How the files were read, and why intervals are not calibrated where they might be.
    """

    config: FitConfig
    table: CentredFiles
    columns: Columns
    stats: SufficientStatistics
    features: FeatureMap
    descriptors: CompoundDescriptors | None
    classes: CompoundClasses | None
    folds: RunFolds | None
    seconds: float
    n_read: int
    notes: list[str]
    left_out: LeftOut | None = None
    rows: StoredRows | None = None
    runs: list[str] = field(default_factory=list)

    @property
    def held_out(self) -> list[HeldOut]:
        """Sums of runs that are left out together."""
        return [] if self.left_out is None else self.left_out.sums

    def of_fit(self) -> dict[str, Any]:
        """Return what an estimator is given besides statistics and features."""
        given: dict[str, Any] = {"rows": self.rows}
        if self.runs:
            given["runs"] = self.runs
        if self.config.leaves_runs_out:
            given["held_out"] = self.held_out
        if self.config.chooses and self.left_out is not None:
            given["folds"] = self.left_out.folds
        return given

    @property
    def without_parents(self) -> bool:
        """Whether the configured column of supercategories is not in the table."""
        parent = self.config.parent_col
        return bool(parent) and self.columns.parent is None and self.columns.group != parent

    def counts(self) -> dict[str, int | None]:
        """Return the numbers of rows, read and used, and of what they are of."""
        stats = self.stats
        parents = None if stats.parents is None else len(np.unique(stats.parents.parent))
        return {
            "rows_read": self.n_read,
            "rows": stats.n_rows,
            "rows_not_drawn": self.n_read - stats.n_rows,
            "pairs": stats.G,
            "groups": len(np.unique(stats.group_ids)),
            "compounds": len(np.unique(stats.compound_ids)),
            "supercategories": parents,
        }


def read_training(config: FitConfig, progress: Progress = silent) -> Training:
    """Read what a fit is made from; writes nothing.

    Parameters
    ----------
    config : FitConfig
        Tables, columns, features, and how many rows and pairs at most.
    progress : callable
        Called with what is being done.

    Raises
    ------
    InputError, RTRidgeError
        If tables or configuration are wrong.
    """
    table = TableFiles.find(config.data, "data", read=config.read)
    config = as_prepared(config, table)
    columns = training_columns(config, table)
    # For its checks: settings that contradict one another are refused before the rows are read.
    build_estimator(config)
    descriptors, classes = _read_compounds(config)
    # What cannot be calibrated is refused before a long fit.
    folds, why = _folds(config, table)
    progress(f"Summing up the rows of {table.name}")
    started = time.perf_counter()
    files = CentredFiles.of(table, columns.covariates)
    stats, features, n_read = _statistics(config, files, columns)
    if stats.n_rows < 2:
        raise InputError("data", expected="two rows or more", found="1 row", where=table.name)
    notes = [*table.notes(), *files.notes, *_odd_times(config, files, columns), *why]
    left_out = runs = None
    if config.leaves_runs_out:
        progress(f"Summing up the runs of {table.name}")
        runs = RunTable.read(config, files, columns)
        if runs is not None:
            left_out = read_held_out(config, files, columns, stats, features, runs)
            features = left_out.features
            notes += runs.notes()
            folds = folds and folds.with_twins(runs.twins)
    shifted = config.run_effects != "none"
    if shifted and runs is None:
        runs = RunTable.read(config, files, columns)
    again = config.weighs_rows or shifted or (left_out is not None and config.tries_tails)
    rows = read_rows(config, files, columns, runs) if again else None
    seconds = time.perf_counter() - started
    of_rows = (config, files, columns, stats, features, descriptors, classes)
    names = list(runs.place) if shifted and runs is not None else []
    return Training(*of_rows, folds, seconds, n_read, notes, left_out, rows, names)


def _odd_times(config: FitConfig, table: CentredFiles, columns: Columns) -> list[str]:
    """Return what is said of times that can hardly be any."""
    odd = OddTimes()
    for chunk in table.chunks([columns.target], config.max_train_rows):
        height = chunk.frame.height
        rows = pl.int_range(chunk.first_row, chunk.first_row + height, eager=True)
        odd.add(chunk.frame[columns.target], rows)
    return odd.notes()


def training_columns(config: FitConfig, table: TableFiles) -> Columns:
    """Return the columns that a fit reads, all of them there.

    Raises
    ------
    InputError
        If a column is missing.
    """
    config = as_prepared(config, table)
    group = id_column(table, config.group_column, "group_col")
    compound = id_column(table, config.compound_col, "compound_col")
    covariates = matching_covariates(everywhere(table), config.covariates)
    if config.absent_covariates == "error":
        # A covariate that some files lack would be left out in silence.
        refuse_absent(
            lacking(table, covariates),
            "--absent-covariates center takes their mean; --covariates leaves them out.",
        )
    elif config.feature_center == "none" and lacking(table, covariates):
        raise InputError(
            "feature_center",
            expected="global, with absent_covariates center",
            found="none",
            hint="Only about their mean has a covariate no effect there.",
        )
    parent = config.parent_col
    # The default name need not be there where nothing is pooled by supercategory.
    if parent == group or (parent not in table and not _needs_parents(config)):
        parent = None
    if parent is not None:
        id_column(table, parent, "parent_col")
    if config.run_effects != "none":
        _refuse_without_runs(config, table)
    if config.calibrate.enabled == "true":
        table.require(config.calibrate.run_col, "calibrate.run_col")
    return Columns.of(
        covariates,
        group=group,
        compound=compound,
        parent=parent,
        target=table.require(config.target_col, "target_col"),
    )


def _refuse_without_runs(config: FitConfig, table: TableFiles) -> None:
    """Raise `InputError` where effects of runs are asked for and there are no runs, or no model."""
    if config.model != "partial_pooling":
        raise InputError("run_effects", expected="model partial_pooling", found=config.model)
    if config.run_col is None:
        raise InputError("run_col", expected="a column of runs, for run_effects", found="none")
    table.require(config.run_col, "run_col")


def _needs_parents(config: FitConfig) -> bool:
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


def _read_compounds(
    config: FitConfig,
) -> tuple[CompoundDescriptors | None, CompoundClasses | None]:
    """Return what is known of compounds besides their rows."""
    for key in ("descriptors", "classes"):
        if getattr(config, key) is not None and config.model != "partial_pooling":
            raise InputError(key, expected="model partial_pooling", found=config.model)
    descriptors = classes = None
    how: dict[str, Any] = {"read": config.read, "prepared": PreparedNames.of_fit(config.data)}
    if config.descriptors is not None:
        columns = config.descriptor_cols
        descriptors = read_descriptors(config.descriptors, config.compound_col, columns, **how)
    if config.classes is not None:
        classes = read_classes(config.classes, config.compound_col, config.class_col, **how)
    elif config.class_slopes != "none":
        raise InputError("classes", expected="a table of them, for class_slopes", found="none")
    return descriptors, classes


def build_estimator(config: ModelConfig) -> Any:
    """Return the estimator that a configuration stands for, its settings checked."""
    if config.model in ("ridge", "lasso"):
        baseline = GroupwiseRidge if config.model == "ridge" else GroupwiseLasso
        return baseline(config.alpha, group_col=config.group_column, **config.robust)
    _check_chosen(config)
    ridge = validate_values(RidgeConfig, config.model_dump(include=set(RidgeConfig.model_fields)))
    pooled = AutoRidge if config.chooses else PartialPoolingRidge
    kinds = {"partial_pooling": pooled, "supercategory": SupercategoryRidge}
    estimator = kinds[config.model].from_config(ridge)
    # Raises where keys are valid one by one and not together.
    estimator.ridge_config()
    return estimator


def _check_chosen(config: ModelConfig) -> None:
    """Refuse a default that is given where it would be taken for what is to be chosen."""
    for key in STRUCTURE if config.chooses else ():
        value = getattr(config, key)
        if config.is_given(key) and value == RidgeConfig.model_fields[key].default:
            raise InputError(
                key,
                expected="another value than the default with structure auto, or none",
                found=repr(value),
                hint="With --structure fixed it is taken.",
            )


# --- sums over the rows ---


def _statistics(
    config: FitConfig, table: CentredFiles, columns: Columns
) -> tuple[SufficientStatistics, FeatureMap, int]:
    """Sum up the rows and fit the features to them; return how many rows there were, too."""
    plain = _summed(config, table, columns, None)
    features = fit_features(
        plain,
        center=config.feature_center,
        # A model without covariates has nothing to rotate or to square.
        rotation=config.feature_rotation if plain.P else "none",
        expansion="poly2" if plain.P and config.anchor_expansion == "poly2" else "none",
    )
    if features.expansion == "none":
        # Centring and rotating are linear: the sums transform, without another pass over the rows.
        stats = regressor_statistics(plain, features)
    else:
        # Squares are about the centre, which was not known before: the rows are read once more.
        stats = _summed(config, table, columns, features)
    return _at_most(config.max_groups, stats, config.seed), features, stats.n_rows


def _summed(
    config: FitConfig, table: CentredFiles, columns: Columns, features: FeatureMap | None
) -> SufficientStatistics:
    roles = statistics_roles(columns, features)
    files = table.table.files
    if (
        config.max_train_rows is None
        and not table.absent
        and len(files) > 1
        and engine_workers(1) > 1
    ):
        first, *others = mapped(_of_file, (config.read, roles), files)
        return first.merge(*others)
    if config.max_train_rows is None and not table.absent:
        return SufficientStatistics.from_parquet(table.table.files, read=config.read, **roles)
    if config.max_train_rows is None:
        parts = table.chunks(columns.names)
        first, *others = (SufficientStatistics.from_frame(p.frame, **roles) for p in parts)
        return first.merge(*others)
    # The rows of a trial fit into memory.
    told = table.told(table.chunks(columns.names, config.max_train_rows), "Reading")
    chunks = [chunk.frame for chunk in told]
    frame = pl.concat(chunks) if chunks else pl.DataFrame(schema=columns.names)
    return SufficientStatistics.from_frame(frame, **roles)


def _of_file(shared: tuple[ReadConfig, dict[str, Any]], file: Path) -> SufficientStatistics:
    """Sum up one of several files."""
    read, roles = shared
    return SufficientStatistics.from_parquet([file], read=read, threads=1, **roles)


def statistics_roles(columns: Columns, features: FeatureMap | None) -> dict[str, Any]:
    """Return columns and features as `SufficientStatistics` takes them."""
    return {
        "covariates": columns.covariates,
        "group": columns.group,
        "compound": columns.compound,
        "parent": columns.parent,
        "target": columns.target,
        "features": features,
    }


def _at_most(n_pairs: int | None, stats: SufficientStatistics, seed: int) -> SufficientStatistics:
    if n_pairs is None or n_pairs >= stats.G:
        return stats
    mask = np.zeros(stats.G, dtype=np.bool_)
    # Whole pairs, not rows: each drawn pair keeps all of its support.
    mask[np.random.default_rng(seed).permutation(stats.G)[:n_pairs]] = True
    return stats.subset(mask)


# --- folds of runs ---

IN_ORDER = ("random_walk", "spline")
"""Effects of runs that hang on those of their neighbours."""

FEWEST_RUNS = 10
"""Runs from which intervals are calibrated by default: two in each of five folds."""


def _not_calibrated(config: FitConfig, table: TableFiles) -> str | None:
    """Return why intervals are not calibrated by default, None where they may be."""
    section = config.calibrate
    if config.method in ("nuts", "advi") and config.model in ("partial_pooling", "supercategory"):
        return f"calibrating them takes {section.n_folds} more fits by {config.method}"
    if config.run_effects in IN_ORDER:
        return "runs that are held out would lie between those before and after them"
    if section.run_col not in table:
        return f"there is no column {section.run_col!r} of runs, which --calibrate.run-col names"
    return None


def _folds(config: FitConfig, table: TableFiles) -> tuple[RunFolds | None, list[str]]:
    """Return the folds of a calibration, or none, with a word why where nobody said so."""
    section = config.calibrate
    if section.enabled == "true":
        if config.run_effects in IN_ORDER:
            raise InputError(
                "calibrate.enabled",
                expected=f"false beside run_effects {config.run_effects}: runs left out lie between"
                " those before and after them",
                found="true",
            )
        return RunFolds.read(config, table), []
    if section.enabled == "false":
        return None, []
    why = _not_calibrated(config, table)
    if why is None:
        try:
            folds = RunFolds.read(config, table)
        except InputError as error:
            why = f"{error.parameter}: expected {error.expected}, found {error.found}"
            if error.parameter == "calibrate.n_folds":
                why = f"fewer than {section.n_folds} runs are too few to hold some out"
        else:
            if len(folds.order) >= FEWEST_RUNS:
                return folds, []
            why = f"{len(folds.order)} runs are too few to hold some out, {FEWEST_RUNS} are needed"
    return None, [f"Intervals are the model's own: {why}."]


@dataclass(frozen=True)
class RunFolds:
    """Which runs are held out together.

    Runs are put in the order of a hash of their names and dealt out in turn, so that neither the
    order of the rows nor the format of the file matters.

    Parameters
    ----------
    column : str
        Of the run.
    order : dict of str to int
        Position of each run in that order.
    n_folds : int
        Number of folds.
    """

    column: str
    order: dict[str, int]
    n_folds: int

    @classmethod
    def read(cls, config: FitConfig, table: TableFiles) -> RunFolds:
        """Assign the runs of a table to folds.

        Raises
        ------
        InputError
            If the column is missing or has gaps, or there are fewer runs than folds.
        """
        column = table.require(config.calibrate.run_col, "calibrate.run_col")
        n_folds = config.calibrate.n_folds
        names: set[str] = set()
        for chunk in table.chunks([column], config.max_train_rows):
            runs = run_names(chunk.frame[column])
            gaps = runs.is_null().arg_true() + chunk.first_row
            if len(gaps):
                raise InputError(
                    "calibrate.run_col",
                    expected="a run in every row",
                    found=f"{len(gaps)} missing in {column!r} (rows {listed(gaps.to_list())})",
                    where=chunk.where,
                )
            names.update(runs.unique().to_list())
        if len(names) < n_folds:
            raise InputError(
                "calibrate.n_folds",
                expected=f"at most the number of runs, {len(names)}",
                found=str(n_folds),
                where=table.name,
            )
        # By a hash rather than a generator: neither the order of the rows nor the version of a
        # library decides who is held out.
        ordered = sorted(names, key=lambda run: blake2b(f"{config.seed}:{run}".encode()).digest())
        return cls(column, {run: i for i, run in enumerate(ordered)}, n_folds)

    def with_twins(self, twins: Mapping[str, str]) -> RunFolds:
        """Return folds in which copies of a run are where the run is."""
        order = {run: self.order[twins.get(run, run)] for run in self.order}
        return replace(self, order=order)

    def positions(self, frame: pl.DataFrame) -> IntArray:
        """Return the position of the run of each row in the order of runs, [N]."""
        names = run_names(frame[self.column])
        return names.replace_strict(self.order, return_dtype=pl.Int64).to_numpy()

    def split(self, frame: pl.DataFrame) -> Iterator[tuple[int, BoolArray]]:
        """Yield each fold that has rows of a frame, and which."""
        # In turn, so that folds differ by one run at most.
        folds = self.positions(frame) % self.n_folds
        for fold in np.unique(folds).tolist():
            yield fold, folds == fold
