"""An affinity matrix as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from task_affinity.errors import TaskAffinityError

if TYPE_CHECKING:
    import pandas as pd


def affinity_matrix_to_dataframe(affinity: Any, task_names: Sequence[str]) -> pd.DataFrame:
    """Return the matrix with the tasks as labels of rows and columns.

    Parameters
    ----------
    affinity : array_like [T, T]
        Row i receives from column j; entries may be NaN.
    task_names : sequence of str
        The tasks, in the order of rows and columns.

    Returns
    -------
    DataFrame [T, T]
        The values, unchanged.

    Raises
    ------
    TaskAffinityError
        If the matrix is not of a row and a column a name.
    """
    import numpy as np
    import pandas as pd

    matrix = np.asarray(affinity)
    names = list(task_names)
    if matrix.shape != (len(names), len(names)):
        raise TaskAffinityError(
            f"task_names: expected a name for each row and column of the matrix of shape"
            f" {matrix.shape}; found {len(names)}"
        )
    return pd.DataFrame(matrix, index=names, columns=names)
