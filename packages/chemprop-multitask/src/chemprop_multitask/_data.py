"""Molecules as Chemprop graphs with sparse targets and row weights.

A label may be a bound, the ``<`` or ``>`` of a measurement. Regression labels are scaled by each
task's mean and standard deviation, extra descriptors as Chemprop scales them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from molpool_common import (
    Float32Array,
    FloatArray,
    IntArray,
    MoleculeTable,
    Structure,
    listed,
    structures_of,
)
from numpy.typing import NDArray
from rdkit import Chem
from torch.utils.data import Dataset

from chemprop_multitask._chemprop import Datum, MolGraph, SimpleMoleculeMolGraphFeaturizer
from chemprop_multitask._errors import ChempropError
from chemprop_multitask._featurise import GraphStore, Progress, pack
from chemprop_multitask._packed import PackedGraphs
from chemprop_multitask._tasks import TaskType

OWN = SimpleMoleculeMolGraphFeaturizer().shape
"""Number of Chemprop's own features of an atom and of a bond."""

OfGraphs = Sequence[NDArray[np.floating]]
"""Features [A, F] of the atoms, or [B, G] of the bonds, of each of N molecules."""

_ROUNDING = 1e-14
"""Spread of equal labels over their size: means of repeats differ by a few units of 2.2e-16."""


class Scaling(NamedTuple):
    """How targets [N, T] and descriptors [N, D] enter training: less a mean, over a scale.

    `descriptors` are mean and scale [D] of the descriptors, None where there are none; `atoms` and
    `bonds` those of what atoms and bonds have beyond Chemprop's own features.
    """

    mean: FloatArray
    scale: FloatArray
    descriptors: tuple[FloatArray, FloatArray] | None = None
    atoms: tuple[FloatArray, FloatArray] | None = None
    bonds: tuple[FloatArray, FloatArray] | None = None


class RowWeights(Protocol):
    """Loss weight per row, asked for anew whenever the row is drawn."""

    def __getitem__(self, row: int, /) -> float:
        """Return the weight of a row now."""

    def __len__(self) -> int:
        """Return the number of rows."""


