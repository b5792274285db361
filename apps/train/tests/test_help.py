"""Help answers at once: it imports nothing that takes seconds."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from molpool_train.cli import PROGRAM, main

pytestmark = pytest.mark.core


HEAVY = {"torch", "lightning", "chemprop", "sklearn", "rdkit", "mlflow", "matplotlib", "polars"}

RUNNER = """
import contextlib, io, json, sys
from molpool_train.cli import PROGRAM, main
out, err = io.StringIO(), io.StringIO()
with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
    codes = [main(["--help"]), *(main([name, "--help-all"]) for name in PROGRAM.commands)]
    # A mistyped flag must not cost the import of torch either.
    codes.append(main(["chemprop", "--training.epoch", "3"]))
modules = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps([codes, modules, out.getvalue(), err.getvalue()]))
"""


@pytest.mark.slow
def test_help_and_mistakes_import_nothing_heavy() -> None:
    ended = subprocess.run([sys.executable, "-c", RUNNER], capture_output=True, text=True)
    codes, modules, text, said = json.loads(ended.stdout)
    assert codes == [0] * (1 + len(PROGRAM.commands)) + [2]
    assert not set(modules) & HEAVY
    assert text.count("usage: molpool-train ") == 1 + len(PROGRAM.commands)
    assert "Did you mean '--training.epochs'?" in said


def test_help_shows_flags_defaults_and_sections(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chemprop", "--help"]) == 0
    short = capsys.readouterr().out
    assert "--training.epochs INT" in short
    assert "--config FILE" in short
    assert "--joint-sampling.task-oversampling.alpha" not in short
    assert main(["chemprop", "--help-all"]) == 0
    text = capsys.readouterr().out
    for flag in (
        "--data-path",
        "--training.epochs INT",
        "--joint-sampling.task-oversampling.alpha",
    ):
        assert flag in text
    assert "--resume [{true,false}]" in text
    assert "Optimisation: Adam with a linear warm-up" in text
    assert "Values of one section" not in text
