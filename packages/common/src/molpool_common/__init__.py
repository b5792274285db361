"""What the molpool packages and commands share.

The names most used are here; the rest is in the modules: `molpool_common.config`, `.errors`,
`.runfolder`, `.splits`, `.metrics`, `.table`, `.datasets`, `.demo`, `.tracking`, `.plotting`,
`.report` and `.cli`.
"""

from importlib.metadata import version

import lazy_loader

# Names load on first use: a command's help must not wait for polars, scikit-learn or RDKit.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]

__version__ = version("molpool-common")
