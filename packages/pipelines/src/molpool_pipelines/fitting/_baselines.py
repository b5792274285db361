"""What a run's model is held against: simple models on the rows that it was trained on.

The mean of each task, nearest neighbours, LightGBM and, on request, a random forest, all on RDKit's
descriptors and Morgan counts with fixed settings. A model that does not beat them has learnt
nothing that these do not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
import polars as pl
from molpool_common import FloatArray, MetricTable, RunFolder, listed, task_metrics
from rich.console import Console

from molpool_pipelines.fitting._config import BaselineChoice
from molpool_pipelines.fitting._results import Results
from molpool_pipelines.models import (
    WORDS,
    Blend,
    MemberName,
    MemberSettings,
    TabularModel,
    build_member,
    predict_member,
)
from molpool_pipelines.runs import (
    BASELINE_MODELS,
    LOWER,
    PREDICTIONS,
    SPLIT,
    UPPER,
    BaselineSet,
    member_metrics,
)
from molpool_pipelines.scores import (
    CompareConfig,
    Pair,
    compare_models,
    pair_rows,
    predictions_of,
)
from molpool_pipelines.tables import MoleculeTable, TaskType, exact_labels

FEATURES = "rdkit2d+morgan_count"

_OF: dict[BaselineChoice, tuple[MemberName, ...]] = {
    "none": (),
    "fast": ("mean", "neighbours", "lightgbm"),
    "all": ("mean", "neighbours", "lightgbm", "forest"),
}

_LEAST_ROWS = 20
"""Rows of a test split on which no difference could be told are not worth the time."""

_METRICS = {"regression": "ma_rae", "classification": "roc_auc"}
_SHORT = {"ma_rae": "RAE", "roc_auc": "ROC-AUC"}


@dataclass(frozen=True)
class ReferenceRows:
    """Rows that baselines train on, and those on which they are compared.

    Parameters
    ----------
    train : MoleculeTable
        The rows that trained the run's model.
    tested : MoleculeTable
        Rows of the reported split, in the order of the run's predictions.
    """

    train: MoleculeTable
    tested: MoleculeTable

    @property
    def digest(self) -> str:
        """What tells the training rows, whatever their order."""
        # Bags have names alone.
        names = [c for c in ("source", "row") if c in self.train.origin.columns] or ["id"]
        rows = self.train.origin.select(names).sort(names).rows()
        return blake2b(repr(rows).encode(), digest_size=16).hexdigest()


def with_baselines(
    console: Console,
    run: RunFolder,
    results: Results,
    rows: ReferenceRows,
    kinds: Sequence[TaskType],
    which: BaselineChoice,
    *,
    model: str,
    seed: int,
    cache: str,
) -> Results:
    """Return the results with baselines, which are left in the run's folder as models.

    Parameters
    ----------
    console : Console
        The screen.
    run : RunFolder
        Where ``baselines/NAME`` goes.
    results : Results
        Of the run's own model.
    rows : ReferenceRows
        What to train and to compare on.
    kinds : sequence of {"regression", "classification"}, length T
        Of the tasks.
    which : {"none", "fast", "all"}
        Which baselines.
    model : str
        What sentences call the run's own model.
    seed : int
        Of the trees.
    cache : str
        Folder of cached features.
    """
    names = _OF[which]
    if not names:
        return results
    if len(rows.tested) < _LEAST_ROWS:
        said = (
            f"No simple models beside it: {len(rows.tested)} test molecules tell no difference "
            f"({_LEAST_ROWS} are needed)."
        )
        return replace(results, remarks=(*results.remarks, said))
    # RDKit's descriptors take seconds to import.
    from molecule_features import featurize

    console.print(f"Baselines: {listed([WORDS[n] for n in names])}.", highlight=False)
    split = results.reported
    features = featurize([*rows.train.smiles, *rows.tested.smiles], FEATURES, cache=cache)
    n = len(rows.train)
    tables: dict[str, MetricTable] = {}
    predicted: dict[str, FloatArray] = {}
    exact = exact_labels(rows.tested.targets, rows.tested.censoring)
    for name in names:
        settings = MemberSettings(features.blocks, tuple(kinds), seed, find_limits=False)
        member = build_member(name, settings)
        member.fit(features.values[:n], rows.train.targets, censoring=rows.train.censoring)
        mean, _ = predict_member(member, features.values[n:])
        # A molecule without features is predicted as the task's mean, not left out: baselines are
        # scored on the rows of the model.
        mean = np.where(np.isnan(mean), np.nanmean(rows.train.targets, axis=0), mean)
        tables[name] = task_metrics(exact, mean, rows.tested.task_names, list(kinds))
        predicted[name] = mean
        blend = Blend((name,), (member,), np.ones((1, len(kinds))), (True,))
        saved = TabularModel(blend, rows.tested.task_names, tuple(kinds), features.signature)
        saved.save(run.path / BASELINE_MODELS / name)
        of_tested = _with_predictions(results.predictions, split, mean, rows.tested.task_names)
        run.write_frame(f"{BASELINE_MODELS}/{name}/{PREDICTIONS}", of_tested)
    sentences = _sentences(results, split, predicted, rows.tested.task_names, kinds, model)
    found = BaselineSet(
        trained_on=n,
        rows=rows.digest,
        models={name: member_metrics(table) for name, table in tables.items()},
        sentences=sentences,
    )
    more = {**results.more, split: {**results.more.get(split, {}), "baselines": found}}
    return replace(results, more=more)


def _with_predictions(
    frame: pl.DataFrame, split: str, mean: FloatArray, tasks: Sequence[str]
) -> pl.DataFrame:
    """Return the rows of a split with another model's predictions, which has no more to say."""
    frame = frame.filter(pl.col(SPLIT) == split)
    own = [f"{task}{ending}" for task in tasks for ending in ("_sd", LOWER, UPPER, " decision")]
    return frame.drop("fold", *own, strict=False).with_columns(
        pl.Series(f"{task} predicted", mean[:, t]) for t, task in enumerate(tasks)
    )


