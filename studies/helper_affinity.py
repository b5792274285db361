"""Does task affinity find the task that helps another most? Against trying every pair.

On nine end points of ExpansionRx, at two origins inside the first 80 % of its rows, which follow
time. A small network on features learns each end point alone, with each other one, and with all; by
how much the error of later molecules falls is the help. Affinities are measured in a short training
on the rows before the origin. Each target is then given the helper that an affinity proposes, the
one that helped most at the earlier origin, and none: what each choice brings at the later one.

    uv run python studies/helper_affinity.py --results runs/helpers.jsonl
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from graph_members import expansion, rae
from molecule_features import Features, featurize
from molpool_common import Float32Array, FloatArray
from multitask_models import MultitaskMLP
from scipy.stats import spearmanr
from study_results import Results, table
from task_affinity import TaskAffinityComputer, TaskAffinityConfig
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

ORIGINS = ((0.5, 0.65), (0.64, 0.8))
SEEDS = (0,)
FEATURES = "rdkit2d+morgan_count"
NETWORK: dict[str, Any] = {"members": 2, "hidden": 128, "epochs": 10}
MEASURES: dict[str, dict[str, Any]] = {
    "cosine": {"affinity_type": "cosine"},
    "lookahead": {"affinity_type": "lookahead"},
}
UNITS, BATCH, EPOCHS = 256, 128, 5


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--results", type=Path, help="file of JSON lines to go on with")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    smiles, targets, names = expansion()
    features = featurize(smiles[: int(ORIGINS[-1][1] * len(smiles))], FEATURES)
    results = Results(given.results)
    for number, shares in enumerate(ORIGINS):
        stop, last = (int(share * len(smiles)) for share in shares)
        for seed in SEEDS:
            fit_all(results, features, targets, stop, last, origin=number, seed=seed)
            measure_all(results, features, targets[:stop], names, origin=number, seed=seed)
    print(report(results, names))


def fit_all(
    results: Results,
    features: Features,
    targets: FloatArray,
    stop: int,
    last: int,
    *,
    origin: int,
    seed: int,
) -> None:
    """Fit each task alone, each pair and all, and keep the errors of later molecules."""
    n_tasks = targets.shape[1]
    groups = [(t,) for t in range(n_tasks)]
    groups += [*combinations(range(n_tasks), 2), tuple(range(n_tasks))]
    for group in groups:
        key = {"origin": origin, "seed": seed, "tasks": list(group)}
        if results.has(**key):
            continue
        start = process_time()
        model = MultitaskMLP(
            blocks=[block.width for block in features.blocks], random_state=seed, **NETWORK
        )
        y = targets[:, list(group)]
        model.fit(features.values[:stop], y[:stop])
        errors = rae(y[stop:last], model.predict(features.values[stop:last]))
        results.add(**key, errors=errors.tolist(), seconds=process_time() - start)


def measure_all(
    results: Results,
    features: Features,
    targets: FloatArray,
    names: list[str],
    *,
    origin: int,
    seed: int,
) -> None:
    """Measure affinities of the tasks on rows with labels, on a network of the same kind."""
    labelled = np.isfinite(targets).any(axis=1)
    x = scaled(features, len(targets))[labelled]
    y = targets[labelled]
    y = (y - np.nanmean(y, axis=0)) / np.nanstd(y, axis=0)
    data = TensorDataset(torch.from_numpy(x), torch.from_numpy(y.astype(np.float32)))
    for name, options in MEASURES.items():
        key = {"origin": origin, "seed": seed, "measure": name}
        if results.has(**key):
            continue
        start = process_time()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            loader = DataLoader(data, batch_size=BATCH, shuffle=True)
            body = nn.Sequential(
                nn.Linear(x.shape[1], UNITS), nn.SiLU(), nn.Linear(UNITS, UNITS), nn.SiLU()
            )
            model = nn.ModuleDict({"body": body, "head": nn.Linear(UNITS, len(names))})
            config = TaskAffinityConfig(affinity_epochs=EPOCHS, seed=seed, device="cpu", **options)
            found = TaskAffinityComputer(config).compute(model, loader, losses, task_names=names)
        matrix = found.matrix.tolist()
        results.add(**key, matrix=matrix, seconds=process_time() - start)


def scaled(features: Features, n: int) -> Float32Array:
    """Return features [n, F]: counts as logarithms, other columns standardised and drawn in."""
    parts = []
    for block in features.blocks:
        values = np.nan_to_num(features.values[:n, block.columns])
        if block.kind == "descriptor":
            values = 3 * np.tanh((values - values.mean(axis=0)) / (3 * values.std(axis=0) + 1e-6))
        else:
            values = np.log1p(values)
        parts.append(values / (block.width / 256) ** 0.5)
    return np.hstack(parts).astype(np.float32)


def losses(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
    """Return each task's mean absolute error over its labels of a batch, and which have any."""
    x, y = batch
    assert isinstance(model, nn.ModuleDict)
    known = torch.isfinite(y)
    off = (model["head"](model["body"](x)) - torch.nan_to_num(y)).abs() * known
    n = known.sum(dim=0)
    return off.sum(dim=0) / n.clamp(min=1), n > 0


