"""How accurate each kind of model is: model, table, split and seed, with CPU seconds.

Tables and splits: ExpansionRx by time (rolling origins inside the first 80 % of the rows, which
follow time; `--last` scores the last 20 %, to be looked at once per recipe), Biogen and AqSolDB by
scaffold, PXR by clusters of similar molecules and by series around its potent ones (`pxr
analogues`), EUOS25 and Tox21 by scaffold; tables in raw units, on which scales are chosen, by
scaffold inside what commands train on. Features are computed
once and not counted in CPU seconds. ADMET-AI's networks learned AqSolDB: there `--features` leaves
them out. Each result is a line of JSON, so that a study goes on where it
was stopped; `--write` makes a table of them for a page, `--figure` draws error against CPU seconds.
`--page` runs what the page on accuracy reports.

    uv run python studies/accuracy.py --page --results runs/accuracy.jsonl --figure accuracy.svg
    uv run python studies/accuracy.py --tables biogen --models mlp gp --results runs/accuracy.jsonl
    uv run python studies/accuracy.py --results runs/accuracy.jsonl --write accuracy.csv \
        --figure accuracy.svg
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import polars as pl
import torch
from accuracy_tables import TABLES, TIERS, Rows, related_tables, rows_of
from chemprop_multitask import ChempropConfig
from graph_members import tuned_admet
from matplotlib.ticker import LogLocator
from molpool_common import (
    OKABE_ITO,
    FloatArray,
    IntArray,
    ScaleName,
    from_scale,
    new_figure,
    task_metrics,
    to_scale,
)
from molpool_pipelines.fitting import (
    FEATURES,
    RelatedTable,
    epoch_sampler,
    parts_of,
    surrogate_columns,
    with_columns,
    with_heads,
)
from molpool_pipelines.models import (
    MemberName,
    MemberSettings,
    Molecules,
    build_member,
    fit_member,
    predict_member,
)
from molpool_pipelines.tables import fold_rows, suggested_scale
from sampling_core import JointSamplingConfig
from study_results import Results, table

if TYPE_CHECKING:
    from multitask_models import MultitaskMLP

NO_ADMET = "rdkit2d+morgan_count+minimol"
PLAIN_FEATURES = "rdkit2d+morgan_count"


@dataclass(frozen=True)
class Variant:
    """A model as it is fitted to the rows of a fold.

    Parameters
    ----------
    member : str
        Kind of model.
    options : mapping
        Its parameters that are not the defaults.
    features : str
        Featurisers.
    sampling : JointSamplingConfig or None
        How rows are drawn.
    related : {"", "surrogate", "heads", "pretraining"}
        How the related table is used.
    surrogate : str
        Kind of model that learns a related table for `surrogate`.
    weighed : bool
        Whether labels weigh by their own standard errors, where the table has them.
    scaled : bool
        Whether tasks of a long tail are learnt as logarithms, as `molpool-train auto` chooses them.
    foundation : bool
        Whether a network of the graph begins as one of ADMET-AI's, which learned AqSolDB.
    """

    member: MemberName
    options: Mapping[str, Any] = field(default_factory=dict)
    features: str = FEATURES
    sampling: JointSamplingConfig | None = None
    related: str = ""
    surrogate: MemberName = "mlp"
    weighed: bool = False
    scaled: bool = False
    foundation: bool = True


ONE: Mapping[str, Any] = {"members": 1}
BY_TASK = JointSamplingConfig(enabled=True)
BY_TIER = JointSamplingConfig.model_validate(
    {
        "enabled": True,
        "task_oversampling": {"enabled": False},
        "curriculum": {
            "enabled": True,
            "qualities": list(TIERS),
            "phase_epochs": 10,
            "phase_weights": {
                phase: dict(zip(TIERS, weights, strict=True))
                for phase, weights in {
                    "warmup": (0.45, 0.45, 0.10, 0, 0),
                    "expand": (0.35, 0.30, 0.30, 0.025, 0.025),
                    "robust": (0.25, 0.25, 0.40, 0.05, 0.05),
                    "polish": (0.40, 0.30, 0.20, 0.05, 0.05),
                }.items()
            },
        },
    }
)

VARIANTS: dict[str, Variant] = {
    "mean": Variant("mean", features=PLAIN_FEATURES),
    "neighbours": Variant("neighbours", features=PLAIN_FEATURES),
    "forest, 2D and counts": Variant("forest", features=PLAIN_FEATURES),
    "lightgbm, 2D and counts": Variant("lightgbm", features=PLAIN_FEATURES),
    "lightgbm": Variant("lightgbm"),
    "mlp, 2D and counts": Variant("mlp", ONE, PLAIN_FEATURES),
    "mlp": Variant("mlp", ONE),
    "mlp of 4": Variant("mlp"),
    "mlp of 4, no ADMET-AI": Variant("mlp", features=NO_ADMET),
    "gp": Variant("gp"),
    "gp, no limits": Variant("gp", {"limits": None}),
    "mlp, no limits": Variant("mlp", {**ONE, "limits": None}),
    "mlp, tobit": Variant("mlp", {**ONE, "censored_loss": "tobit"}),
    "mlp, tasks alike": Variant("mlp", {**ONE, "task_power": 1.0}),
    "mlp, rare tasks drawn more": Variant("mlp", ONE, sampling=BY_TASK),
    "mlp, curriculum": Variant("mlp", ONE, sampling=BY_TIER),
    "mlp, related as features": Variant("mlp", ONE, related="surrogate"),
    "mlp, related as heads": Variant("mlp", ONE, related="heads"),
    "mlp, related as pretraining": Variant("mlp", ONE, related="pretraining"),
    "chemprop": Variant("chemprop"),
    "chemprop, new": Variant("chemprop", foundation=False),
    "chemprop, related as heads": Variant("chemprop", related="heads"),
    "mlp, weighed": Variant("mlp", ONE, weighed=True),
    "gp, weighed": Variant("gp", weighed=True),
    "lightgbm, weighed": Variant("lightgbm", weighed=True),
    "gp, related as features": Variant("gp", related="surrogate"),
    "lightgbm, related as features": Variant("lightgbm", related="surrogate"),
    "mlp, weighed, related by trees": Variant(
        "mlp", ONE, related="surrogate", surrogate="lightgbm", weighed=True
    ),
    "gp, related by trees": Variant("gp", related="surrogate", surrogate="lightgbm"),
    "lightgbm, related by trees": Variant("lightgbm", related="surrogate", surrogate="lightgbm"),
    "xgboost, 2D and counts": Variant("xgboost", features=PLAIN_FEATURES),
    "catboost, 2D and counts": Variant("catboost", features=PLAIN_FEATURES),
    "mlp, 2D and counts, scaled": Variant("mlp", ONE, PLAIN_FEATURES, scaled=True),
    "lightgbm, 2D and counts, scaled": Variant("lightgbm", features=PLAIN_FEATURES, scaled=True),
}
BY_TREES = (
    "mlp, weighed, related by trees", "gp, related by trees", "lightgbm, related by trees"
)  # fmt: skip
WITH_SCREEN = "three, related by trees"
WITH_GRAPH = "three, related by trees, and chemprop"

BLENDS: dict[str, tuple[str, ...]] = {
    "mlp of 4 + gp": ("mlp of 4", "gp"),
    "mlp of 4 + gp + lightgbm": ("mlp of 4", "gp", "lightgbm"),
    "mlp + gp": ("mlp", "gp"),
    "mlp + lightgbm, 2D and counts": ("mlp, 2D and counts", "lightgbm, 2D and counts"),
    "mlp + gp + lightgbm": ("mlp", "gp", "lightgbm"),
    "mlp of 4 + gp, no limits": ("mlp of 4", "gp, no limits"),
    "mlp of 4 + gp + chemprop": ("mlp of 4", "gp", "chemprop"),
    "mlp + gp + lightgbm + chemprop, new": ("mlp", "gp", "lightgbm", "chemprop, new"),
    WITH_SCREEN: BY_TREES,
    WITH_GRAPH: (*BY_TREES, "chemprop, related as heads"),
    "mlp + gp, related as features": ("mlp, related as features", "gp, related as features"),
    "mlp + gp + lightgbm, related as features": (
        "mlp, related as features",
        "gp, related as features",
        "lightgbm, related as features",
    ),
}
"""Plain means, of models that are fitted anyway."""


@dataclass(frozen=True)
class Run:
    """Which models are scored on which folds.

    Parameters
    ----------
    tables, models : tuple of str
        Of `TABLES`, and of `VARIANTS` and `BLENDS`.
    seeds : tuple of int
        Of models and folds.
    folds : int or None
        Of each seed; None: all.
    features : str or None
        Of all models, instead of each one's own.
    last : bool
        Whether the last 20 % of ExpansionRx are scored.
    """

    tables: tuple[str, ...]
    models: tuple[str, ...]
    seeds: tuple[int, ...] = (0,)
    folds: int | None = None
    features: str | None = None
    last: bool = False


TREES = ("lightgbm, 2D and counts", "xgboost, 2D and counts", "catboost, 2D and counts")
IN_UNITS = ("expansionrx raw", "biogen raw", "pxr emax", "rat clearance raw", "mouse clearance raw")
SCALED = ", scaled"
PLAIN = ("mlp, 2D and counts", "lightgbm, 2D and counts")
THREE = ("mlp", "gp", "lightgbm")

PAGE = (
    Run(
        ("expansionrx",),
        (
            "mean", "lightgbm, 2D and counts", "lightgbm", "mlp, 2D and counts", "mlp of 4",
            "gp, no limits", "mlp of 4 + gp, no limits",
        ),
        last=True,
    ),
    Run(("biogen",), ("mlp of 4", "gp", "chemprop", "mlp of 4 + gp", "mlp of 4 + gp + chemprop")),
    Run(("biogen",), ("mean", *THREE, "mlp of 4", "mlp of 4 + gp"), folds=1, features=NO_ADMET),
    Run(("aqsoldb split",), (*THREE, "mlp + gp", "mlp + gp + lightgbm"), (0, 1, 2), None, NO_ADMET),
    Run(("aqsoldb split",), ("lightgbm, 2D and counts",), (0, 1, 2, 3, 4)),
    Run(
        ("pxr analogues",),
        (
            "mean", *THREE, "mlp, weighed", *BY_TREES, "chemprop, related as heads",
            WITH_SCREEN, WITH_GRAPH,
        ),
        features=NO_ADMET,
    ),
    Run(("euos25", "tox21"), (*PLAIN, "mlp + lightgbm, 2D and counts"), folds=1),
    Run(("biogen",), TREES, (0, 1), folds=1),
    Run(("aqsoldb split",), TREES, (0, 1, 2)),
    Run(("pxr analogues",), TREES),
    Run(IN_UNITS, (*PLAIN, *(f"{name}{SCALED}" for name in PLAIN)), (0, 1, 2)),
)  # fmt: skip
"""What the page on accuracy reports."""


class Fold:
    """The rows of one split, and what each model says of those that are held out.

    Parameters
    ----------
    rows : Rows
        The table.
    train, val : ndarray of int
        Rows to fit and rows to score.
    seed : int
        Of the models.
    threads : int
        Of trees.
    features : str or None
        Featurisers of all models, instead of each one's own.
    kept : Path or None
        Beginning of the files of predictions, which a later run blends without fitting.
    """

    def __init__(
        self,
        rows: Rows,
        train: IntArray,
        val: IntArray,
        seed: int,
        threads: int,
        features: str | None = None,
        kept: Path | None = None,
    ) -> None:
        self._kept = kept
        self._rows, self._train, self._val = rows, train, val
        self._seed, self._threads, self._features = seed, threads, features
        self._said: dict[str, tuple[FloatArray, float]] = {}
        self._surrogates: dict[str, tuple[list[Any], float]] = {}

    def said(self, name: str) -> tuple[FloatArray, float]:
        """Return the predictions of a variant and its CPU seconds."""
        file = None if self._kept is None else Path(f"{self._kept}, {name}.npz")
        if name not in self._said and file is not None and file.exists():
            there = np.load(file)
            self._said[name] = there["predicted"], float(there["seconds"])
        if name not in self._said:
            if name in BLENDS:
                parts = [self.said(part) for part in BLENDS[name]]
                mean = np.mean([predicted for predicted, _ in parts], axis=0)
                self._said[name] = mean, sum(seconds for _, seconds in parts)
            else:
                variant, shared = VARIANTS[name], 0.0
                if self._features is not None:
                    variant = replace(variant, features=self._features)
                self._rows.features(variant.features)
                if variant.related == "surrogate":
                    shared = self._columns(variant)[1]
                start = process_time()
                predicted = self._fitted(variant)
                # Features are not counted, surrogates are, for each model that takes them.
                self._said[name] = predicted, shared + process_time() - start
                if file is not None:
                    file.parent.mkdir(parents=True, exist_ok=True)
                    np.savez(file, predicted=predicted, seconds=self._said[name][1])
        return self._said[name]

    def score(self, name: str) -> dict[str, Any]:
        """Return RAE or 1 - ROC-AUC of each task, labels scored, and CPU seconds."""
        predicted, seconds = self.said(name)
        truth = self._rows.table.targets[self._val]
        found = task_metrics(
            truth, predicted, self._rows.table.task_names, list(self._rows.kinds)
        ).to_dict()["tasks"]
        errors, labels = {}, {}
        for task, of in found.items():
            value = of["metrics"]["ma_rae" if of["type"] == "regression" else "roc_auc"]
            if value is not None:
                errors[task] = value if of["type"] == "regression" else 1 - value
                labels[task] = of["n"]
        scored: dict[str, Any] = {"errors": errors, "labels": labels, "seconds": seconds}
        if name in VARIANTS and VARIANTS[name].scaled:
            scales = zip(self._rows.table.task_names, self._scales(VARIANTS[name]), strict=True)
            scored["scaled"] = [task for task, scale in scales if scale != "none"]
        return scored

    def _fitted(self, variant: Variant) -> FloatArray:
        rows, features = self._rows, self._rows.features(variant.features)
        X, blocks = features.values, features.blocks
        fit = rows.table.take(self._train)
        scales = self._scales(variant)
        fit = replace(fit, targets=to_scale(fit.targets, scales))
        if variant.related == "surrogate":
            for one, columns in self._columns(variant)[0]:
                blocks = with_columns(blocks, one, X.shape[1])
                X = np.hstack([X, columns])
        heads = self._related(variant) if variant.related == "heads" else []
        learnt = with_heads(X[self._train], fit, rows.kinds, heads, HEAD_WEIGHT)
        options = dict(variant.options)
        if variant.member in ("lightgbm", "forest", "xgboost", "catboost"):
            options["n_jobs"] = self._threads
        names = tuple(map(str, range(len(learnt.kinds))))
        if variant.member == "chemprop":
            graph = tuned_admet(GRAPH_EPOCHS, self._seed) if variant.foundation else NEW_GRAPH
            options |= {"config": graph, "groups": [names]}
        settings = MemberSettings(
            blocks, learnt.kinds, self._seed, options=options, task_names=names
        )
        model = build_member(variant.member, settings)
        sampler = None
        if variant.sampling is not None:
            epochs = cast("MultitaskMLP", model).epochs
            sampler = epoch_sampler(variant.sampling, learnt.y, fit.quality, epochs=epochs)
        weights = learnt.weights if heads else None
        if variant.weighed and rows.weights is not None:
            weights = rows.weights[self._train]
        if variant.related == "pretraining":
            model = cast("MultitaskMLP", model).starting_from(self._pretrained(variant))
        smiles = [s for table in (fit, *(one.table for one in heads)) for s in table.modelled]
        known = Molecules(smiles, learnt.X)
        other = Molecules(rows.table.take(self._val).modelled, X[self._val])
        fit_member(model, known, learnt.y, censoring=None, sample_weight=weights, sampler=sampler)
        predicted = predict_member(model, other, with_sd=False)[0][:, : len(rows.kinds)]
        return from_scale(predicted, scales)

    def _scales(self, variant: Variant) -> list[ScaleName]:
        fit = self._rows.table.take(self._train)
        return [suggested_scale(y) if variant.scaled else "none" for y in fit.targets.T]

    def _pretrained(self, variant: Variant) -> MultitaskMLP:
        """Return a network of the related table alone."""
        (one,) = self._related(variant)
        assert one.X is not None
        blocks = self._rows.features(variant.features).blocks
        settings = MemberSettings(blocks, one.kinds, self._seed, options=variant.options)
        model = build_member(variant.member, settings)
        fit_member(model, Molecules((), one.X), one.table.targets, censoring=None)
        return cast("MultitaskMLP", model)

    def _related(self, variant: Variant) -> list[RelatedTable]:
        tested = {self._rows.table.groups[row] for row in self._val}
        return related_tables(self._rows, tested, variant.features)

    def _columns(self, variant: Variant) -> tuple[list[Any], float]:
        """Return each related table with its predictions of all rows, and CPU seconds."""
        key = f"{variant.surrogate} {variant.features}"
        if key not in self._surrogates:
            features = self._rows.features(variant.features)
            tables = self._related(variant)
            start = process_time()
            found = [
                (one, self._surrogate(one, features.values, features.blocks, variant.surrogate))
                for one in tables
            ]
            self._surrogates[key] = found, process_time() - start
        return self._surrogates[key]

    def _surrogate(self, related: RelatedTable, X: Any, blocks: Any, member: MemberName) -> Any:
        """Return a related table's predictions: of rows to fit out of fold."""
        groups = self._rows.table.groups
        columns = np.empty((len(X), len(related.kinds)), dtype=np.float32)
        keys = [groups[row] for row in self._train]
        # Out of fold as the study's own folds are: at random, rows to fit would have better
        # predictions than those that are scored, and models would trust them too much.
        fit = self._rows.table.take(self._train)
        split = {"analogues": "cluster"}.get(self._rows.split, self._rows.split)
        folds = [] if split == "time" else fold_rows(fit, split, PARTS, seed=self._seed)
        part = parts_of(keys, folds, seed=self._seed)
        columns[self._train], model = surrogate_columns(
            related, keys, X[self._train], part, blocks, seed=self._seed, member=member
        )
        columns[self._val] = model.predict(X[self._val])
        return columns


