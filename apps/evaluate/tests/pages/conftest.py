"""The command as a user calls it."""

from __future__ import annotations

import sys
from pathlib import Path

# What several tests share stands in modules of its own; folders of tests are no packages.
sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]
