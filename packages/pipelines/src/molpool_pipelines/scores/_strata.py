"""Scores where it matters whether they hold: by quality, by novelty, by the size of a task.

Novelty is how near a molecule is to those that a model was trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from molpool_common import (
    InputError,
    morgan_fingerprints,
    murcko_scaffolds,
    parse_smiles,
    parse_times,
)
from numpy.typing import NDArray

from molpool_pipelines.runs import MACRO
from molpool_pipelines.scores._metrics import Resampling, Scored, score_tasks
from molpool_pipelines.scores._predictions import Predictions

if TYPE_CHECKING:
    from rdkit.Chem import Mol


SHOWN = ("mae", "ma_rae", "rmse", "spearman", "roc_auc", "average_precision")
"""Metrics of strata."""

UNKNOWN = "not known"

_SPANS = 5
"""Spans of time, where these have labels enough."""

_BLOCK = 4096
"""Training molecules compared at a time: 8 MB of their bits stay in the processor's cache."""

Score = Callable[[Predictions], tuple[Scored, ...]]


@dataclass(frozen=True)
class TrainingSet:
    """What was trained on, against which novelty is measured.

    Parameters
    ----------
    smiles : list of str
        SMILES of the training molecules; empty: not known.
    labels : dict of str to int
        Training labels by task; empty: not known.
    """

    smiles: Sequence[str] = ()
    labels: dict[str, int] | None = None


@dataclass(frozen=True)
class Stratum:
    """Scores of some of the rows, or of some of the tasks.

    Parameters
    ----------
    kind : str
        What rows are split by: ``quality``, ``time``, ``scaffold``, ``similarity``, ``labels``, or
        a column of series, projects or the like.
    name : str
        Which of them.
    n : int
        Rows, or for ``labels`` tasks.
    scores : tuple of Scored
        Of each task and metric.
    """

    kind: str
    name: str
    n: int
    scores: tuple[Scored, ...]

    def summary(self, metric: str) -> Scored | None:
        """Return the mean over tasks of a metric; of a single task its own score, else None."""
        own = {s.task: s for s in self.scores if s.metric == metric}
        return own.get(MACRO) or (next(iter(own.values())) if len(own) == 1 else None)


def score_strata(
    found: Predictions,
    known: TrainingSet,
    *,
    similarity_bins: Sequence[float],
    label_bins: Sequence[int],
    resampling: Resampling,
    min_rows: int,
) -> tuple[list[Stratum], list[str]]:
    """Score strata of the rows and of the tasks.

    Parameters
    ----------
    found : Predictions
        The rows.
    known : TrainingSet
        Training molecules and labels.
    similarity_bins, label_bins : sequence of numbers
        Ends of the bins, ascending.
    resampling : Resampling
        How intervals are made.
    min_rows : int
        Fewest labels of a task in a stratum.

    Returns
    -------
    strata : list of Stratum
    notes : list of str
        Which strata are missing, and why.
    """

    def score(part: Predictions) -> tuple[Scored, ...]:
        return score_tasks(part, resampling, names=SHOWN, min_labels=min_rows)

    strata: list[Stratum] = []
    notes: list[str] = []
    if found.quality is not None:
        strata += _split("quality", found, found.quality, score)
    for column, names in found.strata.items():
        strata += _split(column, found, names, score)
    if found.times is not None:
        by_time, reason = _by_time(found, score, min_rows)
        strata += by_time
        notes += [reason] if reason else []
    if found.smiles is None or not known.smiles:
        lacking = "the rows have no SMILES" if found.smiles is None else "no training molecules"
        if found.similarity is None:
            notes.append(f"Not by novelty: {lacking}.")
        else:
            strata += _by_similarity(found, found.similarity, similarity_bins, score)
            notes += [f"Not by scaffold: {lacking}.", *_trained_on(found.similarity)]
    else:
        strata += _by_novelty(found, known.smiles, similarity_bins, score)
    if known.labels:
        strata += list(_by_labels(found, known.labels, label_bins, score))
    else:
        notes.append("Not by the number of training labels: it is not known.")
    return strata, notes


def _split(
    kind: str, found: Predictions, names: NDArray[np.object_], score: Score
) -> list[Stratum]:
    filled = np.array([UNKNOWN if name is None else str(name) for name in names], dtype=object)
    strata = []
    for name in dict.fromkeys(filled.tolist()):
        rows = filled == name
        strata.append(Stratum(kind, name, int(rows.sum()), score(found.take(rows))))
    return strata


