"""Models on features of the ExpansionRx challenge's training molecules, by time.

Recipes are chosen on rolling origins inside the first 80 % of the rows, which follow time: fit on
the rows before an origin, score those up to the next. `--last` scores the last 20 %, to be looked
at once per recipe. Everything but LogD is log10(x + 1), as the challenge scored it. Each line of
the table is a mean over origins and seeds with its standard error over seeds: MA-RAE of the nine
end points, MA-RAE without MGMB (222 labels, which move the mean most), KSOL, CPU seconds a seed.

    uv run python studies/tabular_study.py --models mlp lightgbm --seeds 4 [--last]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import polars as pl
import torch
from molecule_features import featurize
from molpool_common import FloatArray
from molpool_pipelines.datasets import locate
from multitask_models import (
    MultitaskForest,
    MultitaskGP,
    MultitaskLightGBM,
    MultitaskMLP,
    MultitaskModel,
    TanimotoNeighbours,
    TaskMean,
)
from study_results import Results, table

ORIGINS = ((0.5, 0.65), (0.65, 0.8))
LAST = ((0.8, 1.0),)
WITHOUT = "MGMB"

ONE_SEED = {"mean", "neighbours", "gp"}
"""Models that a seed does not change."""


def builders(blocks: Any, threads: int) -> dict[str, Callable[[int], MultitaskModel]]:
    """Return how each model of the study is made of a seed."""
    widths = [block.stop - block.start for block in blocks]
    counts = next(((b.start, b.stop) for b in blocks if b.name == "morgan_count"), None)

    def boosted(**changes: Any) -> Callable[[int], MultitaskModel]:
        return lambda seed: MultitaskLightGBM(random_state=seed, n_jobs=threads, **changes)

    def forest(kind: Any) -> Callable[[int], MultitaskModel]:
        return lambda seed: MultitaskForest(kind=kind, random_state=seed, n_jobs=threads)

    def network(**changes: Any) -> Callable[[int], MultitaskModel]:
        settings: dict[str, Any] = {"blocks": widths, "members": 1, **changes}
        return lambda seed: MultitaskMLP(random_state=seed, **settings)

    return {
        "mean": lambda seed: TaskMean(),
        "neighbours": lambda seed: TanimotoNeighbours(columns=counts, limits="auto"),
        "lightgbm": boosted(),
        "lightgbm, no limits": boosted(limits=None),
        "lightgbm, other tasks": boosted(from_other_tasks=True),
        "random forest": forest("random"),
        "extra trees": forest("extra"),
        "mlp": network(),
        "mlp, no limits": network(limits=None),
        "mlp, tobit": network(censored_loss="tobit"),
        "mlp of 4": network(members=4),
        "gp": lambda seed: MultitaskGP(blocks=widths, random_state=seed),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="+", default=["mean", "lightgbm", "mlp"])
    parser.add_argument("--features", default="rdkit2d+morgan_count+minimol")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--last", action="store_true", help="score the last 20 %% of the rows")
    parser.add_argument("--results", type=Path, help="file of JSON lines to go on with")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    smiles, targets, names = expansion()
    features = featurize(smiles, given.features)
    models = builders(features.blocks, given.threads)
    results = Results(given.results)
    for model in given.models:
        for seed in range(1 if model in ONE_SEED else given.seeds):
            key = {"features": given.features, "model": model, "seed": seed, "last": given.last}
            if not results.has(**key):
                results.add(
                    **key, **score(models[model], features.values, targets, seed, given.last)
                )
    print(summary(results, [*models], names, given.features, given.last))


def expansion() -> tuple[list[str], FloatArray, list[str]]:
    """Return structures, targets [N, 9] as the challenge scored them, and their names."""
    frame = pl.read_csv(locate("expansionrx"), infer_schema_length=None)
    names = frame.columns[2:]
    targets = frame[:, 2:].cast(pl.Float64).to_numpy().copy()
    targets[:, 1:] = np.log10(targets[:, 1:] + 1)
    return frame["SMILES"].to_list(), targets, names


def score(
    build: Callable[[int], MultitaskModel], X: Any, targets: FloatArray, seed: int, last: bool
) -> dict[str, Any]:
    """Return the RAE of each end point and the CPU time, means over origins."""
    errors, start, origins = [], process_time(), LAST if last else ORIGINS
    for origin, until in origins:
        first, stop = (int(share * len(targets)) for share in (origin, until))
        model = build(seed).fit(X[:first], targets[:first])
        errors.append(rae(targets[first:stop], model.predict(X[first:stop])))
    seconds = (process_time() - start) / len(origins)
    return {"rae": np.mean(errors, axis=0).tolist(), "seconds": seconds}


def rae(truth: FloatArray, predicted: FloatArray) -> FloatArray:
    """Return each task's absolute error as a share of that of its scored labels' mean."""
    known = np.isfinite(truth)
    off = np.where(known, np.abs(truth - predicted), 0.0).sum(axis=0)
    return off / np.where(known, np.abs(truth - np.nanmean(truth, axis=0)), 0.0).sum(axis=0)


def summary(
    results: Results, models: list[str], names: list[str], features: str, last: bool
) -> str:
    body = []
    for model in models:
        rows = list(results.of(features=features, model=model, last=last))
        if not rows:
            continue
        each = np.array([row["rae"] for row in rows])
        without = np.delete(each, names.index(WITHOUT), axis=1)
        seconds = np.mean([row["seconds"] for row in rows])
        columns = (each.mean(axis=1), without.mean(axis=1), each[:, names.index("KSOL")])
        body.append((model, str(len(rows)), *(estimate(c) for c in columns), f"{seconds:.0f}"))
    head = ("model", "seeds", "MA-RAE", f"without {WITHOUT}", "KSOL", "CPU s")
    where = "last 20 %" if last else "origins inside the first 80 %"
    return f"{features}, {where}\n\n{table(head, body)}"


def estimate(values: FloatArray) -> str:
    """Return a mean over seeds with its standard error, where there are several."""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{values.mean():.3f} ± {values.std(ddof=1) / len(values) ** 0.5:.3f}"


if __name__ == "__main__":
    main()
