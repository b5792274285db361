"""The columns of a table of predictions: those of the input as they are, then ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import polars as pl
from molpool_common import number_column

from molpool_pipelines.models._files import run_section
from molpool_pipelines.models._finished import Combined
from molpool_pipelines.models._protocol import GIVEN
from molpool_pipelines.runs import MEASURED, as_file


@dataclass(frozen=True)
class OutputColumns:
    """How predictions stand beside the input's columns.

    Parameters
    ----------
    source : str
        Name of the input.
    smiles : str
        Its column of SMILES.
    names : str or None
        That of ids; None where rows are told by their number.
    combined : Combined
        The models.
    levels : sequence of float
        Of the intervals.
    numbers : set of str
        Columns of the input that are text there and numbers in the output.
    measured : mapping of str to str
        Task of each column of the input that holds what was measured under another name.
    """

    source: str
    smiles: str
    names: str | None
    combined: Combined
    levels: Sequence[float]
    numbers: frozenset[str] = frozenset()
    measured: Mapping[str, str] = field(default_factory=dict)

    def beside(
        self, predicted: pl.DataFrame, carried: pl.DataFrame
    ) -> tuple[pl.DataFrame, dict[str, Any]]:
        """Return the rows as the file has them, and their description.

        Parameters
        ----------
        predicted : DataFrame [N]
            With the names that predictions have in memory.
        carried : DataFrame [N]
            The input, all of it.
        """
        own = predicted.drop("SMILES", *(["row", "id"] if self.names is not None else ["id"]))
        about = self._about
        frame, said = as_file(own, self.combined.tasks, of_tasks=self.combined.of_tasks(), **about)
        renamed = self._renamed(carried.columns, said, frame.columns)
        carried = carried.with_columns(
            number_column(carried, name, where=self.source) for name in self.numbers
        )
        said["id_column"] = "row" if self.names is None else renamed[self.names]
        said["smiles_column"] = renamed[self.smiles]
        first = ["row"] if self.names is None else []
        return (
            pl.DataFrame(
                [
                    *frame.select(first).get_columns(),
                    *carried.rename(renamed).get_columns(),
                    *frame.drop(first).get_columns(),
                ]
            ),
            said,
        )

    @cached_property
    def _about(self) -> dict[str, Any]:
        # Once: it has the digest of the models' files.
        about = self.combined.described()
        if any(model.calibration is not None for model in self.combined.models):
            about["levels"] = list(self.levels)
        return about

    def _renamed(
        self, carried: Sequence[str], said: dict[str, Any], own: Sequence[str]
    ) -> dict[str, str]:
        """Return what each column of the input is called beside ours.

        One that is called like a task is what was measured of it; the description says so.
        """
        taken = set(own)
        found: dict[str, str] = {}
        truths = {name: name for name in said["tasks"] if name not in self.measured.values()}
        truths |= self.measured
        for name in carried:
            new, task = name, truths.get(name)
            if task is not None and task not in self._converted:
                wanted = name if name in self.measured else f"{name}{MEASURED}"
                new = _free(wanted, taken | (set(carried) - {name}))
                said["tasks"][task]["columns"]["measured"] = new
            elif name in taken:
                new = _free(f"{name}{GIVEN}", taken | set(carried))
            taken.add(new)
            found[name] = new
        return found

    @cached_property
    def _converted(self) -> frozenset[str]:
        """Tasks of which a column of the input is not in the unit of the predictions."""
        found: set[str] = set()
        for model in self.combined.models:
            section = run_section(model.path, "data")
            # Sources have conversions of their own, by table.
            found |= {*(section.get("transforms") or {})}
            found |= set(model.tasks) if section.get("sources") else set()
        return frozenset(found)


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name
