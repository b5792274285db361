"""Tables read, bags made, sides chosen: all that can be wrong with the input is found here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from mil_attn import BagData, MILError, make_folds, stored_folds
from molpool_common.errors import InputError, listed
from molpool_common.splits import Split
from molpool_common.table import number_column, read_table, require_columns

from molpool_train.mil.config import Side, TrainMILConfig
from molpool_train.mil.data import read_bags

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
    data = read_bags(config, config.data_path, progress=progress)
    split = _split(config, data)
    unseen = (
        read_bags(config, config.data.predict_path, labelled=False, progress=progress)
        if config.data.predict_path
        else None
    )
    return MILInputs(data, split, unseen, _notes(data, split))


def _split(config: TrainMILConfig, data: BagData) -> Split:
    section = config.split
    seed = section.split_seed if section.split_seed is not None else config.seed
    if section.split_type == "stored":
        assert section.fold_column is not None
        folds = stored_folds(
            _column(config, data, section.fold_column, folds=True).cast(pl.Float64).to_numpy(),
            labels=data.labels,
            val_ratio=section.val_ratio,
            seed=seed,
        )
    else:
        plate = section.plate_column
        folds = make_folds(
            section.split_type,
            section.n_folds,
            groups=_molecules(data),
            labels=data.labels,
            smiles=data.smiles,
            plates=_column(config, data, plate).to_list() if plate else None,
            val_ratio=section.val_ratio,
            seed=seed,
        )
    if section.fold >= len(folds):
        raise InputError("split.fold", expected=f"0 to {len(folds) - 1}", found=f"{section.fold}")
    return folds[section.fold]


def _molecules(data: BagData) -> Sequence[str]:
    """Return the key of each bag's molecule: its InChIKey block, or its own name."""
    if data.smiles is None:
        return data.ids
    from molpool_common.chem import parse_smiles
    from molpool_common.splits import molecule_groups

    keys: list[str] = molecule_groups(parse_smiles(data.smiles).require_all()).tolist()
    return keys


def _column(config: TrainMILConfig, data: BagData, name: str, *, folds: bool = False) -> pl.Series:
    """Return a column of the table, or of that of the folds, in the order of the bags."""
    assert config.data_path is not None
    path = Path(config.split.fold_path or config.data_path) if folds else Path(config.data_path)
    frame = read_table(path)
    key = "split.fold_column" if folds else "split.plate_column"
    conditions = config.split.fold_where if folds else {}
    require_columns(frame, [name, *conditions], key=key, where=path.name)
    for column, value in conditions.items():
        frame = frame.filter(pl.col(column).cast(pl.String) == value)
    ids = config.data.id_column or {"bags": "bag_id", "features": "id"}.get(config.data.kind)
    if ids is None:
        frame, ids = frame.with_row_index("row", offset=1), "row"
    require_columns(frame, [ids], key="data.id_column", where=path.name)
    values = number_column(frame, name, where=path.name) if folds else frame[name]
    by_id = dict(zip(frame[ids].cast(pl.String).to_list(), values.to_list(), strict=True))
    missing = [bag for bag in data.ids if by_id.get(bag) is None]
    if missing:
        raise InputError(
            key,
            expected="a value for each bag",
            found=f"none for {listed([repr(bag) for bag in missing])}",
            where=path.name,
        )
    return pl.Series(name, [by_id[bag] for bag in data.ids])


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


def check_sides(inputs: MILInputs) -> None:
    """Raise unless each side has a bag."""
    for side in SIDES:
        if not len(getattr(inputs.split, side)):
            raise MILError(f"split: expected bags on the {side} side; found none.")


def positives(data: BagData) -> list[int]:
    """Return the number of positive labels of each task."""
    assert data.labels is not None
    return [int(n) for n in np.nansum(data.labels == 1, axis=0)]
