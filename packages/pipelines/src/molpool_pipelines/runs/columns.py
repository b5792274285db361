"""How the columns of a table of predictions are called."""

from __future__ import annotations

from molpool_common import ConfigModel
from pydantic import Field


class ColumnsConfig(ConfigModel):
    """Names of columns; by default those of a run's predictions.parquet."""

    id: str = Field("id", description="names of molecules or bags")
    truth_id: str | None = Field(
        None,
        description="names in data_path, where the truth is in a table of its own; by default the "
        "same column, or row numbers where the predictions are numbered",
    )
    smiles: str = Field("SMILES", description="SMILES, where there are any")
    side: str = Field("side", description="train, val or test, where rows have a side")
    quality: str = Field("quality", description="quality label, where rows have one")
    repeat: str = Field("repeat", description="which repeat of repeated folds, where there are any")
    fold: str = Field("fold", description="which fold predicted the row, where there are any")
    predicted: str = Field(
        " predicted", description="ending of a task's predictions: TASK predicted"
    )
    sd: str = Field("_sd", description="ending of a task's uncertainty, a standard deviation")
    modifier: str = Field(" modifier", description="ending of a task's signs <, = and > of bounds")
    decision: str = Field(" decision", description="ending of a task's decisions at a threshold")
    tasks: list[str] = Field(
        default_factory=list,
        description="tasks, each with a column of this name that holds the truth; by default all "
        "that have predictions",
    )
