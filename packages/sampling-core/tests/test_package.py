from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import sampling_core

pytestmark = pytest.mark.core


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.strip()


def test_configuration_loads_nothing_heavy_and_only_the_callback_lightning() -> None:
    code = """
import sys
import sampling_core
from sampling_core import PHASES, resolve_phase_weights
from sampling_core import JointSamplingConfig, CurriculumState, map_legacy

heavy = {"torch", "lightning", "pandas", "polars", "scipy"} & set(sys.modules)
assert not heavy, heavy
sys.modules["lightning"] = None
for name in set(sampling_core.__all__) - {"CurriculumCallback"}:
    getattr(sampling_core, name)
try:
    sampling_core.CurriculumCallback
except ImportError as error:
    print(error)
"""
    assert "sampling-core[lightning]" in run(code)


def test_every_public_name_resolves() -> None:
    names = vars(sampling_core)["__all__"]
    assert "JointSampler" in names
    for name in names:
        assert getattr(sampling_core, name) is not None
    assert set(names) - {"__version__"} <= set(dir(sampling_core))


def test_errors_are_those_of_wrong_input() -> None:
    assert issubclass(sampling_core.SamplingError, ValueError)
    assert sampling_core.SamplingError.exit_code == 2


def test_readme_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    code = readme.split("```python\n")[1].split("```")[0]
    exec(code, {})
    drawn, effective = capsys.readouterr().out.splitlines()
    assert len(json.loads(drawn)) == 8
    assert 3 not in json.loads(drawn)
    assert 1.0 <= float(effective) <= 4.0
