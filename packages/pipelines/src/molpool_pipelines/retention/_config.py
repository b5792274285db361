"""Configurations of retention times, one per command, and where a command may write.

`PrepareConfig`, `FitConfig`, `PredictConfig`, `EvaluateConfig`, `PlotConfig`, `ReportConfig`,
`SimulateRunConfig`, `ShiftRunConfig` and `RunConfig` are what the functions of the same names take.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from molpool_common import (
    PATH,
    RESOLVED,
    ConfigModel,
    IdSpelling,
    InputError,
    ReadConfig,
    RunFolder,
    Seed,
    absolute_paths,
    check_free,
    default_folder,
    dump_config,
)
from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator
from rt_ridge import RidgeConfig, ShiftConfig, SimulateConfig, SlopePooling

Format = Literal["png", "svg", "pdf"]
Model = Literal["partial_pooling", "supercategory", "ridge", "lasso"]
Layout = Literal["rows", "run_columns", "compound_columns"]
AbsentCovariates = Literal["error", "center"]
Baseline = Literal["mean", "ridge", "lasso", "gam", "trees", "irt", "loess"]
Count = Annotated[int, Field(ge=1)]

COVARIATES = ("IS_*", "RS_*", "ES_*", "run_covariate_*")
"""Internal, recovery and external standards, and what `simulate` calls them."""


STRUCTURE_KEYS = (
    *("intercept_mode", "intercept_prior", "slope_head_mode", "lambda_slopes", "slope_scales"),
    *("standardise", "sigma", "sigma_fixed", "compound_slopes", "cluster_slopes"),
    *("species_slopes", "correlated_slopes", "class_slopes", "slope_shrinkage"),
    "intercept_shrinkage",
    "descriptor_slopes",
    *("location_mean", "location_sd"),
)
"""Keys of a model: who gives one has a structure in mind."""

CONFIG = RESOLVED
COEFFICIENTS = "coefficients.npz"
RESIDUALS, FLAGGED = "residuals.csv", "flagged.csv"
STATISTICS = "statistics.npz"
METRICS = "metrics.json"
EVALUATION = "evaluation.json"

TABLE_FORMATS = (".parquet", ".csv", ".tsv", ".xlsx")
"""Endings of the tables that commands write."""

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
Caps = Annotated[list[int], BeforeValidator(_split_at_commas)]


_INPUTS = (
    *("data", "train", "test", "descriptors", "classes"),
    *("like", "artefacts", "runs", "evaluation"),
)
"""Keys of what commands read."""


class FolderConfig(ConfigModel):
    """Where a command writes."""

    save_dir: Annotated[str | None, PATH] = Field(
        None, description="folder to write; by default runs/COMMAND-TIME"
    )
    overwrite: bool = Field(False, description="replace the run that is in save_dir")

    def free_folder(self, command: str) -> Path:
        """Return where a command may write, or raise `InputError`; makes nothing yet."""
        path = Path(self.save_dir) if self.save_dir else default_folder(command)
        check_free(path, overwrite=self.overwrite, restart=True)
        self._spare_inputs(path)
        return path

    def _spare_inputs(self, folder: Path) -> None:
        """Refuse to replace a folder that holds what is read."""
        # Not Path.resolve, which raises where a link leads to itself.
        place = Path(os.path.realpath(folder))
        for key in _INPUTS:
            given = getattr(self, key, None)
            texts = [given] if isinstance(given, str) else given
            # Some commands have a key of that name that is no path.
            texts = texts if isinstance(texts, list) else []
            for text in texts:
                found = glob.glob(text) or [text.partition("=")[2] or text]
                real = {p: Path(os.path.realpath(p)) for p in map(Path, found)}
                inside = [p for p, at in real.items() if place in (at, at.parent)]
                if inside:
                    raise InputError(
                        "save_dir",
                        expected=f"a folder without what is read, as {key} says",
                        found=f"{str(folder)!r} with {inside[0].name!r}",
                    )

    def as_begun(self) -> Self:
        """Return a copy that says what depends on which keys were given."""
        return self

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
        run = RunFolder.create(path, overwrite=self.overwrite, restart=True, arguments=arguments)
        # A fit is exact linear algebra and leaves no checkpoints; an empty folder would suggest
        # some.
        run.checkpoints.rmdir()
        # With overwrite stored, running the file again would delete what it made.
        stored = self.as_begun().model_copy(update={"overwrite": False, "save_dir": str(path)})
        run.write_text(CONFIG, dump_config(absolute_paths(stored)))
        run.log("started", arguments=list(arguments))
        return run


def free_file(
    path: str | Path, *, overwrite: bool, inputs: Mapping[str, Sequence[Path]] | None = None
) -> Path:
    """Return the file that a command may write, or raise `InputError`.

    Parameters
    ----------
    path : str or Path
        The file.
    overwrite : bool
        Whether it may exist.
    inputs : mapping of str to sequence of Path, optional
        Files that are read, which it may never be, by the key that names them.
    """
    path = Path(path)
    for key, files in (inputs or {}).items():
        # Also by another name: a link, a path through a folder above.
        if path.exists() and any(file.exists() and path.samefile(file) for file in files):
            raise InputError(
                "output", expected=f"another file than {key}", found=f"{str(path)!r}, which is read"
            )
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


def free_table(
    path: str | Path, *, overwrite: bool, inputs: Mapping[str, Sequence[Path]] | None = None
) -> Path:
    """Return the table that a command may write, or raise `InputError`; see `free_file`."""
    found = free_file(path, overwrite=overwrite, inputs=inputs)
    if found.suffix.lower() not in TABLE_FORMATS:
        raise InputError(
            "output",
            expected=f"a name that ends in {', '.join(TABLE_FORMATS)}",
            found=repr(found.name),
        )
    return found


class DataConfig(ConfigModel):
    """The rows that a command reads."""

    data: Paths = Field(
        default_factory=list,
        description="tables: text, Parquet, Excel; files or quoted patterns",
    )


LEVEL = 0.9
"""Share of new measurements that intervals cover unless another level is asked for."""


def _shares(levels: list[float]) -> list[float]:
    if any(not 0 < level < 1 for level in levels) or len(set(levels)) < len(levels):
        raise ValueError(f"expected different shares between 0 and 1, found {levels}")
    return levels


Levels = Annotated[list[float], AfterValidator(_shares)]


class PrepareConfig(FolderConfig, DataConfig):
    """From raw tables to nested ids, checked, capped and imputed."""

    layout: Layout = Field(
        "rows",
        description="rows: one row a measurement or a peak; run_columns: one row a compound, its "
        "times in a column per run; compound_columns: one row a run, a column per compound",
    )
    value_cols: OneOrMore = Field(
        default_factory=list,
        description="wide layouts: columns of times, or patterns; by default all without a role",
    )
    species_raw: str | None = Field(
        "species_raw", description="column of the subgroup: text or ids; None: all rows are of one"
    )
    cluster_raw: str | None = Field(
        "species_group_raw", description="column of its supercategory; None: there is one"
    )
    compound_col: str = Field("comp_id", description="column of the compound: ids, or names")
    target_col: str = Field(
        "rt", description="column of the retention time; without a column rt: for prediction only"
    )
    run_col: str = Field("run", description="column of the run, for anchors and medians of gaps")
    ids: IdSpelling = Field(
        "auto",
        description="auto: 7 and 7.0 are one id in a column of numbers, and files or cells that "
        "disagree are refused; text: ids are what is written; number: 007 is 7 too",
    )
    covariates: Names = Field(
        default_factory=lambda: list(COVARIATES),
        description="columns of run covariates, or patterns with * and ?; without any: intercepts",
    )
    anchors: OneOrMore = Field(
        default_factory=list,
        description="compounds, or patterns of them, whose times in a run are its covariates; "
        "their rows are taken out",
    )
    anchor_col: str | None = Field(
        None, description="column that marks the rows of anchors: 1 or 0, true or false, ..."
    )
    anchor_values: OneOrMore = Field(
        default_factory=list,
        description="what anchor_col holds in these rows where it is no flag, or patterns",
    )
    library_col: str | None = Field(None, description="column of the library: one file each")
    libs: Names | None = Field(None, description="libraries to keep, as 208,209; needs library_col")
    cap: Count | None = Field(
        None, description="most rows per (species, compound), drawn at random"
    )
    caps: Caps = Field(
        default_factory=list,
        description="several caps, as 5,100: a folder cap5, cap100, ... of each in save_dir, drawn "
        "from the same rows by the same seed",
    )
    compound_name: str | None = Field(
        None, description="column of compound names, for the report of colliding ids"
    )
    missing_target: Literal["error", "drop", "keep"] = Field(
        "error",
        description="rows without a retention time: refuse, leave out and count, or keep for "
        "prediction",
    )
    missing_covariates: Literal["error", "run_median", "drop"] = Field(
        "error",
        description="gaps: refuse, fill by the run's median and add an indicator, or leave the "
        "rows out and count",
    )
    absent_covariates: AbsentCovariates = Field(
        "error",
        description="covariates that a whole file lacks: refuse, or take their mean over the "
        "other rows (of the previous prepare, with like)",
    )
    like: Annotated[str | None, PATH] = Field(
        None, description="folder of a previous prepare whose ids and medians are used again"
    )
    seed: Seed = Field(0, description="of the random draw of the cap")
    read: ReadConfig = Field(default_factory=ReadConfig)

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if self.cap is not None and self.caps:
            raise ValueError("caps: expected one of cap and caps, found both")
        if any(cap < 1 for cap in self.caps):
            raise ValueError(f"caps: expected numbers of rows from 1 on, found {self.caps}")
        return self

    def each_cap(self) -> list[PrepareConfig]:
        """Return a configuration of each of `caps`, or this one."""
        folder = Path(self.save_dir) if self.save_dir else default_folder("prepare")
        return [
            self.model_copy(update={"cap": cap, "caps": [], "save_dir": str(folder / f"cap{cap}")})
            for cap in self.caps
        ] or [self]


class CalibrateConfig(ConfigModel):
    """Intervals that hold on new runs, whatever the distribution of the errors."""

    enabled: Annotated[
        Literal["auto", "true", "false"],
        # Configurations of 2026 hold true and false themselves.
        BeforeValidator(lambda value: str(value).lower() if isinstance(value, bool) else value),
    ] = Field(
        "auto",
        description="take intervals from conformal quantiles of the errors on held-out runs, by "
        "cross-validation, which costs a fit per fold and three more passes over the rows; auto: "
        "where the table has a run in every row and ten runs or more, and the scales are not "
        "sampled; false: intervals are the model's own",
    )
    run_col: str = Field("run", description="column of the run: its rows have errors in common")
    n_folds: int = Field(5, ge=2, description="folds of runs")


class ModelConfig(RidgeConfig):
    """One model: its kind, features, priors, and how its scales are estimated."""

    structure: Literal["auto", "fixed"] | None = Field(
        None,
        description="auto: priors of intercepts, slope heads, spreads and σ are chosen by how runs "
        "left out are predicted, covariates standardised; fixed: as the keys below say. Default: "
        "fixed where one of them is given, else auto",
    )
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
    alpha: float | None = Field(
        None,
        gt=0,
        description="ridge, lasso: weight of the penalty; None: chosen by runs left out, of "
        "covariates over their standard deviations",
    )
    group_col: str = Field("species", description="column of the group: species or species_cluster")
    anchor_expansion: Literal["auto", "none", "poly2"] = Field(
        "none",
        description="poly2: squares of the covariates too; auto: where a structure is chosen, "
        "errors bend with the covariates, and runs left out are predicted better so",
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
    def chooses(self) -> bool:
        """Whether the structure is chosen: by default where none of its keys is given."""
        if self.model != "partial_pooling":
            return False
        given = any(map(self.is_given, STRUCTURE_KEYS))
        return self.structure == "auto" or (self.structure is None and not given)

    @property
    def tries_squares(self) -> bool:
        """Whether squares of covariates may be taken where a structure is chosen."""
        return self.chooses and self.anchor_expansion == "auto" and self.run_effects == "none"

    @property
    def leaves_runs_out(self) -> bool:
        """Whether something is chosen by runs left out: the structure, or a penalty."""
        return self.chooses or (self.model in ("ridge", "lasso") and self.alpha is None)

    @property
    def group_column(self) -> str:
        """Column of the group; supercategories are their own."""
        return "species_cluster" if self.model == "supercategory" else self.group_col


class TableConfig(ConfigModel):
    """Names of a table's columns, and how it is read."""

    read: ReadConfig = Field(default_factory=ReadConfig)

    compound_col: str = Field("comp_id", description="column of the compound's id")
    parent_col: str | None = Field(
        "species_cluster", description="column of the group's supercategory"
    )
    target_col: str = Field("rt", description="column of the retention time")


