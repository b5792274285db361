"""Numbers of each task: labels, values, spikes, quality mix, overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from molpool_common import MoleculeTable
from numpy.typing import NDArray
from sampling_core import DEFAULT_QUALITIES

SPIKE = 0.10
"""Share of a task's labels from which on a single value is named."""


@dataclass(frozen=True)
class Spike:
    """A single value that many labels have.

    Parameters
    ----------
    value : float
        The value.
    share : float
        Share of the task's labels in the source.
    place : {"floor", "ceiling", "inside"}
        Whether it is the lowest or the highest value of the source, as limits of a measurement are.
    source : str
        The source; empty where the table has only one.
    """

    value: float
    share: float
    place: str
    source: str = ""


@dataclass(frozen=True)
class TaskProfile:
    """One task.

    Parameters
    ----------
    name : str
        The task.
    labels, molecules : int
        Labelled rows, and distinct molecules among them.
    quantiles : ndarray [5] or None
        Minimum, quartiles and maximum; None without a label.
    sd : float or None
        Standard deviation; None with fewer than two labels.
    positives : int or None
        Labels that are 1, where all labels are 0 or 1.
    spikes : list of Spike
        For other tasks, the values that more than `SPIKE` of the labels of a source have.
    """

    name: str
    labels: int
    molecules: int
    quantiles: NDArray[np.float64] | None
    sd: float | None
    positives: int | None
    spikes: list[Spike]


def molecule_numbers(table: MoleculeTable) -> NDArray[np.int64]:
    """Return the number [N] of each row's molecule: 0, 1, ... as they first come."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(g, len(numbers)) for g in table.groups], dtype=np.int64)


def profile_tasks(table: MoleculeTable) -> list[TaskProfile]:
    """Return the profile of each task, in the order of the table."""
    molecule = molecule_numbers(table)
    source = table.origin["source"].to_numpy()
    return [
        _profile(name, labels, molecule, source)
        for name, labels in zip(table.task_names, table.targets.T, strict=True)
    ]


def _profile(
    name: str,
    column: NDArray[np.float64],
    molecule: NDArray[np.int64],
    source: NDArray[np.object_],
) -> TaskProfile:
    held = np.isfinite(column)
    labels = column[held]
    binary = bool(labels.size) and bool(np.isin(labels, (0.0, 1.0)).all())
    return TaskProfile(
        name=name,
        labels=int(labels.size),
        molecules=len(np.unique(molecule[held])),
        quantiles=np.quantile(labels, (0, 0.25, 0.5, 0.75, 1)) if labels.size else None,
        sd=float(labels.std(ddof=1)) if labels.size > 1 else None,
        positives=int(labels.sum()) if binary else None,
        spikes=[] if binary else _spikes_by_source(labels, source[held], np.unique(source)),
    )


def _spikes_by_source(
    labels: NDArray[np.float64], source: NDArray[np.object_], names: NDArray[np.object_]
) -> list[Spike]:
    # A limit of one laboratory's assay is inside the range of another's.
    if len(names) == 1:
        return _spikes(labels, "")
    return [spike for name in names for spike in _spikes(labels[source == name], str(name))]


def _spikes(labels: NDArray[np.float64], source: str) -> list[Spike]:
    values, counts = np.unique(labels, return_counts=True)
    if len(values) < 2:
        return [Spike(float(v), 1.0, "floor", source) for v in values]
    spikes = []
    for i in np.argsort(-counts, kind="stable"):
        share = counts[i] / labels.size
        # Among a handful of labels every value holds more than a tenth.
        if share <= SPIKE or counts[i] < 3:
            break
        place = {0: "floor", len(values) - 1: "ceiling"}.get(int(i), "inside")
        spikes.append(Spike(float(values[i]), float(share), place, source))
    return spikes


def overlap(table: MoleculeTable) -> NDArray[np.int64]:
    """Return how many molecules have labels of both tasks [T, T]; the diagonal counts one task's.

    A molecule counts once, on whichever of its rows the labels stand.
    """
    molecule = molecule_numbers(table)
    labelled = np.zeros((int(molecule.max()) + 1, len(table.task_names)), dtype=np.float64)
    np.maximum.at(labelled, molecule, np.isfinite(table.targets))
    # FloatArray, because integers have no fast matrix product; counts below 2^53 are exact.
    return (labelled.T @ labelled).astype(np.int64)


def quality_mix(table: MoleculeTable) -> tuple[list[str], NDArray[np.int64]]:
    """Return the quality labels, best first, and the labels of each by task [T, Q].

    Labels other than high, medium and low come after these, most rows first.
    """
    if table.quality is None:
        return [], np.zeros((len(table.task_names), 0), dtype=np.int64)
    quality = np.array(table.quality)
    names, rows = np.unique(quality, return_counts=True)
    known = {name: i for i, name in enumerate(DEFAULT_QUALITIES)}
    rank = [(known.get(name, len(known)), -n) for name, n in zip(names, rows, strict=True)]
    names = names[sorted(range(len(names)), key=rank.__getitem__)]
    labelled = np.isfinite(table.targets)
    counts = np.stack([labelled[quality == name].sum(axis=0) for name in names], axis=1)
    return names.tolist(), counts.astype(np.int64)
