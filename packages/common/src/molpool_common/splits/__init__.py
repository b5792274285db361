"""Splits of a table that keep every molecule in one split, by five methods."""

from molpool_common.splits._api import METHODS, kfold, split
from molpool_common.splits._rows import molecule_groups
from molpool_common.splits._split import Split
from molpool_common.splits._time import parse_times

__all__ = ["METHODS", "Split", "kfold", "molecule_groups", "parse_times", "split"]
