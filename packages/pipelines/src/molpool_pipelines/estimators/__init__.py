"""Runs as estimators of scikit-learn: molecules in, predictions with intervals out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
