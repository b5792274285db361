"""Retention times of compounds that were never measured, from their structures.

Compounds are left out whole, in five folds, of panels of RepoRT; every model predicts their rows
from RDKit's descriptors and the anchors of the run.

    python studies/rt_compounds.py Kruve Folberth Stoffel --output compounds.csv

auto            `molpool-rt fit --descriptors`, its intervals the model's own: calibrated ones are
                of runs left out, not of compounds
trees           LightGBM on descriptors, anchors and species; intervals from the errors on a fifth
                of the training compounds, left out
mean            of all rows of the run
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import retention_panels as panels
from molpool_pipelines.datasets import locate
from molpool_pipelines.retention import FitConfig, fit, read_descriptors
from rt_panels import Predicted, Rows, figures, folds


def described(panel: panels.Panel, folder: Path) -> Path:
    """Write ids and descriptors of the compounds of a panel, and return the file.

    They are those that `molpool-rt fit --descriptors` computes of a table with SMILES.
    """
    named = panel.named.select("compound").with_columns(comp_id=panel.rows["comp_id"]).unique()
    path = locate("repo-rt", "report_rt_long.tsv.gz")
    table = pl.read_csv(path, separator="\t", columns=["inchikey", "smiles_canonical"])
    known = table.unique("inchikey").rename({"inchikey": "compound", "smiles_canonical": "smiles"})
    file = folder / "compounds.csv"
    named.join(known, on="compound").sort("comp_id").select("comp_id", "smiles").write_csv(file)
    found = read_descriptors(str(file), "comp_id")
    schema = [f"descriptor_{name}" for name in found.names]
    frame = pl.DataFrame(found.values, schema=schema).with_columns(comp_id=pl.Series(found.ids))
    frame.write_parquet(folder / "compounds.parquet")
    return folder / "compounds.parquet"


def by_default(train: Rows, test: Rows, file: Path) -> Predicted:
    """Fit as the command does where descriptors are given and `--calibrate.enabled false`."""
    names = [f"IS_{j}" for j in range(train.X.shape[1])]
    columns: dict[str, Any] = {"run": train.runs, "rt": train.y}
    columns |= dict(zip(("species", "comp_id", "species_cluster"), train.ids.T, strict=True))
    path = file.with_name("rows.parquet")
    pl.DataFrame({**columns, **dict(zip(names, train.X.T, strict=True))}).write_parquet(path)
    keys: Any = {"descriptors": str(file), "flag_threshold": None, "calibrate": {"enabled": False}}
    found = fit(FitConfig(data=[str(path)], **keys)).summaries
    z = descriptors(file, test)
    groups, compounds, parents = test.ids.T
    prediction = found.predict(test.X, groups, compounds, parents, z)
    return prediction.mean, prediction.half_width(0.95)


def descriptors(file: Path, rows: Rows) -> Any:
    """Return the descriptors of the compound of each row, NaN where there are none."""
    table = read_descriptors(str(file), "comp_id")
    place = np.searchsorted(table.ids, rows.ids[:, 1]).clip(max=len(table.ids) - 1)
    known = table.ids[place] == rows.ids[:, 1]
    return np.where(known[:, None], table.values[place], np.nan)


def trees(train: Rows, test: Rows, file: Path) -> Predicted:
    """Fit LightGBM, and take the quantile of its errors on compounds left out of the training."""
    from lightgbm import LGBMRegressor

    def design(rows: Rows) -> Any:
        return np.column_stack([descriptors(file, rows), rows.X, rows.ids[:, 0]])

    def fitted(rows: Rows) -> Any:
        model = LGBMRegressor(n_estimators=300, learning_rate=0.05, n_jobs=1, verbose=-1, seed=0)
        return model.fit(design(rows), rows.y)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = next(folds(train, "compounds", 1))
        some = train.take(out)
        error = np.abs(some.y - fitted(train.take(~out)).predict(design(some)))
        mean = np.asarray(fitted(train).predict(design(test)))
    return mean, np.full(len(mean), np.quantile(error, 0.95))


def mean_of_run(train: Rows, test: Rows, file: Path) -> Predicted:
    """Predict the mean of the run's other compounds."""
    runs = np.unique(np.concatenate([train.runs, test.runs]))
    total = np.array([train.y[train.runs == run].mean() for run in runs])
    left = train.y - total[np.searchsorted(runs, train.runs)]
    half = np.full(len(test.y), np.quantile(np.abs(left), 0.95))
    return total[np.searchsorted(runs, test.runs)], half


def study(name: str) -> pl.DataFrame:
    """Return one row per model."""
    panel = panels.PANELS[name]()
    rows = Rows.of(panel)
    models = {"auto": by_default, "trees": trees, "mean of the run": mean_of_run}
    found: dict[str, list[Predicted]] = {model: [] for model in models}
    with tempfile.TemporaryDirectory() as folder:
        file = described(panel, Path(folder))
        for out in folds(rows, "compounds", 1):
            train, test = rows.take(~out), rows.take(out)
            for model, predict in models.items():
                mean, half = predict(train, test, file)
                found[model].append((test.y - mean, half))
    return pl.DataFrame([{"panel": name, "model": m, **figures(e)} for m, e in found.items()])


def main() -> None:
    """Read the command line and run the study."""
    parser = argparse.ArgumentParser(description="Compounds that were never measured")
    parser.add_argument("panels", nargs="*", default=["Kruve", "Folberth", "Stoffel"])
    parser.add_argument("--output", type=Path, help="table to write, .csv")
    given = parser.parse_args()
    tables = []
    for name in given.panels:
        tables.append(study(name))
        sys.stdout.write(f"{tables[-1]}\n")
        sys.stdout.flush()
        if given.output is not None:
            pl.concat(tables).write_csv(given.output)


if __name__ == "__main__":
    main()