class TrainingColumnsConfig(TableConfig):
    """Names of the columns that a fit reads besides."""

    absent_covariates: AbsentCovariates = Field(
        "error",
        description="covariates that a whole file lacks: refuse, or take their mean over the other "
        "rows",
    )

    covariates: Names = Field(
        default_factory=lambda: list(COVARIATES),
        description="columns of run covariates, or patterns with * and ?; none of them: no slopes",
    )
    descriptor_cols: Names | None = Field(
        None,
        description="columns of descriptors; by default those called descriptor_*, or RDKit's of "
        "the SMILES",
    )
    class_col: str = Field("class_id", description="column of classes: ids or names")
    run_col: str | None = Field(
        "run",
        description="column of the run, whose rows are left out together while a structure is "
        "chosen; without it rows of equal covariates are of one run",
    )
    order_col: str | None = Field(
        None,
        description="column of acquisition order: times or numbers; None: by the runs' names, "
        "numbers in them as numbers",
    )


class FitConfig(FolderConfig, ModelConfig, DataConfig, TrainingColumnsConfig):
    """A fit: its rows, its model, its run folder."""

    max_train_rows: Count | None = Field(None, description="first rows to fit to: for a trial")
    descriptors: str | None = Field(
        None,
        description="table of compound descriptors: the compound's id or name and numbers, or "
        "SMILES of which RDKit's are computed",
    )
    classes: str | None = Field(
        None, description="table of compound classes, for class_slopes: the compound's id, class"
    )
    flag_threshold: float | None = Field(
        5.0,
        gt=0,
        description="list peaks whose time differs from what their run's other rows lead to expect "
        "by more than so many of the usual deviations of their compound; None: look for none",
    )

    def as_begun(self) -> Self:
        """Return a copy that says whether the structure is chosen."""
        return self.model_copy(update={"structure": "auto" if self.chooses else "fixed"})


