"""Configurations of retention times, one per command, and where a command may write.

`PrepareConfig`, `FitConfig`, `PredictConfig`, `EvaluateConfig`, `PlotConfig`, `ReportConfig`,
`SimulateRunConfig`, `ShiftRunConfig` and `RunConfig` are what the functions of the same names take.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from molpool_common import (
    PATH,
    ConfigModel,
    InputError,
    RunFolder,
    absolute_paths,
    check_free,
    default_folder,
    dump_config,
)
from pydantic import BeforeValidator, Field, field_validator
from rt_ridge import RidgeConfig, ShiftConfig, SimulateConfig, SlopePooling

Format = Literal["png", "svg", "pdf"]
Model = Literal["partial_pooling", "supercategory", "ridge", "lasso"]
Count = Annotated[int, Field(ge=1)]

COVARIATES = ("IS_*", "RS_*", "ES_*", "run_covariate_*")
"""Internal, recovery and external standards, and what `simulate` calls them."""


CONFIG = "config.resolved.yaml"
COEFFICIENTS = "coefficients.npz"
STATISTICS = "statistics.npz"
METRICS = "metrics.json"
EVALUATION = "evaluation.json"

Progress = Callable[[str], None]
"""Called with what is being done, for a status line."""


def silent(message: str) -> None:
    """Show no progress."""


def _split_at_commas(value: Any) -> Any:
    """Split what the flags gave as one word: ``--libs 208,209``."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple):
        return value
    words = ([v] if not isinstance(v, str) else v.split(",") for v in value)
    return [part for word in words for part in word]


def _as_text(value: Any) -> Any:
    """Take names that YAML reads as numbers for what they are."""
    # Neither commas nor numbers: left for pydantic, whose message names the key.
    if not isinstance(value, list | tuple):
        return value
    return [str(v) if isinstance(v, int) and not isinstance(v, bool) else v for v in value]


OneOrMore = Annotated[list[str], BeforeValidator(lambda v: [v] if isinstance(v, str) else v)]
Paths = Annotated[OneOrMore, PATH]
Names = Annotated[list[str], BeforeValidator(lambda v: _as_text(_split_at_commas(v)))]


class FolderConfig(ConfigModel):
    """Where a command writes."""

    save_dir: Annotated[str | None, PATH] = Field(
        None, description="folder to write; by default runs/COMMAND-TIME"
    )
    overwrite: bool = Field(False, description="replace the run that is in save_dir")

    def free_folder(self, command: str) -> Path:
        """Return where a command may write, or raise `InputError`; makes nothing yet."""
        path = Path(self.save_dir) if self.save_dir else default_folder(command)
        check_free(path, overwrite=self.overwrite)
        return path

    def open_folder(self, path: str | Path, arguments: Sequence[str] = ()) -> RunFolder:
        """Make a run folder that holds this configuration.

        Parameters
        ----------
        path : str or Path
            New, empty, or, with `overwrite`, a run.
        arguments : sequence of str
            The command line, for the record.

        Raises
        ------
        InputError
            If the folder holds something else.
        """
        run = RunFolder.create(path, overwrite=self.overwrite, arguments=arguments)
        # A fit is exact linear algebra and leaves no checkpoints; an empty folder would suggest
        # some.
        run.checkpoints.rmdir()
        # With overwrite stored, running the file again would delete what it made.
        stored = self.model_copy(update={"overwrite": False, "save_dir": str(path)})
        run.write_text(CONFIG, dump_config(absolute_paths(stored)))
        run.log("started", arguments=list(arguments))
        return run


def free_file(path: str | Path, *, overwrite: bool) -> Path:
    """Return the file that a command may write, or raise `InputError`."""
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError("output", expected="a folder that exists", found=repr(str(path.parent)))
    if path.is_dir() or (path.exists() and not overwrite):
        raise InputError(
            "output",
            expected="a new file",
            found=f"{str(path)!r}, which exists",
            hint=None if path.is_dir() else "Give --overwrite true to replace it.",
        )
    return path


class DataConfig(ConfigModel):
    """The rows that a command reads."""

    data: Paths = Field(default_factory=list, description="CSV or Parquet: files or quoted globs")


