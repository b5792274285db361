"""Molecules as Chemprop graphs with sparse targets and row weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from chemprop.data.datasets import Datum
from chemprop.data.molgraph import MolGraph
from molpool_common import MoleculeTable
from numpy.typing import NDArray
from rdkit import Chem
from torch.utils.data import Dataset

from chemprop_multitask.censoring import checked_censoring
from chemprop_multitask.errors import ChempropError
from chemprop_multitask.graphs import GraphStore, Progress, pack


class RowWeights(Protocol):
    """Loss weight a row, asked for anew whenever the row is drawn."""

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
    cache : GraphStore, str or Path, optional
        Where graphs of SMILES are kept between runs: a store, or its folder. By default they are
        kept in memory only.
    progress : callable, optional
        Told how many molecules of how many are featurised.

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
        targets: NDArray[np.float64] | None = None,
        *,
        task_names: Sequence[str] = (),
        weights: RowWeights | None = None,
        censoring: NDArray[np.int8] | None = None,
        cache: GraphStore | str | Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.task_names = tuple(task_names)
        self.targets = _checked_targets(targets, len(molecules), self.task_names)
        self.censoring = checked_censoring(censoring, self.targets, self.task_names)
        if weights is not None and len(weights) != len(molecules):
            raise ChempropError(
                f"weights: expected one for each of {len(molecules)} molecules; "
                f"found {len(weights)}"
            )
        self._weights = weights
        self._scaled = self.targets
        store = GraphStore(cache) if isinstance(cache, str | Path) else cache
        self.graphs = pack(molecules, store, progress)

    @classmethod
    def from_table(
        cls,
        table: MoleculeTable,
        *,
        weights: RowWeights | None = None,
        cache: GraphStore | str | Path | None = None,
    ) -> MoleculeData:
        """Return the molecules of a table with its targets and bounds; see the class.

        Parameters
        ----------
        table : MoleculeTable
            N molecules.
        weights : RowWeights, optional
            Loss weight of each row.
        cache : GraphStore, str or Path, optional
            Where graphs are kept.
        """
        return cls(
            table.smiles,
            table.targets,
            task_names=table.task_names,
            weights=weights,
            censoring=table.censoring,
            cache=cache,
        )

    def __len__(self) -> int:
        return len(self.graphs)

    def __getitem__(self, row: int) -> Datum:
        y = None if self._scaled is None else self._scaled[row]
        signs = None if self.censoring is None else self.censoring[row]
        below = None if signs is None else signs < 0
        above = None if signs is None else signs > 0
        return Datum(self.graph(row), None, None, y, self.weight(row), below, above)

    def graph(self, row: int) -> MolGraph:
        """Return the featurised graph of a row, in single precision."""
        return self.graphs.graph(row)

    def weight(self, row: int) -> float:
        """Return the loss weight of a row now."""
        return 1.0 if self._weights is None else self._weights[row]

    def labels(self, rows: Sequence[int]) -> NDArray[np.float64] | None:
        """Return the targets [B, T] of rows, scaled where the data are."""
        return None if self._scaled is None else self._scaled[list(rows)]

    def scaled(self, mean: NDArray[np.float64], scale: NDArray[np.float64]) -> MoleculeData:
        """Return the same molecules, graphs shared, with targets as (y - mean) / scale."""
        twin = object.__new__(MoleculeData)
        twin.__dict__.update(self.__dict__)
        if self.targets is not None:
            twin._scaled = (self.targets - mean) / scale
        return twin


def _checked_targets(
    targets: NDArray[np.float64] | None, n: int, task_names: Sequence[str]
) -> NDArray[np.float64] | None:
    if targets is None:
        return None
    array = np.asarray(targets, dtype=np.float64)
    if array.shape != (n, len(task_names)):
        raise ChempropError(
            f"targets: expected shape {(n, len(task_names))}, a row a molecule and a column a name "
            f"in task_names; found {array.shape}"
        )
    infinite = np.argwhere(np.isinf(array))
    if len(infinite):
        row, task = infinite[0]
        raise ChempropError(
            "targets: expected finite values or NaN; "
            f"found infinity in row {row + 1}, task {task_names[task]!r}"
        )
    return array
