"""Help answers at once: it imports nothing that takes seconds."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.core


HEAVY = {"torch", "lightning", "chemprop", "sklearn", "rdkit", "matplotlib", "polars", "scipy"}

RUNNER = """
import json, sys
from molpool_evaluate.cli import main
code = main(sys.argv[1:])
sys.stderr.write(json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (["--help"], "score"),
        (["predict", "--help"], "--on-bad-smiles {error,drop,keep}"),
        (["score", "--help"], "--columns.predicted"),
    ],
)
def test_help_imports_nothing_heavy(arguments: list[str], flag: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", RUNNER, *arguments], capture_output=True, text=True, check=True
    )
    code, modules = json.loads(ended.stderr)
    assert code == 0
    assert not set(modules) & HEAVY
    assert flag in ended.stdout
