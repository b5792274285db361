"""rt-ridge: reserved; nothing is implemented yet."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("rt-ridge")
