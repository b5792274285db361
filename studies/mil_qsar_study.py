"""One conformer or ten, 2D or both: regression on three ChEMBL sets of `mil_qsar_chembl200`.

The sets are the three nearest to the median size of whose molecules nine in ten have at most 32
heavy atoms: ten conformers of much larger ones take minutes each. Five folds by scaffold; every
molecule is tested once, by a model that saw no molecule of its scaffold. Intervals are percentile
bootstraps over the molecules of a set. ``MOLPOOL_DATA`` names the folder of the public tables.

    python studies/mil_qsar_study.py results.jsonl --cache features --workers 2
    python studies/mil_qsar_study.py results.jsonl --tables
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import mil_peers
import numpy as np
import polars as pl
import torch
from mil_attn import BagData, MoleculeFeaturesConfig, make_folds
from mil_study import table_folder
from molpool_common import METRICS, bootstrap_interval
from numpy.typing import NDArray
from study_results import Results, paired_folds, table

METRIC_NAMES = ("r2", "rmse", "spearman")
N_SETS, HEAVY_ATOMS = 3, 32
FOLDS, VALIDATION, RESAMPLES = 5, 0.15, 2000
BASE = "2D"

FEATURES: dict[str, Any] = {
    "conformers": {"count": 10, "max_seconds": 5, "mmff_iterations": 200},
    "descriptors_3d": ["usrcat", "whim", "autocorr3d"],
}
SETTINGS: dict[str, Any] = {
    "task_kind": "regression",
    "training": {
        "epochs": 100,
        "patience": 15,
        "lr": 5e-4,
        "weight_decay": 1e-3,
        "batch_size": 32,
        "accumulate_grad_batches": 1,
        "accelerator": "cpu",
    },
}


def models(quick: bool) -> dict[str, mil_peers.Model]:
    """Return the models by name."""
    settings, rounds, count = SETTINGS, 500, 200
    if quick:
        settings, rounds = {**SETTINGS, "training": {**SETTINGS["training"], "epochs": 1}}, 5
        count = 5
    trees = partial(mil_peers.lightgbm, rounds=rounds)
    return {
        "1 conformer": mil_peers.ours(settings, use_2d=False, conformers=1),
        "10 conformers": mil_peers.ours(settings, use_2d=False),
        "10 conformers, mean": mil_peers.ours(settings, use_2d=False, mean_residual=1.0),
        "10 conformers, source inputs": mil_peers.ours(
            settings, use_2d=False, pool_source="inputs"
        ),
        "2D": mil_peers.ours(settings, use_3d=False),
        "2D + 10 conformers": mil_peers.ours(settings),
        "LightGBM, 2D": trees(mil_peers.two_d),
        "LightGBM, 2D + 3D": trees(mil_peers.both),
        "forest, 2D": mil_peers.forest(mil_peers.two_d, count),
    }


def chosen_sets(frame: pl.DataFrame, count: int = N_SETS) -> list[str]:
    """Return the sets nearest to the median size, then by name, whose molecules are small."""
    sizes = frame.group_by("dataset").agg(pl.len())
    away = (pl.col("len") - sizes["len"].median()).abs()
    small = (
        name
        for name in sizes.sort(away, "dataset")["dataset"]
        if np.quantile(_heavy(frame.filter(dataset=name)), 0.9) <= HEAVY_ATOMS
    )
    return list(islice(small, count))


def _heavy(frame: pl.DataFrame) -> list[int]:
    chem = import_module("rdkit.Chem")
    return [chem.MolFromSmiles(smiles).GetNumHeavyAtoms() for smiles in frame["SMILES"]]


def bags_of(frame: pl.DataFrame, given: argparse.Namespace) -> BagData:
    """Return the molecules of a set; those without a conformer are left out for every model."""
    features = FEATURES
    if given.quick:
        frame, features = mil_peers.shortest(frame, 30), mil_peers.QUICK_FEATURES
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # failures are counted in the table
        return BagData.from_smiles(
            frame["SMILES"].to_list(),
            ids=frame["molecule_id"].to_list(),
            labels=frame["pActivity"].to_numpy()[:, None],
            task_names=("pActivity",),
            task_kind="regression",
            features=MoleculeFeaturesConfig.model_validate(features),
            cache=given.cache,
            workers=given.workers,
        )


def study(name: str, data: BagData, given: argparse.Namespace, results: Results) -> None:
    """Add the predictions of each model and fold of a set, where they are not there."""
    assert data.labels is not None
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
            key = {"set": name, "model": model, "fold": k}
            if (given.models and model not in given.models) or results.has(**key):
                continue
            started = time.perf_counter()
            found = run(data, fold, k)[:, 0]
            results.add(
                **key,
                molecules=len(data),
                failed=len(data.failures),
                conformers=round(float(data.sizes.mean()), 2),
                y=data.labels[fold.test, 0].tolist(),
                p=found.round(5).tolist(),
                seconds=round(time.perf_counter() - started, 1),
            )


def tables(results: Results) -> str:
    """Return a table a set as Markdown, of the folds that every model has."""
    text = ""
    for name in dict.fromkeys(row["set"] for row in results.rows):
        rows = list(results.of(set=name))
        found, folds = paired_folds(rows)
        text += (
            f"\n{name}: {rows[0]['molecules']} molecules ({rows[0]['failed']} without a conformer "
            f"left out), {rows[0]['conformers']} conformers each; {folds} of {FOLDS} folds\n\n"
        )
        if folds:
            by = {model: _joined(parts) for model, parts in found.items()}
            head = ["model", "R²", "RMSE", "Spearman", f"RMSE minus {BASE}"]
            text += table(head, [_cells(model, both, by.get(BASE)) for model, both in by.items()])
    return text


Joined = tuple[NDArray[np.float64], NDArray[np.float64]]


def _joined(rows: Sequence[dict[str, Any]]) -> Joined:
    """Return labels and predictions of all folds, fold by fold."""
    y, p = (np.concatenate([row[key] for row in rows]) for key in ("y", "p"))
    return y, p


def _cells(model: str, found: Joined, base: Joined | None) -> list[str]:
    cells = [model]
    for name in METRIC_NAMES:
        low, high = bootstrap_interval(name, *found, n=RESAMPLES)
        cells.append(f"{METRICS[name](*found):.3f} ({low:.3f} to {high:.3f})")
    if base is None or model == BASE:
        return [*cells, "–"]
    return [*cells, against(found, base)]


def against(found: Joined, base: Joined) -> str:
    """Return the difference of RMSE and its interval, resampling the same molecules of both."""
    error, of_base = ((p - y) ** 2 for y, p in (found, base))
    rows = np.random.default_rng(0).integers(len(error), size=(RESAMPLES, len(error)))
    drawn = np.sqrt(error[rows].mean(axis=1)) - np.sqrt(of_base[rows].mean(axis=1))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{np.sqrt(error.mean()) - np.sqrt(of_base.mean()):+.3f} ({low:+.3f} to {high:+.3f})"


def main() -> None:
    """Train what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--cache", type=Path, help="folder of computed features")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--sets", nargs="+", default=[], help="of the three, these alone")
    parser.add_argument("--models", nargs="+", choices=list(models(False)), default=[])
    parser.add_argument("--quick", action="store_true", help="30 molecules, 2 folds, an epoch")
    parser.add_argument("--tables", action="store_true", help="print what is there alone")
    parser.add_argument("--features", action="store_true", help="compute features alone")
    given = parser.parse_args()
    torch.set_num_threads(1)
    results = Results(given.results)
    if not given.tables:
        frame = pl.read_csv(table_folder() / "mil_qsar_chembl200.csv.gz")
        for name in given.sets or chosen_sets(frame)[: 1 if given.quick else None]:
            data = bags_of(frame.filter(dataset=name), given)
            if not given.features:
                study(name, data, given, results)
    sys.stdout.write(tables(results))


if __name__ == "__main__":
    main()
