"""The command as a user calls it."""

from __future__ import annotations

import sys
from pathlib import Path

# `three_models` stands beside the folders of tests, which are no packages.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