PARTS = 3
"""Folds of the rows to fit, each predicted by a network of related labels of the others."""

GRAPH_EPOCHS = 20
NEW_GRAPH = ChempropConfig.model_validate(
    {
        "model": {
            "ffn": {"num_layers": 1, "hidden_size": 300},
            "message_passing": {"hidden_size": 500, "depth": 5},
        },
        "training": {"epochs": 26, "loss": "mae", "precision": "bf16"},
    }
)

HEAD_WEIGHT = 0.2
"""Of a row of a related table, beside 1."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=[])
    parser.add_argument(
        "--models", nargs="+", choices=[*VARIANTS, *BLENDS], default=["mean", "lightgbm", "mlp"]
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--folds", type=int, help="of each seed; by default all")
    parser.add_argument("--features", help="of all models, instead of each one's own")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--page", action="store_true", help="run what the page reports")
    parser.add_argument("--last", action="store_true", help="score the last 20 %% of ExpansionRx")
    parser.add_argument("--results", type=Path, help="file of JSON lines to go on with")
    parser.add_argument("--write", type=Path, help="table of the results, as CSV or Parquet")
    parser.add_argument(
        "--figure", type=Path, help="error against CPU seconds: a file of SVG or PNG"
    )
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    results = Results(given.results)
    one = Run(given.tables, given.models, given.seeds, given.folds, given.features, given.last)
    for run in PAGE if given.page else (one,):
        for name in run.tables:
            for seed in run.seeds:
                study(results, name, seed, run, given.threads)
    found = summary(results)
    print(table(found.columns, [[words(cell) for cell in row] for row in found.iter_rows()]))
    print(table(("table", "model", "change of RAE on a chosen scale"), changes(results)))
    if given.write is not None:
        write = found.write_parquet if given.write.suffix == ".parquet" else found.write_csv
        write(given.write)
    if given.figure is not None:
        draw(found, given.figure)


def study(results: Results, name: str, seed: int, run: Run, threads: int) -> None:
    """Score each model on each fold of a seed, unless that was done before."""
    rows = rows_of(name)
    for number, (train, val) in enumerate(rows.folds(seed, last=run.last)[: run.folds]):
        kept = None
        if results.path is not None:
            of = "last" if run.last else f"fold {number}"
            words = f"{name}, {of}, seed {seed}, {run.features or 'own features'}"
            kept = results.path.with_suffix("") / words
        fold = Fold(rows, train, val, seed, threads, run.features, kept)
        for model in run.models:
            key = {"table": name, "model": model, "seed": seed, "fold": number, "last": run.last}
            key["features"] = run.features or OWN
            if not results.has(**key):
                scored = fold.score(model)
                results.add(**key, split=rows.split, **scored)
                # A network of the graph takes many minutes: what is done is seen.
                shown = (
                    f"{np.mean([*scored['errors'].values()]):.3f}, {scored['seconds']:.0f} CPU s"
                )
                print(f"{name}, seed {seed}, fold {number}, {model}: {shown}", flush=True)


def summary(results: Results) -> pl.DataFrame:
    """Return a row per table, features and model: mean error over tasks and folds.

    Of a table the folds and seeds that all its models have, so that they compare; beside them that
    of all fits of a model. Standard errors are over folds and seeds.
    """
    found: dict[tuple[str, str, str, str], list[dict[str, Any]]] = {}
    for row in results.rows:
        split = "time, last 20 %" if row["last"] else row["split"]
        found.setdefault((row["table"], split, row["features"], row["model"]), []).append(row)
    lines = []
    for (name, split, features, model), rows in found.items():
        others = [rows for key, rows in found.items() if key[:2] == (name, split)]
        shared = set.intersection(*({(r["seed"], r["fold"]) for r in rows} for rows in others))
        own = [r for r in rows if (r["seed"], r["fold"]) in shared] or rows
        line = {"table": name, "split": split, "features": features, "model": model}
        line |= {"fits": len(own)} | _error(own, ())
        line |= _error(own, (FEW_LABELS,), f" without {FEW_LABELS}")
        line |= {"all fits": len(rows)} | _error(rows, (), " of all")
        lines.append({**line, "CPU s": float(np.mean([row["seconds"] for row in own]))})
    return pl.DataFrame(lines).sort("table", "split", "error")


OWN = "each its own"
"""Features of models that no run sets."""

FEW_LABELS = "MGMB"
"""Of ExpansionRx: 222 labels, which move its mean most."""


def _error(rows: list[dict[str, Any]], without: tuple[str, ...], words: str = "") -> dict[str, Any]:
    """Return the mean over tasks, folds and seeds, and its standard error over folds and seeds."""
    means = np.array(
        [np.mean([e for task, e in row["errors"].items() if task not in without]) for row in rows]
    )
    error = means.std(ddof=1) / len(means) ** 0.5 if len(means) > 1 else None
    return {f"error{words}": float(means.mean()), f"se{words}": error}


def changes(results: Results) -> list[tuple[str, ...]]:
    """Return what learning long tails as logarithms changes, by table and model.

    Of each task that was learnt so the paired difference of errors is a mean over seeds; standard
    errors are over tasks and seeds, and of all tables over their tasks.
    """
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in results.rows:
        model = row["model"].removesuffix(SCALED)
        pair = {name: row[name] for name in ("table", "seed", "fold", "features")}
        for plain in results.of(**pair, model=model) if model != row["model"] else ():
            for task in row["scaled"]:
                if task in row["errors"]:
                    change = row["errors"][task] - plain["errors"][task]
                    tasks = found.setdefault((row["table"], model), {})
                    tasks.setdefault(task, []).append(change)
    lines: list[tuple[str, ...]] = [
        (*key, f"{task} {_mean(values)}")
        for key, of in found.items()
        for task, values in of.items()
    ]
    for model in dict.fromkeys(model for _, model in found):
        means = [
            float(np.mean(v)) for key, of in found.items() if key[1] == model for v in of.values()
        ]
        lines.append(("all", model, f"{_mean(means)}, median {np.median(means):+.3f}"))
    return lines


def _mean(values: Sequence[float]) -> str:
    error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else None
    return f"{np.mean(values):+.3f} ± {words(error)} ({len(values)})"


def words(cell: Any) -> str:
    """Return a cell of the table as text."""
    if cell is None:
        return "–"
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)


def draw(found: pl.DataFrame, path: Path) -> None:
    """Draw error against CPU seconds, a panel per table, models by number.

    Tables in raw units ask for scales, not for models, and are left out; so is the constant, far
    above what is to be compared.
    """
    found = found.filter(pl.col("model") != "mean", ~pl.col("table").is_in(IN_UNITS))
    panels = found.partition_by("table", "split", maintain_order=True)
    shown = [model for model in (*VARIANTS, *BLENDS) if model in found["model"].to_list()]
    numbers = {model: n for n, model in enumerate(shown, start=1)}
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    drawing = new_figure(2.7 * columns + 2.4, 2.7 * lines)
    grid = drawing.add_gridspec(lines, columns + 1, width_ratios=[*[2.7] * columns, 2.4])
    for place, panel in enumerate(panels):
        axis = drawing.add_subplot(grid[place // columns, place % columns])
        for own, colour in ((True, OKABE_ITO[0]), (False, OKABE_ITO[1])):
            part = panel.filter((pl.col("features") == OWN) == own)
            axis.errorbar(
                part["CPU s"], part["error"], part["se"].fill_null(0), fmt="o", ms=9, mfc="white",
                mec=colour, ecolor=colour, lw=1,
            )  # fmt: skip
        for row in panel.iter_rows(named=True):
            axis.text(
                row["CPU s"], row["error"], str(numbers[row["model"]]), ha="center",
                va="center_baseline", fontsize=6, zorder=4,
            )  # fmt: skip
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter("")
        axis.margins(0.25)
        low, high = axis.get_ylim()
        widened = max(0.0, 0.1 - (high - low)) / 2
        axis.set_ylim(low - widened, high + widened)
        name, split = panel["table"][0], panel["split"][0]
        axis.set_title(name if split in name else f"{name}, {split}", fontsize=8)
        axis.set_xlabel("CPU seconds", fontsize=7)
        if place % columns == 0:
            axis.set_ylabel("RAE, or 1 - ROC-AUC", fontsize=7)
        axis.tick_params(labelsize=6)
    legend = drawing.add_subplot(grid[:, -1])
    legend.axis("off")
    text = "\n".join(f"{number:>2}  {model}" for model, number in numbers.items())
    legend.text(0, 1, text, va="top", fontsize=7, transform=legend.transAxes)
    for at, (of, colour) in enumerate((("each its own", 0), ("one set for all", 1))):
        legend.text(
            0, 0.05 - 0.05 * at, f"features: {of}", color=OKABE_ITO[colour], fontsize=7,
            transform=legend.transAxes,
        )  # fmt: skip
    drawing.savefig(path)


if __name__ == "__main__":
    main()
