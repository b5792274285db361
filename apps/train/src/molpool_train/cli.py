"""The commands of molpool-train. Heavy imports happen once a command really runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from molpool_common import (
    PATH,
    RESOLVED,
    Command,
    ConfigModel,
    InputError,
    Program,
    answer,
    rank,
    rewriting,
    take_config,
)
from pydantic import Field

if TYPE_CHECKING:
    from molpool_common import YamlDocument
    from molpool_pipelines.fitting import ReproduceConfig

PROG = "molpool-train"
_SCRIPT = "molpool_train.script"
_FITTING = "molpool_pipelines.fitting"


class MigrateOptions(ConfigModel):
    """Rewrite legacy sampling keys of YAML files to `joint_sampling`; all other lines stay.

    The legacy keys are optimization.task_sampling_alpha, curriculum and sampling. A file is written
    whole or not at all, and one that fails does not stop the others (exit code 2).
    """

    path: Annotated[list[str], PATH] = Field(
        default_factory=list,
        description="files, quoted globs, or folders, which are searched for .yaml and .yml",
    )
    dry_run: bool = Field(
        False, description="print what would change as a unified diff and write nothing"
    )
    output: Annotated[str | None, PATH] = Field(
        None,
        description="write there instead of in place: a new file for one PATH, a folder for "
        "several",
    )


def _train(name: str, function: str, config: Any, argv: Sequence[str]) -> int | None:
    """Train, in several processes where that is asked for, and say what comes next."""
    config, run_name = _resumed(PROGRAM.commands[name], name, config, argv)

    import molpool_pipelines.fitting as fitting

    if PROGRAM.commands[name].ranks:
        code = fitting.launched(config, _SCRIPT, [name, *argv])
        if code is not None:
            return code
    work: Callable[..., Path] = getattr(fitting, function)
    run = work(config, name=run_name, arguments=[PROG, name, *argv])
    if rank() == 0:  # the first writes what the answer is read from, perhaps at this moment
        _answer(run, bags=name == "mil")
    return None


def _answer(run: Path, *, bags: bool) -> None:
    from molpool_pipelines.runs import run_summary

    new = "NEW_BAGS.csv" if bags else "NEW.csv"
    predict = ("molpool-evaluate", "predict", "--run", run, "--data-path", new)
    answer(steps=[predict], **run_summary(run))


def _reproduce(config: ReproduceConfig, argv: Sequence[str]) -> int:
    from molpool_pipelines.fitting import reproduce

    return 0 if reproduce(config, arguments=[PROG, "reproduce", *argv]) else 1


def _migrate(options: MigrateOptions, argv: Sequence[str]) -> int:
    if not options.path:
        raise InputError("PATH", expected="files or folders to migrate", found="none")

    from molpool_pipelines.migration import migrate_files

    output = None if options.output is None else Path(options.output)
    return migrate_files(options.path, output=output, dry_run=options.dry_run)


def _resumed(command: Command, name: str, config: Any, argv: Sequence[str]) -> tuple[Any, str]:
    """Return the configuration and the name of the run; a resumed run brings its own file."""
    path, _ = take_config(argv)
    if config.resume and config.save_dir and path is None:
        stored = Path(config.save_dir) / RESOLVED
        if stored.is_file():
            from molpool_pipelines.runs import earlier_settings

            was = earlier_settings(type(config), stored)
            flags = [
                word
                for key, value in was.items()
                for word in (f"--{key}", *(value if isinstance(value, list) else [str(value)]))
            ]
            config = command.parse(f"{PROG} {name}", ["--config", str(stored), *flags, *argv])
    return config, path.stem if path else name


def _todays_sampling(document: YamlDocument) -> YamlDocument:
    from sampling_core import migrate_legacy

    return rewriting(migrate_legacy)(document)


_TABLE = ("--data-path", "--target-columns", "--smiles-column", "--split-type", "--save-dir")
_TABULAR = (*_TABLE, "--time-budget", "--model", "--features", "--cv.folds", "--seed")

PROGRAM = Program(
    PROG,
    "Train molpool models from a table.",
    {
        "auto": Command(
            "train the best model of a table within a time budget",
            f"{_FITTING}:TrainAutoCommand",
            partial(_train, "auto", "train_auto"),
            example="--data-path molecules.csv --target-columns LogD KSOL --save-dir runs/auto",
            first=_TABULAR,
        ),
        "chemprop": Command(
            "train a multi-task Chemprop model from a table of SMILES",
            f"{_FITTING}:TrainChempropCommand",
            partial(_train, "chemprop", "train_chemprop"),
            example="--data-path molecules.csv --target-columns LogD KSOL --training.epochs 50",
            first=(
                *_TABLE, "--training.epochs", "--ensemble.n-seeds", "--features", "--cv.folds",
                "--seed",
            ),
            migrate=_todays_sampling,
            ranks=True,
        ),
        "tabular": Command(
            "train models on features of molecules",
            f"{_FITTING}:TrainTabularCommand",
            partial(_train, "tabular", "train_tabular"),
            example="--data-path molecules.csv --target-columns LogD KSOL --model gp",
            first=_TABULAR,
        ),
        "blend": Command(
            "train several models on features, weighed by task",
            f"{_FITTING}:TrainBlendCommand",
            partial(_train, "blend", "train_tabular"),
            example="--data-path molecules.csv --target-columns LogD KSOL --model mlp gp lightgbm",
            first=_TABULAR,
        ),
        "mil": Command(
            "train attention over the conformers of molecules, or over other bags",
            f"{_FITTING}:TrainMILCommand",
            partial(_train, "mil", "train_mil"),
            example="--data-path molecules.csv --target-columns active --save-dir runs/bags",
            first=(
                *_TABLE, "--data.kind", "--task-kind", "--models", "--training.epochs", "--seed",
            ),
            ranks=True,
        ),
        "reproduce": Command(
            "train a run again from its folder, RUN, and compare what both predict",
            f"{_FITTING}:ReproduceConfig",
            _reproduce,
            example="runs/auto",
            subject="--run",
        ),
        "migrate-config": Command(
            "rewrite legacy sampling keys of YAML files to joint_sampling",
            "molpool_train.cli:MigrateOptions",
            _migrate,
            example="configs/ --dry-run",
            subject="--path",
            takes_file=False,
        ),
    },
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run molpool-train and return its exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["--reproduce"]:
        given[0] = "reproduce"
    return PROGRAM(given)


if __name__ == "__main__":
    sys.exit(main())
