"""Claim: restricted maximum likelihood of one random intercept of 125 066 groups, 1.25 million
rows, in at most 2 seconds, rows to fitted intercepts; and the scales that lme4 finds.

lme4 fits the same table beside it if Rscript and lme4 are there; else that ratio is left out, and
said to be. (A user of statsmodels reports 41 minutes of its MixedLM for that number of groups.)
Exit status 1 if we are slower, or the scales differ by more than 1e-4. Arguments: groups, rows.

Physical limit: three columns of 1.25 million values are 30 MB, read in milliseconds; an evaluation
of the likelihood is some 20 operations on arrays of 125 066 numbers, 1 MB each: 2 ms.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import polars as pl
from claims import Claim, settle
from rt_ridge import PartialPoolingRidge, SufficientStatistics

CLAIM_SECONDS, TOLERANCE, ROUNDS = 2.0, 1e-4, 3
GROUPS, ROWS = 125_066, 1_250_000

LME4 = """
suppressMessages(library(lme4))
d <- read.csv("{path}")
seconds <- system.time(m <- lmer(rt ~ 1 + (1 | species), d, REML = TRUE))[["elapsed"]]
cat(seconds, sigma(m), as.data.frame(VarCorr(m))$sdcor[1])
"""


def main(groups: int, rows: int) -> int:
    frame = simulate(groups, rows)
    summing, fitting = [], []
    for _ in range(ROUNDS):
        clock = perf_counter()
        stats = SufficientStatistics.from_frame(frame, parent=None, covariates=[])
        summing.append(perf_counter() - clock)
        clock = perf_counter()
        model = PartialPoolingRidge(method="reml").fit(stats)
        fitting.append(perf_counter() - clock)
    total = median(np.add(summing, fitting))
    ours = [model.scales_[name]["mean"] for name in ("sigma", "tau_pair")]
    print(f"{rows:,} rows, {stats.G:,} groups; sigma {ours[0]:.5f}, tau {ours[1]:.5f}")
    print(f"ours {total:7.2f} s: {median(summing):.2f} s to the statistics,")
    print(f"                {median(fitting):.2f} s to scales, intercepts and their covariances")
    theirs = lme4(frame)
    peer = "lme4 not installed" if theirs is None else f"{theirs[0]:.2f} s"
    claims = [
        Claim("seconds", total, CLAIM_SECONDS, at_most=True, ours=f"{total:.2f} s", peer=peer)
    ]
    if theirs is not None:
        print(f"lme4 {theirs[0]:7.2f} s, lmer alone; sigma {theirs[1]:.5f}, tau {theirs[2]:.5f}")
        off = float(np.max(np.abs(np.divide(ours, theirs[1:]) - 1)))
        claims.append(Claim("difference of scales from lme4's", off, TOLERANCE, at_most=True))
    return settle(*claims)


def simulate(groups: int, rows: int) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    # Every group has a row, so that none is lost to chance.
    group = np.concatenate([np.arange(groups), rng.integers(0, groups, rows - groups)])
    rt = 5 + 0.3 * rng.normal(size=groups)[group] + 0.1 * rng.normal(size=rows)
    return pl.DataFrame({"species": group, "comp_id": np.zeros(rows, dtype=np.int64), "rt": rt})


def lme4(frame: pl.DataFrame) -> list[float] | None:
    """Return seconds, sigma and tau, None where R or the package is missing."""
    if shutil.which("Rscript") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        frame.write_csv(path)
        script = LME4.format(path=path)
        done = subprocess.run(["Rscript", "-e", script], capture_output=True, text=True)
    return [float(word) for word in done.stdout.split()] if done.returncode == 0 else None


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(*given, *(GROUPS, ROWS)[len(given) :]))
