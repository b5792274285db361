"""Several models on the same rows, checked before anything is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from molpool_common import FloatArray, InputError, ScaleName, TaskType, listed
from numpy.typing import NDArray

from molpool_pipelines.scores._predictions import Predictions

Key = tuple[str, int, int]

TOLERANCE = 1e-5
"""Relative; labels that went through float32 in one of two tools are the same labels."""


@dataclass(frozen=True)
class PairedRows:
    """Predictions of M models for the same N rows and T tasks.

    Parameters
    ----------
    models : tuple of str, length M
        Distinct names.
    tasks : tuple of str, length T
        Names of the tasks.
    task_types : tuple of {"regression", "classification"}, length T
        Kind of each.
    keys : list of (str, int, int), length N
        Id, repeat and fold of each row, sorted: nothing depends on the order of the files.
    y_true : ndarray [N, T]
        NaN where there is no label.
    y_pred : ndarray [M, N, T]
        Finite wherever there is a label.
    n_left_out : int
        Rows that not all models predict, left out on request.
    smiles : list of str or None, length N; or None
        The molecules, where a model's predictions name them.
    scales : tuple of str, length T, or empty
        On which a model learnt the tasks: one for all models, so that they are held to one measure.
    """

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    task_types: tuple[TaskType, ...]
    keys: list[Key]
    y_true: FloatArray
    y_pred: FloatArray
    n_left_out: int = 0
    smiles: list[str | None] | None = None
    scales: tuple[ScaleName, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def cells(self) -> list[tuple[int, int]]:
        """The distinct (repeat, fold), sorted."""
        return sorted({(repeat, fold) for _, repeat, fold in self.keys})

    def rows_of(self, cell: tuple[int, int]) -> NDArray[np.intp]:
        """Return the rows of one repeat and fold."""
        return np.flatnonzero([key[1:] == cell for key in self.keys])


def pair_rows(
    models: Sequence[Predictions], names: Sequence[str], *, common_rows: bool = False
) -> PairedRows:
    """Pair the rows of several models by id, repeat and fold.

    Parameters
    ----------
    models : sequence of Predictions, length M
        At least two.
    names : sequence of str, length M
        What to call them; distinct.
    common_rows : bool
        Leave out rows that not all of them predict, instead of refusing.

    Raises
    ------
    InputError
        If tasks or their kinds differ, ids repeat, rows lack in one of them (counts, first ids),
        or the truth of a row differs.
    """
    _check_names(names)
    _check_tasks(models, names)
    first = models[0]
    # Tables of other tools may have their columns in another order.
    ordered = [m.of_tasks(first.tasks) for m in models]
    places = [_places(model, name) for model, name in zip(ordered, names, strict=True)]
    shared = set(places[0]).intersection(*places[1:])
    every = set(places[0]).union(*places[1:])
    if shared != every and not common_rows:
        raise _lacking(places, names, every)
    if not shared:
        raise InputError(
            "rows", expected="rows that all models predict", found=f"none of {len(every)}"
        )
    # Sorted, so that resamples do not depend on which model is named first.
    keys = sorted(shared)
    rows = [np.array([place[key] for key in keys]) for place in places]
    taken = [model.take(r) for model, r in zip(ordered, rows, strict=True)]
    _check_truth(taken, names, keys)
    return PairedRows(
        tuple(names),
        first.tasks,
        first.task_types,
        keys,
        taken[0].y_true,
        np.stack([model.y_pred for model in taken]),
        len(every) - len(shared),
        next((m.smiles.tolist() for m in taken if m.smiles is not None), None),
        _shared_scales(taken),
    )


def _shared_scales(models: Sequence[Predictions]) -> tuple[ScaleName, ...]:
    """Return the first scale that a model has of each task; empty where none has any."""
    of_tasks = zip(*(m.scales for m in models if m.scales), strict=True)
    return tuple(next((s for s in own if s != "none"), "none") for own in of_tasks)


def _check_names(names: Sequence[str]) -> None:
    if len(names) < 2:
        raise InputError("models", expected="at least two to compare", found=str(len(names)))
    repeated = [name for name, n in Counter(names).items() if n > 1]
    if repeated:
        raise InputError(
            "models",
            expected="distinct names",
            found=f"{listed(repeated)} more than once",
            hint="--names gives each its own.",
        )


def _check_tasks(models: Sequence[Predictions], names: Sequence[str]) -> None:
    reference, first = models[0], names[0]
    for model, name in zip(models[1:], names[1:], strict=True):
        only = [t for t in reference.tasks if t not in model.tasks]
        more = [t for t in model.tasks if t not in reference.tasks]
        if only or more:
            parts = [f"only in {n}: {listed(t)}" for n, t in ((first, only), (name, more)) if t]
            both = [t for t in reference.tasks if t in model.tasks]
            raise InputError(
                "models",
                expected="the same tasks in all of them",
                found="; ".join(parts),
                hint=f"--columns.tasks {' '.join(both)} compares what both have."
                if both
                else "They have no task in common.",
            )
        kinds = dict(zip(model.tasks, model.task_types, strict=True))
        for task, kind in zip(reference.tasks, reference.task_types, strict=True):
            if kinds[task] != kind:
                raise InputError(
                    f"task {task!r}",
                    expected="one kind in all models",
                    found=f"{kind} in {first}, {kinds[task]} in {name}",
                    hint=f"--task-types {task} {kind} says which it is.",
                )


def _places(model: Predictions, name: str) -> dict[Key, int]:
    place: dict[Key, int] = {}
    repeated: dict[Key, int] = {}
    for row, key in enumerate(model.keys):
        if key in place:
            repeated[key] = repeated.get(key, 1) + 1
        place[key] = row
    if repeated:
        raise InputError(
            "ids",
            expected="each id once, or once in each repeat and fold",
            found=f"{len(repeated)} more than once: "
            + listed([f"{_named(k)} ({n} times)" for k, n in repeated.items()], limit=5),
            where=name,
        )
    return place


def _lacking(places: Sequence[dict[Key, int]], names: Sequence[str], every: set[Key]) -> InputError:
    parts = []
    for place, name in zip(places, names, strict=True):
        absent = sorted(every.difference(place))
        if absent:
            first = listed([_named(key) for key in absent], limit=5)
            parts.append(f"{name} lacks {len(absent)} of {len(every)} rows ({first})")
    return InputError(
        "rows",
        expected="the same rows in all models",
        found="; ".join(parts),
        hint="--test-data has all predict one table; --common-rows true compares the rows that "
        "all have.",
    )


def _named(key: Key) -> str:
    """Return a row's name, with repeat and fold where it has them."""
    name, repeat, fold = key
    more = [f"{what} {n}" for what, n in (("repeat", repeat), ("fold", fold)) if n >= 0]
    return f"{name!r} ({', '.join(more)})" if more else repr(name)


def _check_truth(models: Sequence[Predictions], names: Sequence[str], keys: Sequence[Key]) -> None:
    first = models[0].y_true
    for model, name in zip(models[1:], names[1:], strict=True):
        # equal_nan: a label that one table lacks is a difference too, and would change which rows
        # are scored.
        same = np.isclose(first, model.y_true, rtol=TOLERANCE, atol=1e-12, equal_nan=True)
        if same.all():
            continue
        row, t = (int(i) for i in np.argwhere(~same)[0])
        raise InputError(
            f"task {models[0].tasks[t]!r}",
            expected="the same truth in all models",
            found=f"{int((~same).sum())} labels that differ, the first of {_named(keys[row])}: "
            f"{first[row, t]:g} in {names[0]}, {model.y_true[row, t]:g} in {name}",
            hint="Units, transforms or bounds of the two runs differ; --test-data gives all one "
            "truth.",
        )
