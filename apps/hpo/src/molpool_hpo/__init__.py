"""The command `molpool-hpo`: tune molpool models over inner folds, the outer test put away."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("molpool-hpo")
