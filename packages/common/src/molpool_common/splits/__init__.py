"""Splits of a table that keep every molecule in one split, by five methods."""

from molpool_common.splits._api import METHODS, kfold, split
from molpool_common.splits._methods import parse_times
from molpool_common.splits._rows import Split, molecule_groups

__all__ = ["METHODS", "Split", "kfold", "molecule_groups", "parse_times", "split"]
