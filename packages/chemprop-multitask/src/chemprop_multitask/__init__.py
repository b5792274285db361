"""Masked multi-task Chemprop models with samplers and curricula handed in.

Nothing heavy is imported until a name is used, so that command-line help stays quick.
"""

from importlib.metadata import version

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]

__version__ = version("chemprop-multitask")
