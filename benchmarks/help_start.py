"""Claim: every --help answers within a second on two cores.

Peer: `chemprop --help`, which imports torch before it prints. Physical limit: starting Python and
importing pydantic and tyro, about 0.3 s here.

    uv run python benchmarks/help_start.py
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

from claims import Claim, settle

BAR_SECONDS = 1.0
ROUNDS = 5
BIN = Path(sys.executable).parent


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    elapsed = time.perf_counter() - start
    if run.returncode != 0:
        raise SystemExit(f"{' '.join(command)} exited with {run.returncode}: {run.stderr}")
    return elapsed


def commands() -> list[list[str]]:
    """Return every command with --help, as the scripts themselves list their subcommands."""
    scripts = sorted({s.name for s in entry_points(group="console_scripts")})
    found = []
    for script in (s for s in scripts if s == "molpool" or s.startswith("molpool-")):
        program = str(BIN / script)
        found.append([program, "--help"])
        listing = subprocess.run([program, "--help"], capture_output=True, text=True, check=True)
        _, _, names = listing.stdout.partition("\ncommands:\n")
        found += [[program, name, "--help"] for name in re.findall(r"^  ([a-z-]+)  ", names, re.M)]
    return found


def main() -> int:
    peer = seconds([str(BIN / "chemprop"), "--help"])
    medians: dict[str, float] = {}
    for command in commands():
        name = " ".join([Path(command[0]).name, *command[1:]])
        medians[name] = statistics.median(seconds(command) for _ in range(ROUNDS))
        print(f"{name:<40} {medians[name]:6.2f} s")
    slowest = max(medians, key=lambda name: medians[name])
    ours, theirs = f"{medians[slowest]:.2f} s", f"{peer:.2f} s"
    return settle(Claim(f"seconds of {slowest}", medians[slowest], BAR_SECONDS, True, ours, theirs))


if __name__ == "__main__":
    sys.exit(main())
