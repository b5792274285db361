"""Random kills of commands that write, and what becomes of them: the short form of the soak."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

KILLS = Path(__file__).parent / "soak" / "kills.py"
QUICK = ("rt-prepare", "rt-fit-fixed", "score", "predict", "train-attention")
"""Commands that take a second or less."""


@pytest.mark.slow
def test_ten_random_kills_change_nothing() -> None:
    command = [sys.executable, str(KILLS), "--kills", "10", "--seed", "1", "--commands", *QUICK]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 in all, 0 faults" in done.stdout
