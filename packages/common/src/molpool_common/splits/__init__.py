"""Splits of a table that keep every molecule in one split, by five methods."""

from molpool_common.splits._api import METHODS, kfold, split
from molpool_common.splits._given import (
    GivenSplit,
    SplitName,
    assign_rows,
    read_split_file,
    split_names,
)
from molpool_common.splits._methods import parse_times
from molpool_common.splits._rows import Split, joined_groups, molecule_groups

__all__ = [
    "METHODS",
    "GivenSplit",
    "Split",
    "SplitName",
    "assign_rows",
    "joined_groups",
    "kfold",
    "molecule_groups",
    "parse_times",
    "read_split_file",
    "split",
    "split_names",
]
