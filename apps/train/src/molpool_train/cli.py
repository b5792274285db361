"""Entry point of molpool-train. Heavy imports happen once a command really runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from molpool_common.cli import Command, dispatch, parse_config, take_config

if TYPE_CHECKING:
    from molpool_train.config import TrainChempropConfig

PROG = "molpool-train"


def main(argv: Sequence[str] | None = None) -> int:
    """Run molpool-train and return its exit code."""
    commands = {
        "chemprop": Command("train a multi-task Chemprop model from a table of SMILES", _chemprop)
    }
    return dispatch(PROG, "Train molpool models from a table.", commands, argv)


def _chemprop(argv: Sequence[str]) -> None:
    config, name = _configuration(argv)

    from molpool_train.pipeline import train_chemprop

    train_chemprop(config, name=name, arguments=[PROG, "chemprop", *argv])


def _configuration(argv: Sequence[str]) -> tuple[TrainChempropConfig, str]:
    """Return the configuration and the name of the run; a resumed run brings its own file."""
    path, _ = take_config(argv)
    config = _parse(argv)
    if config.resume and config.save_dir and path is None:
        stored = Path(config.save_dir) / "config.resolved.yaml"
        if stored.is_file():
            config = _parse(["--config", str(stored), *argv])
    return config, path.stem if path else "chemprop"


def _parse(argv: Sequence[str]) -> TrainChempropConfig:
    from molpool_train.config import TrainChempropConfig
    from molpool_train.legacy import migrate

    return parse_config(
        TrainChempropConfig,
        argv,
        prog=f"{PROG} chemprop",
        description="Train a multi-task Chemprop model from a table of SMILES.",
        migrate=migrate,
    )


if __name__ == "__main__":
    sys.exit(main())
