"""Descriptors, fingerprints and pretrained embeddings of molecules, cached on disk."""

from importlib.metadata import version

import lazy_loader

# Names load on first use: configuration is read without waiting for rdkit or torch.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]

__version__ = version("molecule-features")
