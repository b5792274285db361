"""Names of the columns in tables of predictions in memory, which files had until 2026.

`molpool_pipelines.runs._prediction_files` has those of files. Of each task ``TASK`` holds the
truth, ``TASK modifier`` whether it is a bound, ``TASK predicted`` the prediction, ``TASK_sd`` its
uncertainty, ``TASK_lower`` and ``TASK_upper`` its interval, and ``TASK decision`` a class at a
threshold. A task that is called like a column of ours, such as ``row`` or ``split``, has its truth
in ``TASK truth``. Folds and repeats are numbered from 0.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from molpool_common import ConfigModel, short_flag
from pydantic import Field

if TYPE_CHECKING:
    import polars as pl

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")

LOWER, UPPER = "_lower", "_upper"
"""Endings of the columns of a task's interval."""

AT_FLOOR, AT_CEILING = "_at_floor", "_at_ceiling"
"""Endings of the probability that the assay reports its floor or ceiling, where it has one."""

SPLIT = "split"
TIME, SIMILARITY, STRATUM = "time", "similarity", "stratum"
"""Columns of the rows of a run: when measured, how near to training, which series or project."""

EARLIER_SPLIT = "side"
"""What the column of the split was called in 2026; folds were numbered from 1 beside it."""

OUTSIDE = "outside_domain"
"""Column that says whether a molecule is unlike all training molecules."""

OWN_COLUMNS = frozenset(
    {
        *("id", "source", "row", "SMILES", SPLIT, EARLIER_SPLIT, "quality", "fold", "repeat"),
        *("instances", "similarity", "nearest", OUTSIDE, "error", "time", "stratum"),
    }
)
"""Columns of tables of predictions that are of no task."""

_TRUTH = " truth"
_OF_NUMBERS = ("_sd", LOWER, UPPER, AT_FLOOR, AT_CEILING)
_ENDINGS = (" predicted", *_OF_NUMBERS, " modifier", " decision", _TRUTH)

LOSS_WEIGHT = "loss weight: "
DRAW_WEIGHT = "draw weight: "
"""What columns of ``sampling.parquet`` begin with that hold the weight of a quality in a phase."""


class ColumnsConfig(ConfigModel):
    """Names of columns; by default those of a run's predictions.parquet."""

    earlier_keys: ClassVar[Mapping[str, str]] = {"side": "split"}

    id: str = Field("id", description="names of molecules or bags")
    truth_id: str | None = Field(
        None,
        description="names in data_path, where the truth is in a table of its own; by default the "
        "same column, or row numbers where the predictions are numbered",
    )
    smiles: str = Field("SMILES", description="SMILES, where there are any")
    split: str = Field(SPLIT, description="train, val or test, where rows are of a split")
    quality: str = Field("quality", description="quality label, where rows have one")
    repeat: str = Field("repeat", description="which repeat of repeated folds, where there are any")
    fold: str = Field("fold", description="which fold predicted the row, where there are any")
    predicted: str = Field(
        " predicted",
        description="ending of a task's predictions in tables of other tools, or of ours until "
        "2026: TASK predicted; ours say themselves what their columns are",
    )
    sd: str = Field("_sd", description="ending of a task's uncertainty, a standard deviation")
    lower: str = Field(LOWER, description="ending of the lower end of a task's interval")
    upper: str = Field(UPPER, description="ending of its upper end")
    modifier: str = Field(" modifier", description="ending of a task's signs <, = and > of bounds")
    decision: str = Field(" decision", description="ending of a task's decisions at a threshold")
    time: str = Field("time", description="when rows were measured, where that is known")
    similarity: str = Field(
        "similarity",
        description="Tanimoto similarity to the nearest training molecule, where it is known",
    )
    strata: Annotated[list[str], short_flag("--strata-column")] = Field(
        default_factory=list,
        description="columns of series, projects or the like, each of whose values is scored by "
        "itself; by default that of the run's strata_column",
    )
    tasks: list[str] = Field(
        default_factory=list,
        description="tasks, each with a column of this name that holds the truth; by default all "
        "that have predictions",
    )


def is_reserved(task: str) -> bool:
    """Return whether a column called like a task could be taken for one of ours."""
    return task in OWN_COLUMNS or task.endswith(_ENDINGS)


def truth_column(task: str) -> str:
    """Return the column that holds the truth of a task: of its name, but where that is reserved."""
    return f"{task}{_TRUTH}" if is_reserved(task) else task


def truth_column_of(task: str, columns: Collection[str]) -> str:
    """Return the column that holds the truth in a table of ours, of today or before, or another."""
    today = truth_column(task)
    return today if today in columns else task


def split_column(names: Collection[str], wanted: str = SPLIT) -> str | None:
    """Return the column of the split among a table's names, by its earlier name where that is it.

    Parameters
    ----------
    names : collection of str
        Columns of a table.
    wanted : str
        What it is called; another name than `SPLIT` has no earlier one.
    """
    if wanted in names:
        return wanted
    # Only where the default name was asked for: a name that the user gave is never reinterpreted.
    return EARLIER_SPLIT if wanted == SPLIT and EARLIER_SPLIT in names else None


def with_split(frame: pl.DataFrame, wanted: str = SPLIT) -> pl.DataFrame:
    """Return predictions as they are written today: the column `SPLIT`, and folds from 0.

    Parameters
    ----------
    frame : DataFrame [N]
        Predictions, written today or earlier, or another tool's.
    wanted : str
        What the column of the split is called.
    """
    import polars as pl

    if split_column(frame.columns, wanted) != EARLIER_SPLIT or wanted == EARLIER_SPLIT:
        return frame
    frame = frame.rename({EARLIER_SPLIT: SPLIT})
    folds = frame["fold"] if "fold" in frame.columns else pl.Series(dtype=pl.Null)
    # Another tool's table may have a column of this name and count from 0.
    if folds.dtype.is_integer() and folds.min() == 1:
        frame = frame.with_columns(pl.col("fold") - 1)
    return frame
