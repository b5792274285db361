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
from molpool_rt.cli import PROGRAM

pytestmark = pytest.mark.core


HEAVY = {"pymc", "sklearn", "scipy", "matplotlib", "polars", "pyarrow", "arviz", "fpdf", "torch"}

RUNNER = """
import contextlib, io, json, sys
from molpool_rt.cli import main
ended = []
for line in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = main(line.split())
    modules = sorted({name.partition(".")[0] for name in sys.modules})
    ended.append([line, code, out.getvalue(), modules])
print(json.dumps(ended))
"""


def test_version_is_that_of_the_distribution():
    assert molpool_rt.__version__ == metadata("molpool-rt")["Version"]


def test_the_command_is_installed():
    # By its own distribution, and by molpool, which installs every command.
    scripts = [s for s in entry_points(group="console_scripts") if s.name == "molpool-rt"]
    assert "molpool-rt" in {s.dist.name for s in scripts if s.dist is not None}
    assert {s.value for s in scripts} == {"molpool_rt.script:main"}


@pytest.mark.slow
def test_help_imports_nothing_heavy():
    lines = ("--help", *(f"{name} --help-all" for name in PROGRAM.commands))
    ended = subprocess.run(
        [sys.executable, "-c", RUNNER, *lines], capture_output=True, text=True, check=True
    )
    for line, code, out, modules in json.loads(ended.stdout):
        assert code == 0, line
        assert not set(modules) & HEAVY, line
        assert "usage: molpool-rt" in out


def test_flags_are_spelt_as_laboratories_know_them():
    known = set(flag_names(FitConfig))
    # The spellings of the retired scripts' documentation.
    assert known >= {
        *("--group-col", "--intercept-mode", "--intercept-prior", "--slope-head-mode"),
        *("--method", "--lambda-slopes", "--anchor-expansion", "--max-train-rows", "--max-groups"),
        *("--feature-center", "--feature-rotation"),
    }
