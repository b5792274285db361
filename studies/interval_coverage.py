"""How often intervals hold on molecules that no step of a run has seen.

A run is trained by the command's own function with the table's split; the rows that test are used
in nothing but the last count. ExpansionRx is split by time (the last 20 % of the rows), Biogen and
AqSolDB by scaffold. Panels of retention times are fitted as `molpool-rt fit` does where nothing is
set, and each fifth of the runs is predicted by fits to the others. `--simulate` counts over draws
of exchangeable rows instead, where coverage is known. docs/explanation/intervals.md reports the
tables.

    uv run python studies/interval_coverage.py --results coverage.jsonl --runs runs \\
        --tables expansionrx biogen aqsoldb --kinds small-blend chemprop \\
        --panels S9Site54 lipidr MaxQuant
    uv run python studies/interval_coverage.py --simulate 1000
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import molpool_pipelines.retention as rt
import numpy as np
import polars as pl
from molpool_common import IntervalCalibration
from molpool_pipelines.datasets import locate
from molpool_pipelines.fitting import (
    TrainBlendConfig,
    TrainChempropConfig,
    TrainTabularConfig,
    train_chemprop,
    train_tabular,
)
from molpool_pipelines.models import PredictConfig, predict_table
from molpool_pipelines.runs import read_run_predictions
from retention_panels import PANELS
from scipy.stats import binom
from study_results import Results, table

LEVELS = (0.8, 0.9, 0.95)
WITHIN = {0.8: (0.03, 0.08), 0.9: (0.03, 0.08), 0.95: (0.02, 0.05)}
"""How far the mean over tasks, and a single task, may be off."""

_EXPANSION = ["KSOL", "HLM CLint", "MLM CLint", "Caco-2 Permeability Papp A>B",
              "Caco-2 Permeability Efflux", "MPPB", "MBPB", "MGMB"]  # fmt: skip
TABLES: Mapping[str, Mapping[str, Any]] = {
    "expansionrx": {
        "id_column": "Molecule Name",
        "target_columns": ["LogD", *_EXPANSION],
        "transforms": {name: ["log10p1"] for name in _EXPANSION},
        "split_type": "time",
        "time_column": "Molecule Name",
    },
    "biogen": {
        "target_columns": [
            "LOG HLM_CLint (mL/min/kg)",
            "LOG RLM_CLint (mL/min/kg)",
            "LOG MDR1-MDCK ER (B-A/A-B)",
            "LOG SOLUBILITY PH 6.8 (ug/mL)",
            "LOG PLASMA PROTEIN BINDING (HUMAN) (% unbound)",
            "LOG PLASMA PROTEIN BINDING (RAT) (% unbound)",
        ],
        "split_type": "scaffold",
    },
    "aqsoldb": {"target_columns": ["Solubility"], "split_type": "scaffold"},
}

_NETWORK = {"message_passing": {"hidden_size": 128}, "ffn": {"hidden_size": 128}}
_CHEMPROP = {"baselines": "none", "model": _NETWORK, "training": {"epochs": 20}}
_NARROW = {"message_passing": {"hidden_size": 64}, "ffn": {"hidden_size": 64}}
_TINY: dict[str, Any] = {"baselines": "none", "model": _NARROW, "training": {"epochs": 10}}
_MLP = {"members": 2, "hidden": 128, "epochs": 20}
_SMALL = {"features": "rdkit2d", "mlp": _MLP, "baselines": "none"}

KINDS: Mapping[str, tuple[type[Any], Callable[..., Path], Mapping[str, Any]]] = {
    "light": (
        TrainTabularConfig,
        train_tabular,
        {"features": "rdkit2d", "mlp": {"hidden": 256, "epochs": 30}, "baselines": "none"},
    ),
    "small": (TrainTabularConfig, train_tabular, _SMALL),
    "network": (TrainTabularConfig, train_tabular, {"baselines": "none"}),
    "blend": (TrainBlendConfig, train_tabular, {"baselines": "none"}),
    "small-blend": (TrainBlendConfig, train_tabular, {**_SMALL, "model": ["lightgbm", "mlp"]}),
    "chemprop": (TrainChempropConfig, train_chemprop, _CHEMPROP),
    "chemprop-narrow": (TrainChempropConfig, train_chemprop, _TINY),
    "chemprop-folds": (
        TrainChempropConfig,
        train_chemprop,
        {**_TINY, "ensemble": {"n_folds": 3}},
    ),
    "chemprop-origins": (
        TrainTabularConfig,
        train_tabular,
        {
            **_SMALL,
            "model": ["chemprop"],
            "folds": 3,
            "chemprop": {k: _TINY[k] for k in ("model", "training")} | {"groups": ["all"]},
        },
    ),
}
"""Configuration, command and settings; all but `network` and `blend` are for two cores."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tables", nargs="*", default=list(TABLES), choices=list(TABLES))
    parser.add_argument("--kinds", nargs="+", default=["light"], choices=list(KINDS))
    parser.add_argument("--panels", nargs="*", default=[], choices=list(PANELS))
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--results", type=Path, help="file of JSON lines to go on with")
    parser.add_argument("--shift", default="none", choices=["none", "similarity", "structure"])
    parser.add_argument("--simulate", type=int, help="draws, instead of tables")
    given = parser.parse_args()
    if given.simulate:
        print(simulated(given.simulate))
        return
    results = Results(given.results)
    for name in given.tables:
        for kind in given.kinds:
            key = {"table": name, "kind": kind, "shift": given.shift}
            if not results.has(**key):
                run = trained(name, kind, given.runs)
                results.add(**key, tasks=coverage(name, run, given.shift))
    for name in given.panels:
        if not results.has(panel=name):
            results.add(panel=name, of=coverage_of_runs(name, given.runs))
    print(summary(results))


