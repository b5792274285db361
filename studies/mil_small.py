"""Which settings suit a hundred or two of bags, chosen without looking at a test fold.

``validate`` trains each setting on three quarters of what a fold of the first repeat trains on and
scores it on the fourth; ``test`` runs, for each set, the setting that did best by that score on
the *other two* sets, in the stored 5 x 10 folds, beside the settings of `mil_study`. So no bag
of a set has a part in choosing what the set is tested with.

    python studies/mil_small.py validate results.jsonl
    python studies/mil_small.py test results.jsonl
    python studies/mil_small.py tables results.jsonl
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import mil_study
import numpy as np
import torch
from mil_attn import stored_folds
from mil_study import SETS
from molpool_common import roc_auc
from study_results import Results, difference, spread, table

EPOCHS = 40
BASE = "as in the study"
SETTINGS: dict[str, dict[str, Any]] = {
    BASE: {},
    "100 epochs": {"epochs": 100},
    "lr 2e-3": {"lr": 2e-3},
    "weight decay 0.1": {"weight_decay": 0.1},
    "dropout 0.5": {"inst_dropout": 0.5, "mixer_dropout": 0.5},
    "widths 256": {"inst_hidden": 256, "proj_dim": 256, "mixer_hidden": 256},
    "temperature 0.25": {"attn_temperature": 0.25},
    "mean_residual 0.5": {"mean_residual": 0.5},
    "source inputs": {"pool_source": "inputs"},
}
"""One change at a time to `mil_study.MODEL` and its optimiser."""

_TRAINING = ("epochs", "lr", "weight_decay")


def trained(
    name: str, data: Any, rows: Any, held: Any, seed: int, *, every: bool = False
) -> mil_study.FoldResult:
    """Train a setting on some bags, and predict others after the last epoch, or after every."""
    setting = SETTINGS[name]
    training = {key: setting[key] for key in _TRAINING if key in setting}
    model = {key: value for key, value in setting.items() if key not in _TRAINING}
    epochs = training.pop("epochs", EPOCHS)
    make = partial(mil_study.Ours, **model)
    return mil_study.train(make, data, rows, held, epochs, seed, last_only=not every, **training)


def validate(name: str, only: list[str], results: Results) -> None:
    """Add the validation scores of each setting on a set."""
    data, number = mil_study.read_set(name)
    folds = stored_folds(number[:, 0], labels=data.labels, val_ratio=0.25)
    for setting in only or SETTINGS:
        key = {"what": "validate", "set": name, "setting": setting}
        if results.has(**key):
            continue
        started = time.perf_counter()
        found = [trained(setting, data, f.train, f.val, k) for k, f in enumerate(folds)]
        right = sum(float(r.correct[-1]) for r in found) / sum(len(r.labels) for r in found)
        auc = float(np.mean([roc_auc(r.labels, r.probabilities[-1]) for r in found]))
        seconds = round(time.perf_counter() - started, 1)
        results.add(**key, accuracy=right, auc=auc, seconds=seconds)


def score(setting: str, sets: tuple[str, ...], results: Results) -> float:
    """Return the mean of accuracy and area under the curve on the validation sides of sets."""
    rows = [r for s in sets for r in results.of(what="validate", set=s, setting=setting)]
    return float(np.mean([(row["accuracy"] + row["auc"]) / 2 for row in rows]))


def chosen(name: str, results: Results) -> str:
    """Return the setting that validates best on the sets other than this."""
    others = tuple(s for s in SETS if s != name)
    complete = [s for s in SETTINGS if all(results.has(set=o, setting=s) for o in SETS)]
    return max(complete, key=lambda setting: score(setting, others, results))


def test(name: str, repeats: int, results: Results) -> None:
    """Add the accuracy of the chosen setting, and of that of the study, in the stored folds."""
    data, number = mil_study.read_set(name)
    for setting in dict.fromkeys([chosen(name, results), BASE]):
        for repeat in range(repeats):
            key = {"what": "test", "set": name, "setting": setting, "repeat": repeat}
            if results.has(**key):
                continue
            folds = stored_folds(number[:, repeat], val_ratio=0)
            found = [
                trained(setting, data, f.train, f.test, 1000 * repeat + k)
                for k, f in enumerate(folds)
            ]
            right = sum(float(r.correct[-1]) for r in found) / len(data)
            aucs = [r.auc for r in found if r.auc is not None]
            results.add(**key, accuracy=right, auc=float(np.mean(aucs)))


def tables(results: Results) -> str:
    """Return validation scores by setting, and the tests, as Markdown."""
    body = []
    for setting in SETTINGS:
        cells = []
        for name in SETS:
            row = next(iter(results.of(what="validate", set=name, setting=setting)), None)
            cells.append(f"{row['accuracy']:.3f}, {row['auc']:.3f}" if row else "–")
        done = "–" not in cells
        body.append([setting, *cells, f"{score(setting, SETS, results):.3f}" if done else "–"])
    text = table(["setting", *SETS, "mean of all"], body) + "\n"
    body = []
    for name in SETS:
        rows = {s: list(results.of(what="test", set=name, setting=s)) for s in SETTINGS}
        base = [row["accuracy"] for row in rows[BASE]]
        for setting, found in rows.items():
            value = [row["accuracy"] for row in found]
            if value:
                same = setting == BASE or len(base) != len(value)
                minus = "–" if same else difference(value, base)
                auc = spread([row["auc"] for row in found])
                body.append([name, setting, spread(value), minus, auc])
    return text + table(["set", "setting", "accuracy", "minus that of the study", "AUC"], body)


def main() -> None:
    """Do the part that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["validate", "test", "tables"])
    parser.add_argument("results", type=Path)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=[])
    parser.add_argument("--repeats", type=int, default=5, choices=range(1, 6))
    given = parser.parse_args()
    torch.set_num_threads(1)
    results = Results(given.results)
    for name in given.sets if given.what != "tables" else []:
        if given.what == "validate":
            validate(name, given.settings, results)
        else:
            test(name, given.repeats, results)
    sys.stdout.write(tables(results))


if __name__ == "__main__":
    main()
