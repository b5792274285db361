"""The command is installed, and its help answers at once."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points, metadata

import molpool_affinity
import pytest
from task_affinity import TaskAffinityConfig

pytestmark = pytest.mark.core


HEAVY = {"torch", "chemprop", "sklearn", "rdkit", "matplotlib", "polars", "pandas", "scipy"}
RUNNER = """
import json, sys
from molpool_affinity.cli import main
code = main(sys.argv[1:])
sys.stderr.write(json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def test_package_installs_its_command() -> None:
    assert molpool_affinity.__version__ == metadata("molpool-affinity")["Version"]
    scripts = {s.name: s.value for s in entry_points(group="console_scripts")}
    assert scripts["molpool-affinity"] == "molpool_affinity.script:main"


@pytest.mark.slow
def test_help_shows_every_key_and_imports_nothing_heavy() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", RUNNER, "--help-all"], capture_output=True, text=True, check=True
    )
    code, modules = json.loads(ended.stderr)
    assert code == 0
    assert not set(modules) & HEAVY
    for key in TaskAffinityConfig.model_fields:
        assert f"--{key.replace('_', '-')} " in ended.stdout
    for flag in ("--data-path", "--smiles-column", "--target-columns", "--save-path", "--report"):
        assert flag in ended.stdout