def trained(name: str, kind: str, runs: Path) -> Path:
    """Return the folder of a run, trained unless it is there."""
    path = runs / f"{name}-{kind}"
    if (path / "metrics.json").is_file():
        return path
    config, train, settings = KINDS[kind]
    data = {**TABLES[name], "split_ratios": (0.7, 0.1, 0.2)}
    values = {**settings, "data_path": str(locate(name)), "data": data, "save_dir": str(path)}
    return train(config.model_validate({**values, "on_bad_smiles": "drop"}))


def coverage(name: str, run: Path, shift: str) -> dict[str, dict[str, Any]]:
    """Return, of each task, labels that test, and of each level the share inside and the width.

    Widths are of the median interval, in standard deviations of the labels that test.
    """
    output = run.parent / f"{run.name}-{shift}.parquet"
    test = read_run_predictions(run).filter(split="test").sort("row")
    new = run.parent / f"{run.name}-test.csv"
    test.select("SMILES").write_csv(new)
    predict_table(
        PredictConfig.model_validate(
            {
                "model_dir": str(run),
                "data_path": str(new),
                "output": str(output),
                "overwrite": True,
                "level": list(LEVELS),
                "shift": shift,
            }
        )
    )
    found = pl.read_parquet(output)
    tasks: dict[str, dict[str, Any]] = {}
    for task in TABLES[name]["target_columns"]:
        y = test[task].to_numpy()
        known = np.isfinite(y)
        of: dict[str, Any] = {"n": int(known.sum())}
        for level in LEVELS:
            lower, upper = (
                found[f"{task}_{end}_{100 * level:g}"].to_numpy()[known]
                for end in ("lower", "upper")
            )
            inside = (lower <= y[known]) & (y[known] <= upper)
            width = float(np.median(upper - lower) / y[known].std())
            of[f"{level}"] = {"inside": float(inside.mean()), "width": width}
        tasks[task] = of
    return tasks


def coverage_of_runs(name: str, folder: Path) -> dict[str, Any]:
    """Return, of a panel, rows of runs left out, and of each level the share inside and the width.

    Widths are means, in minutes.
    """
    path = folder / f"{name}.parquet"
    folder.mkdir(parents=True, exist_ok=True)
    panel = PANELS[name]()
    panel.rows.write_parquet(path)
    config = rt.FitConfig(data=[str(path)], covariates=list(panel.anchors), flag_threshold=None)
    with config.open_folder(folder / f"{name}-fit") as run:
        rt.fit(config).write(run)
    given = rt.EvaluateConfig(artefacts=[str(folder / f"{name}-fit")], split_type="run")
    found = rt.evaluate(given).scored[0].table.row(-1, named=True)
    levels = [level for level in LEVELS if f"coverage_{100 * level:g}" in found]
    of = {
        str(level): {
            "inside": found[f"coverage_{100 * level:g}"],
            "width": found[f"width_{100 * level:g}"],
        }
        for level in levels
    }
    return {"n": found["n"], **of}


