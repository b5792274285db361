"""The configuration of a study of models on features."""

from __future__ import annotations

from typing import Annotated

import tyro
from molpool_common import PATH
from pydantic import Field

from molpool_pipelines.fitting import BaselineChoice, TrainTabularConfig
from molpool_pipelines.studies._config import StudyConfig
from molpool_pipelines.studies._space import SpaceConfig


class HPOTabularConfig(TrainTabularConfig):
    """A study: a training configuration, what is tried in its place, and how."""

    save_dir: Annotated[str | None, PATH] = Field(
        None, description="study folder; by default runs/NAME-TIME of the configuration's name"
    )
    resume: bool = Field(False, description="read by molpool-train; a study always goes on")
    # Only in the file: as a flag it would be that of study.baselines.
    baselines: Annotated[BaselineChoice, tyro.conf.Fixed] = Field(
        "fast", description="of runs: simple models beside those that are retrained"
    )
    study: StudyConfig = Field(default_factory=StudyConfig)
    space: SpaceConfig = Field(
        default_factory=dict,
        description="parameters to narrow, fix or add, by dotted key: a value, "
        "{low: …, high: …, log: true} or {choices: […]}, with when: {KEY: VALUE}",
    )
