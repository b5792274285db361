"""What follows a study of a kind of model: baselines on its very rows, and the final training.

Trees take a study as a `TabularStudy`: a row of features per molecule, labels, inner folds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mil_attn import BagData, Descriptors2DConfig, MoleculeFeaturesConfig
from molpool_common import BoolArray, Float32Array, FloatArray, IntArray, ScaleName

from molpool_pipelines.runs import TableRows
from molpool_pipelines.studies._scoring import MacroScore
from molpool_pipelines.tables import TaskType


@dataclass(frozen=True, eq=False)
class FeatureRows:
    """Features and labels of some rows.

    Parameters
    ----------
    features : ndarray of float32 [N, F]
        NaN where undefined.
    labels : ndarray [N, T]
        NaN where missing.
    """

    features: Float32Array
    labels: FloatArray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: IntArray) -> FeatureRows:
        """Return these rows."""
        return FeatureRows(self.features[rows], self.labels[rows])


@dataclass(frozen=True, eq=False)
class TabularFold:
    """Rows of an inner fold.

    Parameters
    ----------
    train, val : ndarray of int64
        Rows to train on and to validate on, as indices into the study's rows.
    scored : ndarray of bool [T]
        Tasks that the study scores in this fold.
    """

    train: IntArray
    val: IntArray
    scored: BoolArray


@dataclass(frozen=True, eq=False)
class TabularStudy:
    """What a study may see, as trees take it.

    Parameters
    ----------
    rest : FeatureRows
        All rows but those of the outer test.
    folds : sequence of TabularFold
        The study's own.
    task_names : tuple of str [T]
        Names of the tasks.
    task_types : tuple of {"regression", "classification"} [T]
        Their kinds.
    score : MacroScore
        That of the study.
    features : str
        What the features are, for tables.
    scales : tuple of str [T]
        Scale of the labels, as `from_scale` takes it; empty where they are in the table's units.
    """

    rest: FeatureRows
    folds: Sequence[TabularFold]
    task_names: tuple[str, ...]
    task_types: tuple[TaskType, ...]
    score: MacroScore
    features: str
    scales: tuple[ScaleName, ...] = ()


@dataclass(frozen=True, eq=False)
class OuterTest:
    """The outer test, read when all choices are made.

    Parameters
    ----------
    test : FeatureRows
        Its rows.
    ids : sequence of str
        Their names, in the order of the rows.
    """

    test: FeatureRows
    ids: Sequence[str]


MOLECULE_FEATURES = "Morgan counts (radius 2, 2048) and RDKit 2D descriptors"
BAG_FEATURES = "mean, least and largest of each instance feature"


def molecule_features(
    smiles: Sequence[str], *, cache: Path | None = None, workers: int = 1
) -> Float32Array:
    """Return RDKit's 2D descriptors and Morgan counts of molecules [N, F].

    Parameters
    ----------
    smiles : sequence of str [N]
        Molecules. One that cannot be computed has NaN throughout.
    cache : Path, optional
        Folder that keeps what is computed.
    workers : int
        Processes.

    References
    ----------
    Rogers and Hahn, J. Chem. Inf. Model. 50 (2010) 742–754 (Morgan counts).
    """
    settings = MoleculeFeaturesConfig(descriptors_3d=[], descriptors_2d=Descriptors2DConfig())
    data = BagData.from_smiles(smiles, features=settings, cache=cache, workers=workers)
    assert data.x2d is not None
    # Rows that RDKit cannot describe stay, as undefined: rows have to match the folds.
    features = np.full((len(smiles), data.x2d.shape[1]), np.nan, dtype=np.float32)
    failed = {failure.row for failure in data.failures}
    features[[row for row in range(len(smiles)) if row not in failed]] = data.x2d
    return features


def pooled_features(bags: BagData) -> Float32Array:
    """Return mean, least and largest of each instance feature of each bag, beside 2D features.

    Parameters
    ----------
    bags : BagData
        N bags; an undefined feature counts in none of the three.

    Returns
    -------
    ndarray of float32 [N, 3 F3 + F2]
    """
    parts = []
    if bags.instances is not None:
        x, starts = bags.instances, bags.bounds[:-1]
        there = ~np.isnan(x)
        # reduceat needs bags that are not empty, which `BagData` guarantees.
        count = np.add.reduceat(there, starts, axis=0, dtype=np.float64)
        total = np.add.reduceat(np.where(there, x, 0), starts, axis=0, dtype=np.float64)
        least = np.minimum.reduceat(np.where(there, x, np.inf), starts, axis=0)
        largest = np.maximum.reduceat(np.where(there, x, -np.inf), starts, axis=0)
        mean = total / np.maximum(count, 1)
        parts += [np.where(count > 0, part, np.nan) for part in (mean, least, largest)]
    if bags.x2d is not None:
        parts.append(bags.x2d)
    return np.concatenate(parts, axis=1).astype(np.float32)


Values = dict[str, Any]
Numbers = Mapping[str, float]


@dataclass(frozen=True)
class StudyKind:
    """A kind of model, after its study.

    Parameters
    ----------
    name : str
        Subcommand of molpool-train.
    tasks : tuple of str
        Names of the tasks.
    seed : int
        Of the run.
    resolve : callable
        Parameters of a trial to a full configuration of molpool-train.
    final : callable
        That configuration, and the numbers of each inner fold, to one that trains on all but the
        outer test.
    score : callable
        A full configuration to the study's score.
    tabular, outer : callable
        Rows of the study, and its outer test, as trees take them.
    join : callable
        Run folders of members, and a new folder, to an ensemble in it.
    rows : callable
        Digests of the table as it is now.
    """

    name: str
    tasks: tuple[str, ...]
    seed: int
    resolve: Callable[[Mapping[str, Any]], Values]
    final: Callable[[Values, Sequence[Numbers]], Values]
    score: Callable[[Values], MacroScore]
    tabular: Callable[[], TabularStudy]
    outer: Callable[[], OuterTest]
    join: Callable[[Sequence[Path], Path], None]
    rows: Callable[[], TableRows]


def median_best_epoch(folds: Sequence[Numbers]) -> int | None:
    """Return the median over inner folds of the best epoch, from 1; None where none is known.

    The final training goes through its rows that often, as every fold did through fewer: per row
    the same number of passes, and more steps in all (Goodfellow, Bengio and Courville, Deep
    Learning (2016), section 7.8, the first of its two strategies).
    """
    best = [fold["best_epoch"] for fold in folds if "best_epoch" in fold]
    # Median rather than mean: one fold that never improved should not halve the training.
    return max(1, round(float(np.median(best)))) if best else None
