"""Conformers or none: transmittance and fluorescence of EUOS25, on a subsample with known odds.

Two cores do not hold 68 972 molecules in 3D. Drawn are every molecule that is positive for
fluorescence beyond 480 nm, one in two of the others that are for transmittance at 450 nm, one in
ten of the others that are positive at all, and one in twenty of the rest. Models are trained on
what was drawn as it is; areas under curves weigh each tested molecule by the inverse of its odds,
and so estimate those of the whole set. Five folds by scaffold. ``MOLPOOL_DATA`` names the folder
of the public tables, as for `molpool-data`.

    python studies/mil_euos_study.py results.jsonl --cache features --workers 2
    python studies/mil_euos_study.py results.jsonl --tables
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import mil_peers
import numpy as np
import polars as pl
import torch
from mil_attn import BagData, MoleculeFeaturesConfig, make_folds
from mil_study import table_folder
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score
from study_results import Results, difference, paired_folds, spread, table

TASKS = (
    "Transmittance_340",
    "Transmittance_450",
    "Fluorescence_340_450",
    "Fluorescence_more_than_480",
)
RAREST, RARE = "Fluorescence_more_than_480", "Transmittance_450"
ONE_IN = {"rarest": 1, "rare": 2, "positive": 10, "none": 20}
"""One molecule drawn in so many: by the rarest task that it is positive for."""

FOLDS, VALIDATION = 5, 0.15
METRICS = {"AUC": roc_auc_score, "AP": average_precision_score}

FEATURES: dict[str, Any] = {
    "conformers": {"count": 5, "max_seconds": 5, "mmff_iterations": 200},
    "descriptors_3d": ["usrcat", "whim", "autocorr3d"],
}
SETTINGS: dict[str, Any] = {
    "loss": {"posw_clip": 20.0, "gamma": 1.0},
    "training": {
        "epochs": 40,
        "patience": 8,
        "lr": 5e-4,
        "weight_decay": 1e-3,
        "batch_size": 128,
        "accumulate_grad_batches": 1,
        "accelerator": "cpu",
    },
}
PAIRS = (
    ("2D + 3D", "2D"),
    ("3D", "2D"),
    ("2D", "LightGBM, 2D"),
    ("3D", "LightGBM, 3D"),
    ("2D + 3D", "LightGBM, 2D + 3D"),
    ("LightGBM, 2D + 3D", "LightGBM, 2D"),
)


def models(quick: bool) -> dict[str, mil_peers.Model]:
    """Return the models by name."""
    settings, rounds = SETTINGS, 500
    if quick:
        settings, rounds = {**SETTINGS, "training": {**SETTINGS["training"], "epochs": 1}}, 5
    trees = partial(mil_peers.lightgbm, rounds=rounds)
    return {
        "2D": mil_peers.ours(settings, use_3d=False),
        "3D": mil_peers.ours(settings, use_2d=False),
        "2D + 3D": mil_peers.ours(settings),
        "LightGBM, 2D": trees(mil_peers.two_d),
        "LightGBM, 3D": trees(mil_peers.three_d),
        "LightGBM, 2D + 3D": trees(mil_peers.both),
    }


def drawn(frame: pl.DataFrame, seed: int = 0, thin: int = 1) -> pl.DataFrame:
    """Return the subsample, with what each molecule counts for in `weight`.

    Of all but the rarest kind one in `thin` of what this study draws.
    """
    stratum = (
        pl.when(pl.col(RAREST) == 1)
        .then(pl.lit("rarest"))
        .when(pl.col(RARE) == 1)
        .then(pl.lit("rare"))
        .when(pl.max_horizontal(*TASKS) == 1)
        .then(pl.lit("positive"))
        .otherwise(pl.lit("none"))
    )
    frame = frame.with_columns(stratum=stratum)
    parts = []
    for name, one_in in ONE_IN.items():
        part = frame.filter(stratum=name)
        one_in *= 1 if name == "rarest" else thin
        sample = part.sample(-(-len(part) // one_in), seed=seed)
        parts.append(sample.with_columns(weight=pl.lit(len(part) / max(len(sample), 1))))
    return pl.concat(parts).sort("ID")


def bags_of(frame: pl.DataFrame, given: argparse.Namespace) -> BagData:
    """Return the molecules drawn; those without a conformer are left out for every model."""
    features = mil_peers.QUICK_FEATURES if given.quick else FEATURES
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # failures are counted beside the tables
        return BagData.from_smiles(
            frame["SMILES"].to_list(),
            ids=[str(i) for i in frame["ID"]],
            labels=frame.select(TASKS).to_numpy().astype(np.float64),
            task_names=TASKS,
            features=MoleculeFeaturesConfig.model_validate(features),
            cache=given.cache,
            workers=given.workers,
            progress=_say if given.features else None,
        )


def _say(stage: str, done: int, of: int) -> None:
    if done == of or done % 256 == 0:
        sys.stderr.write(f"{stage} {done} of {of}\n")


def study(data: BagData, given: argparse.Namespace, results: Results) -> None:
    """Add the predictions of each model and fold, where they are not there."""
    assert data.smiles is not None
    folds = make_folds(
        "scaffold",
        2 if given.quick else FOLDS,
        groups=data.ids,
        smiles=data.smiles,
        val_ratio=VALIDATION,
    )
    for k, fold in enumerate(folds):
        for model, run in models(given.quick).items():
            if (given.models and model not in given.models) or results.has(model=model, fold=k):
                continue
            started = time.perf_counter()
            found = run(data, fold, k)
            results.add(
                model=model,
                fold=k,
                ids=[int(data.ids[i]) for i in fold.test],
                p=found.round(6).tolist(),
                failed=len(data.failures),
                seconds=round(time.perf_counter() - started, 1),
            )


Scores = NDArray[np.float64]
"""Of each metric, task and fold [2, T, K]; NaN where a fold has no positive."""


def scores(rows: Sequence[dict[str, Any]], frame: pl.DataFrame) -> Scores:
    """Return the weighted areas of a model."""
    known = {row["ID"]: row for row in frame.select("ID", "weight", *TASKS).to_dicts()}
    found = np.full((len(METRICS), len(TASKS), len(rows)), np.nan)
    for k, row in enumerate(rows):
        tested, p = [known[i] for i in row["ids"]], np.array(row["p"])
        weight = np.array([molecule["weight"] for molecule in tested])
        for t, task in enumerate(TASKS):
            y = np.array([molecule[task] for molecule in tested])
            if y.min() == y.max():
                continue
            for m, metric in enumerate(METRICS.values()):
                found[m, t, k] = metric(y, p[:, t], sample_weight=weight)
    return found


def tables(results: Results, frame: pl.DataFrame) -> str:
    """Return scores of each model by task, and paired differences, as Markdown."""
    by, folds = paired_folds(results.rows)
    if not folds:
        return "No fold that every model has.\n"
    of = {name: scores(by[name], frame) for name in models(False) if name in by}
    text = (
        f"{len(frame)} molecules drawn, {results.rows[0]['failed']} without a conformer left out; "
        f"{folds} of {FOLDS} folds.\n"
    )
    for m, metric in enumerate(METRICS):
        body = [
            [name, *(spread(_there(s[m, t])) for t in range(len(TASKS))), spread(_macro(s[m]))]
            for name, s in of.items()
        ]
        text += f"\n{metric}\n\n" + table(["model", *TASKS, "macro"], body)
    body = []
    for one, other in PAIRS:
        if one not in of or other not in of:
            continue
        cells = [difference(_macro(a), _macro(b)) for a, b in zip(of[one], of[other], strict=True)]
        body.append([f"{one} minus {other}", *cells])
    return text + "\nMacro, paired by fold\n\n" + table(["", *METRICS], body)


def _there(values: Scores) -> list[float]:
    return [float(v) for v in values if not np.isnan(v)]


def _macro(by_task: Scores) -> list[float]:
    """Return the mean over tasks of each fold in which one is defined."""
    return [float(np.nanmean(fold)) for fold in by_task.T if not np.isnan(fold).all()]


def main() -> None:
    """Train what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--cache", type=Path, help="folder of computed features")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--models", nargs="+", choices=list(models(False)), default=[])
    parser.add_argument("--quick", action="store_true", help="48 molecules, 2 folds, an epoch")
    parser.add_argument("--tables", action="store_true", help="print what is there alone")
    parser.add_argument("--features", action="store_true", help="compute features alone")
    given = parser.parse_args()
    torch.set_num_threads(1)
    results = Results(given.results)
    frame = drawn(pl.read_csv(table_folder() / "euos25_train.csv.gz"))
    if given.quick:
        parts = frame.partition_by("stratum")
        frame = pl.concat([mil_peers.shortest(part, 12) for part in parts])
    if not given.tables:
        data = bags_of(frame, given)
        if not given.features:
            study(data, given, results)
    sys.stdout.write(tables(results, frame))


if __name__ == "__main__":
    main()
