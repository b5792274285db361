"""What the arrays of every package are called in annotations; shapes stand in the docstrings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
StrArray = NDArray[np.str_]
SignArray = NDArray[np.int8]
"""-1, 0 or +1: which way a censored label is bounded."""
