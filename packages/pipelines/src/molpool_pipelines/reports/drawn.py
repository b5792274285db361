"""Figures of matplotlib as parts of a page."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from molpool_common import Figure, Table, figure_svg, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

REM_PER_INCH = 7
"""Of a figure at its largest: text of 9 points is then that of the page."""


def drawn(
    draw: Callable[[], Picture], *, alt: str, caption: str, data: Table | None = None
) -> Figure:
    """Return what `draw` makes as a part of a page, no wider than its text is worth."""
    with style():
        picture = draw()
        svg = figure_svg(picture)
    widest = REM_PER_INCH * picture.get_size_inches()[0]
    # A narrow figure keeps its size on a phone too, where wide ones scroll from 34rem on.
    size = f"max-width: {widest:.0f}rem; min-width: min(34rem, {widest:.0f}rem)"
    return Figure(svg.replace("<svg ", f'<svg style="{size}" ', 1), alt, caption, data)
