"""The configuration of a study of models on features."""

from __future__ import annotations

from pydantic import Field

from molpool_pipelines.fitting import TrainTabularConfig
from molpool_pipelines.studies._config import StudyConfig, StudyRunConfig


class HPOTabularConfig(StudyRunConfig, TrainTabularConfig):
    """A study: a training configuration, what is tried in its place, and how."""

    study: StudyConfig = Field(default_factory=StudyConfig)
