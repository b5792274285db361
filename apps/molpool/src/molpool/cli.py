"""The command `molpool`: each of the other commands in one word more, `molpool train chemprop`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module

from molpool_common import Command, dispatch

PROG = "molpool"
SUMMARIES = {
    "train": "train models from a table",
    "hpo": "tune models over inner folds, the outer test put away",
    "affinity": "measure which tasks to train together",
    "rt": "retention times, from raw tables to calibrated intervals",
    "evaluate": "predict with, score, compare and report saved models",
    "data": "public data sets, profiles of tables, a synthetic demo",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run molpool and return its exit code."""
    commands = {
        name: Command(text, partial(_run, name), ranks=name == "train")
        for name, text in SUMMARIES.items()
    }
    commands["doctor"] = Command("what is installed here, and what does not fit together", _doctor)
    return dispatch(PROG, "Molecular property models where data are thin.", commands, argv)


def _run(name: str, argv: Sequence[str]) -> int:
    # Imported when it is named: six command modules together would slow each other's help.
    code: int = import_module(f"molpool_{name}.cli").main(argv)
    return code


def _doctor(argv: Sequence[str]) -> int:
    from molpool._doctor import doctor

    return doctor(argv)


if __name__ == "__main__":
    sys.exit(main())
