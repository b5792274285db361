"""Task-aware, curriculum and joint samplers for sparse multi-task data, at any number of rows."""

from importlib.metadata import version

import lazy_loader

# Names load on first use: configuration is read without waiting for torch.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]

__version__ = version("sampling-core")
