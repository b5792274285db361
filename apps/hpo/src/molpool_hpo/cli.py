"""The commands of molpool-hpo. Heavy imports happen once a command really runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from molpool_common import (
    PATH,
    Command,
    ConfigModel,
    InputError,
    Program,
    answer,
    rewriting,
    take_config,
)
from pydantic import Field

if TYPE_CHECKING:
    from molpool_common import YamlDocument
    from molpool_pipelines.studies import (
        HPOChempropConfig,
        HPOMILConfig,
        HPOTabularConfig,
        RetrainConfig,
    )

PROG = "molpool-hpo"
_STUDIES = "molpool_pipelines.studies"
_FIRST = (
    "--data-path", "--target-columns", "--n-trials", "--timeout", "--workers", "--space",
    "--metric", "--n-folds", "--save-dir", "--resume",
)  # fmt: skip


class ShowOptions(ConfigModel):
    """List the trials of a study, its best parameters and what mattered."""

    study_dir: Annotated[str | None, PATH] = Field(None, description="folder of the study")
    storage: str | None = Field(
        None,
        description="where the study is kept, a file or an address, if the folder's note of it "
        "lacks the password",
    )
    best: int = Field(
        0, ge=0, description="how many of the best trials to list; 0 lists all trials in order"
    )


def _todays_sampling(document: YamlDocument) -> YamlDocument:
    """Read files from before `joint_sampling` as they are, with a note."""
    from sampling_core import migrate_legacy

    return rewriting(migrate_legacy)(document)


def _chemprop(config: HPOChempropConfig, argv: Sequence[str]) -> int:
    from molpool_pipelines.studies import chemprop_problem, run_study

    return run_study(config, chemprop_problem, name=_name(argv, "chemprop"), arguments=argv)


def _tabular(config: HPOTabularConfig, argv: Sequence[str]) -> int:
    from molpool_pipelines.studies import run_study, tabular_problem

    return run_study(config, tabular_problem, name=_name(argv, "tabular"), arguments=argv)


def _mil(config: HPOMILConfig, argv: Sequence[str]) -> int:
    from molpool_pipelines.studies import mil_problem, run_study

    return run_study(config, mil_problem, name=_name(argv, "mil"), arguments=argv)


def _retrain(config: RetrainConfig, argv: Sequence[str]) -> None:
    from molpool_pipelines.studies import retrain

    path = retrain(config, arguments=[PROG, "retrain", *argv])
    predict = ("molpool-evaluate", "predict", "--run", path, "--data-path", "NEW.csv")
    answer(run=path, steps=[predict])


def _show(options: ShowOptions, argv: Sequence[str]) -> None:
    if options.study_dir is None:
        raise InputError("--study-dir", expected="the folder of a study", found="none")

    from pathlib import Path

    from molpool_pipelines.studies import read_study, show

    folder = Path(options.study_dir)
    show(read_study(folder, options.storage), options.best, folder)


def _name(argv: Sequence[str], kind: str) -> str:
    path, _ = take_config(argv)
    # The study is named like the configuration, so that folders say what was tuned.
    return path.stem if path else f"hpo-{kind}"


PROGRAM = Program(
    PROG,
    "Tune molpool models with Optuna, without leakage.",
    {
        "chemprop": Command(
            "tune a multi-task Chemprop model over inner folds of a table of SMILES",
            f"{_STUDIES}:HPOChempropConfig",
            _chemprop,
            example="--data-path molecules.csv --target-columns LogD KSOL --n-trials 40",
            first=_FIRST,
            migrate=_todays_sampling,
        ),
        "tabular": Command(
            "tune models on features, and which features, over inner folds of a table",
            f"{_STUDIES}:HPOTabularConfig",
            _tabular,
            example="--data-path molecules.csv --target-columns LogD KSOL --n-trials 40",
            first=_FIRST,
        ),
        "mil": Command(
            "tune attention over the conformers of molecules, or over other bags",
            f"{_STUDIES}:HPOMILConfig",
            _mil,
            example="--data-path molecules.csv --target-columns active --n-trials 40",
            first=_FIRST,
        ),
        "retrain": Command(
            "train the best of a study on all rows but the outer test, and score it there once",
            f"{_STUDIES}:RetrainConfig",
            _retrain,
            example="--study-dir runs/study --k 3",
        ),
        "show": Command(
            "list trials, best parameters and importances of a study",
            "molpool_hpo.cli:ShowOptions",
            _show,
            example="--study-dir runs/study --best 10",
            subject="--study-dir",
            takes_file=False,
        ),
    },
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run molpool-hpo and return its exit code."""
    return PROGRAM(argv)


if __name__ == "__main__":
    sys.exit(main())
