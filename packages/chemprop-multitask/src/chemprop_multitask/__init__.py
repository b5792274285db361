"""Masked multi-task Chemprop models with samplers and curricula handed in.

Nothing heavy is imported until a name is used, so that command-line help stays quick.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
