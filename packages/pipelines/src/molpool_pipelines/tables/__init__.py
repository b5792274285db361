"""Tables of molecules: which columns mean what, reading, identity, duplicates, splits, profile."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
