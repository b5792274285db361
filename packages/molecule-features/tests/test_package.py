"""The package's front."""

from __future__ import annotations

import subprocess
import sys

import molecule_features
import pytest

pytestmark = pytest.mark.core

HEAVY = "torch", "chemprop", "onnxruntime", "mordred", "sklearn", "rdkit", "scipy"


def test_every_name_of_the_front_loads() -> None:
    names: list[str] = molecule_features.__all__  # pyrefly: ignore[missing-attribute]
    assert "__version__" in names
    for name in names:
        assert getattr(molecule_features, name) is not None


def test_nothing_heavy_comes_with_the_front() -> None:
    code = f"import sys, molecule_features; print(*sorted(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
