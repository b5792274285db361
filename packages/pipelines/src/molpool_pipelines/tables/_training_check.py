"""What training would say of a table, and a command line that would work."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from molpool_common import Fault, Faults, InputError, MoleculeTable, TableError

from molpool_pipelines.tables._cells import Wanted
from molpool_pipelines.tables._molecules import Reading
from molpool_pipelines.tables._table_config import DataConfig, SourceConfig

_LEAST = 2
"""Labels that training wants of a task."""


@dataclass(frozen=True)
class TrainingCheck:
    """What training would refuse.

    Parameters
    ----------
    faults : tuple of Fault
        All that is wrong; none where the table can be trained on as it is.
    command : str or None
        A command line that works, tried out as far as reading goes; None where none was found.
    """

    faults: tuple[Fault, ...]
    command: str | None

    @property
    def lines(self) -> list[str]:
        """What the screen says."""
        command = [f"  {self.command}"] if self.command else []
        if not self.faults:
            return ["Training takes the table as it is:", *command]
        said = str(TableError(self.faults)).splitlines()
        head = "Training refuses the table as it is:"
        listed = [head, f"  {said[0]}"] if len(self.faults) == 1 else [head, *said[1:]]
        return [*listed, "This would work:", *command] if command else listed

    def refuse(self, error: InputError) -> InputError:
        """Return an error that could not be lived with, with all faults and the command."""
        said = str(TableError(self.faults, error.where) if len(self.faults) > 1 else error)
        # In words of its own: the list of faults is longer than one parameter and what was found.
        whole = TableError(self.faults or [Fault(error.parameter, error.expected, error.found)])
        whole.args = (f"{said}\nThis would work: {self.command}" if self.command else said,)
        return whole


def check_training(
    sources: Sequence[SourceConfig],
    wanted: Wanted,
    command: Sequence[str],
    table: MoleculeTable | None = None,
) -> TrainingCheck:
    """Return what training would say of tables.

    Parameters
    ----------
    sources : sequence of SourceConfig
        The tables.
    wanted : Wanted
        What is read of them.
    command : sequence of str
        The command that trains on them, without targets and without what bad SMILES ask for.
    table : MoleculeTable, optional
        What was read of them as `wanted` has it; where no row was left out, it says all.
    """
    if table is not None and table.dropped.is_empty():
        labels = np.isfinite(table.targets).sum(axis=0)
        if (labels >= _LEAST).all():
            flags = [*command, "--target-columns", *wanted.config.target_columns]
            return TrainingCheck((), shlex.join(flags))
    strict = replace(wanted, on_bad_smiles="error", min_labels=_LEAST)
    reading = _read(sources, strict)
    faults = tuple(reading.faults)
    targets = [t for t in wanted.config.target_columns if t not in reading.faulty]
    if not targets:
        return TrainingCheck(faults, None)
    flags = [*command, "--target-columns", *targets]
    if not faults:
        return TrainingCheck((), shlex.join(flags))
    lenient = replace(strict, on_bad_smiles="drop", config=_of_targets(wanted.config, targets))
    # Tried out rather than concluded: what is left may have faults that others hid.
    if len(_read([_of_source(source, targets) for source in sources], lenient).faults):
        return TrainingCheck(faults, None)
    return TrainingCheck(faults, shlex.join([*flags, "--on-bad-smiles", "drop"]))


def _read(sources: Sequence[SourceConfig], wanted: Wanted) -> Reading:
    reading = Reading(wanted, Faults())
    for source in sources:
        with reading.faults.catching():
            reading.source(source)
    reading.check_labels()
    return reading


def _of_targets(config: DataConfig, targets: Sequence[str]) -> DataConfig:
    return config.model_copy(update={"target_columns": list(targets)})


def _of_source(source: SourceConfig, targets: Sequence[str]) -> SourceConfig:
    columns = {t: c for t, c in source.columns.items() if t in targets}
    return source.model_copy(update={"columns": columns})
