"""Scores of predictions with intervals, calibration and strata, and comparisons of models."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
