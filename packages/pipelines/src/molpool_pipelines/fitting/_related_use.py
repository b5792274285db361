"""What related assays bring each task, on rows that no model has seen, and which of them stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal, get_args

import numpy as np
from molpool_common import FloatArray, TaskType, listed

from molpool_pipelines.fitting._related import RelatedTable
from molpool_pipelines.models import WORDS, MemberName

Use = Literal["features", "heads", "pretraining"]

LEAST_GAIN = 0.01
"""Error, as a share of that of the mean, below which no difference is believed: what another seed
of a network changes."""

_ERRORS = 2.0
"""Standard errors that a difference must exceed."""


@dataclass(frozen=True)
class Plan:
    """One model of a run, and what it takes beside features and labels of the tasks.

    Parameters
    ----------
    name : str
        Kind of model.
    surrogates : tuple of int
        Related tables whose predictions it takes.
    heads : tuple of int
        Related tables that it learns too.
    pretraining : tuple of int
        Related tables that it learns first.
    """

    name: MemberName
    surrogates: tuple[int, ...] = ()
    heads: tuple[int, ...] = ()
    pretraining: tuple[int, ...] = ()

    def words(self, tables: Sequence[RelatedTable]) -> str:
        """Return what pages call it."""
        parts: list[str] = [self.name]
        if self.surrogates:
            parts.append(f"with {listed([tables[i].name for i in self.surrogates])}")
        if self.heads:
            parts.append(f"learning {listed([tables[i].name for i in self.heads])} too")
        if self.pretraining:
            parts.append(f"learning {listed([tables[i].name for i in self.pretraining])} first")
        return " ".join(parts)


@dataclass(frozen=True)
class Verdict:
    """What a related table brings a task.

    Parameters
    ----------
    table, use, task, model : str
        Which table, used how, for which task, as which model has it.
    n : int
        Rows out of fold.
    difference, error : float or None
        Error with the table less that without, as a share of that of the task's mean (of classes:
        squared error of probabilities), and its standard error over rows; None where no row tells.
    verdict : {"helps", "no difference", "hurts"}
        No difference: within two standard errors, or less than another seed makes.
    """

    table: str
    use: Use
    task: str
    model: MemberName
    n: int
    difference: float | None
    error: float | None
    verdict: Literal["helps", "no difference", "hurts"]


def judged(
    table: str,
    use: Use,
    model: MemberName,
    tasks: Sequence[str],
    kinds: Sequence[TaskType],
    y: FloatArray,
    without: FloatArray,
    having: FloatArray,
) -> list[Verdict]:
    """Return a verdict per task.

    Parameters
    ----------
    table, use, model : str
        See `Verdict`.
    tasks, kinds : sequence of str, length T
        Names of the tasks and what they are.
    y : ndarray [N, T]
        Exact labels.
    without, having : ndarray [N, T]
        Predictions of rows out of fold, by the same folds.
    """
    found = []
    for t, task in enumerate(tasks):
        power = 1 if kinds[t] == "regression" else 2
        both = np.isfinite(without[:, t]) & np.isfinite(having[:, t])
        rows = np.flatnonzero(np.isfinite(y[:, t]) & both)
        difference = error = None
        word: Literal["helps", "no difference", "hurts"] = "no difference"
        truth = y[rows, t]
        scale = float(np.mean(np.abs(truth - truth.mean()) ** power)) if len(rows) > 1 else 0.0
        if scale > 0:
            off = [np.abs(one[rows, t] - truth) ** power / scale for one in (having, without)]
            change = off[0] - off[1]
            difference = float(change.mean())
            error = float(change.std(ddof=1) / len(rows) ** 0.5)
            if abs(difference) > max(_ERRORS * error, LEAST_GAIN):
                word = "helps" if difference < 0 else "hurts"
        found.append(Verdict(table, use, task, model, len(rows), difference, error, word))
    return found


def sentences(verdicts: Sequence[Verdict]) -> list[str]:
    """Return a sentence for each table and use."""
    said = []
    for table, use in dict.fromkeys((v.table, v.use) for v in verdicts):
        own = [v for v in verdicts if (v.table, v.use) == (table, use)]
        parts = []
        for word in ("helps", "hurts", "no difference"):
            names = [_told(v) for v in own if v.verdict == word]
            if names:
                parts.append(f"{word}: {listed(names, 6)}")
        said.append(
            f"{table} as {use} of the {WORDS[own[0].model]}, change of RAE out of fold "
            f"(standard error): {'; '.join(parts)}."
        )
    return said


def _told(verdict: Verdict) -> str:
    if verdict.difference is None or verdict.error is None:
        return f"{verdict.task} (no rows)"
    return f"{verdict.task} {verdict.difference:+.3f} ({verdict.error:.3f})"


@dataclass
class Candidates:
    """Models that were tried on rows out of fold, with what they said.

    Parameters
    ----------
    plans : list of Plan, length M
        The models.
    mean, sd : list of ndarray [N, T], length M
        Predictions out of fold.
    """

    plans: list[Plan] = field(default_factory=list)
    mean: list[FloatArray] = field(default_factory=list)
    sd: list[FloatArray] = field(default_factory=list)

    def add(self, plan: Plan, mean: FloatArray, sd: FloatArray) -> None:
        """Take a model in."""
        self.plans.append(plan)
        self.mean.append(mean)
        self.sd.append(sd)

    def replace(self, plan: Plan, mean: FloatArray, sd: FloatArray) -> None:
        """Put what a model that has grown says in the place of what it said."""
        at = self.plans.index(plan)
        self.mean[at], self.sd[at] = mean, sd

    def of(self, plan: Plan) -> int | None:
        """Return the place of a model, None where it was not tried."""
        return self.plans.index(plan) if plan in self.plans else None


Try = Callable[[Plan], tuple[FloatArray, FloatArray] | None]
"""Predictions of a model out of fold; None where time does not allow it."""


def compare_uses(
    found: Candidates,
    tables: Sequence[RelatedTable],
    uses: Sequence[Use],
    try_out: Try,
    tasks: Sequence[str],
    kinds: Sequence[TaskType],
    y: FloatArray,
) -> tuple[list[Verdict], list[str]]:
    """Hold the first network (else the first model) with each table against itself without.

    Returns
    -------
    verdicts : list of Verdict
    notes : list of str
        What the time budget left out.
    """
    names = [plan.name for plan in found.plans]
    judge: MemberName = "mlp" if "mlp" in names else names[0]
    plain = found.mean[names.index(judge)]
    verdicts, notes = [], []
    for i, table in enumerate(tables):
        for use in uses:
            if use != "features" and judge != "mlp":
                continue
            (plan,) = plans_of([judge], use, {use: (i,)})
            said = try_out(plan)
            if said is None:
                notes.append(f"{table.name} as {use}: not tried, for want of time.")
                continue
            found.add(plan, *said)
            verdicts += judged(table.name, use, judge, tasks, kinds, y, plain, said[0])
    return verdicts, notes


def best_uses(
    verdicts: Sequence[Verdict], tables: Sequence[RelatedTable], tasks: Sequence[str]
) -> tuple[list[Use | None], dict[Use, tuple[int, ...]]]:
    """Return how each task uses related tables, None for not at all, and which tables.

    A table is used for tasks that it helps. Of two uses that help, the one that helps more.
    """
    places = {table.name: i for i, table in enumerate(tables)}
    gains = [v for v in verdicts if v.verdict == "helps" and v.difference is not None]
    of_task: list[Use | None] = []
    for task in tasks:
        own = [v for v in gains if v.task == task]
        of_task.append(min(own, key=lambda v: v.difference or 0.0).use if own else None)
    chosen: dict[Use, tuple[int, ...]] = {}
    for use in get_args(Use):
        served = {task for task, one in zip(tasks, of_task, strict=True) if one == use}
        named = {places[v.table] for v in gains if v.use == use and v.task in served}
        if named:
            chosen[use] = tuple(sorted(named))
    return of_task, chosen


def plans_of(
    names: Sequence[MemberName], use: Use | None, tables: Mapping[Use, tuple[int, ...]]
) -> list[Plan]:
    """Return the models among which the weights of a task are shared."""
    if use == "features":
        return [Plan(name, tables[use]) for name in names]
    if use is None:
        return [Plan(name) for name in names]
    # Only a network learns related tables itself; the others stay as they are.
    own = Plan("mlp", heads=tables[use]) if use == "heads" else Plan("mlp", pretraining=tables[use])
    return [own if name == "mlp" else Plan(name) for name in names]


def rows_of_verdicts(verdicts: Sequence[Verdict]) -> list[dict[str, object]]:
    """Return the verdicts as rows of a table."""
    return [asdict(verdict) for verdict in verdicts]
