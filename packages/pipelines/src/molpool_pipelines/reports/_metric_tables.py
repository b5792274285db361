"""Tables of metrics on a run's page: with intervals, further ones, decisions and bounds."""

from __future__ import annotations

from molpool_common import (
    IN_UNITS,
    LABELS,
    METRICS,
    Cell,
    MetricTable,
    Part,
    Table,
    task_metrics,
)

from molpool_pipelines.reports._read_run import SPLITS, ReadRun
from molpool_pipelines.scores import (
    Predictions,
    Resampling,
    bounds_by_task,
    score_classes,
    score_limits,
    score_tasks,
)

WITH_INTERVAL = ("mae", "ma_rae", "rmse", "r2", "spearman", "roc_auc", "average_precision")
"""Metrics of the first table, in its order; the others follow without intervals."""
LEAST = 10
"""Labels from which a task has intervals: resamples of fewer say too little."""


def metric_tables(run: ReadRun, how: Resampling) -> list[Part]:
    """Return the metrics of each split, the one that counts first and with intervals."""
    # Intervals of the reported split alone: those of training rows would say nothing of new
    # molecules.
    tables = [
        metric_table(run, split, rows, how if split == run.reported else None)
        for split, rows in run.splits.items()
    ]
    rows = run.splits[run.reported]
    # Those of other rows last: they say how well it was fitted, not how well it predicts.
    return [
        tables[0],
        *_further(rows),
        *_classes(rows),
        *_bounds(rows),
        *limit_tables(rows),
        *tables[1:],
    ]


FURTHER = {
    "regression": "Within: share of predictions that are at most so far off, in log10 units of "
    "tasks that are learnt on that scale (factors of 2, 3 and 10), else in the unit of the task.",
    "classification": "EF: how many times more actives are among the first 1, 5 or 10 % of the "
    "ranking than among all. BEDROC (α 20) and LogAUC weigh the top of the ranking; BEDROC is at "
    "most 1, LogAUC 0 for a random order and at most 0.855.",
}
"""What tables say of metrics that need a word, by kind of task."""


def _further(rows: Predictions) -> list[Part]:
    """Return the metrics that have no room beside their intervals, a table per kind of task."""
    scores = _table_of(rows).tasks
    found: list[Part] = []
    for kind, caption in FURTHER.items():
        names = [n for n in LABELS if METRICS[n].task_type == kind and n not in WITH_INTERVAL]
        cells: list[list[Cell]] = [
            [of.task, *(of.values.get(n) for n in names)] for of in scores if of.task_type == kind
        ]
        if cells:
            found.append(Table(["task", *(LABELS[n] for n in names)], cells, caption=caption))
    return found


def _classes(rows: Predictions) -> list[Part]:
    """Return how decisions and probabilities of classes do."""
    cells: list[list[Cell]] = []
    for t, task in enumerate(rows.tasks):
        if rows.task_types[t] != "classification":
            continue
        calls = None if rows.decisions is None else rows.decisions[:, t]
        found = score_classes(rows.y_true[:, t], rows.y_pred[:, t], calls)
        if found is not None:
            own = found.numbers()
            names = ("mcc", "balanced_accuracy", "precision", "recall", "brier", "ece")
            cells.append([task, found.positives, found.n, *(own[name] for name in names)])
    if not cells:
        return []
    heads = ["task", "positives", "labels", "MCC", "balanced accuracy", "precision", "recall"]
    caption = "Decisions, and how far probabilities are from shares: Brier score and mean "
    caption += "calibration error (ECE), both 0 at best."
    return [Table([*heads, "Brier", "ECE"], cells, caption=caption)]


