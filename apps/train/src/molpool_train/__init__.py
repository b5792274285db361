"""The command molpool-train: a table in, a trained model and its report out."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("molpool-train")
