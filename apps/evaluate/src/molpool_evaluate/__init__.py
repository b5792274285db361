"""molpool-evaluate: predict with, score, compare and report saved models."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("molpool-evaluate")
