"""Do conformers help where the answer is in three dimensions?

The target is made: how far from a sphere molecules of EUOS25 are on average (asphericity, weighed
by Boltzmann's factor over conformers of another seed than those that are the instances). Models see
USRCAT, WHIM and autocorrelations of their own conformers, none of which is the target; beside them
stands the same model of the same budget without conformers, and LightGBM. A pipeline that lost what
is in the conformers would show it here; a gain here says nothing about assays.

    python studies/mil_shape.py results.jsonl --cache features
"""

from __future__ import annotations

import argparse
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import mil_peers
import numpy as np
import polars as pl
import torch
from mil_attn import (
    BagData,
    ConformerConfig,
    MILConfig,
    MoleculeFeaturesConfig,
    boltzmann_weights,
    make_folds,
)
from mil_study import table_folder
from molpool_common import METRICS, FloatArray
from study_results import Results, difference, spread, table

MOLECULES, HEAVY_ATOMS, FOLDS, MEMBERS = 200, 24, 3, 2
INSTANCES = {"count": 4, "max_seconds": 5, "mmff_iterations": 200}
TRUTH = {**INSTANCES, "count": 8, "seed": 1}
BASE = "2D"


def features(conformers: dict[str, Any], families: list[str]) -> MoleculeFeaturesConfig:
    """Return the features of conformers made in some way."""
    return MoleculeFeaturesConfig.model_validate(
        {
            "conformers": ConformerConfig.model_validate(conformers).model_dump(),
            "descriptors_3d": families,
        }
    )


def drawn(n: int) -> list[str]:
    """Return small molecules of EUOS25, drawn at random."""
    chem = import_module("rdkit.Chem")
    frame = pl.read_csv(table_folder() / "euos25_train.csv.gz").sample(3 * n, seed=0, shuffle=True)
    mols = [(smiles, chem.MolFromSmiles(smiles)) for smiles in frame["SMILES"]]
    return [s for s, mol in mols if mol.GetNumHeavyAtoms() <= HEAVY_ATOMS][:n]


def bags(given: argparse.Namespace) -> BagData:
    """Return the molecules with their conformers, and their asphericity as the label."""
    smiles = drawn(given.molecules)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        made = BagData.from_smiles(smiles, features=features(TRUTH, ["shape"]), cache=given.cache)
        truth = dict(zip(made.ids, _asphericity(made), strict=True))
        data = BagData.from_smiles(
            smiles,
            features=features(INSTANCES, ["usrcat", "whim", "autocorr3d"]),
            cache=given.cache,
        )
    data = data.take([i for i, name in enumerate(data.ids) if name in truth])
    labels = np.array([[truth[name]] for name in data.ids])
    return data.replace(labels=labels, task_names=("asphericity",), task_kind="regression")


def _asphericity(made: BagData) -> FloatArray:
    names = [name for name, _ in import_module("rdkit.Chem.Descriptors3D").descList]
    assert made.instances is not None
    assert made.energies is not None
    column = made.instances[:, names.index("Asphericity")].astype(np.float64)
    weights = boltzmann_weights(made.energies, made.bounds)
    means: FloatArray = np.add.reduceat(weights * column, made.bounds[:-1])
    return means


def models(n: int) -> dict[str, mil_peers.Model]:
    """Return the models by name: those of few bags by default, with fewer members."""
    given = {"task_kind": "regression", "training": {"accelerator": "cpu", "members": MEMBERS}}
    settings = MILConfig.model_validate(given).for_bags(n).model_dump()
    return {
        BASE: mil_peers.ours(settings, use_3d=False),
        "3D": mil_peers.ours(settings, use_2d=False),
        "2D + 3D": mil_peers.ours(settings),
        "LightGBM, 2D": mil_peers.lightgbm(mil_peers.two_d, rounds=300),
        "LightGBM, 2D + 3D": mil_peers.lightgbm(mil_peers.both, rounds=300),
    }


def tables(results: Results) -> str:
    """Return errors by model, and paired differences to 2D, as Markdown."""
    base = [row["rae"] for row in results.of(model=BASE)]
    body = []
    for model in dict.fromkeys(row["model"] for row in results.rows):
        found = [row["rae"] for row in results.of(model=model)]
        minus = "–" if model == BASE else difference(found, base)
        body.append([model, spread(found), minus])
    return table(["model", "RAE", "minus 2D"], body)


def main() -> None:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--cache", type=Path, help="folder of computed features")
    parser.add_argument("--molecules", type=int, default=MOLECULES)
    given = parser.parse_args()
    torch.set_num_threads(1)
    results = Results(given.results)
    data = bags(given)
    assert data.labels is not None
    for k, fold in enumerate(make_folds("random", FOLDS, groups=data.ids, val_ratio=0.1)):
        for model, run in models(len(fold.train)).items():
            if not results.has(model=model, fold=k):
                error = METRICS["ma_rae"](data.labels[fold.test, 0], run(data, fold, k)[:, 0])
                results.add(model=model, fold=k, rae=error, molecules=len(data))
    sys.stdout.write(tables(results))


if __name__ == "__main__":
    main()
