"""Claim: statistics of 100 000 000 rows in 200 files need at most 3 GiB of memory, in time linear
in the rows.

One file of 500 000 rows (10 covariates, 50 000 pairs, incompressible) is written and linked under
the names of the rest, so that the disk holds 48 MB; every name is read in full. A quarter of the
files and all of them are summed in a process each: the ratio of times a row is to be within 1.25
of 1, the peak resident set, interpreter and libraries included, at most 3 GiB, and no larger than
that of the quarter by more than 10 %. Exit status 1 if any of it fails. Arguments: files, rows a
file.

The peer, one polars group_by over the same files with the sums of all products, is told beside it.

Physical limit: 9.6 GB of columns, 1 s at 10 GB/s, and 100e6 x 66 multiply-adds, 13 GFLOP.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import polars as pl
from claims import Claim, settle

CLAIM_GIB, LINEAR, GROWTH = 3.0, 1.25, 1.10
FILES, ROWS, PAIRS, COVARIATES = 200, 500_000, 50_000, 10
NAMES = [f"is_{j}" for j in range(COVARIATES)]

CHILD = """
import resource, sys
from time import perf_counter
import polars, pyarrow.parquet
from rt_ridge import SufficientStatistics
clock = perf_counter()
files = sys.argv[2:]
stats = SufficientStatistics.from_parquet(files, covariates=sys.argv[1].split(","))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(perf_counter() - clock, peak / 2**20, stats.n_rows)
"""


def main(files: int, rows: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        names = write(Path(folder), files, rows)
        few_s, few_gib, few_rows = measure(names[: files // 4])
        all_s, all_gib, all_rows = measure(names)
        clock = perf_counter()
        sums_of_products(names[: files // 4])
        peer = perf_counter() - clock
    for seconds, gib, n in ((few_s, few_gib, few_rows), (all_s, all_gib, all_rows)):
        print(f"{n:13,.0f} rows {seconds:7.1f} s, {seconds / n * 1e9:6.0f} ns a row, {gib:.2f} GiB")
    print(f"{few_rows:13,.0f} rows {peer:7.1f} s by polars' group_by, sums not centred")
    ratio = (all_s / all_rows) / (few_s / few_rows)
    growth = all_gib / few_gib
    ours, polars_s = f"{few_s:.1f} s", f"{peer:.1f} s"
    return settle(
        Claim(
            "time per row, of a quarter's", ratio, LINEAR, at_most=True, ours=ours, peer=polars_s
        ),
        Claim("GiB of memory", all_gib, CLAIM_GIB, at_most=True),
        Claim("memory, of a quarter's", growth, GROWTH, at_most=True),
    )


def write(folder: Path, files: int, rows: int) -> list[str]:
    rng = np.random.default_rng(0)
    pair = rng.integers(0, PAIRS, rows)
    columns = {name: rng.normal(size=rows) for name in [*NAMES, "rt"]}
    species = pair // 100
    ids = {"species": species, "comp_id": pair % 100, "species_cluster": species // 20}
    names = [str(folder / f"rows_{i:03d}.parquet") for i in range(files)]
    pl.DataFrame({**ids, **columns}).write_parquet(names[0])
    for name in names[1:]:
        os.link(names[0], name)
    return names


def measure(names: list[str]) -> tuple[float, float, float]:
    """Return seconds, peak resident GiB and rows of a process that sums up these files."""
    command = [sys.executable, "-c", CHILD, ",".join(NAMES), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, gib, rows = (float(word) for word in done.stdout.split())
    return seconds, gib, rows


def sums_of_products(names: list[str]) -> pl.DataFrame:
    every = [*NAMES, "rt"]
    products = [
        (pl.col(a) * pl.col(b)).sum().alias(f"{a} {b}")
        for i, a in enumerate(every)
        for b in every[i:]
    ]
    grouped = pl.scan_parquet(names).group_by("species", "comp_id")
    return grouped.agg(pl.len(), pl.col(every).sum(), *products).collect(engine="streaming")


if __name__ == "__main__":
    sys.exit(main(*[int(arg) for arg in sys.argv[1:]] or [FILES, ROWS]))
