"""Task groups on ExpansionRx: do they help, and how far can affinities be trusted.

Nine endpoints of one programme, split by molecule number, so that models are tested on later
molecules. ``train`` fits a model a task, one of all tasks, and groups by measured affinity, as
heads of one model or as models of their own, all for the same number of steps a model, rare tasks
drawn more often (task-aware, α 0.2); ``affinity`` measures by each type and each cheaper setting.
Both append a JSON line a result to a file and leave out what is there already, so that either goes
on where it was stopped; ``tables`` prints what is there. ``MOLPOOL_DATA`` names the folder of the
public tables, as for `molpool-data`.

    python studies/grouping_study.py train results.jsonl --seeds 0 1 2
    python studies/grouping_study.py affinity results.jsonl --seeds 0 1 2
    python studies/grouping_study.py tables results.jsonl
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import grouping_tables
import numpy as np
import yaml
from molpool_common import validate_values
from molpool_pipelines.fitting import Inputs, TrainChempropConfig, read_inputs
from task_affinity import AffinityResult, TaskGrouper

SHIPPED = Path(__file__).parent.parent / "configs" / "expansionrx.yaml"
TYPES = ("cosine", "dot_product", "lookahead")
CHEAPER: dict[str, dict[str, Any]] = {
    "last layer": {"encoder_param_patterns": ["W_o"]},
    "every 4th step": {"every_n_steps": 4},
    "representation": {"gradient_scope": "representation"},
    "probe": {"estimator": "probe"},
}

SAMPLING = {
    "enabled": True,
    "num_samples": 2560,
    "task_oversampling": {"enabled": True, "alpha": 0.2},
    "curriculum": {"enabled": False},
}
"""Forty batches an epoch, however few molecules a model has labels of."""


def configuration(seed: int, given: argparse.Namespace, **sections: Any) -> TrainChempropConfig:
    """Return the shipped configuration with the challenge's own rows alone."""
    raw = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    training = {**raw["training"], "epochs": given.epochs, "patience": None}
    data = {**raw["data"], "sources": raw["data"]["sources"][:1]}
    return validate_values(
        TrainChempropConfig,
        {
            "data": data,
            "training": {**training, **sections.pop("training", {})},
            "joint_sampling": {**SAMPLING, "seed": seed},
            "seed": seed,
            "baselines": "none",
            **sections,
        },
    )


def measured(inputs: Inputs, given: argparse.Namespace, **section: Any) -> AffinityResult:
    """Measure over one epoch of training."""
    from molpool_pipelines.fitting import measure_run

    config = configuration(0, given, task_affinity={"n_bootstrap": 0, **section})
    return measure_run(config, inputs)


def settings(inputs: Inputs, seed: int, given: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    """Return what makes the sections of each setting; measuring waits until it is wanted."""
    tasks = list(inputs.table.task_names)

    @cache
    def affinity(kind: str) -> AffinityResult:
        return measured(inputs, given, affinity_type=kind, seed=seed)

    def grouped(
        n_groups: int | Literal["auto"],
        method: Literal["agglomerative", "tag"],
        kind: str,
        sharing: str,
    ) -> dict[str, Any]:
        grouper = TaskGrouper(n_groups, method=method)
        groups = grouper.cluster(affinity(kind).matrix, tasks)
        return {"groups": groups, "group_assignment": grouper.assignment_, "sharing": sharing}

    return {
        "one model a task": lambda: {"groups": [[task] for task in tasks], "sharing": "separate"},
        "one model": dict,
        "one model, three times as long": lambda: {"training": {"epochs": 3 * given.epochs}},
        "3 groups, heads": lambda: grouped(3, "agglomerative", "cosine", "heads"),
        "3 groups, models": lambda: grouped(3, "agglomerative", "cosine", "separate"),
        "auto, models": lambda: grouped("auto", "agglomerative", "cosine", "separate"),
        "tag 3, models": lambda: grouped(3, "tag", "lookahead", "separate"),
    }


def train(given: argparse.Namespace, done: set[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    """Train each setting with each seed, by what `molpool-train chemprop` runs."""
    from molpool_pipelines.fitting import train_chemprop
    from molpool_pipelines.runs import read_metrics

    inputs = read_inputs(configuration(0, given))
    for seed in given.seeds:
        for name, sections in settings(inputs, seed, given).items():
            if ("train", name, seed) in done or (given.only and name not in given.only):
                continue
            made = sections()
            with tempfile.TemporaryDirectory() as folder:
                run = Path(folder) / "run"
                train_chemprop(configuration(seed, given, save_dir=str(run), **made))
                tasks = read_metrics(run).splits["test"].tasks
            yield {
                "what": "train",
                "name": name,
                "seed": seed,
                "groups": made.get("groups"),
                "mae": {task: found.metrics["mae"].value for task, found in tasks.items()},
                "ma_rae": {task: found.metrics["ma_rae"].value for task, found in tasks.items()},
            }


def affinity(given: argparse.Namespace, done: set[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    """Measure by each type and each cheaper setting with each seed."""
    inputs = read_inputs(configuration(0, given))
    wanted: dict[str, dict[str, Any]] = {kind: {"affinity_type": kind} for kind in TYPES}
    for seed in given.seeds:
        for name, section in (wanted | CHEAPER).items():
            if ("affinity", name, seed) in done:
                continue
            matrix = measured(inputs, given, seed=seed, **section).matrix
            pairs = list(combinations(inputs.table.task_names, 2))
            upper = np.triu_indices(len(matrix), 1)
            both = (matrix[upper] + matrix.T[upper]) / 2  # lookahead differs by direction
            yield {
                "what": "affinity",
                "name": name,
                "seed": seed,
                "pairs": [list(pair) for pair in pairs],
                "values": both.tolist(),
            }


def main() -> int:
    """Run the part that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["train", "affinity", "tables"])
    parser.add_argument("results", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--only", nargs="+", default=[])
    given = parser.parse_args()
    lines = given.results.read_text().splitlines() if given.results.exists() else []
    rows = [json.loads(line) for line in lines]
    if given.what == "tables":
        sys.stdout.write(grouping_tables.tables(rows))
        return 0
    done = {(row["what"], row["name"], row["seed"]) for row in rows}
    work = train if given.what == "train" else affinity
    for row in work(given, done):
        with given.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
