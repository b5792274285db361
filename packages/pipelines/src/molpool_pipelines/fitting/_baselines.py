"""What a run's model is held against: simple models on the rows that it was trained on.

The mean of each task, nearest neighbours, LightGBM and, on request, a random forest, all on RDKit's
descriptors and Morgan counts with fixed settings. A model that does not beat them has learnt
nothing that these do not know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
import polars as pl
from molpool_common import (
    FloatArray,
    IntArray,
    MetricTable,
    RunFolder,
    Structure,
    from_scale,
    listed,
    task_metrics,
    told,
)
from rich.console import Console

from molpool_pipelines.fitting._config import BaselineChoice
from molpool_pipelines.fitting._costs import STEPS, Predict, tried_cost
from molpool_pipelines.fitting._results import Results
from molpool_pipelines.models import (
    WORDS,
    Blend,
    MemberName,
    MemberSettings,
    Molecules,
    TabularModel,
    build_member,
    fit_member,
    predict_member,
)
from molpool_pipelines.runs import (
    BASELINE_MODELS,
    LOWER,
    PREDICTIONS,
    SPLIT,
    UPPER,
    BaselineSet,
    about_tasks,
    member_metrics,
    write_predictions,
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


def baseline_names(which: BaselineChoice) -> tuple[MemberName, ...]:
    """Return the simple models of a choice."""
    return _OF[which]


_LEAST_SECONDS = 60.0
"""Seconds that simple models may always take together; more where the run's own models did."""

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
    structure : {"given", "parent", "tautomer"}
        What models see of a molecule.
    """

    train: MoleculeTable
    tested: MoleculeTable
    structure: Structure = "given"

    @property
    def digest(self) -> str:
        """What tells the training rows, whatever their order."""
        # Bags have names alone.
        origin = self.train.origin
        names = ["source", "row"] if "row" in origin.columns else ["id"]
        rows = origin.select(names).sort(names).rows()
        return blake2b(repr(rows).encode(), digest_size=16).hexdigest()


def affordable(
    names: Sequence[MemberName], cost: Callable[[MemberName], float], most: float, of: str
) -> tuple[list[MemberName], float, list[str]]:
    """Return the simple models that have time beside a run's own, their seconds, and what has not.

    Parameters
    ----------
    names : sequence of str
        The models, those that matter most first.
    cost : callable
        Seconds of a model.
    most : float
        Seconds that all may take together.
    of : str
        What sentences compare these seconds with.
    """
    kept: list[MemberName] = []
    notes: list[str] = []
    spent = 0.0
    for name in names:
        seconds = cost(name)
        if spent + seconds <= most:
            spent += seconds
            kept.append(name)
        else:
            notes.append(
                f"Left out of the simple models beside it, as it would take about {seconds:.0f} s "
                f"{of}: {WORDS[name]}."
            )
    return kept, spent, notes


def with_baselines(
    console: Console,
    run: RunFolder,
    results: Results,
    rows: ReferenceRows,
    kinds: Sequence[TaskType],
    names: Sequence[MemberName],
    *,
    model: str,
    seed: int,
    cache: str,
    features: str = FEATURES,
    bounded: bool = False,
) -> Results:
    """Return the results with baselines, which are left in the run's folder as models.

    They take no longer than the run's own models have taken, or a minute where that is more; a
    model that would, as LightGBM of hundreds of tasks, is left out and said.

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
    names : sequence of str
        Which baselines.
    model : str
        What sentences call the run's own model.
    seed : int
        Of the trees.
    cache : str
        Folder of cached features.
    features : str
        What they see of a molecule, a fingerprint among it.
    bounded : bool
        Whether `names` were chosen by the time that is left.
    """
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

    most = max(_LEAST_SECONDS, run.seconds)
    console.print(f"Baselines: {listed([WORDS[n] for n in names])}.", highlight=False)
    split = results.reported
    smiles = [*rows.train.modelled, *rows.tested.modelled]
    seen = featurize(smiles, features, cache=cache)
    n = len(rows.train)
    known = Molecules(smiles[:n], seen.values[:n])
    tested = Molecules(smiles[n:], seen.values[n:])
    settings = MemberSettings(seen.blocks, tuple(kinds), seed, limits=None)
    if not bounded:
        cost = partial(_seconds, settings, known, rows.train, len(rows.tested))
        words = f"of {most:.0f} s, the time of the run's own models or a minute"
        names, _, said_of = affordable(names, cost, most, words)
        results = replace(results, remarks=(*results.remarks, *said_of))
    tables: dict[str, MetricTable] = {}
    predicted: dict[str, pl.DataFrame] = {}
    types = dict(zip(rows.tested.task_names, kinds, strict=True))
    scales = rows.tested.of_scales
    in_units = rows.tested.in_units()
    exact = exact_labels(in_units.targets, in_units.censoring)
    for name in told(names, "Simple models", len(names), "models"):
        member = build_member(name, settings)
        fit_member(member, known, rows.train.targets, censoring=rows.train.censoring)
        mean, _ = predict_member(member, tested)
        # A molecule without features is predicted as the task's mean, not left out: baselines are
        # scored on the rows of the model.
        mean = np.where(np.isnan(mean), np.nanmean(rows.train.targets, axis=0), mean)
        mean = from_scale(mean, scales)
        tables[name] = task_metrics(exact, mean, rows.tested.task_names, list(kinds), scales)
        blend = Blend((name,), (member,), np.ones((1, len(kinds))), (True,))
        saved = TabularModel(
            blend,
            rows.tested.task_names,
            tuple(kinds),
            seen.signature,
            scales=scales,
            structure=rows.structure,
        )
        saved.save(run.path / BASELINE_MODELS / name)
        of_tested = _with_predictions(results.predictions, split, mean, rows.tested.task_names)
        of_tasks = about_tasks(list(types), dict(zip(types, scales, strict=True)))
        file = f"{BASELINE_MODELS}/{name}/{PREDICTIONS}"
        write_predictions(run, of_tested, types, file, of_tasks=of_tasks)
        # The run's own model may be of the same kind.
        called = f"the plain {WORDS[name]}" if model == f"the {WORDS[name]}" else WORDS[name]
        predicted[called] = of_tested
    own = results.predictions.filter(pl.col(SPLIT) == split)
    pairs = against_best(own, predicted, types, model)
    found = BaselineSet(
        trained_on=n,
        rows=rows.digest,
        models={name: member_metrics(table) for name, table in tables.items()},
        **in_words(pairs),
    )
    more = {**results.more, split: {**results.more.get(split, {}), "baselines": found}}
    return replace(results, more=more)


def _seconds(
    settings: MemberSettings, known: Molecules, table: MoleculeTable, tested: int, name: MemberName
) -> float:
    """Return what a model takes about, told from a few of its steps on some rows and tasks."""
    # Imports its framework, whose seconds say nothing of what fits take.
    whole, step = build_member(name, settings), STEPS.get(name)

    def trial(rows: IntArray, tasks: IntArray, n: int | None) -> Predict:
        options = settings.options if step is None or n is None else {**settings.options, step: n}
        learnt = table.take(rows)
        shown = np.isin(np.arange(len(settings.task_types)), tasks)
        targets = np.where(shown, learnt.targets, np.nan)
        member = build_member(name, replace(settings, options=options))
        fit_member(member, known.take(rows), targets, censoring=learnt.censoring)
        return lambda at: predict_member(member, known.take(at))

    labelled = np.isfinite(table.targets)
    steps = getattr(whole, step) if step else 0
    cost = tried_cost(name, labelled, steps, trial, seed=settings.seed, left=np.inf)
    return cost.fit + cost.said * tested / len(table)


def _with_predictions(
    frame: pl.DataFrame, split: str, mean: FloatArray, tasks: Sequence[str]
) -> pl.DataFrame:
    """Return the rows of a split with another model's predictions, which has no more to say."""
    frame = frame.filter(pl.col(SPLIT) == split)
    own = [f"{task}{ending}" for task in tasks for ending in ("_sd", LOWER, UPPER, " decision")]
    return frame.drop("fold", *own, strict=False).with_columns(
        pl.Series(f"{task} predicted", mean[:, t]) for t, task in enumerate(tasks)
    )


