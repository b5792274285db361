"""The bags of a run: those of one table, divided, or of two, the second of which tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from molpool_common import (
    FloatArray,
    InputError,
    IntArray,
    Split,
    joined_groups,
    listed,
    on_two_sides,
    overlap_words,
)
from numpy.typing import NDArray

from mil_attn._config import MILRunConfig
from mil_attn._errors import MILError
from mil_attn.data._bag_data import BagData
from mil_attn.data._smiles import Describe2D
from mil_attn.data._source import Progress, read_bags, with_features_of
from mil_attn.training._folds import hold_out, keys_and_series, split_bags, split_notes


@dataclass(frozen=True)
class SplitBags:
    """Bags with their split.

    Parameters
    ----------
    data : BagData
        All bags that are used.
    split : Split
        Which of them train, validate and test.
    notes : list of str
        What the user should know of the split.
    tables : list of (str, BagData)
        Each table by the name of its file, as read.
    """

    data: BagData
    split: Split
    notes: list[str]
    tables: list[tuple[str, BagData]]


def read_split_bags(
    config: MILRunConfig,
    *,
    progress: Progress | None = None,
    describe_2d: Describe2D | None = None,
) -> SplitBags:
    """Read the bags that a configuration names, and divide them as it says.

    Parameters
    ----------
    config : MILRunConfig
        With ``data_path``; ``data.test_path`` names a second table, whose bags test.
    progress : callable, optional
        Called as molecules are computed.
    describe_2d : callable, optional
        As of `BagData.from_smiles`.

    Raises
    ------
    InputError, MILError
        As `read_bags` and `split_bags`; or if a molecule is in both tables and
        ``split.split_overlap`` refuses that.
    """
    if config.data_path is None:
        raise InputError("data_path", expected="a table", found="none")
    how: dict[str, Any] = {"progress": progress, "read": config.read, "describe_2d": describe_2d}
    first = read_bags(config.data_path, config.data, config, **how)
    name = Path(config.data_path).name
    if config.data.test_path is None:
        split = split_bags(first, config)
        return SplitBags(first, split, split_notes(first, split, config), [(name, first)])
    own = with_features_of(config.data, first)
    second = read_bags(config.data.test_path, own, config, **how)
    tables = [(name, first), (Path(config.data.test_path).name, second)]
    return _of_two(first, second, config, tables)


def _of_two(
    first: BagData, second: BagData, config: MILRunConfig, tables: list[tuple[str, BagData]]
) -> SplitBags:
    notes = []
    twice = _of_tested_molecules(first, second, config)
    if len(twice):
        notes.append(_overlap(first, twice, config))
    if config.split.split_overlap == "drop":
        first = first.take(np.setdiff1d(np.arange(len(first)), twice))
    given = config.split.split_column or config.split.split_file
    parts = split_bags(first, config) if given else hold_out(first, config)
    numbered = config.data.names is None
    data = joined_bags(first, _named_apart(first, second, tables[1][0], numbered=numbered))
    tested = np.concatenate([parts.test, np.arange(len(first), len(data))])
    return SplitBags(data, Split(parts.train, parts.val, tested), notes, tables)


def _of_tested_molecules(first: BagData, second: BagData, config: MILRunConfig) -> IntArray:
    """Return the bags of the first table whose molecule, or series, is in the second."""
    of_test = config.model_copy(update={"data_path": config.data.test_path})
    (keys, series), (others, theirs) = (
        keys_and_series(first, config),
        keys_and_series(second, of_test),
    )
    every: Sequence[str] = [*keys, *others]
    if series is not None and theirs is not None:
        every = joined_groups(every, [*series, *theirs])
    n = len(first)
    sides = Split(np.arange(n), np.arange(0), np.arange(n, n + len(second)))
    return on_two_sides(sides, every)[0]


def _overlap(first: BagData, twice: IntArray, config: MILRunConfig) -> str:
    words = overlap_words(len(twice), len(twice), 0).replace("the given split", "the two tables")
    found = f"{words}: {listed([first.ids[i] for i in twice], 3)}"
    if config.split.split_overlap == "error":
        raise InputError("split.split_overlap", expected="each molecule in one split", found=found)
    done = (
        "these bags are left out of training"
        if config.split.split_overlap == "drop"
        else "kept as given, and scores are too good by as much"
    )
    return f"{found}; {done} (--split.split-overlap)."


def _named_apart(first: BagData, second: BagData, file: str, *, numbered: bool) -> BagData:
    """Return the bags of the second table, those named as one of the first by their file too."""
    known = set(first.ids)
    # Numbers of rows are names of nothing: all of them are told apart.
    ids = [f"{name} ({file})" if numbered or name in known else name for name in second.ids]
    return second.replace(ids=ids)


def joined_bags(first: BagData, second: BagData) -> BagData:
    """Return the bags of two data sets of the same features and tasks.

    Raises
    ------
    MILError
        If features or tasks differ, or an id comes twice.
    """
    for name in ("feature_names_3d", "feature_names_2d", "task_names", "aux_names"):
        own, theirs = getattr(first, name), getattr(second, name)
        if own != theirs:
            raise MILError(f"{name}: expected {own} in both tables; found {theirs} in one.")
    both = (first, second)
    arrays = {
        name: _stacked([getattr(bags, name) for bags in both])
        for name in ("instances", "x2d", "labels")
    }
    texts = {
        name: _chained([getattr(bags, name) for bags in both])
        for name in ("ids", "smiles", "instance_ids", "failures")
    }
    aux = {group: np.concatenate([bags.aux[group] for bags in both]) for group in first.aux}
    return first.replace(
        **arrays,
        **texts,
        aux=aux,
        aux_weights={},
        weights=_stacked([_weights(bags) for bags in both])
        if any(bags.weights is not None for bags in both)
        else None,
        # Unknown where one table has none.
        energies=_stacked(
            [
                np.full(bags.n_instances, np.nan) if bags.energies is None else bags.energies
                for bags in both
            ]
        )
        if any(bags.energies is not None for bags in both)
        else None,
        offsets=np.concatenate([first.bounds, first.bounds[-1] + second.bounds[1:]]),
        undefined_ok=any(bags.undefined_ok for bags in both),
        notes=tuple(dict.fromkeys([*first.notes, *second.notes])),
    )


def _weights(bags: BagData) -> FloatArray | None:
    if bags.weights is not None or bags.labels is None:
        return bags.weights
    return np.ones(bags.labels.shape)


def _stacked(parts: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    there = [part for part in parts if part is not None]
    return np.concatenate(there) if len(there) == len(parts) else None


def _chained(parts: Sequence[Sequence[object] | None]) -> list[object] | None:
    there = [part for part in parts if part is not None]
    return [value for part in there for value in part] if len(there) == len(parts) else None
