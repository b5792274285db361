"""The configuration of `molpool-evaluate report`."""

from __future__ import annotations

from molpool_common import ConfigModel
from pydantic import Field


class ReportConfig(ConfigModel):
    """One self-contained HTML page over a run, a study or a comparison."""

    run: str | None = Field(None, description="run folder of molpool-train")
    study: str | None = Field(None, description="folder of molpool-hpo")
    comparison: str | None = Field(None, description="folder or JSON of molpool-evaluate compare")
    output: str | None = Field(
        None, description="page to write; by default NAME_report.html in the working folder"
    )
    title: str | None = Field(None, description="heading; by default the folder's name")
    overwrite: bool = Field(False, description="replace the page that is there")
    level: float = Field(0.95, gt=0, lt=1, description="coverage of the intervals of a run")
    n_bootstrap: int = Field(1000, ge=100, description="resamples for the intervals of a run")
    seed: int = Field(0, ge=0, description="seed of the resamples")
