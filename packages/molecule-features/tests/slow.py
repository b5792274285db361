"""A featuriser that hangs at one molecule, with Python's lock held, as RDKit's long calls do."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from molecule_features import Kind
from molpool_common import Float32Array


class Slow:
    """The number of characters; for octanol it would take years."""

    name, version, names = "slow", "1", ("length",)
    kind: Kind = "descriptor"
    milliseconds = 200.0

    def transform(self, smiles: Sequence[str], /) -> Float32Array:
        """Return float32 [N, 1]."""
        if "CCCCCCCCO" in smiles:
            re.match("(a+)+$", "a" * 60 + "b")
        return np.array([[len(text)] for text in smiles], dtype=np.float32)