def report(results: Results, names: list[str]) -> str:
    """Return the error of each choice of helpers at the later origin, and how ranks agree."""
    n_tasks = len(names)
    errors = [mean_errors(results, origin, n_tasks) for origin in range(len(ORIGINS))]
    alone = errors[1].diagonal()
    # The help of each other task: how far the error of a target falls.
    helps = [
        np.where(np.eye(n_tasks, dtype=bool), np.nan, e.diagonal()[:, None] - e) for e in errors
    ]
    together = np.mean(
        [r["errors"] for r in results.of(origin=1, tasks=list(range(n_tasks)))], axis=0
    )
    rows: list[tuple[str, FloatArray, float | None]] = [
        ("none", alone, None),
        ("all others", together, None),
    ]
    rows.append(("any one, mean", alone - np.nanmean(helps[1], axis=1), None))
    rows.append(("the best of the earlier origin", *chosen(errors[1], helps[0], helps[1])))
    for measure in MEASURES:
        matrix = np.mean([r["matrix"] for r in results.of(origin=1, measure=measure)], axis=0)
        rows.append((f"affinity, {measure}", *chosen(errors[1], matrix, helps[1])))
    rows.append(("the best of this origin, seen", *chosen(errors[1], helps[1], helps[1])))
    lines = []
    for choice, found, agreement in rows:
        gain = alone - found
        error = gain.std(ddof=1) / n_tasks**0.5
        said = "" if agreement is None else f"{agreement:.2f}"
        cells = [f"{value:.3f}" for value in found]
        lines.append(
            (choice, *cells, f"{found.mean():.3f}", f"{gain.mean():+.3f} ± {error:.3f}", said)
        )
    return table(("helper", *names, "mean", "gain", "rank correlation"), lines)


def mean_errors(results: Results, origin: int, n_tasks: int) -> FloatArray:
    """Return errors [T, T] of targets (rows) with each helper, alone on the diagonal."""
    out = np.zeros((n_tasks, n_tasks))
    for target in range(n_tasks):
        for helper in range(n_tasks):
            group = sorted({target, helper})
            found = [r["errors"] for r in results.of(origin=origin, tasks=group)]
            out[target, helper] = np.mean(found, axis=0)[group.index(target)]
    return out


def chosen(errors: FloatArray, scores: FloatArray, helps: FloatArray) -> tuple[FloatArray, float]:
    """Return the errors [T] with the helpers of highest score, and Spearman's of score and help."""
    others = ~np.eye(len(scores), dtype=bool)
    best = np.where(others, scores, -np.inf).argmax(axis=1)
    ranks = [
        spearmanr(score[other], fall[other]).statistic
        for score, fall, other in zip(scores, helps, others, strict=True)
    ]
    return errors[np.arange(len(errors)), best], float(np.mean(ranks))


if __name__ == "__main__":
    main()
