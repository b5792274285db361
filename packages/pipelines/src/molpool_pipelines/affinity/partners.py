"""For each task the one it agrees with most, and whether that lead is clear."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from task_affinity import AffinityResult

from molpool_pipelines.affinity.pairs import CLEAR


@dataclass(frozen=True)
class Partner:
    """The two tasks of highest affinity to one.

    Parameters
    ----------
    task, best : str
        The task, and the one it receives most from.
    affinity, error : float
        What it receives, and its standard error.
    second : str or None
        The next one; None of two tasks.
    lead : float or None
        How much less the task receives from it.
    reading : str or None
        ``clear`` where the lead is more than `CLEAR` standard errors of the difference, the two
        taken as independent; ``unclear`` otherwise; None without a second.
    """

    task: str
    best: str
    affinity: float
    error: float
    second: str | None
    lead: float | None
    reading: str | None


def best_partners(result: AffinityResult) -> list[Partner]:
    """Return the best partner of each task that has one."""
    names = result.task_names
    known = np.where(np.eye(len(names), dtype=bool), np.nan, result.matrix)
    partners = []
    for t, name in enumerate(names):
        order = [int(j) for j in np.argsort(-known[t]) if np.isfinite(known[t, j])]
        if not order:
            continue
        best, *rest = order
        value, error = float(known[t, best]), float(result.standard_errors[t, best])
        second, lead, reading = _second(result, t, best, rest[0]) if rest else (None, None, None)
        partners.append(Partner(name, names[best], value, error, second, lead, reading))
    return partners


def _second(result: AffinityResult, task: int, best: int, second: int) -> tuple[str, float, str]:
    lead = float(result.matrix[task, best] - result.matrix[task, second])
    error = np.hypot(result.standard_errors[task, best], result.standard_errors[task, second])
    return result.task_names[second], lead, "clear" if lead > CLEAR * error else "unclear"
