"""Pool the outer tests of several studies of one table: nested cross-validation.

    python studies/nested_outer.py runs/musk1-*

Each study holds one outer fold; `molpool-hpo retrain --defaults --baselines` has scored it.
Accuracy is that of decisions at each model's own threshold, which no test bag has chosen; trees
decide at 0.5. AP is the mean over outer tests, since scores of different models have no common
scale.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from molpool_pipelines.runs import SPLIT, read_metrics, read_run_predictions

MODELS = {
    "best": "member-000",
    "defaults": "defaults",
    "LightGBM": "lightgbm",
    "random forest": "random-forest",
}
RESAMPLES = 2000


def say(line: str) -> None:
    """Write a line."""
    sys.stdout.write(line + "\n")


def main(folders: Sequence[str]) -> None:
    """Print accuracy and mean scores over the studies of some folders."""
    right: dict[str, list[bool]] = defaultdict(list)
    scores: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for folder in map(Path, folders):
        retrained = folder / "retrained" / "best"
        retraining = read_metrics(retrained).retraining
        assert retraining is not None, f"{retrained}: no metrics of a retraining"
        for model in retraining["models"]:
            name = "best" if model["name"].startswith("trial ") else model["name"]
            scores[name].append(model)
        for name, place in MODELS.items():
            if (retrained / place / "predictions.parquet").is_file():
                right[name] += _right(read_run_predictions(retrained / place))
    say(f"{len(folders)} outer tests; mean score over them, inner and outer")
    for name, models in scores.items():
        inner, outer = (
            np.mean([m[key] for m in models if m[key] is not None]) for key in ("inner", "outer")
        )
        say(f"  {name:14}  inner {inner:.4f}  outer {outer:.4f}  optimism {inner - outer:+.4f}")
    rng = np.random.default_rng(0)
    say("Accuracy of decisions over all bags, 95 % bootstrap; best less the other, paired")
    best = np.array(right["best"], dtype=float)
    rows = rng.integers(len(best), size=(RESAMPLES, len(best)))
    for name, given in right.items():
        other = np.array(given, dtype=float)
        low, high = np.quantile(other[rows].mean(axis=1), [0.025, 0.975])
        text = f"  {name:14}  {other.mean():.4f} ({low:.4f} to {high:.4f}), {len(other)} decisions"
        if name != "best":
            low, high = np.quantile((best - other)[rows].mean(axis=1), [0.025, 0.975])
            text += f"; {(best - other).mean():+.4f} ({low:+.4f} to {high:+.4f})"
        say(text)


def _right(frame: pl.DataFrame) -> list[bool]:
    frame = frame.filter(pl.col(SPLIT) == "test").sort("id")
    found: list[bool] = []
    tasks = [c.removesuffix(" predicted") for c in frame.columns if c.endswith(" predicted")]
    for task in tasks:
        rows = frame.filter(pl.col(task).is_not_null())
        decided = f"{task} decision"
        called = rows[decided] if decided in rows.columns else rows[f"{task} predicted"] >= 0.5
        found += (called == (rows[task] == 1)).to_list()
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
