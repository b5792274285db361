"""Public data sets by name: where they come from, what they must hash to, on which terms.

Examples
--------
>>> from molpool_pipelines.datasets import locate, registry
>>> registry()["biogen"].licence.id
'MIT'
>>> path = locate("biogen")  # doctest: +SKIP
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
