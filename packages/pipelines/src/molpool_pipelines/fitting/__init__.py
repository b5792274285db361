"""Training runs of every kind of model: inputs, jobs, the Lightning loop, evaluation, files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
