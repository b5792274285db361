"""The registry: every data set that molpool knows by name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import yaml
from molpool_common import InputError, did_you_mean

from molpool_pipelines.datasets.model import Dataset


@cache
def registry() -> Mapping[str, Dataset]:
    """Return every known data set by name, in the registry's order.

    Returns
    -------
    mapping of str to Dataset
        Read-only.

    Raises
    ------
    pydantic.ValidationError
        If the registry that ships with the package is damaged.
    """
    text = files("molpool_pipelines.datasets").joinpath("registry.yaml").read_text("utf-8")
    entries = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return MappingProxyType(
        {name: Dataset.model_validate({"name": name, **entry}) for name, entry in entries.items()}
    )


def dataset(name: str) -> Dataset:
    """Return a data set by name.

    Raises
    ------
    InputError
        If the name is unknown; the message gives the nearest valid one.
    """
    known = registry()
    if name not in known:
        raise InputError(
            "data set",
            expected="a name of the data registry",
            found=repr(name),
            hint=did_you_mean(name, list(known)),
        )
    return known[name]
