"""From the rows of several models to values, differences and verdicts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from molpool_common import LABELS, METRICS, InputError, Metric, listed

from molpool_pipelines.runs import MACRO
from molpool_pipelines.scores._config import CompareConfig
from molpool_pipelines.scores.comparison._comparison import (
    NOT_SIGNIFICANT,
    Comparison,
    Design,
    Pair,
)
from molpool_pipelines.scores.comparison._disagreements import largest_disagreements
from molpool_pipelines.scores.comparison._folds import FoldFindings, compare_on_folds
from molpool_pipelines.scores.comparison._paired import PairedRows
from molpool_pipelines.scores.comparison._test_set import Settings, compare_on_test_set


def compare_models(
    data: PairedRows, config: CompareConfig, notes: Sequence[str] = ()
) -> Comparison:
    """Compare models on rows that are paired already.

    Raises
    ------
    InputError
        If no metric is of any task's kind, or folds are asked for and rows have none.
    """
    metrics = _metrics(data, config)
    settings = Settings(
        config.level,
        config.n_bootstrap,
        config.seed,
        config.practical,
        config.guard,
        config.min_labels,
    )
    design = _design(data, config)
    folds = None
    if design == "folds":
        folds = compare_on_folds(data, metrics, settings)
        values, pairs, checks = folds.values, folds.pairs, folds.checks
    else:
        values, pairs = compare_on_test_set(data, metrics, settings)
        checks = []
    lines = [*notes, *_rows_left_out(data), *_undefined(pairs)]
    lines += _fold_notes(folds) if folds else _resample_notes(pairs, config)
    return Comparison(
        models=data.models,
        tasks=data.tasks,
        metrics=tuple(m.name for m in metrics),
        design=design,
        level=config.level,
        n_rows=len(data),
        n_folds=len(data.cells) if design == "folds" else 0,
        n_resamples=config.n_bootstrap if design == "test_set" else 0,
        guard=config.guard,
        practical=config.practical,
        values=tuple(values),
        pairs=tuple(pairs),
        checks=tuple(checks),
        notes=tuple(lines),
        disagreements=tuple(largest_disagreements(data)),
    )


def _metrics(data: PairedRows, config: CompareConfig) -> list[Metric]:
    """Return the metrics that any task has, each once, in the order asked for."""
    asked = [METRICS[name] for name in dict.fromkeys(config.metrics)]
    had = [m for m in asked if m.task_type in data.task_types]
    if not had:
        raise InputError(
            "metrics",
            expected=f"a metric of {listed(sorted(set(data.task_types)))} tasks",
            found=listed([m.name for m in asked]) or "none",
        )
    return had


def _design(data: PairedRows, config: CompareConfig) -> Design:
    # -1: no fold.
    without = [key for key in data.keys if key[2] < 0]
    some = len(without) < len(data)
    if without and some and config.design != "test_set":
        raise InputError(
            "fold",
            expected="a fold in every row",
            found=f"none in {len(without)} of {len(data)} rows, ids "
            f"{listed([repr(key[0]) for key in without], limit=5)}",
            hint="--design test_set compares them as one test set.",
        )
    if config.design == "folds" and (without or len(data.cells) < 2):
        found = "none" if without else "1"
        raise InputError("design", expected="two folds or more, in column fold", found=found)
    # One fold is a test set; a test over folds needs a variance between them.
    if config.design == "folds" or (config.design == "auto" and some and len(data.cells) > 1):
        return "folds"
    # Resampling rows of one molecule as if independent would make intervals too narrow.
    if len({key[0] for key in data.keys}) < len(data):
        raise InputError(
            "design",
            expected="each molecule once in a test set",
            found="molecules in several repeats or folds",
            hint="--design folds compares over the folds.",
        )
    return "test_set"


def _rows_left_out(data: PairedRows) -> list[str]:
    if not data.n_left_out:
        return []
    return [f"{data.n_left_out} rows left out: not all models predict them."]


def _undefined(pairs: Sequence[Pair]) -> list[str]:
    """Say which metrics of which tasks are left out, and why."""
    found: dict[tuple[str, str], list[str]] = {}
    for p in pairs:
        if p.reason and p.p_adjusted is None:
            names = found.setdefault((p.task, p.reason), [])
            if LABELS[p.metric] not in names:
                names.append(LABELS[p.metric])
    return [
        f"{task}, {listed(names)}: left out, {reason}." for (task, reason), names in found.items()
    ]


def _fold_notes(found: FoldFindings) -> list[str]:
    notes = [
        f"{one.task}, {one.metric}: {one.dropped} of {one.dropped + len(one.scores)} folds left "
        f"out, {one.reason}."
        for one in found.scores
        if one.dropped and len(one.scores) >= 2
    ]
    alone = sum(p.reason is not None and p.p_guard is not None for p in found.pairs)
    if alone:
        notes.append(
            f"{alone} differences are significant by Tukey's test and not by the corrected "
            f"resampled t-test: they count as {NOT_SIGNIFICANT!r}."
        )
    doubtful = [c for c in found.checks if c.doubts]
    if doubtful:
        notes.append(
            f"Assumptions of Tukey's test are in doubt in {len(doubtful)} of {len(found.checks)} "
            "comparisons; see Assumptions."
        )
    return notes


def _resample_notes(pairs: Sequence[Pair], config: CompareConfig) -> list[str]:
    notes = []
    families = {(p.task, p.metric) for p in pairs if p.p is not None}
    most = max((sum((p.task, p.metric) == f for p in pairs) for f in families), default=0)
    # The smallest p that `difference_test` can return, times the largest factor of Holm's
    # procedure.
    least = 2 / (config.n_bootstrap + 1) * most
    if least > 1 - config.level:
        needed = int(np.ceil(2 * most / (1 - config.level)))
        notes.append(
            f"{config.n_bootstrap} resamples are too few for {most} pairs: no difference can be "
            f"significant (smallest adjusted p {least:.2g}). --n-bootstrap {needed} or more."
        )
    dropped: dict[str, int] = {}
    for p in pairs:
        if p.dropped and p.task != MACRO:
            dropped[p.task] = max(p.dropped, dropped.get(p.task, 0))
    notes += [
        f"{task}: a metric is undefined on {n} of {config.n_bootstrap} resamples, which are left "
        "out of its interval."
        for task, n in dropped.items()
    ]
    return notes
