"""Tables read, bags made, sides chosen: all that can be wrong with the input is found here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from mil_attn import BagData, MILError, read_bags, split_bags
from mil_attn import SplitName as Side
from molpool_common import InputError, Split, did_you_mean, listed

from molpool_pipelines.fitting.config import TrainMILConfig

SIDES: tuple[Side, ...] = ("train", "val", "test")
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class MILInputs:
    """What a run starts from.

    Parameters
    ----------
    data : BagData
        All bags.
    split : Split
        Their sides.
    unseen : BagData or None
        Bags of ``data.predict_path``, without labels.
    notes : list of str
        What the user should know.
    """

    data: BagData
    split: Split
    unseen: BagData | None
    notes: list[str]

    @property
    def sides(self) -> list[Side]:
        """Sides that have bags."""
        return [side for side in SIDES if len(getattr(self.split, side))]

    def side(self, name: Side) -> BagData:
        """Return the bags of a side."""
        return self.data.take(getattr(self.split, name))


def read_inputs(config: TrainMILConfig, progress: Progress | None = None) -> MILInputs:
    """Read tables, compute features, choose sides.

    Raises
    ------
    InputError, MILError
        For what is wrong with the tables or does not fit them.
    """
    if config.data_path is None:
        raise InputError("data_path", expected="a table", found="none")
    section = config.data
    data = read_bags(config.data_path, section, config, progress=progress)
    split = split_bags(data, config)
    unseen = (
        read_bags(section.predict_path, section, config, labelled=False, progress=progress)
        if section.predict_path
        else None
    )
    return MILInputs(data, split, unseen, _notes(data, split))


def _notes(data: BagData, split: Split) -> list[str]:
    notes = []
    if data.failures:
        reasons = listed([f"{f.id} ({f.reason})" for f in data.failures], limit=3)
        notes.append(f"Left out {len(data.failures)} molecules without features: {reasons}.")
    sizes = data.sizes
    counts = ", ".join(f"{len(getattr(split, side))} {side}" for side in SIDES)
    instances = (
        f", {data.n_instances} instances ({sizes.min()} to {sizes.max()} a bag)"
        if data.instances is not None
        else ", no instances"
    )
    notes.append(f"{len(data)} bags: {counts}{instances}.")
    return notes


def check_inputs(config: TrainMILConfig, inputs: MILInputs) -> None:
    """Raise unless each side has a bag, and thresholds are of tasks that there are.

    Without a share of bags to validate on, there need not be any.
    """
    for side in SIDES:
        wanted = side != "val" or config.split.val_ratio > 0
        if wanted and side not in inputs.sides:
            raise MILError(f"split: expected bags on the {side} side; found none.")
    tasks = inputs.data.task_names
    for name in config.thresholds:
        if name not in tasks:
            raise MILError(f"thresholds: found {name!r}. {did_you_mean(name, tasks)}")


def positives(data: BagData) -> list[int]:
    """Return the number of positive labels of each task."""
    assert data.labels is not None
    return [int(n) for n in np.nansum(data.labels == 1, axis=0)]
