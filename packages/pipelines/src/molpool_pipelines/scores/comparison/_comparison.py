"""What a comparison found: values, a table, and JSON that is read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import polars as pl
from molpool_common import METRICS, OUTPUT_FORMATS, InputError, checked
from pydantic import TypeAdapter, ValidationError

from molpool_pipelines.runs import MACRO
from molpool_pipelines.scores.comparison._disagreements import Disagreement

KIND = "molpool comparison"
NOT_SIGNIFICANT = "not significant"
INCONCLUSIVE: Literal["inconclusive"] = "inconclusive"
_EARLIER = "cannot tell"

Design = Literal["test_set", "folds", "values"]
Practical = Literal["relevant", "negligible", "inconclusive"]


@dataclass(frozen=True)
class Value:
    """A metric of one model on one task.

    Parameters
    ----------
    task, metric, model : str
        Which; the task may be `MACRO`.
    value : float or None
        On all rows, or the mean over folds; None where undefined.
    low, high : float or None
        Its interval: over molecules, or simultaneous over folds.
    n : int
        Labels, or folds.
    """

    task: str
    metric: str
    model: str
    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Pair:
    """Two models on one task by one metric.

    Parameters
    ----------
    task, metric, a, b : str
        Which; the task may be `MACRO`.
    difference : float or None
        Value of `a` less that of `b`.
    low, high : float or None
        Interval of the difference: of this pair alone on a test set, simultaneous on folds.
    p : float or None
        Of this pair alone.
    p_adjusted : float or None
        Holm over the pairs of this task and metric on a test set; Tukey on folds.
    p_guard : float or None
        On folds, of the corrected resampled t-test, Holm over the pairs.
    n : int
        Labels, or folds.
    dropped : int
        Resamples, or folds, on which the metric was undefined.
    winner : str
        `a`, `b` or "not significant".
    practical : {"relevant", "negligible", "inconclusive"} or None
        Where the interval lies to the threshold that was given; None without one.
    reason : str or None
        Why there is no verdict, where that is not for want of a difference.
    """

    task: str
    metric: str
    a: str
    b: str
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    p_guard: float | None = None
    n: int = 0
    dropped: int = 0
    winner: str = NOT_SIGNIFICANT
    practical: Practical | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Checks:
    """Assumptions of Tukey's test on one task and metric."""

    task: str
    metric: str
    normality_p: float | None
    variance_ratio: float | None
    epsilon: float | None
    friedman_p: float | None
    doubts: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """All that a comparison found.

    Parameters
    ----------
    models, tasks, metrics : tuple of str
        Compared.
    design : {"test_set", "folds", "values"}
        Whether over the molecules of one test set, over repeated folds, or of values alone.
    level : float
        Of intervals; 1 - level is the error rate of a family.
    n_rows, n_folds, n_resamples : int
        What it rests on; 0 where that is not of the design.
    guard : bool
        Whether a win on folds needs the corrected t-test too.
    practical : mapping of str to float
        Thresholds by metric.
    values, pairs, checks : tuple
        By task and metric.
    notes : tuple of str
        What a reader must know.
    disagreements : tuple of Disagreement
        Labels on which the models are furthest apart.
    """

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    metrics: tuple[str, ...]
    design: Design
    level: float
    n_rows: int
    n_folds: int
    n_resamples: int
    guard: bool
    practical: Mapping[str, float]
    values: tuple[Value, ...]
    pairs: tuple[Pair, ...]
    checks: tuple[Checks, ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)
    disagreements: tuple[Disagreement, ...] = ()

    @property
    def places(self) -> list[tuple[str, str]]:
        """Task and metric of all comparisons, in order."""
        return list(dict.fromkeys((v.task, v.metric) for v in self.values))

    def pairs_of(self, task: str, metric: str) -> list[Pair]:
        """Return the pairs of one task and metric."""
        return [p for p in self.pairs if (p.task, p.metric) == (task, metric)]

    def values_of(self, task: str, metric: str) -> list[Value]:
        """Return the values of one task and metric, in the order of models."""
        return [v for v in self.values if (v.task, v.metric) == (task, metric)]

    def record(self, model: str, metric: str) -> tuple[int, int, int]:
        """Return wins, losses and open comparisons of a model over tasks and opponents."""
        own = [
            # The mean over tasks is not another task: counted, it would score each win twice.
            p
            for p in self.pairs
            if p.metric == metric and model in (p.a, p.b) and p.task != MACRO
        ]
        wins = sum(p.winner == model for p in own)
        open_ = sum(p.winner == NOT_SIGNIFICANT for p in own)
        return wins, len(own) - wins - open_, open_

    def to_json(self) -> str:
        """Return the text that `load_comparison` reads back."""
        return json.dumps({"kind": KIND, **asdict(self)}, indent=2, allow_nan=False) + "\n"

    def to_frame(self) -> pl.DataFrame:
        """Return a row per pair, task and metric, with both values and the verdict in words."""
        value = {(v.task, v.metric, v.model): v.value for v in self.values}
        rows = [
            {
                "task": p.task,
                "metric": p.metric,
                "better": "higher" if METRICS[p.metric].higher_is_better else "lower",
                "model_a": p.a,
                "model_b": p.b,
                "value_a": value.get((p.task, p.metric, p.a)),
                "value_b": value.get((p.task, p.metric, p.b)),
                "difference": p.difference,
                "low": p.low,
                "high": p.high,
                "p": p.p,
                "p_adjusted": p.p_adjusted,
                "p_guard": p.p_guard,
                "n": p.n,
                "dropped": p.dropped,
                "verdict": verdict(p),
                "practical": p.practical,
                "reason": p.reason,
            }
            for p in self.pairs
        ]
        text = ("task", "metric", "better", "model_a", "model_b", "verdict", "practical", "reason")
        schema: dict[str, Any] = {
            name: pl.String
            if name in text
            else pl.Int64
            if name in ("n", "dropped")
            else pl.Float64
            for name in (rows[0] if rows else ())
        }
        return pl.DataFrame(rows, schema=schema, orient="row")


