"""Splits of a table that keep every molecule in one split, by five methods."""

from molpool_common.splits._api import METHODS, kfold, split
from molpool_common.splits._given import (
    GivenSplit,
    SplitName,
    assign_rows,
    on_two_sides,
    overlap_words,
    read_split_file,
    split_names,
    without_overlap,
)
from molpool_common.splits._rows import (
    ClusterMethod,
    Split,
    Standardize,
    Structure,
    joined_groups,
    molecule_groups,
)
from molpool_common.splits._times import TimesError, parse_times

__all__ = [
    "METHODS",
    "ClusterMethod",
    "GivenSplit",
    "Split",
    "SplitName",
    "Standardize",
    "Structure",
    "TimesError",
    "assign_rows",
    "joined_groups",
    "kfold",
    "molecule_groups",
    "on_two_sides",
    "overlap_words",
    "parse_times",
    "read_split_file",
    "split",
    "split_names",
    "without_overlap",
]
