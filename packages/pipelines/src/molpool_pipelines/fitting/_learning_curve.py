"""Would more data help? The model trained on parts of its rows, tested on the same molecules.

The parts are nested, each molecule with all its rows, and drawn at random whatever the split: the
question is what more molecules of this kind would bring.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from molpool_common import LABELS, FloatArray, IntArray, from_scale, mean_label, told

from molpool_pipelines.fitting._results import Results
from molpool_pipelines.runs import MACRO, SPLIT, LearningPoint, scores_by_task
from molpool_pipelines.scores import (
    CompareConfig,
    Pair,
    Predictions,
    Resampling,
    compare_models,
    pair_rows,
    predictions_of,
    score_tasks,
)
from molpool_pipelines.tables import MoleculeTable, TaskType

Refit = Callable[[IntArray], FloatArray]
"""Trains on some of the training rows and predicts the tested ones [M, T], on the scales."""

_TOO_FEW = "The test molecules have too few labels to tell whether more data would help."

_METRICS = {"regression": "ma_rae", "classification": "roc_auc"}


@dataclass(frozen=True)
class CurveRequest:
    """What a learning curve is asked for.

    Parameters
    ----------
    shares : sequence of float
        Of the training molecules, rising; all of them are the run's own model.
    train : MoleculeTable
        The rows that trained it.
    seed : int
        Of the parts.
    """

    shares: Sequence[float]
    train: MoleculeTable
    seed: int


def with_learning_curve(
    results: Results,
    asked: CurveRequest,
    kinds: Sequence[TaskType],
    refit: Refit,
) -> Results:
    """Return the results with the metrics of models of fewer rows.

    Parameters
    ----------
    results : Results
        Of the run's own model.
    asked : CurveRequest
        Shares and rows.
    kinds : sequence of {"regression", "classification"}
        Of the tasks.
    refit : callable
        See `Refit`; rows of the reported split in the order of the run's predictions.
    """
    shares = sorted({share for share in asked.shares if share < 1})
    if not shares:
        return results
    split = results.reported
    if split != "test":
        said = "No learning curve: it is measured on test molecules, and there are none."
        return replace(results, remarks=(*results.remarks, said))
    frame = results.predictions.filter(pl.col(SPLIT) == split)
    tasks = asked.train.task_names
    types = dict(zip(tasks, kinds, strict=True))
    parts = nested_parts(asked.train.units, shares, asked.seed)
    found: list[Predictions] = []
    stage = told(zip(shares, parts, strict=True), "Learning curve", len(parts), "trainings")
    for share, part in stage:
        mean = from_scale(refit(part), asked.train.of_scales)
        columns = [pl.Series(f"{t} predicted", mean[:, i]) for i, t in enumerate(tasks)]
        name = f"{100 * share:g} %"
        found.append(predictions_of(frame.with_columns(columns), name, task_types=types))
    found.append(predictions_of(frame, "all", task_types=types))
    sizes = [len(part) for part in parts] + [len(asked.train)]
    points = [
        _point(rows, share, n) for rows, share, n in zip(found, [*shares, 1.0], sizes, strict=True)
    ]
    more = {
        **results.more.get(split, {}),
        "learning_curve": points,
        "more_data": answer(found[-2], found[-1], sizes[-2:]) or _TOO_FEW,
    }
    return replace(results, more={**results.more, split: more})


def nested_parts(units: Sequence[object], shares: Sequence[float], seed: int) -> list[IntArray]:
    """Return the rows of each share of the molecules, each part within the next.

    Parameters
    ----------
    units : sequence, length N
        What molecule, or series, each row is of: rows of one stay together.
    shares : sequence of float
        Of the distinct ones, at least one.
    seed : int
        Of their order.
    """
    names = list(dict.fromkeys(units))
    place = dict(zip(names, np.random.default_rng(seed).permutation(len(names)), strict=True))
    order = np.array([place[unit] for unit in units])
    return [np.flatnonzero(order < max(1, round(share * len(names)))) for share in shares]


def _point(rows: Predictions, share: float, n: int) -> LearningPoint:
    types = dict(zip(rows.tasks, rows.task_types, strict=True))
    names = [_METRICS[kind] for kind in dict.fromkeys(rows.task_types)]
    scored = scores_by_task(score_tasks(rows, Resampling(), names=names), types)
    return LearningPoint(share=share, n=n, **dict(scored))


def answer(fewer: Predictions, every: Predictions, sizes: Sequence[int]) -> str | None:
    """Say whether more data would help, by what the last of them brought.

    Parameters
    ----------
    fewer, every : Predictions
        Of models of a part of the rows and of all, for the same molecules.
    sizes : (int, int)
        Training rows of both.

    Returns
    -------
    str or None
        None where no difference can be tested.
    """
    names = ("fewer", "all")
    metrics = [_METRICS[kind] for kind in dict.fromkeys(every.task_types)][:1]
    by_place = [_by_place(rows) for rows in (fewer, every)]
    compared = compare_models(
        pair_rows(by_place, names), CompareConfig(metrics=metrics, design="test_set")
    )
    pairs = {p.task: p for p in compared.pairs if p.difference is not None and p.low is not None}
    pair = pairs.get(MACRO) or next(iter(pairs.values()), None)
    return None if pair is None else _words(pair, sizes)


def _by_place(rows: Predictions) -> Predictions:
    """Return rows by their number: ids may repeat, and both models predict them in one order."""
    ids = np.array([str(i) for i in range(len(rows))], dtype=object)
    return replace(rows, ids=ids, fold=None, repeat=None)


def _words(pair: Pair, sizes: Sequence[int]) -> str:
    assert pair.difference is not None
    assert pair.low is not None
    assert pair.high is not None
    lower_is_better = pair.metric == "ma_rae"
    # `pair` is fewer less all: above 0 an error fell.
    sign = 1 if lower_is_better else -1
    gain = sign * pair.difference
    ends = sorted((sign * pair.low, sign * pair.high))
    name = mean_label(pair.metric) if pair.task == MACRO else LABELS[pair.metric]
    way = 1 if gain >= 0 else -1
    shown = sorted(way * end for end in ends)
    said = (
        f"From {sizes[0]:,} to {sizes[1]:,} training rows {name} "
        f"{'fell' if lower_is_better == (gain >= 0) else 'rose'} by {abs(gain):.3f} (95 % "
        f"{shown[0]:.3f} to {shown[1]:.3f}) on the same test molecules"
    )
    if ends[0] > 0:
        return f"{said}: more data of this kind would probably still help."
    if ends[1] < 0:
        return f"{said}: it got worse, so that more of the same will hardly help."
    return f"{said}: no gain that can be told from chance. More data of this kind may not help."
