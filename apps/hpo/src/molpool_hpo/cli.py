"""Entry point of molpool-hpo. Heavy imports happen once a command really runs.

A kind of model is a package here with ``config`` (the configuration: that of molpool-train and the
sections `study` and `space`) and ``problem`` (which makes a `Problem` of it).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from molpool_common import Command, dispatch, parse_config, rewriting, take_config

PROG = "molpool-hpo"


def main(argv: Sequence[str] | None = None) -> int:
    """Run molpool-hpo and return its exit code."""
    commands = {
        "chemprop": Command("tune a multi-task Chemprop model over inner folds", _chemprop),
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
        migrate=rewriting(migrate_legacy),
    )

    from molpool_pipelines.studies import chemprop_problem, run_study

    return run_study(config, chemprop_problem, name=_name(argv, "chemprop"), arguments=argv)


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


def _retrain(argv: Sequence[str]) -> int:
    from molpool_pipelines.studies import main as retrain

    return retrain(argv)


def _show(argv: Sequence[str]) -> int:
    from molpool_pipelines.studies.show import main as show

    return show(argv)


def _name(argv: Sequence[str], kind: str) -> str:
    path, _ = take_config(argv)
    return path.stem if path else f"hpo-{kind}"


if __name__ == "__main__":
    sys.exit(main())