def against_best(
    own: pl.DataFrame,
    others: Mapping[str, pl.DataFrame],
    types: Mapping[str, TaskType],
    model: str,
) -> list[Pair]:
    """Return, of each task, the model and the best of the others on the same rows.

    Parameters
    ----------
    own : DataFrame
        Predictions of the model.
    others : mapping of str to DataFrame
        Those of others, by what sentences call them, in the same order of rows.
    types : mapping of str to {"regression", "classification"}
        Of the tasks.
    model : str
        What sentences call the model.
    """
    # By place: ids may repeat, and all models predict the same rows in one order.
    placed = {
        name: frame.with_columns(pl.int_range(pl.len()).cast(pl.String).alias("id")).drop(
            "fold", "repeat", strict=False
        )
        for name, frame in ({model: own} | dict(others)).items()
    }
    paired = pair_rows(
        [predictions_of(table, name, task_types=types) for name, table in placed.items()],
        list(placed),
    )
    metrics = list(dict.fromkeys(_METRICS[kind] for kind in types.values()))
    compared = compare_models(paired, CompareConfig(metrics=metrics, design="test_set"))
    found = []
    for task in types:
        pairs = [p for p in compared.pairs if p.task == task and p.a == model]
        pairs = [p for p in pairs if p.difference is not None and p.low is not None]
        if pairs:
            found.append(min(pairs, key=_gain))
    return found


def in_words(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return sentences and verdicts of a `BaselineSet`."""
    return {
        "sentences": [_sentence(pair) for pair in pairs],
        "verdicts": {pair.task: _verdict(pair) for pair in pairs},
    }


def _gain(pair: Pair) -> float:
    """Return by how much the model is better; negative where it is worse."""
    assert pair.difference is not None
    return -pair.difference if pair.metric == "ma_rae" else pair.difference


def _verdict(pair: Pair) -> Literal["better", "worse", "not distinguishable"]:
    assert pair.low is not None
    assert pair.high is not None
    if pair.low <= 0 <= pair.high:
        return "not distinguishable"
    return "better" if _gain(pair) > 0 else "worse"


def _sentence(pair: Pair) -> str:
    assert pair.low is not None
    assert pair.high is not None
    gain = _gain(pair)
    low, high = (-pair.high, -pair.low) if pair.metric == "ma_rae" else (pair.low, pair.high)
    word, sign = ("better", 1) if gain >= 0 else ("worse", -1)
    ends = sorted((sign * low, sign * high))
    verdict = ": not distinguishable" if _verdict(pair) == "not distinguishable" else ""
    return (
        f"{pair.task}: {pair.a} is {word} than {pair.b} by {abs(gain):.3f} {_SHORT[pair.metric]} "
        f"(95 % {ends[0]:.3f} to {ends[1]:.3f}){verdict}."
    )