_ABSENT = (
    "covariates of the fit that a whole file lacks: refuse, or take their mean over the training "
    "rows"
)


class PredictConfig(DataConfig, TableConfig):
    """Predictions for a table, row by row."""

    artefact: Annotated[str | None, PATH] = Field(
        None, description="run folder of a fit, or its coefficients.npz"
    )
    absent_covariates: AbsentCovariates = Field("error", description=_ABSENT)
    output: Annotated[str, PATH] = Field(
        "predictions.parquet", description="file to write: .parquet, .csv, .tsv or .xlsx"
    )
    overwrite: bool = Field(False, description="replace the file if it exists")
    level: Levels = Field(
        default_factory=lambda: [LEVEL],
        description="share of new measurements that intervals shall cover; several give columns "
        "RT_lower_80, RT_upper_80 and so on",
    )
    keep_cols: Names = Field(default_factory=list, description="columns to carry over")
    descriptors: str | None = Field(
        None, description="descriptors of compounds that the fit has not seen"
    )


class ScoreConfig(TableConfig):
    """How predictions are scored, and on which rows."""

    absent_covariates: AbsentCovariates = Field("error", description=_ABSENT)
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
    strata_column: Names = Field(
        default_factory=list,
        description="columns of matrices, methods, libraries or the like, each of whose values is "
        "scored by itself",
    )
    descriptors: str | None = Field(
        None,
        description="table of descriptors, for compounds that a fit with descriptors has not seen",
    )


