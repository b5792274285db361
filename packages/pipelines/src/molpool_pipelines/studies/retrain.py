"""`molpool-hpo retrain`: the best of a study on all but the outer test, scored there once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from molpool_common import ConfigModel, InputError, parse_config
from pydantic import Field, model_validator

PROG = "molpool-hpo retrain"


class RetrainConfig(ConfigModel):
    """Which trials to train again, and what to compare them with."""

    study_dir: str | None = Field(None, description="folder of the study")
    k: int = Field(
        1, ge=1, description="how many of the best trials to train; two or more make an ensemble"
    )
    trial: int | None = Field(None, ge=0, description="number of the trial to train instead")
    name: str | None = Field(
        None, description="folder below STUDY/retrained; by default best, best-K or trial-N"
    )
    defaults: bool = Field(
        False, description="train the study's first trial, the defaults, in the same way too"
    )
    baselines: bool = Field(
        False, description="score LightGBM and a random forest on the same rows too"
    )
    storage: str | None = Field(
        None, description="where the study is kept, if the folder's note of it lacks the password"
    )
    overwrite: bool = Field(False, description="replace what is there under this name")

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if self.trial is not None and self.k > 1:
            raise ValueError("trial: expected one trial, or k of the best; found both")
        if self.name is not None and (Path(self.name).name != self.name or self.name == ".."):
            raise ValueError(f"name: expected the name of a folder; found {self.name!r}")
        return self

    @property
    def study(self) -> Path:
        """Folder of the study."""
        if self.study_dir is None:
            raise InputError("--study-dir", expected="the folder of a study", found="none")
        return Path(self.study_dir)

    @property
    def folder(self) -> Path:
        """Where the retrained models go."""
        best = "best" if self.k == 1 else f"best-{self.k}"
        name = self.name or (best if self.trial is None else f"trial-{self.trial}")
        return self.study / "retrained" / name


def main(argv: Sequence[str]) -> int:
    """Retrain from a study; returns the exit code."""
    config = parse_config(
        RetrainConfig,
        argv,
        prog=PROG,
        description="Train the best trials of a study on all rows but the outer test, and score "
        "them there once.",
    )

    from molpool_pipelines.studies.retraining import retrain

    retrain(config, arguments=[*PROG.split(), *argv])
    return 0
