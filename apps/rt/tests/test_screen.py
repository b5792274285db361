"""What the screen says of scales, and what it leaves out."""

from __future__ import annotations

import numpy as np
from molpool_rt._screen import scale_table


def test_screen_says_what_is_exactly_zero_and_leaves_out_offsets():
    nothing = {"low": np.nan, "high": np.nan}
    scales = {"sigma": {"mean": 0.1, "low": 0.05, "high": 0.2}, "tau": {"mean": 0.0, **nothing}}
    scales |= {f"sigma_offset[{j}]": {"mean": 0.3, **nothing} for j in range(30)}
    table = scale_table(scales)
    assert list(table.columns[0].cells) == ["sigma", "tau"]
    assert list(table.columns[1].cells) == ["0.1000", "0 (exactly)"]
    assert table.caption == "and 30 more in metrics.json"
