"""Claim: a table of a million rows is read in at most 1.5 times what polars' own reader takes.

`molpool_common.read_table` looks at every byte before it parses: encoding, separator, and whether
each line has as many fields as the header. The peer is `polars.read_csv` of the same file with its
defaults, which guess types. Each reads once in a process of its own, in turn, for peak memory; then
both read again and again in this process, and the fastest counts. Exit status 1 above a bar.

Physical limit: the bytes read once more, from the page cache, some gigabytes a second.

    uv run python benchmarks/read_table.py [ROWS] [COLUMNS]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from claims import Claim, settle, timed

if TYPE_CHECKING:
    import polars as pl

ROWS, COLUMNS = 1_000_000, 20
TIME_BAR, MEMORY_BAR = 1.5, 2.0
REPEATS = 5

PEAK = """
import sys
import polars as pl
from molpool_common import read_table
def memory(what):
    # Not of getrusage, which counts the parent's until a process has more.
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(what))
before = memory("VmRSS")
frame = (read_table if sys.argv[1] == "ours" else pl.read_csv)(sys.argv[2])
print(memory("VmHWM") - before)
"""


def main() -> int:
    import polars as pl
    from molpool_common import read_table

    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    columns = int(sys.argv[2]) if len(sys.argv) > 2 else COLUMNS
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "table.csv"
        written(rows, columns).write_csv(path)
        print(f"{rows:,} rows x {columns} columns, {path.stat().st_size / 1e6:.0f} MB")
        peaks = {who: peak(who, path) for who in ("ours", "peer")}
        ours, peer = [], []
        for _ in range(REPEATS):
            os.utime(path)  # what is known of a file that has not changed is not found out again
            ours.append(timed(lambda: read_table(path)))
            peer.append(timed(lambda: pl.read_csv(path)))
        same = read_table(path).height == pl.read_csv(path).height == rows
    assert same
    a, b = min(ours), min(peer)
    return settle(
        Claim(
            "time of reading",
            a / b,
            TIME_BAR,
            at_most=True,
            ours=f"{a:.3f} s",
            peer=f"{b:.3f} s",
        ),
        Claim(
            "peak memory of reading",
            peaks["ours"] / peaks["peer"],
            MEMORY_BAR,
            at_most=True,
            ours=f"{peaks['ours']:.0f} MB",
            peer=f"{peaks['peer']:.0f} MB",
        ),
    )


def written(rows: int, columns: int) -> pl.DataFrame:
    """Return SMILES, and columns of measured values with gaps."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(0)
    smiles = pl.Series("SMILES", ["CC(=O)Nc1ccc(O)cc1" + "C" * (i % 30) for i in range(rows)])
    values = {}
    for c in range(columns - 1):
        column = rng.normal(2, 3, rows).round(4)
        column[rng.random(rows) < 0.2] = np.nan
        values[f"task_{c}"] = column
    return pl.DataFrame([smiles, *pl.DataFrame(values).fill_nan(None).get_columns()])


def peak(who: str, path: Path) -> float:
    """Return the megabytes by which reading in a process of its own raised its peak."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, who, str(path)], check=True, capture_output=True, text=True
    )
    return int(done.stdout) / 1024


if __name__ == "__main__":
    sys.exit(main())
