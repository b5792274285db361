"""What a few new labels of a series say of all its other molecules (`predict --recalibrate`).

The test rows of a run that is split by time are divided into series (Taylor-Butina clusters). Of
each series the first labels of a task are the new ones, and the rows behind the largest number
tried are scored, the same for every number: without new labels, with them, by their plain mean
instead of the shrunk one, and by an oracle that knows the mean error of the scored rows.

    uv run python studies/recalibration.py --run runs/blend [--similarity 0.4] [--new 0 5 10 20]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from molpool_common import FloatArray, IntArray, morgan_fingerprints, murcko_scaffolds, parse_smiles
from molpool_pipelines.models import BiasPrior, Recentring
from molpool_pipelines.runs import read_metrics, read_run_predictions
from rdkit.DataStructs import BulkTanimotoSimilarity
from rdkit.ML.Cluster import Butina
from study_results import table

LEAST_SCORED = 5
"""Rows of a series and task behind the new labels, below which it is left out."""


@dataclass(frozen=True)
class Rows:
    """Test rows of one task: labels, predictions, ends of intervals and series, in time."""

    y: FloatArray
    mean: FloatArray
    lower: FloatArray
    upper: FloatArray
    series: IntArray


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--similarity", type=float, default=0.4)
    parser.add_argument("--new", type=int, nargs="+", default=[0, 5, 10, 20])
    parser.add_argument("--resamples", type=int, default=2000)
    args = parser.parse_args()
    frame = read_run_predictions(args.run)
    tasks = list(read_metrics(args.run).of_reported.tasks)
    priors = prior_of(frame.filter(pl.col("split") == "val"), tasks)
    # Rows of a time split follow time in the table.
    test = frame.filter(pl.col("split") == "test").sort("row")
    series = clusters(test["SMILES"].to_list(), args.similarity)
    sizes = np.sort(np.bincount(series))[::-1]
    print(f"{len(test)} test rows, {len(sizes)} series, the largest {sizes[:8].tolist()}")
    for t, task in enumerate(tasks):
        print(f"  {task}: sd between series {np.sqrt(priors.between[t]):.3f}, "
              f"within {np.sqrt(priors.within[t]):.3f}")  # fmt: skip
    print(report(test, tasks, series, priors, args.new, args.resamples))


def prior_of(frame: pl.DataFrame, tasks: Sequence[str]) -> BiasPrior:
    """Return what scaffolds of the validation rows say of series, as training keeps it."""
    off = [(exact(frame, task) - frame[f"{task} predicted"].to_numpy()) for task in tasks]
    mols = [mol for mol in parse_smiles(frame["SMILES"].to_list()).mols if mol is not None]
    return BiasPrior.fit(np.stack(off, axis=1), murcko_scaffolds(mols))


def exact(frame: pl.DataFrame, task: str) -> FloatArray:
    """Return the labels of a task that are no bounds."""
    y = frame[task].fill_null(np.nan).to_numpy()
    sign = f"{task} modifier"
    return y if sign not in frame.columns else np.where(frame[sign].to_numpy() == "=", y, np.nan)


def clusters(smiles: Sequence[str], similarity: float) -> IntArray:
    """Return the Taylor-Butina cluster of each molecule."""
    mols = [mol for mol in parse_smiles(smiles).mols if mol is not None]
    prints = morgan_fingerprints(mols, 2, 2048)
    far: list[float] = []
    for i in range(1, len(prints)):
        far += [1 - s for s in BulkTanimotoSimilarity(prints[i], prints[:i])]
    found = Butina.ClusterData(far, len(prints), 1 - similarity, isDistData=True, reordering=True)
    which = np.zeros(len(prints), dtype=np.int64)
    for number, members in enumerate(found):
        which[list(members)] = number
    return which


def rows_of(frame: pl.DataFrame, task: str, series: IntArray) -> Rows:
    """Return the labelled rows of a task."""
    y = exact(frame, task)
    there = np.isfinite(y)
    columns = (f"{task} predicted", f"{task}_lower", f"{task}_upper")
    mean, lower, upper = (frame[c].fill_null(np.nan).to_numpy()[there] for c in columns)
    return Rows(y[there], mean, lower, upper, series[there])


def parts(rows: Rows, most: int) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield, of each series with enough labels, the new rows and those that are scored."""
    for number in np.unique(rows.series):
        own = np.flatnonzero(rows.series == number)
        if len(own) >= most + LEAST_SCORED:
            yield own[:most], own[most:]


