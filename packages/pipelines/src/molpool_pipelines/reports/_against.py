"""What a model is held against: simple models, the noise of the assay, itself with fewer data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from molpool_common import LABELS, OKABE_ITO, Cell, Figure, Lines, Part, Section, Table, Text

from molpool_pipelines.reports._metric_tables import LEAST
from molpool_pipelines.reports._panels import grid
from molpool_pipelines.runs import LearningPoint, MemberMetrics, SplitMetrics
from molpool_pipelines.scores import Ceiling

_METRIC = {"regression": "ma_rae", "classification": "roc_auc"}
_NAMES = {
    "mean": "task mean",
    "neighbours": "neighbours",
    "lightgbm": "LightGBM",
    "forest": "random forest",
}


def simple_models(own: SplitMetrics, ceilings: Mapping[str, Ceiling]) -> list[Section]:
    """Return the run's model beside simple ones on the same rows, and what the assay allows.

    Parameters
    ----------
    own : SplitMetrics
        Of the split that counts.
    ceilings : mapping of str to Ceiling
        By task in which molecules were measured more than once.
    """
    parts: list[Part] = []
    if own.baselines is not None:
        parts.append(Lines(own.baselines.sentences))
        models = {_NAMES.get(name, name): of for name, of in own.baselines.models.items()}
        parts.append(_table(own, models, ceilings))
    elif ceilings:
        parts.append(_table(own, {}, ceilings))
    if ceilings:
        parts.append(Lines([_words(task, of) for task, of in ceilings.items()]))
    return [Section("Against simple models", parts)] if parts else []


def _table(
    own: SplitMetrics, models: Mapping[str, MemberMetrics], ceilings: Mapping[str, Ceiling]
) -> Table:
    rows: list[list[Cell]] = []
    for task, of in own.tasks.items():
        metric = _METRIC[of.type]
        mine = of.metrics.get(metric)
        row: list[Cell] = [task, LABELS[metric], None if mine is None else mine.value]
        row += [None, None] if mine is None or of.n < LEAST else [mine.low, mine.high]
        row += [_value(m, task, metric) for m in models.values()]
        if ceilings:
            known = ceilings.get(task) if of.type == "regression" else None
            row.append(None if known is None else known.rae)
        rows.append(row)
    heads = ["task", "metric", "this model", "95 % from", "to", *models]
    n = 0 if own.baselines is None else own.baselines.trained_on
    caption = (
        f"Simple models on descriptors and fingerprint counts, trained on the same {n:,} rows with "
        "fixed settings. RAE: lower is better, 1 is no better than the mean of the values; ROC "
        "AUC: higher is better, 0.5 is chance."
        if models
        else "RAE: lower is better, 1 is no better than the mean of the values."
    )
    return Table([*heads, *(["noise of the assay"] if ceilings else [])], rows, caption=caption)


def _value(model: MemberMetrics, task: str, metric: str) -> float | None:
    value = model.tasks[task].metrics.get(metric) if task in model.tasks else None
    return None if value is None else value.value


def _words(task: str, of: Ceiling) -> str:
    ends = "" if of.interval is None else f" (95 % {of.interval.low:.2f} to {of.interval.high:.2f})"
    return (
        f"{task}: {of.n} molecules were measured more than once; two measurements of one differ by "
        f"{of.difference:.2f} on average. No model can be expected to have an RAE below about "
        f"{of.rae:.2f}{ends}."
    )


def more_data(points: list[LearningPoint], sentence: str | None, noun: str) -> list[Section]:
    """Return the error by the size of the training set, and whether more data would help.

    Parameters
    ----------
    points : list of LearningPoint
        Fewest rows first.
    sentence : str or None
        The answer.
    noun : str
        What a row is.
    """
    if not points:
        return []
    said: list[Part] = [Text(sentence)] if sentence else []
    return [Section("Would more data help?", [*said, _curve(points, noun)])]


def _curve(points: list[LearningPoint], noun: str) -> Figure:
    metrics = [m for m in ("ma_rae", "roc_auc") if all(m in p.macro for p in points)]
    single = next(iter(points[0].tasks))
    several = len(points[0].tasks) > 1

    def value(point: LearningPoint, metric: str) -> Any:
        return point.macro[metric] if several else point.tasks[single].metrics[metric]

    if not several:
        metrics = [m for m in ("ma_rae", "roc_auc") if m in points[0].tasks[single].metrics]

    def draw(axes: Any, i: int) -> None:
        values = [value(point, metrics[i]) for point in points]
        n = [point.n for point in points]
        at = np.array([np.nan if v.value is None else v.value for v in values])
        ends = np.array([[v.low if v.low is not None else np.nan for v in values],
                         [v.high if v.high is not None else np.nan for v in values]])  # fmt: skip
        axes.fill_between(n, *ends, color=OKABE_ITO[0], alpha=0.2, lw=0)
        axes.plot(n, at, marker="o", color=OKABE_ITO[0])
        axes.set_xscale("log")
        axes.set_xticks(n, [f"{k:,}" for k in n], fontsize=8)
        axes.minorticks_off()
        name = LABELS[metrics[i]]
        axes.set(xlabel="training rows", ylabel=f"{name}, mean over tasks" if several else name)

    rows: list[list[Cell]] = []
    for point in points:
        for metric in metrics:
            of = value(point, metric)
            rows.append([100 * point.share, point.n, LABELS[metric], of.value, of.low, of.high])
    heads = ["share, %", f"training {noun}s", "metric", "value", "95 % from", "to"]
    return Figure(
        grid(len(metrics), draw)[0],
        alt=f"Error on the same test {noun}s by the number of training {noun}s.",
        caption=f"The model trained on parts of the training {noun}s, each within the next, and "
        f"tested on the same {noun}s. Band: 95 % interval over these.",
        data=Table(heads, rows),
    )
