"""Predictions of one model for many who ask at once: in turn, bounded in number, size and time."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import pandas as pd
from molpool_common import InputError, draw_molecule

from molpool_pipelines.models import ServedModel

_ROWS = 256
"""Molecules between two looks at the clock."""


@dataclass(frozen=True)
class Answer:
    """Predictions of N molecules.

    Parameters
    ----------
    columns : mapping of str to list, length N
        As ``molpool-evaluate predict`` writes them; None for what there is not.
    tasks : mapping of str to mapping
        Of each task its type, unit and the names of its columns.
    """

    columns: dict[str, list[Any]]
    tasks: dict[str, Any]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The same, a row each."""
        return [
            dict(zip(self.columns, cells, strict=True))
            for cells in zip(*self.columns.values(), strict=True)
        ]


class TooBusyError(RuntimeError):
    """Others wait already, or a request takes longer than it may."""


class PredictionService:
    """A model that answers one request at a time.

    Parameters
    ----------
    run : Path
        Run folder or model file.
    max_molecules : int
        Of one request.
    timeout : float
        Seconds that one request may wait and take.
    waiting : int
        Requests that may wait beside the one that is answered.
    """

    def __init__(
        self, run: Path, *, max_molecules: int = 10_000, timeout: float = 120.0, waiting: int = 64
    ) -> None:
        self.name = run.resolve().name
        self.model = ServedModel(run)
        self.max_molecules = max_molecules
        self._timeout = timeout
        self._places = threading.BoundedSemaphore(waiting + 1)
        self._turn = threading.Lock()

    def predict(
        self, smiles: Sequence[str | None], level: float, *, structures: bool = False
    ) -> Answer:
        """Return what the model says of molecules.

        Parameters
        ----------
        smiles : sequence of str or None
            Molecules.
        level : float
            Share of new molecules that intervals shall cover.
        structures : bool
            Whether rows have ``structure``, a drawing in SVG.

        Raises
        ------
        InputError
            If there are too many.
        TooBusyError
            If others wait already, or it takes too long.
        """
        if len(smiles) > self.max_molecules:
            raise InputError(
                "molecules",
                expected=f"at most {self.max_molecules}",
                found=str(len(smiles)),
                hint="molpool-evaluate predict takes tables of any length.",
            )
        if not smiles:
            return Answer({}, {})
        given = pd.DataFrame({"SMILES": list(smiles)}, dtype=object)
        parts = []
        with self._in_turn() as deadline:
            for start in range(0, len(given), _ROWS):
                if monotonic() > deadline:
                    raise TooBusyError(f"no answer within {self._timeout:g} s")
                parts.append(self.model.described(given[start : start + _ROWS], level))
        joined = pd.concat([frame for frame, _ in parts], ignore_index=True)
        columns = {name: [_plain(cell) for cell in joined[name]] for name in joined.columns}
        if structures:
            columns["structure"] = [
                draw_molecule(text) if text is not None and reason is None else None
                for text, reason in zip(columns["SMILES"], columns["error"], strict=True)
            ]
        return Answer(columns, parts[0][1]["tasks"])

    @contextmanager
    def _in_turn(self) -> Iterator[float]:
        """Wait for this request's turn, and give the moment by which it has to be done."""
        deadline = monotonic() + self._timeout
        if not self._places.acquire(blocking=False):
            raise TooBusyError("too many requests wait already")
        try:
            if not self._turn.acquire(timeout=self._timeout):
                raise TooBusyError(f"no turn within {self._timeout:g} s")
            try:
                yield deadline
            finally:
                self._turn.release()
        finally:
            self._places.release()


def _plain(cell: Any) -> Any:
    # JSON has no word for what is not a number, nor for numbers of NumPy.
    cell = cell.item() if hasattr(cell, "item") else cell
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