def _by_time(found: Predictions, score: Score, min_rows: int) -> tuple[list[Stratum], str | None]:
    """Score spans of time with about as many rows each, the earliest first."""
    assert found.times is not None
    there = np.flatnonzero([time is not None for time in found.times])
    try:
        when = parse_times(found.times[there].tolist())
    except InputError as error:
        return [], f"Not by time: {error}"
    n = min(_SPANS, len(there) // (2 * min_rows))
    if n < 2:
        return [], None
    spans = np.array_split(there[np.argsort(when, kind="stable")], n)
    return [
        Stratum(
            "time", f"{found.times[s[0]]} to {found.times[s[-1]]}", len(s), score(found.take(s))
        )
        for s in spans
    ], None


def _by_novelty(
    found: Predictions, known: Sequence[str], ends: Sequence[float], score: Score
) -> list[Stratum]:
    assert found.smiles is not None
    ours, theirs = parse_smiles(found.smiles.tolist()), parse_smiles(list(known))
    training = [mol for mol in theirs.mols if mol is not None]
    read = [(i, mol) for i, mol in enumerate(ours.mols) if mol is not None]
    rows, mols = [i for i, _ in read], [mol for _, mol in read]
    scaffolds = np.full(len(found), UNKNOWN, dtype=object)
    near = np.full(len(found), np.nan)
    if training and mols:
        # Acyclic molecules share the empty scaffold and so count as known where training has one.
        seen = set(murcko_scaffolds(training))
        scaffolds[rows] = [
            "in training" if s in seen else "not in training" for s in murcko_scaffolds(mols)
        ]
        near[rows] = NearestTraining(training).find(mols).similarity
    by_scaffold = sorted(_split("scaffold", found, scaffolds, score), key=lambda s: s.name)
    return [*by_scaffold, *_by_similarity(found, near, ends, score)]


def _by_similarity(
    found: Predictions, near: NDArray[np.float64], ends: Sequence[float], score: Score
) -> list[Stratum]:
    bins = np.full(len(found), UNKNOWN, dtype=object)
    there = np.isfinite(near)
    bins[there] = bin_names(near[there], ends, closed=1.0)
    # Bins in the order of their ends, not of appearance; names do not sort as text.
    order = [*range_names(ends, closed=1.0), UNKNOWN]
    return sorted(_split("similarity", found, bins, score), key=lambda s: order.index(s.name))


def _trained_on(near: NDArray[np.float64]) -> list[str]:
    """Return what is said of molecules as similar to a training molecule as to themselves."""
    same = int((near >= 1).sum())
    if not same:
        return []
    return [
        f"{same:,} of {len(near):,} molecules have a training molecule of similarity 1, most likely"
        " themselves: these scores are better than those of new molecules."
    ]


def _by_labels(
    found: Predictions, labels: dict[str, int], ends: Sequence[int], score: Score
) -> Iterator[Stratum]:
    """Yield tasks together that have about as many training labels."""
    counts = np.array([labels.get(task, 0) for task in found.tasks], dtype=np.float64)
    names = bin_names(counts, ends)
    for name in range_names(ends):
        tasks = [task for task, own in zip(found.tasks, names, strict=True) if own == name]
        if tasks:
            yield Stratum("labels", name, len(tasks), score(found.of_tasks(tasks)))


def range_names(ends: Sequence[float], closed: float | None = None) -> list[str]:
    """Return what the ranges between ends are called: ``< a``, ``a to b``, ``>= b``."""
    middle = [f"{a:g} to {b:g}" for a, b in pairwise(ends)]
    last = f"{ends[-1]:g} and more" if closed is None else f"{ends[-1]:g} to {closed:g}"
    return [f"below {ends[0]:g}", *middle, last]


def bin_names(
    values: NDArray[np.float64], ends: Sequence[float], closed: float | None = None
) -> list[str]:
    """Return the range of each value; a value at an end belongs to the range above it."""
    names = range_names(ends, closed)
    # "right" puts a value at an end into the range above, which "0.3 to 0.5" and "below 0.3"
    # promise.
    return [names[i] for i in np.searchsorted(np.asarray(ends, dtype=np.float64), values, "right")]


class Nearest(NamedTuple):
    """The most similar training molecule of each of N molecules.

    Parameters
    ----------
    similarity : ndarray [N]
        Tanimoto similarity, 0 to 1.
    row : ndarray of int64 [N]
        Position of the training molecule; of several as near, the first.
    """

    similarity: NDArray[np.float64]
    row: NDArray[np.int64]


class NearestTraining:
    """Finds nearest training molecules by Tanimoto similarity of Morgan fingerprints, exactly.

    Parameters
    ----------
    mols : sequence of Mol, length M
        At least one.
    radius, n_bits : int
        Of the fingerprint.

    References
    ----------
    Rogers and Hahn, "Extended-connectivity fingerprints", J. Chem. Inf. Model. 50 (2010) 742–754;
    Sheridan et al., "Similarity to molecules in the training set is a good discriminator for
    prediction accuracy in QSAR", J. Chem. Inf. Comput. Sci. 44 (2004) 1912–1928.
    """

    def __init__(self, mols: Sequence[Mol], radius: int = 2, n_bits: int = 2048) -> None:
        self._radius, self._n_bits = radius, n_bits
        self._packed = packed_fingerprints(mols, radius, n_bits)

    @classmethod
    def of_packed(cls, packed: NDArray[np.uint8]) -> NearestTraining:
        """Return that of molecules whose `packed_fingerprints` are known, [M, n_bits / 8]."""
        found = cls([], n_bits=8 * packed.shape[1])
        found._packed = packed
        return found

    def __len__(self) -> int:
        return len(self._packed)

    @cached_property
    def _counts(self) -> NDArray[np.int32]:
        return _counted(self._packed)

    def find(self, mols: Sequence[Mol]) -> Nearest:
        """Return the nearest training molecule of each of N molecules."""
        return self.find_packed(packed_fingerprints(mols, self._radius, self._n_bits))

    def find_packed(self, packed: NDArray[np.uint8]) -> Nearest:
        """Return the nearest training molecule of each of N packed fingerprints."""
        best = np.full(len(packed), -1.0)
        row = np.zeros(len(packed), dtype=np.int64)
        for i, start, similarity in self._blocks(packed):
            at = int(similarity.argmax())
            # Strictly, so that of equals the first training row is named, whatever the block size.
            if similarity[at] > best[i]:
                best[i], row[i] = similarity[at], start + at
        return Nearest(best, row)

    def pairs(self, mols: Sequence[Mol], least: float) -> list[tuple[int, int, float]]:
        """Return pairs of a molecule and a training molecule whose similarity is above `least`.

        Parameters
        ----------
        mols : sequence of Mol, length N
            Compared with all training molecules.
        least : float
            Tanimoto similarity, 0 to 1.

        Returns
        -------
        list of (int, int, float)
            Position of each of the two, and their similarity.
        """
        return [
            (i, start + int(at), float(similarity[at]))
            for i, start, similarity in self._blocks(
                packed_fingerprints(mols, self._radius, self._n_bits)
            )
            for at in np.flatnonzero(similarity > least)
        ]

    def _blocks(self, packed: NDArray[np.uint8]) -> Iterator[tuple[int, int, NDArray[np.float64]]]:
        """Yield the similarities of each molecule to the training molecules from a place on."""
        counts = _counted(packed)
        # The bits that are on pick rows of the transposed block; their sum counts shared bits.
        on = [np.flatnonzero(bits) for bits in _unpacked(packed)]
        for start in range(0, len(self), _BLOCK):
            block = np.ascontiguousarray(_unpacked(self._packed[start : start + _BLOCK]).T)
            sizes = self._counts[start : start + _BLOCK]
            for i, bits in enumerate(on):
                # The narrowest type that holds the count: the sum is bound by memory bandwidth, and
                # uint8 is eight times less of it.
                shared = block[bits].sum(axis=0, dtype=np.uint8 if len(bits) < 256 else np.uint16)
                union = sizes + counts[i] - shared
                # Two empty fingerprints have similarity 0, not 0/0.
                yield i, start, shared / np.maximum(union, 1)


def packed_fingerprints(
    mols: Sequence[Mol], radius: int = 2, n_bits: int = 2048
) -> NDArray[np.uint8]:
    """Return packed Morgan fingerprints, [N, n_bits / 8]."""
    from rdkit.DataStructs import BitVectToBinaryText

    prints = morgan_fingerprints(mols, radius, n_bits)
    raw = b"".join(BitVectToBinaryText(bits) for bits in prints)
    return np.frombuffer(raw, dtype=np.uint8).reshape(len(mols), n_bits // 8)


def _counted(packed: NDArray[np.uint8]) -> NDArray[np.int32]:
    return np.asarray(np.bitwise_count(packed).sum(axis=1, dtype=np.int32))


def _unpacked(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # RDKit's binary text stores the lowest bit of a byte first.
    return np.unpackbits(packed, axis=1, bitorder="little")
