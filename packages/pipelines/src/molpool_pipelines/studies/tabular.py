"""The rows of a study as trees take them: a row of features a molecule, labels, inner folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mil_attn import BagData, Descriptors2DConfig, MoleculeFeaturesConfig
from molpool_common import FloatArray
from numpy.typing import NDArray

from molpool_pipelines.studies.scoring import MacroScore
from molpool_pipelines.tables import TaskType

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Side:
    """Features and labels of some rows.

    Parameters
    ----------
    features : ndarray of float32 [N, F]
        NaN where undefined.
    labels : ndarray [N, T]
        NaN where missing.
    """

    features: NDArray[np.float32]
    labels: FloatArray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Rows) -> Side:
        """Return these rows."""
        return Side(self.features[rows], self.labels[rows])


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

    train: Rows
    val: Rows
    scored: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Tabular:
    """What a study may see, as trees take it.

    Parameters
    ----------
    rest : Side
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
    """

    rest: Side
    folds: Sequence[TabularFold]
    task_names: tuple[str, ...]
    task_types: tuple[TaskType, ...]
    score: MacroScore
    features: str


@dataclass(frozen=True, eq=False)
class Outer:
    """The outer test, read when all choices are made.

    Parameters
    ----------
    test : Side
        Its rows.
    ids : sequence of str
        Their names, in the order of the rows.
    """

    test: Side
    ids: Sequence[str]


MOLECULE_FEATURES = "Morgan counts (radius 2, 2048) and RDKit 2D descriptors"
BAG_FEATURES = "mean, least and largest of each instance feature"


def molecule_features(
    smiles: Sequence[str], *, cache: Path | None = None, workers: int = 1
) -> NDArray[np.float32]:
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
    features = np.full((len(smiles), data.x2d.shape[1]), np.nan, dtype=np.float32)
    failed = {failure.row for failure in data.failures}
    features[[row for row in range(len(smiles)) if row not in failed]] = data.x2d
    return features


def pooled_features(bags: BagData) -> NDArray[np.float32]:
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
        count = np.add.reduceat(there, starts, axis=0, dtype=np.float64)
        total = np.add.reduceat(np.where(there, x, 0), starts, axis=0, dtype=np.float64)
        least = np.minimum.reduceat(np.where(there, x, np.inf), starts, axis=0)
        largest = np.maximum.reduceat(np.where(there, x, -np.inf), starts, axis=0)
        mean = total / np.maximum(count, 1)
        parts += [np.where(count > 0, part, np.nan) for part in (mean, least, largest)]
    if bags.x2d is not None:
        parts.append(bags.x2d)
    return np.concatenate(parts, axis=1).astype(np.float32)
