"""Several models of some tasks each, which together predict all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from chemprop_multitask.data import MoleculeData
from chemprop_multitask.errors import ChempropError, listed
from chemprop_multitask.model import ChempropModel
from chemprop_multitask.tasks import TaskType


class TaskwiseModel:
    """Models of groups of tasks; each task is predicted by the model that serves it.

    Groups may overlap: a task then helps to train several models and is predicted by one.

    Parameters
    ----------
    parts : sequence of ChempropModel
        Models whose `serves` together name the columns 0 to T - 1, each once.

    Raises
    ------
    ChempropError
        If a column is served by no model or by several.
    """

    def __init__(self, parts: Sequence[ChempropModel]) -> None:
        self.parts = list(parts)
        served = [(column, name) for part in parts for name, column in _served(part).items()]
        columns = sorted(column for column, _ in served)
        if not served or columns != list(range(len(served))):
            names = listed([name for _, name in sorted(served)])
            raise ChempropError(
                "parts: expected models that serve each task once, in columns from 0; found "
                f"{names or 'none'} in columns {columns}"
            )
        self.task_names: tuple[str, ...] = tuple(name for _, name in sorted(served))

    @property
    def task_types(self) -> tuple[TaskType, ...]:
        """Kind of each task."""
        kinds = {
            name: part.task_types[part.task_names.index(name)]
            for part in self.parts
            for name in _served(part)
        }
        return tuple(kinds[name] for name in self.task_names)

    def predict(
        self, molecules: MoleculeData | Sequence[str], *, batch_size: int | None = None
    ) -> NDArray[np.float64]:
        """Predict every task of every molecule.

        Parameters
        ----------
        molecules : MoleculeData or sequence of str
            N molecules or SMILES.
        batch_size : int, optional
            Molecules predicted at a time, by default as in training.

        Returns
        -------
        ndarray [N, T]
            Values in the unit of the training targets, or probabilities of class 1.
        """
        data = molecules if isinstance(molecules, MoleculeData) else MoleculeData(molecules)
        predicted = np.empty((len(data), len(self.task_names)))
        for part in self.parts:
            own = part.predict(data, batch_size=batch_size)
            for name, column in _served(part).items():
                predicted[:, column] = own[:, part.task_names.index(name)]
        return predicted


def _served(part: ChempropModel) -> Mapping[str, int]:
    """Return the columns of the tasks that a model serves; all of its own if it does not say."""
    if part.serves is not None:
        return part.serves
    return {name: column for column, name in enumerate(part.task_names)}
