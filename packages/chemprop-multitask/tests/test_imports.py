"""What is imported with Chemprop: start-up is most of what a few predictions cost."""

from __future__ import annotations

import subprocess
import sys

import pytest

LATE = ("pandas", "scipy.optimize", "scipy.stats", "sklearn", "astartes", "torch._dynamo")


@pytest.mark.slow
def test_chemprop_comes_without_what_only_its_own_commands_need() -> None:
    code = f"import sys, chemprop_multitask._chemprop; print(set({LATE}) & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["set()"], done.stdout + done.stderr