class MoleculeData(Dataset[Datum]):
    """Molecules, featurised in single precision, with a row of targets each.

    Parameters
    ----------
    molecules : sequence of str or rdkit.Chem.Mol
        N SMILES or parsed molecules.
    targets : ndarray [N, T], optional
        NaN where there is no label; left out for prediction.
    task_names : sequence of str
        Names of the T tasks.
    weights : RowWeights, optional
        Loss weight of each row; 1 by default. A sequence, or an object that answers by the phase
        of a curriculum.
    censoring : ndarray of int8 [N, T], optional
        -1 where the true value is below the target (``<``), +1 where it is above (``>``), 0 where
        it is the target; see `censoring_from_signs`.
    descriptors : ndarray [N, D], optional
        Features of the molecules that the predictor takes beside the learned fingerprint,
        Chemprop's ``X_d``, as they are: the model scales them. NaN counts as 0, as in Chemprop.
    atom_features, bond_features : sequence of ndarray [A, F] and [B, G], length N, optional
        Features of a molecule's atoms and bonds, in RDKit's order, that the message passing takes
        beside Chemprop's own, its ``V_f`` and ``E_f``; as they are, and NaN as 0.
    cache : GraphStore, str or Path, optional
        Where graphs of SMILES are cached between runs: a store, or its folder. By default they are
        cached in memory only.
    progress : callable, optional
        Called with how many molecules of how many are featurised.

    Attributes
    ----------
    graphs : PackedGraphs
        The featurised molecules.

    Raises
    ------
    ChempropError
        If a SMILES does not parse (names the row), shapes do not agree, a target is infinite or a
        sign of censoring is unknown (both name row and task).
    """

    def __init__(
        self,
        molecules: Sequence[str | Chem.Mol],
        targets: FloatArray | None = None,
        *,
        task_names: Sequence[str] = (),
        weights: RowWeights | None = None,
        censoring: NDArray[np.int8] | None = None,
        descriptors: NDArray[np.floating] | None = None,
        atom_features: OfGraphs | None = None,
        bond_features: OfGraphs | None = None,
        cache: GraphStore | str | Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.task_names = tuple(task_names)
        self.targets = _checked_targets(targets, len(molecules), self.task_names)
        self.censoring = checked_censoring(censoring, self.targets, self.task_names)
        self.descriptors = _checked_descriptors(descriptors, len(molecules))
        if weights is not None and len(weights) != len(molecules):
            raise ChempropError(
                f"weights: expected one for each of {len(molecules)} molecules; "
                f"found {len(weights)}"
            )
        self._weights = weights
        self._scaled = self.targets
        store = GraphStore(cache) if isinstance(cache, str | Path) else cache
        self.graphs = _with_features(pack(molecules, store, progress), atom_features, bond_features)

    @classmethod
    def from_table(
        cls,
        table: MoleculeTable,
        *,
        weights: RowWeights | None = None,
        cache: GraphStore | str | Path | None = None,
        **features: Any,
    ) -> MoleculeData:
        """Return the molecules of a table with its targets and bounds; see the class.

        Parameters
        ----------
        table : MoleculeTable
            N molecules.
        weights : RowWeights, optional
            Loss weight of each row.
        cache : GraphStore, str or Path, optional
            Where graphs are cached.
        **features
            `descriptors`, `atom_features` and `bond_features` of its molecules.
        """
        return cls(
            table.modelled,
            table.targets,
            task_names=table.task_names,
            weights=weights,
            censoring=table.censoring,
            cache=cache,
            **features,
        )

    @classmethod
    def seen_as(cls, molecules: MoleculeData | Sequence[str], structure: Structure) -> MoleculeData:
        """Return what a model sees of SMILES; data that are featurised are as it sees them."""
        if isinstance(molecules, MoleculeData):
            return molecules
        return cls(structures_of(molecules, structure))

    def __len__(self) -> int:
        return len(self.graphs)

    def __getitem__(self, row: int) -> Datum:
        y = None if self._scaled is None else self._scaled[row]
        signs = None if self.censoring is None else self.censoring[row]
        below = None if signs is None else signs < 0
        above = None if signs is None else signs > 0
        X_d = None if self.descriptors is None else self.descriptors[row]
        return Datum(self.graph(row), None, X_d, y, self.weight(row), below, above)

    def graph(self, row: int) -> MolGraph:
        """Return the featurised graph of a row, in single precision."""
        return self.graphs.graph(row)

    def weight(self, row: int) -> float:
        """Return the loss weight of a row now."""
        return 1.0 if self._weights is None else self._weights[row]

    def labels(self, rows: Sequence[int]) -> FloatArray | None:
        """Return the targets [B, T] of rows, scaled where the data are."""
        return None if self._scaled is None else self._scaled[list(rows)]

    @property
    def n_descriptors(self) -> int:
        """Number of descriptors of a molecule, D."""
        return 0 if self.descriptors is None else self.descriptors.shape[1]

    @property
    def n_graph_features(self) -> tuple[int, int]:
        """Number of features of an atom and of a bond beyond Chemprop's own."""
        rows = self.graphs.atom_rows, self.graphs.bond_rows
        atoms, bonds = (table.shape[1] - own for table, own in zip(rows, OWN, strict=True))
        return atoms, bonds

    def scaled(self, scaling: Scaling) -> MoleculeData:
        """Return the same molecules, graphs shared, with targets and descriptors scaled."""
        # Without `__init__`, which would check and featurise all molecules again.
        twin = object.__new__(MoleculeData)
        twin.__dict__.update(self.__dict__)
        if self.targets is not None:
            twin._scaled = (self.targets - scaling.mean) / scaling.scale
        if self.descriptors is not None and scaling.descriptors is not None:
            mean, scale = scaling.descriptors
            twin.descriptors = np.asarray((self.descriptors - mean) / scale, np.float32)
        if scaling.atoms is not None or scaling.bonds is not None:
            twin.graphs = self.graphs.with_rows(
                _scaled_beyond(self.graphs.atom_rows, OWN[0], scaling.atoms),
                _scaled_beyond(self.graphs.bond_rows, OWN[1], scaling.bonds),
            )
        return twin


def _checked_targets(
    targets: FloatArray | None, n: int, task_names: Sequence[str]
) -> FloatArray | None:
    if targets is None:
        return None
    array = np.asarray(targets, dtype=np.float64)
    if array.shape != (n, len(task_names)):
        raise ChempropError(
            f"targets: expected shape {(n, len(task_names))}, a row per molecule and a column "
            f"per name in task_names; found {array.shape}"
        )
    infinite = np.argwhere(np.isinf(array))
    if len(infinite):
        row, task = infinite[0]
        raise ChempropError(
            "targets: expected finite values or NaN; "
            f"found infinity in row {row + 1}, task {task_names[task]!r}"
        )
    return array


def _checked_descriptors(descriptors: NDArray[np.floating] | None, n: int) -> Float32Array | None:
    if descriptors is None:
        return None
    with np.errstate(over="ignore"):  # too large for single precision: infinite, and named below
        array = np.asarray(descriptors, dtype=np.float32)
    if array.ndim != 2 or len(array) != n or not array.shape[1]:
        raise ChempropError(
            f"descriptors: expected a row for each of {n} molecules, one or more columns; found "
            f"shape {array.shape}"
        )
    infinite = np.argwhere(np.isinf(array))
    if len(infinite):
        row, column = infinite[0]
        raise ChempropError(
            f"descriptors: expected finite values in single precision, or NaN; found infinity in "
            f"row {row + 1}, column {column + 1}"
        )
    return np.nan_to_num(array, nan=0.0)


def _with_features(
    graphs: PackedGraphs, atoms: OfGraphs | None, bonds: OfGraphs | None
) -> PackedGraphs:
    if atoms is None and bonds is None:
        return graphs
    return graphs.with_features(
        _joined(atoms, np.diff(graphs.atom_start), "atom"),
        _joined(bonds, np.diff(graphs.bond_start), "bond"),
    )


def _joined(given: OfGraphs | None, counts: IntArray, kind: str) -> Float32Array:
    """Return features of all molecules' atoms or bonds, molecule after molecule."""
    if given is None:
        return np.empty((int(counts.sum()), 0), dtype=np.float32)
    key = f"{kind}_features"
    if len(given) != len(counts):
        raise ChempropError(
            f"{key}: expected an array for each of {len(counts)} molecules; found {len(given)}"
        )
    with np.errstate(over="ignore"):
        arrays = [np.asarray(one, dtype=np.float32) for one in given]
    width = next((a.shape[1] for a in arrays if a.ndim == 2 and len(a)), 0)
    for row, (array, n) in enumerate(zip(arrays, counts.tolist(), strict=True)):
        if len(array) != n or (n and array.shape != (n, width)):
            raise ChempropError(
                f"{key}: expected shape {(n, width)}, a row for each {kind} of the molecule in row "
                f"{row + 1}; found {array.shape}"
            )
        if np.isinf(array).any():
            raise ChempropError(
                f"{key}: expected finite values in single precision, or NaN; found infinity in "
                f"row {row + 1}"
            )
    there = [array for array in arrays if len(array)]
    joined: Float32Array = np.concatenate([np.empty((0, width), dtype=np.float32), *there])
    return np.nan_to_num(joined, copy=False, nan=0.0)


def _scaled_beyond(
    rows: Float32Array, own: int, scale: tuple[FloatArray, FloatArray] | None
) -> Float32Array:
    """Return rows with the columns after the first `own` less their mean, over their scale."""
    if scale is None:
        return rows
    more = (rows[:, own:] - scale[0]) / scale[1]
    return np.hstack([rows[:, :own], more.astype(np.float32)])


_SIGNS = {"": 0, "=": 0, "<": -1, "<=": -1, ">": 1, ">=": 1}


def censoring_from_signs(
    signs: Sequence[Sequence[str | None]], task_names: Sequence[str]
) -> NDArray[np.int8]:
    """Return -1 for ``<`` and ``<=``, +1 for ``>`` and ``>=``, 0 for ``=``, empty and None.

    Parameters
    ----------
    signs : sequence of sequences of str or None
        N rows of T signs.
    task_names : sequence of str
        Names of the T tasks, for messages.

    Raises
    ------
    ChempropError
        At an unknown sign; names row and task.
    """
    out = np.zeros((len(signs), len(task_names)), dtype=np.int8)
    for i, row in enumerate(signs):
        for t, (name, sign) in enumerate(zip(task_names, row, strict=True)):
            key = (sign or "").strip()
            if key not in _SIGNS:
                raise ChempropError(
                    f"modifier of task {name!r}: expected one of "
                    f"{listed([repr(s) for s in _SIGNS if s])} or nothing; "
                    f"found {sign!r} in row {i + 1}"
                )
            out[i, t] = _SIGNS[key]
    return out


def checked_censoring(
    censoring: NDArray[np.int8] | None,
    targets: FloatArray | None,
    task_names: Sequence[str],
) -> NDArray[np.int8] | None:
    """Return censoring of the targets' shape with no sign but -1, 0 and 1; None stays None."""
    if censoring is None:
        return None
    array = np.asarray(censoring)
    shape = None if targets is None else targets.shape
    if array.shape != shape:
        raise ChempropError(
            f"censoring: expected the shape of the targets, {shape}; found {array.shape}"
        )
    unknown = np.argwhere(~np.isin(array, (-1, 0, 1)))
    if len(unknown):
        row, task = unknown[0]
        raise ChempropError(
            f"censoring: expected -1, 0 or 1; found {array[row, task]} in row {row + 1}, "
            f"task {task_names[task]!r}"
        )
    return array.astype(np.int8)


def label_scale(
    targets: FloatArray, task_names: Sequence[str], kinds: Sequence[TaskType]
) -> tuple[FloatArray, FloatArray]:
    """Return mean and scale [T] of each regression task's labels; 0 and 1 for classes.

    A task whose labels are all equal, but for rounding, has scale 1. A bound counts as its value.

    Raises
    ------
    ChempropError
        If a task has no label.
    """
    labels = np.isfinite(targets).sum(axis=0)
    if (labels == 0).any():
        name = task_names[int(np.argmin(labels))]
        raise ChempropError(f"task {name!r}: expected training labels; found none")
    # float64 statistics over labels only; a missing label must not pull a task's mean.
    mean = np.nanmean(targets, axis=0)
    # A power of two takes the unit out without a rounding: squares of 1e-200 would be 0.
    largest = np.nanmax(np.abs(targets), axis=0)
    power = np.frexp(largest)[1]
    scale = np.ldexp(np.nanstd(np.ldexp(targets, -power), axis=0), power)
    # A constant task is already as close to zero as it gets. Measured by its own size, not against
    # 1: labels of 1e-13 mol/L are not constant.
    scale = np.where(scale > _ROUNDING * largest, scale, 1.0)
    is_class = np.array([kind == "classification" for kind in kinds])
    return np.where(is_class, 0.0, mean), np.where(is_class, 1.0, scale)


def descriptor_scale(descriptors: Float32Array) -> tuple[FloatArray, FloatArray]:
    """Return mean and scale [D] of descriptors [N, D], as scikit-learn's `StandardScaler`.

    Chemprop scales by it; a column whose values differ by rounding alone has scale 1.
    """
    mean = descriptors.mean(axis=0, dtype=np.float64)
    variance = np.square(descriptors - mean).mean(axis=0)
    n, eps = len(descriptors), np.finfo(np.float64).eps
    constant = variance <= n * eps * variance + (n * mean * eps) ** 2
    return mean, np.where(constant, 1.0, np.sqrt(variance))


def check_labels(data: MoleculeData, task_names: Sequence[str], kinds: Sequence[TaskType]) -> None:
    """Stop at labels that are not of these tasks.

    Raises
    ------
    ChempropError
        If the data have other tasks or no targets, a class is not 0 or 1, or a class is censored.
    """
    if data.targets is None or data.task_names != tuple(task_names):
        raise ChempropError(
            f"data: expected targets for {list(task_names)}; "
            f"found {list(data.task_names) if data.targets is not None else 'none'}"
        )
    is_class = np.array([kind == "classification" for kind in kinds])
    bad = np.argwhere(np.isfinite(data.targets) & ~np.isin(data.targets, (0.0, 1.0)) & is_class)
    if len(bad):
        row, task = bad[0]
        raise ChempropError(
            f"task {task_names[task]!r}: expected classes 0 and 1; "
            f"found {data.targets[row, task]:g} in row {row + 1}"
        )
    if data.censoring is not None:
        bad = np.argwhere((data.censoring != 0) & is_class)
        if len(bad):
            row, task = bad[0]
            raise ChempropError(
                f"task {task_names[task]!r}: expected classes without < and >; "
                f"found one in row {row + 1}"
            )


def scaling_of(data: MoleculeData, task_names: Sequence[str], kinds: Sequence[TaskType]) -> Scaling:
    """Return how training data with targets are scaled.

    Raises
    ------
    ChempropError
        If a task has no label.
    """
    assert data.targets is not None
    graphs, (atoms, bonds) = data.graphs, data.n_graph_features
    return Scaling(
        *label_scale(data.targets, task_names, kinds),
        None if data.descriptors is None else descriptor_scale(data.descriptors),
        descriptor_scale(graphs.atom_rows[graphs.atoms][:, OWN[0] :]) if atoms else None,
        descriptor_scale(graphs.bond_rows[graphs.bonds][:, OWN[1] :]) if bonds else None,
    )
