"""The command is installed, and its help imports nothing that takes seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points, metadata

import molpool_rt
import pytest
from molpool_common import flag_names
from molpool_pipelines.retention import FitConfig

HEAVY = {"pymc", "sklearn", "scipy", "matplotlib", "polars", "pyarrow", "arviz", "fpdf", "torch"}

RUNNER = """
import json, sys
from molpool_rt.cli import main
code = main(sys.argv[1:])
sys.stderr.write(json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def test_version_is_that_of_the_distribution():
    assert molpool_rt.__version__ == metadata("molpool-rt")["Version"]


def test_the_command_is_installed():
    scripts = {s.name: s.value for s in entry_points(group="console_scripts")}
    assert scripts["molpool-rt"] == "molpool_rt.script:main"


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("--help",), ("fit", "--help"), ("run", "--help")])
def test_help_imports_nothing_heavy(arguments):
    ended = subprocess.run(
        [sys.executable, "-c", RUNNER, *arguments], capture_output=True, text=True, check=True
    )
    code, modules = json.loads(ended.stderr)
    assert code == 0
    assert not set(modules) & HEAVY
    assert "usage: molpool-rt" in ended.stdout


def test_flags_are_spelt_as_laboratories_know_them():
    known = set(flag_names(FitConfig))
    # The spellings of the retired scripts' documentation.
    assert known >= {
        *("--group-col", "--intercept-mode", "--intercept-prior", "--slope-head-mode"),
        *("--method", "--lambda-slopes", "--anchor-expansion", "--max-train-rows", "--max-groups"),
        *("--feature-center", "--feature-rotation"),
    }
