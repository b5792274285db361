"""One look for every figure, and figures as text for self-contained pages."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
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
        # "best" searches all drawn points, and warns where that takes long.
        "legend.loc": "upper right",
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
    """Return a figure that no global state keeps alive; sizes in inches.

    Its texts are drawn as they are: names of tasks and columns are the user's, and neither
    mathematics (``$x$``) nor as wide as they like to be.
    """
    figure: Figure = _plain_figure()(figsize=(width, height), layout="constrained")
    return figure


def shortened(text: str, most: int = 40) -> str:
    """Return a name for an axis: what is longer has its middle left out."""
    if len(text) <= most or "\n" in text:
        return text
    end = most // 3
    return f"{text[: most - end - 1]}…{text[-end:]}"


@cache
def _plain_figure() -> type[Any]:
    import matplotlib as mpl
    from matplotlib.figure import Figure as _Figure
    from matplotlib.text import Text
    from matplotlib.ticker import FixedFormatter, Formatter, FuncFormatter

    class Shortened(Formatter):
        """Labels of another formatter, shortened."""

        def __init__(self, inner: Formatter) -> None:
            self._inner = inner

        def __call__(self, x: float, pos: int | None = None) -> str:
            return shortened(self._inner(x, pos))

    class PlainFigure(_Figure):
        """A figure that takes no text for mathematics."""

        def draw(self, renderer: Any) -> None:
            # Before each drawing, and around it: labels of ticks are made while it draws. Whatever
            # saves a figure, and in whatever format, comes by here.
            for text in self.findobj(Text):
                text.set_parse_math(False)
                text.set_text(shortened(text.get_text(), 90))
            for axes in self.axes:
                for axis in (axes.xaxis, axes.yaxis):
                    formatter = axis.get_major_formatter()
                    if isinstance(formatter, FixedFormatter | FuncFormatter):
                        axis.set_major_formatter(Shortened(formatter))
            with mpl.rc_context({"text.parse_math": False}), warnings.catch_warnings():
                # A letter that the font lacks is a letter that the page's font has.
                warnings.filterwarnings("ignore", "Glyph .* missing from font")
                warnings.filterwarnings("ignore", ".*Matplotlib currently does not support")
                engine = self.get_layout_engine()
                if engine is not None and any(a.get_aspect() != "auto" for a in self.axes):
                    # Only then are axes square, and the layout of the drawing leaves their titles
                    # room. Here, where no title is mathematics.
                    engine.execute(self)
                super().draw(renderer)

    return PlainFigure


_REM_PER_INCH = 7
"""Of a figure at its largest: text of 9 points is then that of the page."""


def figure_svg(figure: Figure, *, whole: bool = False) -> str:
    """Return the figure as an ``<svg>`` element that scales with the page.

    Parameters
    ----------
    figure : Figure
        Drawn with `style`.
    whole : bool
        Keep its full size instead of cutting off empty margins, as `axes_box` needs it.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    # `savefig` would draw everything twice, once to nowhere for the layout, which drawing does too.
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    if not whole:
        svg = re.sub(r'viewBox="[^"]*"', f'viewBox="{_drawn(figure)}"', svg, count=1)
    # A width in points would overflow a phone, and without a bound a narrow figure would be as wide
    # as the page; the viewBox keeps the proportions. Wide ones scroll on a phone, from 34rem on.
    most = f"{_REM_PER_INCH * figure.get_size_inches()[0]:.0f}rem"
    bound = f'style="max-width: {most}; min-width: min(34rem, {most})"'
    svg = re.sub(r' height="[^"]*pt"', "", svg, count=1)
    return re.sub(r'(<svg[^>]*?) width="[^"]*"', rf"\1 {bound}", svg, count=1)


def _drawn(figure: Figure) -> str:
    """Return the box of what is drawn, with a margin of a tenth of an inch, as SVG counts it."""
    box = figure.get_tightbbox().padded(0.1)
    top = float(figure.get_size_inches()[1]) - box.y1
    return " ".join(f"{72 * side:.6g}" for side in (box.x0, top, box.width, box.height))


def axes_box(axes: Axes) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of axes in the units of ``figure_svg(whole=True)``.

    Parameters
    ----------
    axes : Axes
        Of a figure that has been saved, since layout moves axes until then.
    """
    # SVG files of matplotlib are in points, 72 an inch, and count downwards.
    figure = axes.get_figure(root=True)
    assert figure is not None
    width, height = (72 * float(side) for side in figure.get_size_inches())
    place = axes.get_position()
    return (place.x0 * width, (1 - place.y1) * height, place.x1 * width, (1 - place.y0) * height)
