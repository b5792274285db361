"""What the intervals of a run need of a table that is predicted: strata, and its molecules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from molpool_common import FloatArray, InputError, parse_smiles

from molpool_pipelines.models._calibration import Calibration
from molpool_pipelines.models._config import PredictConfig, ShiftKind
from molpool_pipelines.models._files import calibration_smiles, run_key
from molpool_pipelines.models._shift import MOST_NEW, ShiftModel
from molpool_pipelines.scores import NearestTraining
from molpool_pipelines.tables import TableFiles


def strata_column(
    config: PredictConfig, path: Path, table: TableFiles, calibration: Calibration | None
) -> str | None:
    """Return the column of strata in a table, where the intervals need one.

    Raises
    ------
    InputError
        If the table has no such column, or one is named for nothing.
    """
    if calibration is None or not calibration.has_strata:
        if config.strata_column is not None:
            raise InputError(
                "--strata-column",
                expected="none: the run's intervals have no strata",
                found=repr(config.strata_column),
            )
        return None
    column = config.strata_column or run_key(path, "strata_column")
    return table.require(str(column), "--strata-column")


def shift_kind(config: PredictConfig, path: Path) -> ShiftKind:
    """Return by what calibration rows are weighted: as asked for, else as in the run."""
    return config.shift or run_key(path, "shift") or "none"


def sample_of(table: TableFiles, smiles: str, total: int) -> Callable[[], list[str]]:
    """Return what reads molecules of a table, evenly over its rows where there are many."""

    def read() -> list[str]:
        step = max(1, total // MOST_NEW)
        found: list[str | None] = []
        done = 0
        for frame in table.texts([smiles], 1 << 14):
            found += frame[smiles][-done % step :: step].to_list()
            done += frame.height
        return [text for text in found if text]

    return read


def shift_toward(
    kind: ShiftKind,
    path: Path,
    calibration: Calibration | None,
    nearest: NearestTraining | None,
    sample: Callable[[], list[str]],
) -> tuple[ShiftModel, str]:
    """Return what weighs the calibration rows toward a table's molecules, and a note of it.

    Parameters
    ----------
    kind : {"similarity", "structure"}
        By what.
    path : Path
        The model.
    calibration : Calibration or None
        Of its run.
    nearest : NearestTraining or None
        Finds the nearest training molecule.
    sample : callable
        Reads molecules of the table.

    Raises
    ------
    InputError
        If the run has no calibration, or does not name the molecules of it.
    """
    known = calibration_smiles(path)
    if calibration is None or nearest is None or not known:
        raise InputError(
            "--shift",
            expected="a run folder with calibration and predictions of molecules",
            found=str(path),
        )
    shift = ShiftModel(kind, *_placed(known, nearest), *_placed(sample(), nearest))
    effective = shift.of([], np.empty(0)).effective
    note = (
        f"Intervals weighted toward these molecules by {kind}: {len(known)} calibration rows "
        f"count as {effective:.0f}."
    )
    return shift, note


def _placed(smiles: Sequence[str], nearest: NearestTraining) -> tuple[list[str], FloatArray]:
    """Return the molecules that parse, and how far they are from those that trained."""
    read = [(text, mol) for text, mol in zip(smiles, parse_smiles(smiles).mols, strict=True)]
    there = [(text, mol) for text, mol in read if mol is not None]
    return [text for text, _ in there], 1 - nearest.find([mol for _, mol in there]).similarity
