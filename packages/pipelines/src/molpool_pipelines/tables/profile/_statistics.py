"""Statistics of a table, computed before anything is plotted or written.

Of tasks: labels, quantiles, frequent values, quality mix, overlap. Of molecules: duplicates, how
far their values lie apart, and scaffolds. Of joint sampling: the distribution of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from molpool_common import (
    FloatArray,
    IntArray,
    MoleculeTable,
    ScaleName,
    murcko_scaffolds,
    parse_smiles,
    text_keys,
    to_scale,
)
from numpy.typing import NDArray
from sampling_core import DEFAULT_QUALITIES

from molpool_pipelines.tables._duplicates import (
    Conflict,
    DuplicateReport,
    find_duplicates,
    molecule_numbers,
)

FREQUENT = 0.10
"""Share of a task's labels from which on a single value is named."""


@dataclass(frozen=True)
class FrequentValue:
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
    frequent_values : list of FrequentValue
        For other tasks, the values that more than `FREQUENT` of the labels of a source have.
    unit : str or None
        Of its values, where a header or cells say it.
    scale : str
        On which they are much nearer to symmetric, ``none`` where there is none.
    """

    name: str
    labels: int
    molecules: int
    quantiles: FloatArray | None
    sd: float | None
    positives: int | None
    frequent_values: list[FrequentValue]
    unit: str | None = None
    scale: ScaleName = "none"


def profile_tasks(table: MoleculeTable) -> list[TaskProfile]:
    """Return the profile of each task, in the order of the table."""
    molecule = molecule_numbers(table)
    # As numbers: of a long table a text for each row would take more than its labels.
    names = table.origin["source"].unique().sort().to_list()
    source = np.zeros(len(table), dtype=np.int32)
    if len(names) > 1:
        source += table.origin["source"].rank("dense").to_numpy().astype(np.int32) - 1
    units = table.units_of_tasks or [None] * len(table.task_names)
    return [
        replace(_profile(name, labels, molecule, source, names), unit=unit)
        for name, labels, unit in zip(table.task_names, table.targets.T, units, strict=True)
    ]


def _profile(
    name: str,
    column: FloatArray,
    molecule: IntArray,
    source: NDArray[np.int32],
    names: Sequence[str],
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
        scale="none" if binary else suggested_scale(labels),
        frequent_values=[] if binary else _frequent_by_source(labels, source[held], names),
    )


_LEAST_LABELS = 30
"""Labels from which on a shape is told."""

_SKEWED = 1.5
"""Skewness of the exponential distribution is 2, of the normal one 0."""


def suggested_scale(labels: FloatArray) -> ScaleName:
    """Return the scale on which labels are nearest to symmetric, ``none`` unless it is much nearer.

    Parameters
    ----------
    labels : ndarray [N]
        NaN for none.
    """
    values = labels[np.isfinite(labels)]
    if len(values) < _LEAST_LABELS or len(np.unique(values)) < _LEAST_LABELS / 2:
        return "none"
    plain = abs(_skewness(values))
    if plain < _SKEWED:
        return "none"
    low, high = float(values.min()), float(values.max())
    possible: list[ScaleName] = ["asinh"]
    if low >= 0:
        possible = ["log10"] if low > 0 else ["log10p1"]
    if low > 0 and high < 1:
        possible.append("logit")
    found = {name: abs(_skewness(to_scale(values[:, None], [name])[:, 0])) for name in possible}
    best = min(possible, key=found.__getitem__)
    return best if found[best] < plain / 2 else "none"


def _skewness(values: FloatArray) -> float:
    off = values - values.mean()
    spread = float((off**2).mean())
    return float((off**3).mean()) / spread**1.5 if spread > 0 else 0.0


def _frequent_by_source(
    labels: FloatArray, source: NDArray[np.int32], names: Sequence[str]
) -> list[FrequentValue]:
    # A limit of one laboratory's assay is inside the range of another's.
    if len(names) == 1:
        return _frequent_values(labels, "")
    return [
        value
        for i, name in enumerate(names)
        for value in _frequent_values(labels[source == i], name)
    ]


def _frequent_values(labels: FloatArray, source: str) -> list[FrequentValue]:
    values, counts = np.unique(labels, return_counts=True)
    # A constant task is named too: its one value is its floor.
    if len(values) < 2:
        return [FrequentValue(float(v), 1.0, "floor", source) for v in values]
    frequent_values = []
    for i in np.argsort(-counts, kind="stable"):
        share = counts[i] / labels.size
        # Among a handful of labels every value holds more than a tenth.
        if share <= FREQUENT or counts[i] < 3:
            break
        place = {0: "floor", len(values) - 1: "ceiling"}.get(int(i), "inside")
        frequent_values.append(FrequentValue(float(values[i]), float(share), place, source))
    return frequent_values


def overlap(table: MoleculeTable) -> IntArray:
    """Return how many molecules have labels of both tasks [T, T]; the diagonal counts one task's.

    A molecule counts once, on whichever of its rows the labels stand.
    """
    molecule = molecule_numbers(table)
    labelled = np.zeros((int(molecule.max()) + 1, len(table.task_names)), dtype=np.float64)
    np.maximum.at(labelled, molecule, np.isfinite(table.targets))
    # FloatArray, because integers have no fast matrix product; counts below 2^53 are exact.
    return (labelled.T @ labelled).astype(np.int64)


def quality_mix(table: MoleculeTable) -> tuple[list[str], IntArray]:
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


@dataclass(frozen=True)
class TaskConflicts:
    """Conflicts of one task.

    Parameters
    ----------
    name : str
        The task.
    conflicts : int
        Molecules whose labels differ.
    median_spread, largest_spread : float
        Largest less smallest label of such a molecule.
    relative : float or None
        Median spread in standard deviations of the task.
    """

    name: str
    conflicts: int
    median_spread: float
    largest_spread: float
    relative: float | None


@dataclass(frozen=True)
class DuplicateProfile:
    """Duplicates within a quality, and over all rows.

    Parameters
    ----------
    within : DuplicateReport
        What ``--duplicates`` of training would compare.
    across : DuplicateReport
        The same with qualities and sources put together.
    by_task : list of TaskConflicts
        Tasks with conflicts, most of them first.
    worst : list of (Conflict, float)
        Conflicts with the largest spread in standard deviations of their task, largest first.
    """

    within: DuplicateReport
    across: DuplicateReport
    by_task: list[TaskConflicts]
    worst: list[tuple[Conflict, float]]


def profile_duplicates(
    table: MoleculeTable, tasks: list[TaskProfile], n_worst: int = 20
) -> DuplicateProfile:
    """Compare repeated labels within each quality, and over all rows."""
    within = find_duplicates(table)
    # One quality and split for all rows: the comparison then spans them.
    across = within
    if table.quality is not None or not table.hold_out.all():
        one_tier = replace(table, quality=None, hold_out=np.ones(len(table), dtype=np.bool_))
        across = find_duplicates(one_tier)
    task, spread = within.spreads()
    relative = spread / np.array([each.sd or np.inf for each in tasks])[task]
    first = np.argsort(-relative, kind="stable")[:n_worst].tolist()
    worst = list(zip(within.conflicts_at(first), relative[first].tolist(), strict=True))
    return DuplicateProfile(within, across, _by_task(task, spread, tasks), worst)


def _by_task(task: IntArray, spread: FloatArray, tasks: list[TaskProfile]) -> list[TaskConflicts]:
    rows = []
    for t in dict.fromkeys(task.tolist()):
        values, sd = spread[task == t], tasks[t].sd
        median, relative = float(np.median(values)), float(np.median(values)) / sd if sd else None
        rows.append(
            TaskConflicts(tasks[t].name, len(values), median, float(values.max()), relative)
        )
    return sorted(rows, key=lambda row: -row.conflicts)


@dataclass(frozen=True)
class ScaffoldProfile:
    """Bemis-Murcko scaffolds of the distinct molecules.

    Parameters
    ----------
    n_molecules : int
        Molecules; each counts once.
    n_acyclic : int
        Those without a ring, which have no scaffold.
    n_scaffolds, n_singletons : int
        Distinct scaffolds, and those of one molecule.
    largest : list of (str, int)
        SMILES and molecules of the most frequent scaffolds, most frequent first; of equal ones
        that which comes first.
    """

    n_molecules: int
    n_acyclic: int
    n_scaffolds: int
    n_singletons: int
    largest: list[tuple[str, int]]


def profile_scaffolds(table: MoleculeTable, n_largest: int = 10) -> ScaffoldProfile:
    """Count scaffolds; a molecule has that of its first row."""
    first = np.unique(molecule_numbers(table), return_index=True)[1]
    # Keys, a tenth of the text; a molecule in memory takes a hundred times its SMILES.
    parts = (first[i : i + _AT_A_TIME].tolist() for i in range(0, len(first), _AT_A_TIME))
    keys = [text_keys(_scaffolds(table, rows)) for rows in parts]
    distinct, at, counts = np.unique(np.concatenate(keys), return_index=True, return_counts=True)
    # Molecules without a ring have the empty scaffold, which is no family.
    ring = distinct != text_keys([""])[0]
    largest = np.lexsort((at[ring], -counts[ring]))[:n_largest]
    rows = first[at[ring][largest]].tolist()
    return ScaffoldProfile(
        n_molecules=len(first),
        n_acyclic=len(first) - int(counts[ring].sum()),
        n_scaffolds=int(ring.sum()),
        n_singletons=int((counts[ring] == 1).sum()),
        largest=list(zip(_scaffolds(table, rows), counts[ring][largest].tolist(), strict=True)),
    )


def _scaffolds(table: MoleculeTable, rows: Sequence[int]) -> list[str]:
    mols = parse_smiles([table.smiles[i] for i in rows]).require_all()
    return murcko_scaffolds(mols)


_AT_A_TIME = 10_000
"""Molecules of which scaffolds are made at a time."""

ALPHAS = (0.0, 0.3, 0.5, 1.0)


@dataclass(frozen=True)
class SamplingSetting:
    """The row distribution of one setting.

    Parameters
    ----------
    mode : str
        ``multiplicative`` or ``hierarchical``.
    alpha : float
        Exponent of the label count.
    effective_rows : float
        1 / Σp².
    distinct_rows : float
        Expected number of distinct rows among as many draws as there are rows.
    task_share : ndarray [T]
        Probability that a drawn row has a label of the task.
    """

    mode: str
    alpha: float
    effective_rows: float
    distinct_rows: float
    task_share: FloatArray


def sampling_settings(table: MoleculeTable) -> list[SamplingSetting]:
    """Return the distributions of both modes at each of `ALPHAS`, without a curriculum.

    Parameters
    ----------
    table : MoleculeTable
        Rows without a label are left out, as samplers never draw them.

    Returns
    -------
    list of SamplingSetting
        Empty for a table without labels.
    """
    # Imports torch, which takes seconds: only once everything else has been computed.
    from sampling_core import JointSampler, LabelMask

    labelled = np.isfinite(table.targets)
    rows = labelled.any(axis=1)
    if not rows.any():
        return []
    labelled = labelled[rows]
    mask = LabelMask(np.packbits(labelled, axis=1), labelled.shape[1])
    settings = []
    for mode in ("multiplicative", "hierarchical"):
        for alpha in ALPHAS:
            sampler = JointSampler(mask, task_alpha=alpha, composition_mode=mode, seed=0)
            p = sampler.probabilities()
            settings.append(
                SamplingSetting(
                    mode,
                    alpha,
                    effective_rows=sampler.statistics().effective_samples,
                    # Expected distinct rows of len(p) draws, Σ 1 - (1 - p)^n; log1p and expm1
                    # because p is near 1/n.
                    distinct_rows=float(-np.expm1(len(p) * np.log1p(-p)).sum())
                    if len(p) > 1
                    else 1.0,
                    task_share=np.array([p @ column for column in labelled.T]),
                )
            )
    return settings
