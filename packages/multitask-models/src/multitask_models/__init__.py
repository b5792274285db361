"""Multi-task networks, Gaussian processes and trees on features, for sparse and censored labels."""

from importlib.metadata import version

import lazy_loader

# Names load on first use: configuration is read without waiting for rdkit or torch.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]

__version__ = version("multitask-models")
