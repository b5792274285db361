"""Labels that are bounds: the signs ``<`` and ``>`` of a measurement."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chemprop_multitask.errors import ChempropError, listed

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
    targets: NDArray[np.float64] | None,
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
