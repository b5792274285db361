"""Molecules without labels: read and checked before training, predicted after it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from molpool_common import InputError, RunFolder, listed, parse_smiles, read_table, require_columns
from numpy.typing import NDArray

from molpool_pipelines.fitting.config import TrainChempropConfig

KEY = "data.predict_path"


@dataclass(frozen=True)
class Unseen:
    """A table to predict.

    Parameters
    ----------
    name : str
        Stem of its file, by which the predictions are named.
    frame : DataFrame [N]
        ``row`` (from 1), ``id`` where the table has the column, ``SMILES``, and ``error``: why a
        SMILES does not parse, null where it does.
    smiles : list of str
        The M <= N molecules that parse.
    """

    name: str
    frame: pl.DataFrame
    smiles: list[str]

    @property
    def note(self) -> str | None:
        """What the user should know, where SMILES do not parse."""
        rows = self.frame.filter(pl.col("error").is_not_null())["row"].to_list()
        if not rows:
            return None
        return (
            f"{self.name}: {len(rows)} of {len(self.frame)} rows get no prediction, their SMILES "
            f"do not parse (rows {listed(rows)})."
        )


def read_unseen(config: TrainChempropConfig) -> Unseen | None:
    """Read the table that `data.predict_path` names, if it names one.

    Raises
    ------
    InputError
        If the table is missing or no table, has no column of SMILES, a SMILES does not parse (with
        `on_bad_smiles: error`) or none does.
    """
    if config.data.predict_path is None:
        return None
    path = Path(config.data.predict_path)
    frame = _read(path)
    column = config.data.smiles_column
    require_columns(frame, [column], key="data.smiles_column", where=path.name)
    smiles = frame[column].cast(pl.String)
    parsed = parse_smiles(smiles.to_list())
    errors: list[str | None] = [None] * frame.height
    for row, _, reason in parsed.bad:
        errors[row] = reason
    if parsed.bad and (config.on_bad_smiles == "error" or len(parsed.bad) == frame.height):
        raise _unparsable(errors, smiles, column, path.name)
    names = config.data.id_column
    columns = {
        "row": pl.Series(range(1, frame.height + 1)),
        **({"id": frame[names].cast(pl.String)} if names in frame.columns else {}),
        "SMILES": smiles,
        "error": pl.Series(errors, dtype=pl.String),
    }
    table = pl.DataFrame(columns)
    readable = table.filter(pl.col("error").is_null())["SMILES"].to_list()
    return Unseen(path.name.partition(".")[0], table, readable)


def _read(path: Path) -> pl.DataFrame:
    try:
        return read_table(path)
    except InputError as error:
        if error.parameter != "data_path":
            raise
        raise InputError(
            KEY, expected=error.expected, found=error.found, where=error.where, hint=error.hint
        ) from None


def _unparsable(errors: list[str | None], smiles: pl.Series, column: str, where: str) -> InputError:
    rows = [i for i, error in enumerate(errors) if error is not None]
    text = smiles[rows[0]]
    return InputError(
        f"column {column!r}",
        expected="SMILES that RDKit parses",
        found=f"{'nothing' if text is None else repr(text)} in row {rows[0] + 1} "
        f"({errors[rows[0]]})",
        where=where,
        hint=f"Rows: {listed([row + 1 for row in rows])} ({len(rows)} of {len(errors)}). "
        "--on-bad-smiles drop leaves them without a prediction.",
    )


def write_unseen(
    run: RunFolder,
    unseen: Unseen,
    task_names: tuple[str, ...],
    mean: NDArray[np.float64],
    sd: NDArray[np.float64] | None,
) -> list[Path]:
    """Write ``predictions_NAME.parquet`` and ``.csv``: ``TASK`` and, of ensembles, ``TASK_sd``.

    Parameters
    ----------
    run : RunFolder
        Where.
    unseen : Unseen
        N rows, M of them molecules.
    task_names : tuple of str
        Names of the T tasks.
    mean, sd : ndarray [M, T]
        Predictions and the members' standard deviation.

    Returns
    -------
    list of Path
    """
    there = unseen.frame["error"].is_null().to_numpy()
    columns = unseen.frame.drop("error").get_columns()
    for t, task in enumerate(task_names):
        for name, values in ((task, mean), (f"{task}_sd", sd)):
            if values is not None:
                column = np.full(len(there), np.nan)
                column[there] = values[:, t]
                columns.append(pl.Series(name, column).fill_nan(None))
    frame = pl.DataFrame(columns)
    if not there.all():
        frame = frame.with_columns(unseen.frame["error"])
    name = f"predictions_{unseen.name}"
    return [
        run.write_frame(f"{name}.parquet", frame),
        run.write_text(f"{name}.csv", frame.write_csv()),
    ]
