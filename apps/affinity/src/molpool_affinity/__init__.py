"""The command `molpool-affinity`: which tasks to train together, from a table of molecules."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("molpool-affinity")