def _bounds(rows: Predictions) -> list[Part]:
    """Return the scores that know of bounds, of tasks that have any."""
    cells: list[list[Cell]] = [
        [task, of.n, of.n_bounds, of.mae, 100 * of.contradicted, of.concordance]
        for task, of in bounds_by_task(rows).items()
    ]
    heads = ["task", "labels", "bounds", "MAE with bounds", "contradicted, %", "concordance"]
    caption = (
        "Labels such as > 100: other metrics leave them out. Here one counts by how far the "
        "prediction is on its wrong side. Concordance: share of pairs in the right order, 0.5 is "
        "chance."
    )
    return [Table(heads, cells, caption=caption)] if cells else []


def limit_tables(rows: Predictions) -> list[Part]:
    """Return how right the probabilities are that an assay reports its floor or ceiling."""
    cells: list[list[Cell]] = []
    bins: list[list[Cell]] = []
    for of in score_limits(rows):
        own: list[Cell] = [of.task, f"{of.side} {of.limit:.4g}"]
        base = of.share * (1 - of.share)
        cells.append([*own, of.classes.n, 100 * of.share, 100 * of.mean, of.classes.brier, base])
        bins += [[*own, n, 100 * share, 100 * p] for p, share, n in of.classes.bins]
    if not cells:
        return []
    heads: list[str] = ["task", "limit", "labels", "stand there, %", "mean probability, %"]
    caption = (
        "Probability that the assay reports its limit. Brier: its mean squared error, 0 at best; "
        "beside it that of saying the same share for every molecule."
    )
    by_tenths = "The same by tenths of the probability."
    return [
        Table([*heads, "Brier", "with the share"], cells, caption=caption),
        Table(heads, bins, caption=by_tenths),
    ]


def _table_of(rows: Predictions) -> MetricTable:
    return task_metrics(rows.y_true, rows.y_pred, rows.tasks, rows.task_types, rows.scales)


def metric_table(run: ReadRun, split: str, found: Predictions, how: Resampling | None) -> Table:
    """Return a row per task, the mean over tasks last."""
    scores, macro = _table_of(found), _table_of(found).macro()
    names = [m for m in WITH_INTERVAL if METRICS[m].task_type in found.task_types]
    scored = () if how is None else score_tasks(found, how, names=names)
    ends = {(s.task, s.metric): s.interval for s in scored if s.n >= LEAST}
    classes = "classification" in found.task_types
    units = run.units
    heads = ["task", *(["unit"] if units else []), "labels", *(["positives"] if classes else [])]
    for name in names:
        heads += [LABELS[name], *(["from", "to"] if how else [])]
    rows: list[list[Cell]] = []
    for t, of in enumerate(scores.tasks):
        row: list[Cell] = [of.task, *([units.get(of.task)] if units else []), of.n]
        if classes:
            is_class = of.task_type == "classification"
            row.append(int((found.y_true[:, t] == 1).sum()) if is_class else None)
        for name in names:
            row.append(of.values.get(name))
            if how:
                interval = ends.get((of.task, name))
                row += [None, None] if interval is None else [interval.low, interval.high]
        rows.append(row)
    mean: list[Cell] = ["mean over tasks", *([None] if units else [])]
    mean += [sum(of.n for of in scores.tasks)]
    mean += [None] if classes else []
    for name in names:
        mean.append(macro[name].mean if name in macro and name not in IN_UNITS else None)
        mean += [None, None] if how else []
    said = (
        f" From, to: {100 * how.level:g} % interval, percentile bootstrap over the "
        f"{run.found.noun}s, "
        f"{how.n:,} resamples; none below {LEAST} labels."
        if how
        else ""
    )
    caption = (
        f"{SPLITS[split]} rows{_of_whom(run, split)}. A dash: undefined there. RAE is MAE over "
        "the mean absolute deviation of the evaluated values (1 is no better than their mean); its "
        "mean over tasks is the MA-RAE."
    )
    return Table(heads, [*rows, mean], caption=caption + said, totals=1)


def _of_whom(run: ReadRun, split: str) -> str:
    """Return what a caption says of predictions that are not those of one model."""
    if run.found.fold is not None and split == "val":
        return " (all that are not tested), each predicted by the members that did not see it"
    return "" if run.found.sd is None else ", predicted by the mean of all members"
