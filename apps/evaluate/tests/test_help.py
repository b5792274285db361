"""Help answers at once: it imports nothing that takes seconds."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.core


HEAVY = {"torch", "lightning", "chemprop", "sklearn", "rdkit", "matplotlib", "polars", "scipy"}

RUNNER = """
import contextlib, io, json, sys
from molpool_evaluate.cli import PROGRAM, main
out = io.StringIO()
with contextlib.redirect_stdout(out):
    codes = [main(["--help"]), *(main([name, "--help-all"]) for name in PROGRAM.commands)]
modules = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps([codes, modules, out.getvalue()]))
"""


@pytest.mark.slow
def test_help_imports_nothing_heavy() -> None:
    ended = subprocess.run([sys.executable, "-c", RUNNER], capture_output=True, text=True)
    codes, modules, text = json.loads(ended.stdout)
    assert set(codes) == {0}
    assert not set(modules) & HEAVY
    for flag in ("score", "--on-bad-smiles {error,drop,keep}", "--columns.predicted"):
        assert flag in text
