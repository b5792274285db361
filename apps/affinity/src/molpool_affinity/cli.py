"""The command molpool-affinity. Heavy imports happen once it really runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from molpool_common import Command, Program, answer

if TYPE_CHECKING:
    from molpool_common import YamlDocument
    from molpool_pipelines.affinity import AffinityCommandConfig

PROG = "molpool-affinity"


def _read_as_measurement(document: YamlDocument) -> YamlDocument:
    from molpool_pipelines.affinity import read_as_measurement

    return read_as_measurement(document)


def _measure(config: AffinityCommandConfig, argv: Sequence[str]) -> None:
    # After parsing: the front loads torch with this name, and `--help` must not wait for it.
    from molpool_pipelines.affinity import measure_table

    measure_table(config, arguments=[PROG, *argv])
    if config.save_groups:
        train = ("molpool-train", "chemprop", "--groups", config.save_groups)
        answer(steps=[(*train, "--data-path", config.data_path)])


PROGRAM = Program(
    PROG,
    "Which tasks of a table to train together.",
    {
        "": Command(
            "measure which tasks of a table of SMILES to train together, and group them",
            "molpool_pipelines.affinity:AffinityCommandConfig",
            _measure,
            example="--data-path molecules.csv --target-columns LogD KSOL HLM --save-groups "
            "groups.json",
            first=(
                "--data-path", "--target-columns", "--smiles-column", "--n-groups",
                "--affinity-epochs", "--save-path", "--save-groups", "--plot-heatmap", "--report",
                "--seed",
            ),
            migrate=_read_as_measurement,
        )
    },
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 done, 2 wrong input, 1 a fault of ours."""
    return PROGRAM(argv)


if __name__ == "__main__":
    sys.exit(main())
