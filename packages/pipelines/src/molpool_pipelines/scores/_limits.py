"""Whether the stated probability that an assay reports its floor or ceiling is as often right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from molpool_common import FloatArray, SignArray

from molpool_pipelines.scores._calibration import ClassScores, score_classes
from molpool_pipelines.scores._predictions import Predictions

Side = Literal["floor", "ceiling"]
_SIDES: tuple[Side, ...] = ("floor", "ceiling")


@dataclass(frozen=True)
class LimitScores:
    """One limit of one task, as two classes: labels that stand there, and the others.

    Parameters
    ----------
    task : str
    side : {"floor", "ceiling"}
    limit : float
        Where it is.
    classes : ClassScores
        Of the probabilities.
    """

    task: str
    side: Side
    limit: float
    classes: ClassScores

    @property
    def share(self) -> float:
        """Of the labels, how many stand there."""
        return self.classes.positives / self.classes.n

    @property
    def mean(self) -> float:
        """Mean probability."""
        return sum(p * n for p, _, n in self.classes.bins) / self.classes.n

    def numbers(self) -> dict[str, float | None]:
        """Return the single numbers by name."""
        said = {"share": self.share, "mean": self.mean, "brier": self.classes.brier}
        return {f"at_{self.side}_{name}": value for name, value in said.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        bins = [{"probability": p, "share": s, "n": n} for p, s, n in self.classes.bins]
        own = {"task": self.task, "side": self.side, "limit": self.limit, "n": self.classes.n}
        brier = self.classes.brier
        return {**own, "share": self.share, "mean": self.mean, "brier": brier, "calibration": bins}


def score_limits(found: Predictions) -> tuple[LimitScores, ...]:
    """Score the probabilities of standing at a limit, of tasks whose limit is known.

    It is what the file of the predictions says, or else what the labels show.
    """
    if found.at_limits is None:
        return ()
    limits, (labels, signs) = _limits(found), found.with_bounds
    scored: list[LimitScores] = []
    for t, task in enumerate(found.tasks):
        for place, side in enumerate(_SIDES):
            limit = float(limits[t, place])
            if np.isfinite(limit):
                sign = 2 * place - 1
                # Labels of a model on a scale of its own are there and back by a rounding.
                within = limit - sign * 1e-9 * abs(limit)
                stands = stands_at(labels[:, t], signs[:, t], sign, within)
                of = score_classes(stands, found.at_limits[:, t, place])
                scored += [] if of is None else [LimitScores(task, side, limit, of)]
    return tuple(scored)


def _limits(found: Predictions) -> FloatArray:
    """Return floors and ceilings [T, 2] of tasks with probabilities of them, NaN where unknown."""
    assert found.at_limits is not None
    said = np.isfinite(found.at_limits).any(axis=0)
    if found.limits is not None:
        known = found.limits
    else:
        from multitask_models import Labels, find_limits

        values, signs = found.with_bounds
        known = find_limits(Labels.checked(values, signs, None, found.task_types)).bounds
    return np.where(said, known, np.nan)


def stands_at(y: FloatArray, signs: SignArray, side: int, limit: float) -> FloatArray:
    """Return whether labels [N] stand at a limit; NaN where there is none, or a bound leaves it.

    Parameters
    ----------
    y : ndarray [N]
        Labels, NaN for none.
    signs : ndarray of int8 [N]
        -1 for labels that are upper bounds, +1 for lower ones.
    side : int
        -1 for a floor, 1 for a ceiling.
    limit : float
        Where it is.
    """
    beyond = side * y >= side * limit
    # Of a bound away from the limit the truth is on this side of it, if the bound is.
    known = np.isfinite(y) & np.where(signs == side, beyond, (signs == 0) | ~beyond)
    return np.where(known, beyond, np.nan)
