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
import contextlib, io, json, sys
from molpool_hpo.cli import PROGRAM, main
pages = {}
for name in PROGRAM.commands:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main([name, "--help-all"]) == 0
    pages[name] = out.getvalue()
print(json.dumps([pages, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def test_package_installs_its_command() -> None:
    assert molpool_hpo.__version__ == metadata("molpool-hpo")["Version"]
    scripts = {s.name: s.value for s in entry_points(group="console_scripts")}
    assert scripts["molpool-hpo"] == "molpool_hpo.script:main"


@pytest.mark.slow
def test_help_imports_nothing_heavy() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", RUNNER], capture_output=True, text=True, check=True
    )
    pages, modules = json.loads(ended.stdout)
    assert not set(modules) & HEAVY
    assert all(page.startswith("usage: molpool-hpo") for page in pages.values())
    for text in (pages["chemprop"], pages["tabular"], pages["mil"]):
        for key in StudyConfig.model_fields:
            assert f"--study.{key.replace('_', '-')}" in text
        assert "--n-trials" in text
        assert "--workers" in text
