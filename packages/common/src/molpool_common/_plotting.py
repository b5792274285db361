"""One look for every figure, and figures as text for self-contained pages."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
"""Colours distinguishable with colour-vision deficiency (Okabe and Ito 2008), most used first."""


def _settings() -> Any:  # matplotlib types every key of its settings by name
    from cycler import cycler

    return {
        "axes.prop_cycle": cycler(color=OKABE_ITO),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#dddddd",
        "grid.linewidth": 0.6,
        "axes.axisbelow": True,
        "axes.titlesize": 11,
        "axes.labelsize": 10,
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "legend.fontsize": 9,
        "legend.frameon": False,
        "font.family": "DejaVu Sans",
        "figure.dpi": 110,
        "savefig.bbox": "tight",
        # Text stays text: it can be searched, and the page stays small.
        "svg.fonttype": "none",
        "svg.hashsalt": "molpool",
    }


@contextmanager
def style() -> Iterator[None]:
    """Apply molpool's look to the figures made inside the block and to no others."""
    import matplotlib as mpl

    with mpl.rc_context(_settings()):
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return a figure that no global state keeps alive; sizes in inches."""
    from matplotlib.figure import Figure as _Figure

    return _Figure(figsize=(width, height), layout="constrained")


def figure_svg(figure: Figure) -> str:
    """Return the figure as an ``<svg>`` element that scales with the page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    # A width in points would overflow a phone; the viewBox keeps the proportions.
    return re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r' height="[^"]*pt"', "", svg, count=1)
    )
