"""Entry point of molpool-train. Heavy imports happen once a command really runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

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

if TYPE_CHECKING:
    from molpool_pipelines.fitting import TrainChempropCommand, TrainMILCommand, TrainTabularConfig
    from molpool_pipelines.runs import RunConfig

ConfigT = TypeVar("ConfigT", bound="RunConfig")
TabularT = TypeVar("TabularT", bound="TrainTabularConfig")
PROG = "molpool-train"
_SCRIPT = "molpool_train.script"


@dataclass(frozen=True)
class MigrateOptions:
    """Rewrite legacy sampling keys of YAML files to `joint_sampling`; all other lines stay.

    The legacy keys are optimization.task_sampling_alpha, curriculum and sampling. A file is written
    whole or not at all, and one that fails does not stop the others (exit code 2).

    Attributes
    ----------
    paths
        Files, quoted globs, or folders, which are searched for .yaml and .yml.
    dry_run
        Print what would change as a unified diff and write nothing.
    output
        Write there instead of in place: a new file for one PATH, a folder for several.
    """

    paths: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PATH")]
    dry_run: bool = False
    output: Annotated[Path | None, tyro.conf.arg(metavar="FILE|DIR")] = None


def main(argv: Sequence[str] | None = None) -> int:
    """Run molpool-train and return its exit code."""
    commands = {
        "chemprop": Command(
            "train a multi-task Chemprop model from a table of SMILES", _chemprop, ranks=True
        ),
        "auto": Command("train the best model of a table within a time budget", _auto),
        "tabular": Command("train models on features of molecules", _tabular),
        "blend": Command("train several models on features, weighed by task", _blend),
        "mil": Command(
            "train attention over the conformers of molecules, or other bags", _mil, ranks=True
        ),
        "reproduce": Command("train a run again and compare what it predicts", _reproduce),
        "migrate-config": Command("rewrite legacy sampling keys to joint_sampling", _migrate),
    }
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["--reproduce"]:
        given[0] = "reproduce"
    return dispatch(PROG, "Train molpool models from a table.", commands, given)


def _chemprop(argv: Sequence[str]) -> int | None:
    config, name = _configuration(argv)

    from molpool_pipelines.fitting import launched, train_chemprop

    if (code := launched(config, _SCRIPT, ["chemprop", *argv])) is not None:
        return code
    train_chemprop(config, name=name, arguments=[PROG, "chemprop", *argv])
    return None


def _auto(argv: Sequence[str]) -> None:
    from molpool_pipelines.fitting import TrainAutoCommand

    words = "Train the best model of a table within a time budget."
    config, name = _tabular_configuration(TrainAutoCommand, "auto", words, argv)

    from molpool_pipelines.fitting import train_auto

    train_auto(config, name=name, arguments=[PROG, "auto", *argv])


def _tabular(argv: Sequence[str]) -> None:
    from molpool_pipelines.fitting import TrainTabularCommand

    words = "Train models on features of molecules."
    config, name = _tabular_configuration(TrainTabularCommand, "tabular", words, argv)

    from molpool_pipelines.fitting import train_tabular

    train_tabular(config, name=name, arguments=[PROG, "tabular", *argv])


def _blend(argv: Sequence[str]) -> None:
    from molpool_pipelines.fitting import TrainBlendCommand

    words = "Train several models on features, weighed by task."
    config, name = _tabular_configuration(TrainBlendCommand, "blend", words, argv)

    from molpool_pipelines.fitting import train_tabular

    train_tabular(config, name=name, arguments=[PROG, "blend", *argv])


def _tabular_configuration(
    of: type[TabularT], command: str, words: str, argv: Sequence[str]
) -> tuple[TabularT, str]:
    def parse(argv: Sequence[str]) -> TabularT:
        return parse_config(of, argv, prog=f"{PROG} {command}", description=words)

    return _resumed(parse, argv, command)


def _mil(argv: Sequence[str]) -> int | None:
    config, name = _mil_configuration(argv)

    from molpool_pipelines.fitting import launched, train_mil

    if (code := launched(config, _SCRIPT, ["mil", *argv])) is not None:
        return code
    train_mil(config, name=name, arguments=[PROG, "mil", *argv])
    return None


def _reproduce(argv: Sequence[str]) -> int:
    from molpool_pipelines.fitting import ReproduceConfig, reproduce

    named = ["--run", *argv] if argv and not argv[0].startswith("-") else argv
    config = parse_config(
        ReproduceConfig,
        named,
        prog=f"{PROG} reproduce",
        description="Train a run again from its folder, RUN, and compare what both predict.",
    )
    return 0 if reproduce(config, arguments=[PROG, "reproduce", *argv]) else 1


def _migrate(argv: Sequence[str]) -> int:
    options = tyro.cli(
        MigrateOptions,
        prog=f"{PROG} migrate-config",
        args=expanded(list(argv)),
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    if not options.paths:
        raise InputError("PATH", expected="files or folders to migrate", found="none")

    from molpool_pipelines.migration import migrate_files

    return migrate_files(options.paths, output=options.output, dry_run=options.dry_run)


def _configuration(argv: Sequence[str]) -> tuple[TrainChempropCommand, str]:
    """Return the configuration and the name of the run; a resumed run brings its own file."""
    return _resumed(_parse, argv, "chemprop")


def _mil_configuration(argv: Sequence[str]) -> tuple[TrainMILCommand, str]:
    return _resumed(_parse_mil, argv, "mil")


def _resumed(
    parse: Callable[[Sequence[str]], ConfigT], argv: Sequence[str], name: str
) -> tuple[ConfigT, str]:
    path, _ = take_config(argv)
    config = parse(argv)
    if config.resume and config.save_dir and path is None:
        stored = Path(config.save_dir) / "config.resolved.yaml"
        if stored.is_file():
            from molpool_pipelines.runs import earlier_settings

            was = earlier_settings(type(config), stored)
            flags = [
                word
                for key, value in was.items()
                for word in (f"--{key}", *(value if isinstance(value, list) else [value]))
            ]
            config = parse(["--config", str(stored), *flags, *argv])
    return config, path.stem if path else name


def _parse(argv: Sequence[str]) -> TrainChempropCommand:
    from molpool_pipelines.fitting import TrainChempropCommand
    from sampling_core import migrate_legacy

    return parse_config(
        TrainChempropCommand,
        argv,
        prog=f"{PROG} chemprop",
        description="Train a multi-task Chemprop model from a table of SMILES.",
        migrate=rewriting(migrate_legacy),
    )


def _parse_mil(argv: Sequence[str]) -> TrainMILCommand:
    from molpool_pipelines.fitting import TrainMILCommand

    return parse_config(
        TrainMILCommand,
        argv,
        prog=f"{PROG} mil",
        description="Train attention over the conformers of molecules, or over other bags.",
    )


if __name__ == "__main__":
    sys.exit(main())
