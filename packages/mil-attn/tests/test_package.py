from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import mil_attn
import pytest

HEAVY = "torch", "lightning", "optuna", "polars", "numpy", "rdkit", "pydantic"


def test_offers_its_names() -> None:
    assert "__version__" in mil_attn.__all__
    for name in mil_attn.__all__:
        assert getattr(mil_attn, name) is not None


def test_installs_no_command() -> None:
    scripts = entry_points(group="console_scripts")
    assert not [s for s in scripts if s.value.startswith("mil_attn")]


@pytest.mark.slow
def test_importing_it_imports_nothing_heavy() -> None:
    code = f"import sys, mil_attn; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
