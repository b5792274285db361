"""Retention times: prepare tables, fit partially pooled drift, predict, evaluate, report."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
