"""The ``data`` section: which tables, which columns, which split."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import tyro
from molpool_common import PATH, ConfigModel, InputError, ReadConfig, ScaleName, Seed, short_flag
from pydantic import BeforeValidator, Field, field_validator, model_validator

SplitType = Literal["random", "scaffold", "time", "cluster", "stratified"]
TaskType = Literal["regression", "classification"]
StepName = Literal["log10", "log10p1", "exp10", "ug_per_mL_to_uM", "asinh", "logit"]
OnBadSmiles = Annotated[
    Literal["error", "drop", "keep"],
    # What `molpool-evaluate predict` called keep in 2026.
    BeforeValidator(lambda value: "keep" if value == "null" else value),
]
"""What becomes of rows whose SMILES do not parse, in every command that reads molecules."""

Step = StepName | dict[Literal["multiply"], float]
"""One conversion: a name, or ``{multiply: factor}``."""


DEMO = "demo"
"""Name by which the embedded synthetic table is asked for, like a data set of the registry."""

ON_BAD_SMILES = (
    "rows whose SMILES do not parse: error refuses the table; drop leaves them out; keep does too, "
    "but they stand in tables of predictions, with the reason. rejected.csv lists them"
)


class ColumnSource(ConfigModel):
    """A target's column in one source, with the conversions to the target's unit."""

    column: str = Field(description="name of the column in this source")
    transform: list[Step] = Field(
        default_factory=list,
        description="conversions in order: log10, log10p1, exp10, ug_per_mL_to_uM, asinh, logit, "
        "{multiply: x}",
    )
    modifier: str | None = Field(
        None, description="column of this source that says <, > or = of each value"
    )


class SourceConfig(ConfigModel):
    """One table among several that are stacked into the training data."""

    path: Annotated[str | None, PATH] = Field(None, description="file; or give `dataset`")
    dataset: str | None = Field(None, description="name in the data registry (molpool-data list)")
    file: str | None = Field(None, description="which file of the data set, where it has several")
    smiles_column: str = Field("SMILES", description="column of SMILES")
    id_column: str | None = Field(None, description="column of molecule names")
    quality: str | None = Field(None, description="quality label of every row of this source")
    columns: dict[str, str | ColumnSource] = Field(
        description="column of this source, by the target it measures", min_length=1
    )
    modifier_suffix: str | None = Field(
        None, description="columns COLUMN + suffix, where there are such, say <, > or = of COLUMN"
    )
    hold_out: bool = Field(
        True,
        description="whether rows go to validation and test; if false, all rows train, except "
        "those of held-out molecules, which are left out",
    )
    split: Literal["train", "val", "test"] | None = Field(
        None, description="split of all rows of this source; by default data.split_type divides"
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        # The file decides the data; two would leave open which.
        if (self.path is None) == (self.dataset is None):
            raise ValueError(
                f"expected one of path and dataset, found {'none' if self.path is None else 'both'}"
            )
        return self

    def column_for(self, target: str) -> ColumnSource | None:
        """Return the column that measures a target here, if one does."""
        column = self.columns.get(target)
        return ColumnSource(column=column) if isinstance(column, str) else column


class DataConfig(ConfigModel):
    """Columns, conversions and split of the training data."""

    smiles_column: Annotated[str, tyro.conf.arg(aliases=["--smiles-column"])] = Field(
        "SMILES", description="column of SMILES"
    )
    target_columns: Annotated[list[str], tyro.conf.arg(aliases=["--target-columns"])] = Field(
        default_factory=list,
        description="columns to predict, one task each; by default the columns of numbers, where "
        "no name leaves it open whether one is a measurement",
    )
    dataset: str | None = Field(
        None, description="name in the data registry (molpool-data list), or demo, for data_path"
    )
    file: str | None = Field(None, description="which file of the data set, where it has several")
    id_column: Annotated[str | None, short_flag("--id-column")] = Field(
        None, description="column of molecule names, carried over to predictions"
    )
    transforms: dict[str, list[Step]] = Field(
        default_factory=dict,
        description="conversions of a target to the unit in which it is predicted: log10, "
        "log10p1, exp10, ug_per_mL_to_uM, {multiply: x}",
    )
    transform: dict[str, ScaleName] = Field(
        default_factory=dict,
        description="scale on which models learn a target: log10, log10p1 (log10 of x + 1), asinh, "
        "logit (of shares between 0 and 1); predictions and intervals come back in the target's "
        "own unit",
    )
    modifier_columns: dict[str, str] = Field(
        default_factory=dict,
        description="column that says <, > or = of a target's values, by target",
    )
    modifier_suffix: str | None = Field(
        None, description="columns TARGET + suffix, where there are such, say <, > or = of TARGET"
    )
    predict_path: Annotated[str | None, PATH, tyro.conf.arg(aliases=["--predict-path"])] = Field(
        None, description="table of other molecules, with smiles_column, to predict after training"
    )
    sources: list[SourceConfig] = Field(
        default_factory=list,
        description="tables to stack, with conversions and a quality label each; "
        "instead of `data_path`",
    )
    split_type: Annotated[SplitType, short_flag("--split-type")] = Field(
        "random", description="how molecules are divided; no molecule is in two splits"
    )
    split_ratios: tuple[float, float, float] = Field(
        (0.8, 0.1, 0.1), description="shares of training, validation and test rows"
    )
    cluster_method: Literal["butina", "leaders"] = Field(
        "butina",
        description="for split_type cluster: Butina's clusters, for which all pairs are compared, "
        "or molecules around leaders (sphere exclusion), for tables of any length",
    )
    cluster_distance: float = Field(
        0.65,
        gt=0,
        lt=1,
        description="for split_type cluster: Tanimoto distance of Morgan fingerprints up to which "
        "molecules are alike",
    )
    split_seed: Seed | None = Field(None, description="seed of the split; by default the run's")
    train_on_val: bool = Field(
        False,
        description="whether rows of the validation split train too, and the last epoch is used; "
        "the test split stays as it is",
    )
    split_column: Annotated[str | None, short_flag("--split-column")] = Field(
        None,
        description="column that says train, val or test of each row, in any usual spelling; empty "
        "cells leave a row out. Goes before split_type, which draws validation rows where none are",
    )
    split_file: Annotated[str | None, PATH, short_flag("--split-file")] = Field(
        None,
        description="JSON file with the rows (from 0) or ids of train, val and test, as Chemprop "
        "and Polaris write it; instead of split_column",
    )
    split_index: int = Field(0, ge=0, description="which of several splits of split_file, from 0")
    test_path: Annotated[str | None, PATH, short_flag("--test-path")] = Field(
        None,
        description="second table, of the same columns, whose rows test; split_type divides the "
        "first into training and validation",
    )
    split_overlap: Literal["drop", "keep", "error"] = Field(
        "drop",
        description="molecules that a given split has on two sides: leave out their rows that "
        "train (or validate, where they test too), keep them, or refuse",
    )
    group_column: Annotated[str | None, short_flag("--group-column")] = Field(
        None,
        description="column of series, projects or batches, each of which stays in one split as "
        "molecules do",
    )
    standardize: Annotated[Literal["none", "parent", "tautomer"], short_flag("--standardize")] = (
        Field(
            "parent",
            description="structure by which molecules are compared for splits, repeats and "
            "scaffolds: as given; the parent, without counterions and charges; or its canonical "
            "tautomer (slow). `structure` says what the model sees",
        )
    )
    structure: Annotated[Literal["given", "parent", "tautomer"], short_flag("--structure")] = Field(
        "given",
        description="structure that the model sees: as given, its parent, or the parent's "
        "canonical tautomer; stored with the model, which sees new molecules the same way",
    )
    unlabelled_tasks: Literal["error", "drop"] = Field(
        "error",
        description="tasks with fewer than two labels in the training part: refuse, or leave out",
    )
    time_column: Annotated[str | None, short_flag("--time-column")] = Field(
        None, description="for split_type time: dates, numbers, or names whose number follows time"
    )
    cache_dir: str = Field(
        "auto",
        description="cache folder of what was computed of molecules, for the next run; auto: "
        "$MOLPOOL_CACHE or molpool/molecules in the user's cache; none: no cache",
    )

    @property
    def least_labels(self) -> int:
        """Fewest labels of a task with which a table is read."""
        # Tasks that shall be dropped for want of labels are no fault of the table.
        return 0 if self.unlabelled_tasks == "drop" else 2

    @field_validator("target_columns")
    @classmethod
    def _distinct(cls, names: list[str]) -> list[str]:
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"expected distinct names, found twice {', '.join(twice)}")
        # A name goes into tables, pages and logs, where one of nothing would look like a fault.
        if any(not name.strip() for name in names):
            raise ValueError("expected names, found an empty one; name the column in the table")
        return names

    @field_validator("split_ratios")
    @classmethod
    def _shares(cls, ratios: tuple[float, float, float]) -> tuple[float, float, float]:
        if any(r < 0 for r in ratios) or abs(sum(ratios) - 1) > 1e-6:
            raise ValueError("expected shares that are not negative and sum to 1")
        return ratios

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.split_type == "time" and self.time_column is None:
            raise ValueError("time_column: expected a column with split_type time, found none")
        # Here rather than at reading: a mistyped target of the fifth source is found before the
        # first is parsed.
        given = [k for k in ("split_column", "split_file") if getattr(self, k) is not None]
        if len(given) > 1:
            raise ValueError("split_file: expected one of split_column and split_file, found both")
        for source in self.sources:
            unknown = [t for t in source.columns if t not in self.target_columns]
            if unknown:
                raise ValueError(
                    f"sources.columns: expected names in target_columns, found {unknown[0]!r}"
                )
        for key in ("transforms", "transform", "modifier_columns"):
            unknown = [t for t in getattr(self, key) if t not in self.target_columns]
            if unknown:
                raise ValueError(f"{key}: expected names in target_columns, found {unknown[0]!r}")
        return self

    @property
    def scales(self) -> tuple[ScaleName, ...]:
        """Scale of each target; empty where none is asked for."""
        found = tuple(self.transform.get(t, "none") for t in self.target_columns)
        return found if any(name != "none" for name in found) else ()

    def tables(self, data_path: str | None) -> list[SourceConfig]:
        """Return the tables to read, each with the columns that are read of it.

        Parameters
        ----------
        data_path : str or None
            The table, where neither `dataset` nor `sources` gives any.

        Returns
        -------
        list of SourceConfig
            `sources` as they are, or one that says what the keys of this section say.

        Raises
        ------
        InputError
            If no target is named, or none or several of the three places of tables are given.
        """
        if not self.target_columns:
            raise InputError("data.target_columns", expected="at least one column", found="none")
        given = {
            "data_path": data_path is not None,
            "data.dataset": self.dataset is not None,
            "data.sources": bool(self.sources),
        }
        found = [name for name, there in given.items() if there]
        if self.sources and (self.modifier_columns or self.modifier_suffix is not None):
            raise InputError(
                "data.modifier_columns",
                expected="modifiers where the columns are named: columns.TARGET.modifier, or "
                "modifier_suffix, of each of data.sources",
                found="them beside data.sources",
            )
        if self.sources and self.test_path is not None:
            raise InputError(
                "data.test_path",
                expected="split: test of one of data.sources",
                found="test_path beside data.sources",
            )
        if len(found) != 1:
            raise InputError(
                "data_path",
                expected="one of data_path (--data-path FILE), data.dataset and data.sources",
                found=" and ".join(found) or "none of them",
            )
        tables = self.sources or [self._single_table(data_path)]
        if self.test_path is None:
            return tables
        tested = tables[0].model_copy(
            update={"path": self.test_path, "dataset": None, "file": None, "split": "test"}
        )
        return [*tables, tested.model_copy(update={"hold_out": True, "quality": None})]

    def _single_table(self, data_path: str | None) -> SourceConfig:
        # One table becomes one source, so that everything after knows a single form.
        columns: dict[str, str | ColumnSource] = {
            target: ColumnSource(
                column=target,
                transform=self.transforms.get(target, []),
                modifier=self.modifier_columns.get(target),
            )
            for target in self.target_columns
        }
        source = SourceConfig(
            path=data_path,
            dataset=self.dataset,
            file=self.file,
            id_column=self.id_column,
            columns=columns,
            modifier_suffix=self.modifier_suffix,
        )
        named = {"smiles_column": self.smiles_column} if self.is_given("smiles_column") else {}
        return source.model_copy(update=named)


def has_names(config: DataConfig) -> bool:
    """Return whether ids of rows are names from the tables, not numbers of rows."""
    if config.sources:
        return all(source.id_column is not None for source in config.sources)
    return config.id_column is not None


class TableConfig(ConfigModel):
    """The molecules of a command that trains: where they are, and what their tasks are."""

    data_path: Annotated[str | None, PATH] = Field(
        None, description="table of molecules: text, Parquet, Excel, SDF or SMILES"
    )
    on_bad_smiles: OnBadSmiles = Field("error", description=ON_BAD_SMILES)
    duplicates: Literal["error", "mean", "median", "keep"] = Field(
        "keep",
        description="rows of one molecule (stereoisomers count as one) and quality: error refuses "
        "different values of a task, mean and median merge them, keep leaves them",
    )
    task_type: Literal["auto", "regression", "classification"] = Field(
        "auto",
        description="kind of all tasks; auto: classification for those whose values are all 0 or 1",
    )
    task_types: dict[str, TaskType] = Field(
        default_factory=dict, description="kind of single tasks, by name; goes before task_type"
    )
    read: ReadConfig = Field(default_factory=ReadConfig)
    data: DataConfig = Field(default_factory=DataConfig)