def summary(results: Results) -> str:
    """Return a table of means over tasks, one of all tasks, and one of those that are off."""
    rows = [row for row in results.rows if "tasks" in row]
    panels = {row["panel"]: row["of"] for row in results.rows if "panel" in row}
    if panels:
        rows.append({"table": "panels", "kind": "auto", "shift": "none", "tasks": panels})
    means, every, off = [], [], []
    for row in rows:
        tasks: Mapping[str, Any] = row["tasks"]
        place = (row["table"], row["kind"], row["shift"])
        means.append([*place, str(len(tasks)), *(_mean(tasks, level) for level in LEVELS)])
        for task, of in tasks.items():
            every.append([*place[:2], task, str(of["n"]), *(_cell(of, level) for level in LEVELS)])
            off += [
                (*place[:2], task, str(of["n"]), *_place(of[f"{level}"]["inside"], level, of["n"]))
                for level in LEVELS
                if f"{level}" in of and abs(of[f"{level}"]["inside"] - level) > WITHIN[level][1]
            ]
    levels = [f"{level:.0%} (width)" for level in LEVELS]
    tables = [table(("table", "run", "shift", "tasks", *levels), means)]
    tables.append(table(("table", "run", "task", "labels", *levels), every))
    if off:
        heads = ("table", "run", "task", "labels", "level", "inside", "by chance")
        tables.append(table(heads, off))
    return "\n\n".join(tables)


def _mean(tasks: Mapping[str, Any], level: float) -> str:
    """Return share inside and width, means over tasks; * where coverage is off."""
    found = [of[f"{level}"] for of in tasks.values() if f"{level}" in of]
    if not found:
        return "–"
    inside, width = (float(np.mean([of[key] for of in found])) for key in ("inside", "width"))
    held = "" if abs(inside - level) <= WITHIN[level][0] else " *"
    return f"{100 * inside:.1f}{held} ({width:.2f})"


def _cell(of: Mapping[str, Any], level: float) -> str:
    found = of.get(f"{level}")
    return "–" if found is None else f"{100 * found['inside']:.1f} ({found['width']:.2f})"


def _place(share: float, level: float, n: int) -> Sequence[str]:
    """Return level, share and what chance alone would give in 95 % of tests."""
    low, high = (np.asarray(binom.ppf([0.025, 0.975], n, level)) / n).tolist()
    return f"{level:.0%}", f"{share:.1%}", f"{low:.0%} to {high:.0%}"


def simulated(draws: int) -> str:
    """Return coverage over draws of 119 calibration rows and one new row, whose errors scatter
    by what a spread tells, in two strata, with heavy tails."""
    rng = np.random.default_rng(0)
    n, body = 119, []
    inside = {(how, level): 0 for how in ("plain", "scaled", "strata") for level in (0.8, 0.95)}
    for _ in range(draws):
        spread = rng.uniform(0.3, 3, size=(n + 1, 1))
        strata = np.where(rng.random(n + 1) < 0.5, "a", "b").tolist()
        y = spread * rng.standard_t(3, size=(n + 1, 1))
        features, zero = spread[:, :, None], np.zeros((n + 1, 1))
        fits: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
            "plain": ({}, {}),
            "scaled": (
                {"features": features[:n], "names": ["sd"]},
                {"features": features[n:]},
            ),
            "strata": ({"strata": strata[:n]}, {"strata": strata[n:]}),
        }
        for how, (fit, new) in fits.items():
            calibration = IntervalCalibration.fit(y[:n], zero[:n], **fit)
            for level in (0.8, 0.95):
                half = calibration.half_widths((1, 1), level, **new)
                inside[how, level] += int(abs(y[n, 0]) <= half[0, 0])
    for (how, level), count in inside.items():
        low, high = (np.asarray(binom.ppf([0.025, 0.975], draws, level)) / draws).tolist()
        body.append((how, f"{level:.0%}", f"{count / draws:.1%}", f"{low:.1%} to {high:.1%}"))
    return table(("intervals", "level", "inside", "by chance"), body)


if __name__ == "__main__":
    main()
