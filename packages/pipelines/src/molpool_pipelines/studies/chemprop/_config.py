"""The configuration of a study of Chemprop models."""

from __future__ import annotations

from pydantic import Field

from molpool_pipelines.fitting import TrainChempropConfig
from molpool_pipelines.studies._config import StudyConfig, StudyRunConfig


class HPOChempropConfig(StudyRunConfig, TrainChempropConfig):
    """A study: a training configuration, what is tried in its place, and how."""

    study: StudyConfig = Field(default_factory=StudyConfig)