@dataclass(frozen=True)
class Scored:
    """Sums over the scored rows of one series and task."""

    task: int
    n: int
    error: float
    inside: float
    width: float


def scored(rows: Rows, task: int, prior: BiasPrior, n: int, most: int, how: str) -> list[Scored]:
    """Return the sums of each series after `n` new labels."""
    found = []
    own = BiasPrior(prior.between[[task]], prior.within[[task]])
    for new, rest in parts(rows, most):
        off = (rows.y - rows.mean)[:, None]
        learnt = Recentring.learn(off[new[:n]], own)
        shift = float(learnt.shift[0])
        if how == "plain mean":
            shift = float(off[new[:n]].mean()) if n else 0.0
        if how == "oracle":
            shift = float(off[rest].mean())
        lower, upper = learnt.ends(rows.lower[rest][:, None], rows.upper[rest][:, None])
        y = rows.y[rest]
        inside = ((lower[:, 0] <= y) & (y <= upper[:, 0])).sum()
        error = np.abs(y - rows.mean[rest] - shift).sum()
        found.append(Scored(task, len(rest), error, inside, (upper - lower).sum()))
    return found


def report(
    frame: pl.DataFrame,
    tasks: Sequence[str],
    series: IntArray,
    prior: BiasPrior,
    numbers: Sequence[int],
    resamples: int,
) -> str:
    """Return the table: a row per number of new labels and way to use them."""
    each = [rows_of(frame, task, series) for task in tasks]
    spread = np.array([np.abs(r.y - r.y.mean()).mean() for r in each])
    most = max(numbers)
    ways = [(n, "shrunk") for n in numbers]
    ways += [(n, "plain mean") for n in numbers if n] + [(0, "oracle")]
    base = [s for t, r in enumerate(each) for s in scored(r, t, prior, 0, most, "shrunk")]
    body = []
    for n, how in ways:
        own = [s for t, r in enumerate(each) for s in scored(r, t, prior, n, most, how)]
        value, low, high = bootstrapped(own, base, spread, resamples)
        total = sum(s.n for s in own)
        covered = sum(s.inside for s in own) / total
        width = np.mean([s.width / s.n / spread[s.task] for s in own])
        with_ends = how == "shrunk"
        body.append([
            str(n), how, f"{rae(own, spread):.3f}", f"{value:+.3f} ({low:+.3f} to {high:+.3f})",
            f"{covered:.1%}" if with_ends else "", f"{width:.2f}" if with_ends else "",
        ])  # fmt: skip
    pairs = len(base)
    head = ["new labels", "how", "MA-RAE", "less than without (95 %)", "inside 90 %", "width / AD"]
    return f"{pairs} pairs of series and task, {sum(s.n for s in base)} scored labels\n\n" + table(
        head, body
    )


def rae(found: Sequence[Scored], spread: FloatArray) -> float:
    """Return the mean over tasks of absolute error over mean absolute deviation."""
    by_task = []
    for t in sorted({s.task for s in found}):
        own = [s for s in found if s.task == t]
        by_task.append(sum(s.error for s in own) / sum(s.n for s in own) / spread[t])
    return float(np.mean(by_task))


def bootstrapped(
    found: Sequence[Scored], base: Sequence[Scored], spread: FloatArray, resamples: int
) -> tuple[float, float, float]:
    """Return by how much MA-RAE falls, with its 95 % interval over resamples of the pairs."""
    rng = np.random.default_rng(0)
    gains = []
    for _ in range(resamples):
        drawn = rng.integers(len(base), size=len(base))
        gains.append(rae([base[i] for i in drawn], spread) - rae([found[i] for i in drawn], spread))
    low, high = np.quantile(gains, (0.025, 0.975))
    return rae(base, spread) - rae(found, spread), float(low), float(high)


if __name__ == "__main__":
    main()
