"""The command `molpool`: each of the other commands in one word more, `molpool train chemprop`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from molpool_common import Command, Program

if TYPE_CHECKING:
    from molpool_pipelines.serving import ServeConfig

    from molpool._doctor import DoctorOptions

PROG = "molpool"
SUMMARIES = {
    "train": "train models from a table",
    "hpo": "tune models over inner folds, the outer test put away",
    "affinity": "measure which tasks to train together",
    "rt": "retention times, from raw tables to calibrated intervals",
    "evaluate": "predict with, score, compare and report saved models",
    "data": "public data sets, profiles of tables, a synthetic demo",
}


def _doctor(options: DoctorOptions, argv: Sequence[str]) -> int:
    from molpool._doctor import doctor

    return doctor(options, argv)


def _serve(config: ServeConfig, argv: Sequence[str]) -> None:
    from molpool_pipelines.serving import serve

    serve(config)


PROGRAM = Program(
    PROG,
    "Molecular property models where data are thin.",
    {
        "doctor": Command(
            "what is installed here, on what machine, and what does not fit together: exit code 1",
            "molpool._doctor:DoctorOptions",
            _doctor,
            example="--json > doctor.json",
            takes_file=False,
        ),
        "serve": Command(
            "a page and a JSON interface of a saved model on this machine",
            "molpool_pipelines.serving:ServeConfig",
            _serve,
            example="runs/auto --port 8000",
            # A run is what it is about, and may stand without its flag.
            subject="--model-dir",
        ),
    },
    parts={name: (f"molpool_{name}.cli:PROGRAM", text) for name, text in SUMMARIES.items()},
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run molpool and return its exit code."""
    return PROGRAM(argv)


if __name__ == "__main__":
    sys.exit(main())
