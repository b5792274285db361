"""Entry point of molpool-hpo. Heavy imports happen once a command really runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from molpool_common import (
    Command,
    InputError,
    dispatch,
    expanded,
    parse_config,
    rewriting,
    take_config,
)

PROG = "molpool-hpo"


@dataclass(frozen=True)
class ShowOptions:
    """List the trials of a study, its best parameters and what mattered.

    Attributes
    ----------
    study_dir
        Folder of the study.
    storage
        Where the study is kept, if the folder's note of it lacks the password.
    best
        How many of the best trials to list; 0 lists all trials in order.
    """

    study_dir: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    storage: Annotated[str | None, tyro.conf.arg(metavar="URL|FILE")] = None
    best: int = 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run molpool-hpo and return its exit code."""
    commands = {
        "chemprop": Command("tune a multi-task Chemprop model over inner folds", _chemprop),
        "tabular": Command("tune models on features over inner folds", _tabular),
        "mil": Command("tune attention over conformers, or over other bags", _mil),
        "retrain": Command("train the best of a study on all but the outer test", _retrain),
        "show": Command("list trials, best parameters and importances of a study", _show),
    }
    return dispatch(PROG, "Tune molpool models with Optuna, without leakage.", commands, argv)


def _chemprop(argv: Sequence[str]) -> int:
    from molpool_pipelines.studies import HPOChempropConfig
    from sampling_core import migrate_legacy

    config = parse_config(
        HPOChempropConfig,
        argv,
        prog=f"{PROG} chemprop",
        description="Tune a multi-task Chemprop model over inner folds of a table of SMILES.",
        # Files from before `joint_sampling` are read as they are, with a note.
        migrate=rewriting(migrate_legacy),
    )

    from molpool_pipelines.studies import chemprop_problem, run_study

    return run_study(config, chemprop_problem, name=_name(argv, "chemprop"), arguments=argv)


def _tabular(argv: Sequence[str]) -> int:
    from molpool_pipelines.studies import HPOTabularConfig

    config = parse_config(
        HPOTabularConfig,
        argv,
        prog=f"{PROG} tabular",
        description="Tune models on features, and which features, over inner folds of a table.",
    )

    from molpool_pipelines.studies import run_study, tabular_problem

    return run_study(config, tabular_problem, name=_name(argv, "tabular"), arguments=argv)


def _mil(argv: Sequence[str]) -> int:
    from molpool_pipelines.studies import HPOMILConfig

    config = parse_config(
        HPOMILConfig,
        argv,
        prog=f"{PROG} mil",
        description="Tune attention over the conformers of molecules, or over other bags.",
    )

    from molpool_pipelines.studies import mil_problem, run_study

    return run_study(config, mil_problem, name=_name(argv, "mil"), arguments=argv)


def _retrain(argv: Sequence[str]) -> None:
    from molpool_pipelines.studies import RetrainConfig

    config = parse_config(
        RetrainConfig,
        argv,
        prog=f"{PROG} retrain",
        description="Train the best trials of a study on all rows but the outer test, and score "
        "them there once.",
    )

    from molpool_pipelines.studies import retrain

    retrain(config, arguments=[PROG, "retrain", *argv])


def _show(argv: Sequence[str]) -> None:
    options = tyro.cli(ShowOptions, prog=f"{PROG} show", args=expanded(list(argv)))
    if options.best < 0:
        raise InputError("--best", expected="0 or more", found=str(options.best))

    from molpool_pipelines.studies import read_study, show

    show(read_study(options.study_dir, options.storage), options.best, options.study_dir)


def _name(argv: Sequence[str], kind: str) -> str:
    path, _ = take_config(argv)
    # The study is named like the configuration, so that folders say what was tuned.
    return path.stem if path else f"hpo-{kind}"


if __name__ == "__main__":
    sys.exit(main())
