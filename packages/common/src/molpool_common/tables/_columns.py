"""Columns that must be there."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from molpool_common._errors import InputError, did_you_mean


def require_columns(
    frame: pl.DataFrame | Sequence[str], names: Sequence[str], *, key: str, where: str
) -> None:
    """Raise `InputError` for the first name that is not a column; says the nearest that is.

    Parameters
    ----------
    frame : DataFrame or sequence of str
        The table, or the names of its columns.
    names : sequence of str
        What must be among them.
    key, where : str
        What named them, and the table, for messages.
    """
    columns = frame.columns if isinstance(frame, pl.DataFrame) else frame
    for name in names:
        if name not in columns:
            raise InputError(
                key,
                expected="a column of the table",
                found=repr(name),
                where=where,
                hint=did_you_mean(name, columns),
            )


def smiles_column_of(names: Sequence[str], wanted: str, *, given: bool) -> str:
    """Return the column of SMILES of a table.

    Parameters
    ----------
    names : sequence of str
        Columns of the table.
    wanted : str
        What the column is called.
    given : bool
        Whether somebody said so: else one that only differs in case is taken, the first of several,
        or the only one that has SMILES in its name, as ``canonical_smiles``.
    """
    if given or wanted in names:
        return wanted
    alike = [name for name in names if name.casefold() == wanted.casefold()]
    of_kind = [name for name in names if "smiles" in name.casefold()]
    if alike or len(of_kind) == 1:
        return (alike or of_kind)[0]
    return wanted
