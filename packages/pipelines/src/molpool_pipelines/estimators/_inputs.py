"""Molecules and labels as notebooks hold them: lists, arrays, series and frames of any library."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import narwhals as nw
import numpy as np
from molpool_common import FloatArray, InputError, listed


def level_of(return_interval: Any, default: float) -> float:
    """Return the share that intervals shall cover; the default where none are asked for.

    Raises
    ------
    InputError
        If it is no number between 0 and 1.
    """
    if return_interval is None:
        return default
    is_number = isinstance(return_interval, Real) and not isinstance(return_interval, bool)
    if not (is_number and 0 < return_interval < 1):
        raise InputError(
            "return_interval",
            expected="a share between 0 and 1, such as 0.9, or None",
            found=repr(return_interval),
        )
    return float(return_interval)


def smiles_of(X: Any, column: str | None = None) -> list[str | None]:
    """Return the SMILES of N molecules.

    Parameters
    ----------
    X : list, array, series or frame
        SMILES or RDKit molecules; of a frame those of `column`.
    column : str or None
        By default ``SMILES`` in any case, or the only column of text.

    Raises
    ------
    InputError
        If there is no such column, or X is a single text.
    """
    if isinstance(X, (str, bytes)):
        raise InputError("X", expected="molecules", found="a single text", hint="Put it in [].")
    frame = nw.from_native(X, eager_only=True, pass_through=True)
    if isinstance(frame, nw.DataFrame):
        cells = frame[_column(frame, column)].to_list()
    else:
        # A column of an array is what scikit-learn makes of a list of molecules.
        cells = np.asarray(X, dtype=object).reshape(-1).tolist() if _is_column(X) else list(X)
    if not cells:
        raise InputError("X", expected="at least one molecule", found="none")
    return [_text(cell) for cell in cells]


def _is_column(X: Any) -> bool:
    return isinstance(X, np.ndarray) and X.ndim == 2 and X.shape[1] == 1


def _column(frame: nw.DataFrame[Any], column: str | None) -> str:
    if column is not None:
        if column not in frame.columns:
            raise InputError(
                "smiles_column", expected=f"one of {listed(frame.columns)}", found=repr(column)
            )
        return column
    texts = [n for n, kind in frame.schema.items() if kind in (nw.String, nw.Object)]
    named = [name for name in texts if name.lower() == "smiles"] or texts
    if len(named) != 1:
        raise InputError(
            "X",
            expected="one column of SMILES",
            found=f"columns {listed(frame.columns)}",
            hint="smiles_column names it.",
        )
    return named[0]


def _text(cell: Any) -> str | None:
    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, float) and np.isnan(cell):
        return None
    # RDKit takes half a second to import.
    from rdkit import Chem

    if not isinstance(cell, Chem.Mol):
        raise InputError("X", expected="SMILES or RDKit molecules", found=type(cell).__name__)
    return Chem.MolToSmiles(cell)


@dataclass(frozen=True)
class Targets:
    """Labels of N molecules in T tasks.

    Parameters
    ----------
    values : ndarray [N, T]
        NaN where there is none.
    names : tuple of str, length T
        Of the tasks.
    is_single : bool
        Whether they came as one column, and predictions go out as one.
    """

    values: FloatArray
    names: tuple[str, ...]
    is_single: bool

    @classmethod
    def of(cls, y: Any) -> Targets:
        """Return labels of a list, an array, a series or a frame of numbers.

        Raises
        ------
        InputError
            If they are no numbers.
        """
        native = nw.from_native(y, allow_series=True, eager_only=True, pass_through=True)
        names: tuple[str, ...] = ()
        if isinstance(native, nw.DataFrame):
            names = tuple(str(name) for name in native.columns)
        elif isinstance(native, nw.Series) and native.name is not None:
            names = (str(native.name),)
        try:
            values = np.asarray(y, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputError("y", expected="numbers", found=str(error)) from None
        if values.ndim not in (1, 2) or not values.size:
            raise InputError("y", expected="labels [N] or [N, T]", found=f"shape {values.shape}")
        is_single = values.ndim == 1
        values = values.reshape(len(values), -1)
        return cls(values, names or _numbered(values.shape[1]), is_single)

    def check_rows(self, n: int, what: str) -> None:
        """Raise `InputError` unless there is a row for each of `n` molecules or bags."""
        if n != len(self.values):
            raise InputError(
                "y", expected=f"a row for each of {n} {what}", found=str(len(self.values))
            )


def _numbered(n_tasks: int) -> tuple[str, ...]:
    return ("y",) if n_tasks == 1 else tuple(f"y{i}" for i in range(n_tasks))