def _sentences(
    results: Results,
    split: str,
    predicted: dict[str, FloatArray],
    tasks: Sequence[str],
    kinds: Sequence[TaskType],
    model: str,
) -> list[str]:
    """Return, of each task, how the model compares with the best of the baselines."""
    frame = results.predictions.filter(pl.col(SPLIT) == split)
    # By place: ids may repeat, and all models predict the same rows in one order.
    frame = frame.with_columns(pl.int_range(pl.len()).cast(pl.String).alias("id")).drop(
        "fold", strict=False
    )
    types = dict(zip(tasks, kinds, strict=True))
    tables = {model: frame}
    for name, mean in predicted.items():
        tables[WORDS[name]] = frame.with_columns(  # type: ignore[index]  # names are of members
            pl.Series(f"{task} predicted", mean[:, t]) for t, task in enumerate(tasks)
        )
    paired = pair_rows(
        [predictions_of(table, name, task_types=types) for name, table in tables.items()],
        list(tables),
    )
    metrics = list(dict.fromkeys(_METRICS[kind] for kind in kinds))
    compared = compare_models(paired, CompareConfig(metrics=metrics, design="test_set"))
    said = []
    for task in tasks:
        pairs = [p for p in compared.pairs if p.task == task and p.a == model]
        pairs = [p for p in pairs if p.difference is not None and p.low is not None]
        if pairs:
            said.append(_sentence(min(pairs, key=_gain)))
    return said


def _gain(pair: Pair) -> float:
    """Return by how much the model is better; negative where it is worse."""
    assert pair.difference is not None
    return -pair.difference if pair.metric == "ma_rae" else pair.difference


def _sentence(pair: Pair) -> str:
    assert pair.low is not None
    assert pair.high is not None
    gain = _gain(pair)
    low, high = (-pair.high, -pair.low) if pair.metric == "ma_rae" else (pair.low, pair.high)
    word, sign = ("better", 1) if gain >= 0 else ("worse", -1)
    ends = sorted((sign * low, sign * high))
    verdict = ": not distinguishable" if low <= 0 <= high else ""
    return (
        f"{pair.task}: {pair.a} is {word} than {pair.b} by {abs(gain):.3f} {_SHORT[pair.metric]} "
        f"(95 % {ends[0]:.3f} to {ends[1]:.3f}){verdict}."
    )
