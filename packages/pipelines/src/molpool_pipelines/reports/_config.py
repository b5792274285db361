"""The configuration of `molpool-evaluate report`."""

from __future__ import annotations

from typing import Annotated

from molpool_common import PATH, ConfigModel, Seed
from pydantic import Field


class ReportConfig(ConfigModel):
    """One self-contained HTML page over a run, a study or a comparison."""

    run: Annotated[str | None, PATH] = Field(None, description="run folder of molpool-train")
    study: Annotated[str | None, PATH] = Field(None, description="folder of molpool-hpo")
    comparison: Annotated[str | None, PATH] = Field(
        None, description="folder or JSON of molpool-evaluate compare"
    )
    output: Annotated[str | None, PATH] = Field(
        None, description="page to write; by default NAME_report.html in the working folder"
    )
    title: str | None = Field(None, description="heading; by default the folder's name")
    overwrite: bool = Field(False, description="replace the page that is there")
    level: float = Field(0.95, gt=0, lt=1, description="coverage of the intervals of a run")
    n_bootstrap: int = Field(1000, ge=100, description="resamples for the intervals of a run")
    seed: Seed = Field(0, description="seed of the resamples")
