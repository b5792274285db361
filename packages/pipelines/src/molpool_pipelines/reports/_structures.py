"""Structures on pages: the predictions that are furthest off and nearest, cliffs, disagreements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from molpool_common import (
    Card,
    Cards,
    Cell,
    Part,
    Section,
    Text,
    draw_molecule,
    draw_pair,
    shortened,
)

from molpool_pipelines.scores import ALIKE, Cliff, Disagreement, Predictions, activity_cliffs

MOST = 6
"""Cards of a kind."""


@dataclass(frozen=True)
class _Off:
    """How far off a prediction is, in standard deviations of its task; of classes, as a share."""

    row: int
    task: int
    error: float


def structures(found: Predictions, rows: Predictions, split: str) -> list[Section]:
    """Return worst and best predictions and activity cliffs as drawn molecules.

    Parameters
    ----------
    found : Predictions
        All rows of the run.
    rows : Predictions
        Those of the split that counts.
    split : str
        Its name, or "all".
    """
    if rows.smiles is None:
        return []
    parts: list[Part] = []
    for kind in ("regression", "classification"):
        ranked = _ranked(rows, kind)
        if not ranked:
            continue
        worst = _distinct(rows, ranked[::-1])
        parts.append(Cards([_card(rows, of) for of in worst], caption=_WORST[kind]))
        best = _distinct(rows, _uncommon(rows, ranked))
        if len(ranked) > 2 * MOST and best and kind == "regression":
            parts.append(Cards([_card(rows, of) for of in best], caption=_BEST))
    cliffs = activity_cliffs(found, split, MOST)
    if cliffs:
        parts.append(Cards([_cliff_card(found, cliff) for cliff in cliffs], caption=_CLIFFS))
    return [Section("Structures", parts)] if parts else []


_WORST = {
    "regression": "Furthest from the measured value, in standard deviations of the task. Look at "
    "these first: a wrong label and a molecule unlike all others both stand here.",
    "classification": "Most surely predicted to be of the other class.",
}
_BEST = (
    "Nearest to the measured value, of molecules whose value is at least one standard deviation "
    "from the task's mean: those near to it are easy to predict."
)
_CLIFFS = (
    "Activity cliffs: pairs of molecules that look alike (Tanimoto similarity of Morgan "
    f"fingerprints above {ALIKE:g}) and measure far apart. What they share is highlighted. A model "
    "that predicts both alike does not know what makes the difference."
)


def _ranked(rows: Predictions, kind: str) -> list[_Off]:
    """Return the predictions of one kind of task, the nearest first."""
    found: list[_Off] = []
    for t, task_type in enumerate(rows.task_types):
        y, p = rows.y_true[:, t], rows.y_pred[:, t]
        there = np.flatnonzero(np.isfinite(y) & np.isfinite(p))
        if task_type != kind or len(there) < 2:
            continue
        spread = float(y[there].std()) if kind == "regression" else 1.0
        if spread:
            found += [_Off(i, t, float(abs(p[i] - y[i]) / spread)) for i in there.tolist()]
    return sorted(found, key=lambda of: (of.error, of.task, of.row))


def _distinct(rows: Predictions, ranked: Sequence[_Off]) -> list[_Off]:
    """Return the first of a ranking, each molecule once."""
    assert rows.smiles is not None
    chosen: dict[str, _Off] = {}
    for of in ranked:
        smiles = rows.smiles[of.row]
        if smiles is not None and len(chosen) < MOST:
            chosen.setdefault(str(smiles), of)
    return list(chosen.values())


def _uncommon(rows: Predictions, ranked: Sequence[_Off]) -> list[_Off]:
    """Return those of a ranking whose value is a standard deviation from the mean or more."""
    means, spreads = _moments(rows)
    return [
        of
        for of in ranked
        if abs(rows.y_true[of.row, of.task] - means[of.task]) >= spreads[of.task]
    ]


def _moments(rows: Predictions) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of the labels of each task; 0 of a task without."""
    each = [y[np.isfinite(y)] for y in rows.y_true.T]
    return (
        [float(y.mean()) if len(y) else 0.0 for y in each],
        [float(y.std()) if len(y) else 0.0 for y in each],
    )


def _card(rows: Predictions, of: _Off) -> Card:
    assert rows.smiles is not None
    task, smiles = rows.tasks[of.task], str(rows.smiles[of.row])
    facts: dict[str, Cell] = {
        "measured": float(rows.y_true[of.row, of.task]),
        "predicted": float(rows.y_pred[of.row, of.task]),
        **_interval(rows, of.row, of.task),
    }
    if rows.task_types[of.task] == "regression":
        facts["off by"] = f"{of.error:.1f} sd"
    if rows.similarity is not None and np.isfinite(rows.similarity[of.row]):
        facts["similarity to training"] = float(rows.similarity[of.row])
    name = str(rows.ids[of.row])
    drawn = draw_molecule(smiles)
    return Card(
        f"{name} · {task}",
        [drawn] if drawn else [],
        f"Structure of {name}: {shortened(smiles, 120)}.",
        facts,
    )


def _interval(rows: Predictions, row: int, task: int) -> dict[str, Cell]:
    if rows.lower is None or rows.upper is None:
        return {}
    low, high = rows.lower[row, task], rows.upper[row, task]
    if not (np.isfinite(low) and np.isfinite(high)):
        return {}
    level = "" if rows.level is None else f"{100 * rows.level:g} % "
    return {f"{level}interval": f"{low:.2f} to {high:.2f}"}


def _cliff_card(found: Predictions, cliff: Cliff) -> Card:
    assert found.smiles is not None
    both = (cliff.row, cliff.other)
    smiles = [str(found.smiles[i]) for i in both]
    names = [str(found.ids[i]) for i in both]
    y, p = ([float(of[i, cliff.task]) for i in both] for of in (found.y_true, found.y_pred))
    facts: dict[str, Cell] = {
        "measured": f"{y[0]:.2f} and {y[1]:.2f}",
        "predicted": f"{p[0]:.2f} and {p[1]:.2f}",
        "similarity": cliff.similarity,
    }
    if found.split is not None:
        facts["rows"] = f"{found.split[both[0]]} and {found.split[both[1]]}"
    return Card(
        f"{names[0]} and {names[1]} · {found.tasks[cliff.task]}",
        list(draw_pair(*smiles) or ()),
        f"Structures of {names[0]}: {shortened(smiles[0], 90)}, and of {names[1]}: "
        f"{shortened(smiles[1], 90)}; what they share is highlighted.",
        facts,
    )


def disagreements(found: Sequence[Disagreement]) -> list[Section]:
    """Return the molecules on which compared models disagree most, as drawn molecules."""
    cards = []
    for of in found:
        drawn = None if of.smiles is None else draw_molecule(of.smiles)
        facts: dict[str, Cell] = {"measured": of.truth, **of.predicted}
        alt = f"Structure of {of.name}: {shortened(of.smiles or '', 120)}."
        cards.append(Card(f"{of.name} · {of.task}", [drawn] if drawn else [], alt, facts))
    said = (
        "Molecules on which the models are furthest apart, in standard deviations of the task. "
        "Here it matters which of them is believed."
    )
    return [Section("Largest disagreements", [Text(said), Cards(cards)])] if cards else []
