from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import sampling_core


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    "statement",
    [
        "import sampling_core",
        "from sampling_core import PHASES, resolve_phase_weights",
        "from sampling_core import JointSamplingConfig, CurriculumState, map_legacy",
    ],
)
def test_configuration_loads_nothing_heavy(statement: str) -> None:
    heavy = "{'torch', 'lightning', 'pandas', 'polars', 'scipy'}"
    assert run(f"import sys; {statement}; print({heavy} & set(sys.modules))") == "set()"


def test_lightning_is_needed_for_its_callback_alone() -> None:
    code = """
import sys
sys.modules["lightning"] = None
import sampling_core
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


def test_readme_example_runs() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    code = readme.split("```python\n")[1].split("```")[0]
    drawn, effective = run(code).splitlines()
    assert len(json.loads(drawn)) == 8
    assert 3 not in json.loads(drawn)
    assert 1.0 <= float(effective) <= 4.0
