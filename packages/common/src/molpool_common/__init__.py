"""What the molpool packages share: errors, configuration, tables, splits, metrics, pages.

Every public name is here; the modules behind them may move.
"""

from importlib.metadata import version

import lazy_loader

# Names load on first use: a command's help must not wait for polars, scikit-learn or RDKit.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]

__version__ = version("molpool-common")
