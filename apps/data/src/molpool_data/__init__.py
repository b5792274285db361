"""Public data sets by name with checksum and licence, and the synthetic demo."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("molpool-data")
