"""Ways of finding the few standard deviations of a model, one a module."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rt_ridge.hierarchy import Hierarchy
    from rt_ridge.scales.posterior import ScalePosterior

MODULES = {
    "map": "map_",
    "ml": "likelihood",
    "reml": "likelihood",
    "laplace": "laplace",
    "nuts": "nuts",
    "advi": "advi",
}


def find_scales(hierarchy: Hierarchy) -> ScalePosterior:
    """Return what the configured method finds; only that method's module is imported."""
    module = import_module(f"rt_ridge.scales.{MODULES[hierarchy.config.method]}")
    found: ScalePosterior = module.find(hierarchy)
    return found
