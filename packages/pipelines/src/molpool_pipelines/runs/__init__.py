"""The run folder: names of files and columns, schema of metrics, start, resume, tracking."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
