"""Ways of finding the few standard deviations of a model."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rt_ridge.hierarchy._hierarchy import Hierarchy
    from rt_ridge.scales._posterior import ScalePosterior

METHODS = {
    "map": ("_mode", "find_map"),
    "laplace": ("_laplace", "find_laplace"),
    "ml": ("_likelihood", "find_ml"),
    "reml": ("_likelihood", "find_ml"),
    "nuts": ("_sampling", "find_nuts"),
    "advi": ("_sampling", "find_advi"),
}


def find_scales(hierarchy: Hierarchy) -> ScalePosterior:
    """Return what the configured method finds; only that method's module is imported.

    Raises
    ------
    ImportError
        If the method samples and the extra ``sampling`` is not installed.
    """
    module, function = METHODS[hierarchy.config.method]
    found: ScalePosterior = getattr(import_module(f"rt_ridge.scales.{module}"), function)(hierarchy)
    return found