class PrepareConfig(FolderConfig, DataConfig):
    """From raw tables to nested ids, checked, capped and imputed."""

    species_raw: str = Field("species_raw", description="column of the subgroup: text or ids")
    cluster_raw: str = Field("species_group_raw", description="column of its supercategory")
    compound_col: str = Field("comp_id", description="column of the compound: ids, or names")
    target_col: str = Field("rt", description="column of the retention time")
    run_col: str = Field("run", description="column of the run, for the medians of gaps")
    covariates: Names = Field(
        default_factory=lambda: list(COVARIATES),
        description="columns of run covariates, or patterns with * and ?",
    )
    library_col: str | None = Field(None, description="column of the library: one file each")
    libs: Names | None = Field(None, description="libraries to keep, as 208,209; needs library_col")
    cap: Count | None = Field(
        None, description="most rows per (species, compound), drawn at random"
    )
    compound_name: str | None = Field(
        None, description="column of compound names, for the report of colliding ids"
    )
    missing_target: Literal["error", "drop"] = Field(
        "error", description="rows without a retention time: refuse, or leave out and count"
    )
    missing_covariates: Literal["error", "run_median"] = Field(
        "error", description="gaps: refuse, or fill by the run's median and add an indicator"
    )
    like: Annotated[str | None, PATH] = Field(
        None, description="folder of a previous prepare whose ids and medians are used again"
    )
    seed: int = Field(0, ge=0, description="of the random draw of the cap")


class CalibrateConfig(ConfigModel):
    """Intervals that hold on new runs, whatever the distribution of the errors."""

    enabled: bool = Field(
        False,
        description="take intervals from conformal quantiles of the errors on held-out runs, by "
        "cross-validation; costs a fit per fold and three more passes over the rows",
    )
    run_col: str = Field("run", description="column of the run: its rows have errors in common")
    n_folds: int = Field(5, ge=2, description="folds of runs")


class ModelConfig(RidgeConfig):
    """One model: its kind, features, priors, and how its scales are estimated."""

    model: Model = Field(
        "partial_pooling",
        description="partial_pooling; supercategory: groups are supercategories; ridge, lasso: "
        "every pair separately",
    )
    lambda_slopes: float | list[float] | SlopePooling = Field(
        1.0,
        description="ridge precision of slopes over σ⁻², one or one per regressor; estimate: "
        "with the scales; pooled: pairs do not differ from their head",
    )
    alpha: float = Field(1.0, gt=0, description="ridge, lasso: weight of the penalty")
    group_col: str = Field("species", description="column of the group: species or species_cluster")
    anchor_expansion: Literal["none", "poly2"] = Field(
        "none", description="poly2: squares of the covariates too"
    )
    feature_center: Literal["none", "global"] = Field(
        "global", description="what is subtracted from covariates: nothing, or the training mean"
    )
    feature_rotation: Literal["none", "pca"] = Field(
        "none", description="pca: principal axes of the covariates instead of themselves"
    )
    max_groups: Count | None = Field(
        None, description="most (group, compound) pairs, drawn at random: for a trial"
    )
    calibrate: CalibrateConfig = Field(default_factory=CalibrateConfig)

    @field_validator("lambda_slopes")
    @classmethod
    def _positive(cls, value: float | list[float] | str) -> float | list[float] | str:
        numbers = value if isinstance(value, list) else [value]
        if not numbers or any(isinstance(v, float | int) and v <= 0 for v in numbers):
            raise ValueError(f"expected numbers > 0, estimate or pooled; found {value!r}")
        return value

    @property
    def group_column(self) -> str:
        """Column of the group; supercategories are their own."""
        return "species_cluster" if self.model == "supercategory" else self.group_col


class TableConfig(ConfigModel):
    """Names of a table's columns."""

    compound_col: str = Field("comp_id", description="column of the compound's id")
    parent_col: str | None = Field(
        "species_cluster", description="column of the group's supercategory"
    )
    target_col: str = Field("rt", description="column of the retention time")


class TrainingColumnsConfig(TableConfig):
    """Names of the columns that a fit reads besides."""

    covariates: Names = Field(
        default_factory=lambda: list(COVARIATES),
        description="columns of run covariates, or patterns with * and ?; none of them: no slopes",
    )
    descriptor_cols: Names | None = Field(
        None, description="columns of descriptors; by default those called descriptor_*"
    )
    class_col: str = Field("class_id", description="column of classes: ids or names")


