"""The command molpool-rt: from retention-time tables to calibrated intervals."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("molpool-rt")