def verdict(pair: Pair) -> str:
    """Return who wins, in words."""
    return NOT_SIGNIFICANT if pair.winner == NOT_SIGNIFICANT else f"{pair.winner} wins"


def winner_of(metric: str, a: str, b: str, difference: float, significant: bool) -> str:
    """Return the winner: the better of the two where the difference is significant."""
    # A significant difference of exactly 0 happens where all resamples are equal.
    if not significant or difference == 0:
        return NOT_SIGNIFICANT
    return a if (difference > 0) == METRICS[metric].higher_is_better else b


def practical_verdict(low: float, high: float, threshold: float | None) -> Practical | None:
    """Return where an interval lies to a threshold of practical significance."""
    if threshold is None:
        return None
    # The whole interval has to lie on one side: equivalence is tested, not assumed from a p-value
    # (two one-sided tests).
    if low > threshold or high < -threshold:
        return "relevant"
    return "negligible" if -threshold <= low and high <= threshold else INCONCLUSIVE


def load_comparison(path: str | Path) -> Comparison:
    """Read a comparison from its JSON, from the table beside it, or from the folder it is in.

    Raises
    ------
    InputError
        If there is none, or several.
    """
    file = _located(Path(path))
    try:
        stored = _stored(file)
    except OSError as error:
        raise InputError("comparison", expected="a file", found=str(error)) from None
    if stored is None:
        raise InputError(
            "comparison", expected="the JSON of molpool-evaluate compare", found=repr(str(file))
        )
    try:
        return TypeAdapter(Comparison).validate_python(stored)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            "comparison",
            expected="the JSON of molpool-evaluate compare, whole",
            found=f"{'.'.join(map(str, first['loc']))}: {first['msg']}",
            where=str(file),
        ) from None


def _located(path: Path) -> Path:
    if not path.is_dir():
        # Users know the table that they asked for by `output`.
        return path.with_suffix(".json") if path.suffix in OUTPUT_FORMATS else path
    found = [f for f in sorted(path.glob("*.json")) if _stored(f) is not None]
    if len(found) == 1:
        return found[0]
    raise InputError(
        "comparison",
        expected="one comparison in the folder, or the name of its JSON",
        found=", ".join(f.name for f in found) or "none",
        where=str(path),
    )


def _stored(file: Path) -> dict[str, Any] | None:
    checked(file)
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None
    # A run folder holds other JSON too; `kind` is what marks a comparison.
    if not isinstance(stored, dict) or stored.pop("kind", None) != KIND:
        return None
    return _in_words_of_today(stored)


def _in_words_of_today(stored: dict[str, Any]) -> dict[str, Any]:
    """Return a comparison whose open verdicts are called as today; earlier ones "cannot tell"."""
    pairs = stored.get("pairs")
    if not isinstance(pairs, list):
        return stored
    today = {"winner": NOT_SIGNIFICANT, "practical": INCONCLUSIVE}
    renamed = [
        {k: today[k] if k in today and v == _EARLIER else v for k, v in pair.items()}
        if isinstance(pair, dict)
        else pair
        for pair in pairs
    ]
    return stored | {"pairs": renamed}