class FitConfig(FolderConfig, ModelConfig, DataConfig, TrainingColumnsConfig):
    """A fit: its rows, its model, its run folder."""

    max_train_rows: Count | None = Field(None, description="first rows to fit to: for a trial")
    descriptors: str | None = Field(
        None, description="table of compound descriptors: the compound's id and numbers"
    )
    classes: str | None = Field(
        None, description="table of compound classes, for class_slopes: the compound's id, class"
    )


class PredictConfig(DataConfig, TableConfig):
    """Predictions for a table, row by row."""

    artefact: Annotated[str | None, PATH] = Field(
        None, description="run folder of a fit, or its coefficients.npz"
    )
    output: Annotated[str, PATH] = Field(
        "predictions.parquet", description="file to write, .parquet or .csv"
    )
    overwrite: bool = Field(False, description="replace the file if it exists")
    keep_cols: Names = Field(default_factory=list, description="columns to carry over")
    descriptors: str | None = Field(
        None, description="descriptors of compounds that the fit has not seen"
    )


class ScoreConfig(TableConfig):
    """How predictions are scored, and on which rows."""

    require_seen_group: bool = Field(
        False, description="leave out rows of pairs without any training row"
    )
    max_test_rows: Count | None = Field(None, description="first rows to evaluate")
    support_edges: list[int] = Field(
        default_factory=lambda: [1, 2, 5, 10, 20, 50, 100],
        description="least number of training rows of a pair, for each bin",
    )
    rare_rows: Count = Field(
        2, description="most training rows of a (species, compound) that is scored as rare"
    )
    run_col: str | None = Field("run", description="column of the run, for drift; None: no drift")
    descriptors: str | None = Field(
        None,
        description="table of descriptors, for compounds that a fit with descriptors has not seen",
    )


class EvaluateConfig(FolderConfig, DataConfig, ScoreConfig):
    """Errors and coverage of one or several fits on held-out rows."""

    artefacts: OneOrMore = Field(
        default_factory=list, description="run folders of fits, or files, as NAME=PATH or PATH"
    )


class ResultsConfig(ConfigModel):
    """What figures and reports are made from."""

    runs: Paths = Field(default_factory=list, description="run folders of fits")
    evaluation: Annotated[str | None, PATH] = Field(
        None, description="folder of molpool-rt evaluate"
    )


class PlotConfig(FolderConfig, ResultsConfig):
    """Figures of fits and of their evaluation."""

    formats: list[Format] = Field(
        default_factory=lambda: list[Format](("png", "svg")), description="files of each figure"
    )


class ReportConfig(ResultsConfig):
    """One HTML page, and one PDF, of fits and of their evaluation."""

    output: Annotated[str, PATH] = Field(
        "report.html", description="page to write; the PDF goes beside it"
    )
    pdf: bool = Field(True, description="write the PDF too")
    title: str = Field("Retention times, partially pooled", description="heading")
    overwrite: bool = Field(False, description="replace the files if they exist")


class SimulateRunConfig(FolderConfig, SimulateConfig):
    """A synthetic laboratory, written as tables."""

    format: Literal["parquet", "csv"] = Field("parquet", description="of the tables")


class RunModelConfig(ModelConfig):
    """A model of several."""

    use_descriptors: bool = Field(
        False, description="regress compounds' intercepts on the table of descriptors"
    )


class RunConfig(FolderConfig, ScoreConfig, TrainingColumnsConfig):
    """Simulate (or take tables), fit every model, evaluate them together, report."""

    simulate: SimulateConfig = Field(default_factory=SimulateConfig)
    train: Paths = Field(
        default_factory=list, description="training tables; none: what simulate makes"
    )
    test: Paths = Field(default_factory=list, description="test tables; none: as train")
    classes: str | None = Field(
        None, description="table of compound classes; none: what simulate makes"
    )
    models: dict[str, RunModelConfig] = Field(
        default_factory=lambda: {"partial_pooling": RunModelConfig()}, description="by name"
    )
    title: str = Field("Retention times, partially pooled", description="heading of the report")


class ShiftRunConfig(FolderConfig, ShiftConfig):
    """The covariate-shift study: laboratories, model, bins, and where its results go."""

    anchors: list[int] = Field(
        default_factory=lambda: [0, 3, 5],
        min_length=1,
        description="numbers of anchor compounds measured in far runs too",
    )
