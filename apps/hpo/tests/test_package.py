"""The command is installed, and its help answers at once."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points, metadata

import molpool_hpo
import pytest
from molpool_pipelines.studies import StudyConfig

pytestmark = pytest.mark.core


HEAVY = {"torch", "chemprop", "sklearn", "rdkit", "matplotlib", "polars", "optuna", "sqlalchemy"}
RUNNER = """
import json, sys
from molpool_hpo.cli import main
code = main(sys.argv[1:])
sys.stderr.write(json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def ask(*arguments: str) -> tuple[int, set[str], str]:
    """Return exit code, top-level modules imported and the text printed."""
    ended = subprocess.run(
        [sys.executable, "-c", RUNNER, *arguments], capture_output=True, text=True, check=True
    )
    code, modules = json.loads(ended.stderr)
    return code, set(modules), ended.stdout


def test_package_installs_its_command() -> None:
    assert molpool_hpo.__version__ == metadata("molpool-hpo")["Version"]
    scripts = {s.name: s.value for s in entry_points(group="console_scripts")}
    assert scripts["molpool-hpo"] == "molpool_hpo.script:main"


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [(), ("chemprop",), ("tabular",), ("mil",), ("retrain",), ("show",)]
)
def test_help_imports_nothing_heavy(command: tuple[str, ...]) -> None:
    code, modules, text = ask(*command, "--help")
    assert code == 0
    assert not modules & HEAVY
    assert "usage: molpool-hpo" in text
    if command in (("chemprop",), ("tabular",), ("mil",)):
        for key in StudyConfig.model_fields:
            assert f"--study.{key.replace('_', '-')}" in text
        assert "--n-trials" in text
        assert "--workers" in text
