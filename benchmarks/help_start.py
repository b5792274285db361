"""Claim: every --help answers within a second on two cores.

Peer: `chemprop --help`, which imports torch before it prints. Physical limit: starting Python and
importing pydantic and tyro, about 0.3 s here.

    uv run python benchmarks/help_start.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

BAR_SECONDS = 1.0
ROUNDS = 5
SUBCOMMANDS = {
    "molpool-train": ["chemprop", "migrate-config"],
    "molpool-data": ["list", "fetch", "demo", "describe"],
}


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    elapsed = time.perf_counter() - start
    if run.returncode != 0:
        raise SystemExit(f"{' '.join(command)} exited with {run.returncode}: {run.stderr}")
    return elapsed


def commands() -> list[list[str]]:
    bin_dir = Path(sys.executable).parent
    scripts = sorted(s.name for s in entry_points(group="console_scripts"))
    found = []
    for script in (s for s in scripts if s.startswith("molpool-")):
        program = str(bin_dir / script)
        found.append([program, "--help"])
        listing = subprocess.run([program, "--help"], capture_output=True, text=True, check=True)
        names = [n for n in SUBCOMMANDS[script] if f"  {n} " in listing.stdout]
        found += [[program, name, "--help"] for name in names]
    return found


def main() -> int:
    peer = seconds([str(Path(sys.executable).parent / "chemprop"), "--help"])
    worst = 0.0
    for command in commands():
        median = statistics.median(seconds(command) for _ in range(ROUNDS))
        worst = max(worst, median)
        shown = " ".join([Path(command[0]).name, *command[1:]])
        print(f"{shown:<40} {median:6.2f} s")
    print(f"chemprop --help {peer:.2f} s; ratio {peer / worst:.1f}; bar {BAR_SECONDS} s")
    return 0 if worst <= BAR_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
