"""Public data sets by name: where they come from, what they must hash to, on which terms.

Examples
--------
>>> from molpool_pipelines.datasets import locate, registry
>>> registry()["biogen"].licence.id
'MIT'
>>> path = locate("biogen")  # doctest: +SKIP
"""

from molpool_pipelines.datasets.catalogue import dataset, registry
from molpool_pipelines.datasets.fetch import Outcome, Progress, fetch
from molpool_pipelines.datasets.model import DataFile, Dataset, Licence, Source
from molpool_pipelines.datasets.store import (
    DATA_VARIABLE,
    cache_folder,
    data_folders,
    find,
    locate,
    sha256,
)

__all__ = [
    "DATA_VARIABLE",
    "DataFile",
    "Dataset",
    "Licence",
    "Outcome",
    "Progress",
    "Source",
    "cache_folder",
    "data_folders",
    "dataset",
    "fetch",
    "find",
    "locate",
    "registry",
    "sha256",
]