class CVConfig(ConfigModel):
    """Folds, each of which is held out once."""

    folds: int | Literal["all"] = Field(
        5, description="folds of what split_type divides; all: each run (compound, species) alone"
    )
    repeats: int = Field(1, ge=1, description="times that all folds are drawn anew")

    @field_validator("folds")
    @classmethod
    def _several(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 2:
            raise ValueError(f"expected 2 or more, or all; found {value}")
        return value


class EvaluateConfig(FolderConfig, DataConfig, ScoreConfig):
    """Errors and coverage of one or several fits on held-out rows."""

    artefacts: OneOrMore = Field(
        default_factory=list, description="run folders of fits, or files, as NAME=PATH or PATH"
    )
    split_type: Literal["none", "run", "compound", "species", "time"] = Field(
        "none",
        description="none: score the fits as they are on the rows of data. Otherwise fit the same "
        "models again without some of the rows (by default those that they were fitted to), and "
        "score them on these: whole runs, compounds or species in folds; time: later runs, by fits "
        "to all earlier ones",
    )
    split_column: str | None = Field(
        None,
        description="column that says train, val or test of each row, in any usual spelling: fit "
        "again to train and val, score test; instead of split_type",
    )
    time_column: str | None = Field(
        None,
        description="for split_type time: dates, numbers, or names whose number follows time; by "
        "default order_col of the fits, or runs follow one another as in the table",
    )
    split_seed: Seed = Field(0, description="of the folds")
    cv: CVConfig = Field(default_factory=CVConfig)
    baselines: list[Baseline] = Field(
        default_factory=list,
        description="models of other kinds, fitted to the same rows as the first artefact and "
        "scored beside it: mean of the pair; ridge, lasso, gam (splines) of each compound; trees "
        "(LightGBM); irt (line through the standards of a run), loess (the same, local); or all",
    )

    @field_validator("baselines", mode="before")
    @classmethod
    def _all_or_none(cls, given: Any) -> Any:
        # As the commands of molecules say it.
        words = {"all": list(get_args(Baseline)), "none": []}
        text = given[0] if isinstance(given, list) and len(given) == 1 else given
        return words.get(text, given) if isinstance(text, str) else given

    @model_validator(mode="after")
    def _one_split(self) -> Self:
        if self.split_column is not None and self.split_type != "none":
            raise ValueError("split_column: expected none beside split_type, found both")
        if self.time_column is not None and self.split_type != "time":
            raise ValueError("time_column: expected split_type time, found another")
        return self

    @property
    def refits(self) -> bool:
        """Whether the models are fitted again."""
        return self.split_type != "none" or self.split_column is not None


class CoefficientsConfig(ConfigModel):
    """A table of a fit: what, or an instrument method's windows."""

    artefact: Annotated[str | None, PATH] = Field(
        None, description="run folder of a fit, or its coefficients.npz"
    )
    prepared: Annotated[str | None, PATH] = Field(
        None,
        description="folder of molpool-rt prepare whose names stand for ids; by default that of "
        "the rows that were fitted",
    )
    unit: str = Field("min", description="of retention times and readings of standards")
    output: Annotated[str, PATH] = Field(
        "coefficients.csv", description="file to write: .csv, .tsv, .parquet or .xlsx"
    )
    overwrite: bool = Field(False, description="replace the file if it exists")


class WindowsConfig(CoefficientsConfig):
    """Windows of retention time of each compound, for an instrument's method."""

    output: Annotated[str, PATH] = Field(
        "windows.csv", description="file to write: .csv, .tsv, .parquet or .xlsx"
    )
    level: float = Field(
        0.95, gt=0, lt=1, description="share of new measurements that the windows shall cover"
    )
    species: str | None = Field(
        None, description="name or id of the species; by default windows of each of them"
    )
    readings: dict[str, float] = Field(
        default_factory=dict,
        description="readings of the run's standards, as IS_1 4.31; others are at their mean",
    )
    least_width: float = Field(
        0.0, ge=0, description="narrowest window, in the unit of the retention time"
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
