"""One self-contained HTML page: sections of text, tables and figures, readable anywhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from molpool_common._arrays import FloatArray

if TYPE_CHECKING:
    # RDKit is an extra.
    from molpool_common._drawing import CompactMolecules

Cell = str | float | int | None

SMALLEST = 1e-12
"""What is nearer to 0 is rendered as 0: what rounding left of it."""

_ON_PAPER = 12
"""Columns of a table that a sheet holds; the style sheet says so too."""


@dataclass(frozen=True)
class Text:
    """A paragraph; `note` sets it off."""

    text: str
    note: bool = False


@dataclass(frozen=True)
class Lines:
    """Sentences, one below the other."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Facts:
    """Names and values, one per line; floats with `digits` decimals."""

    facts: dict[str, Cell]
    digits: int = 3


@dataclass(frozen=True)
class Table:
    """A table whose columns sort by a click.

    Parameters
    ----------
    columns : sequence of str
        Heads.
    rows : sequence of sequence
        Cells: text, numbers, or None where a value is undefined.
    caption : str
        What the table says.
    totals : int
        How many of the last rows summarise the others and stay last.
    digits : int
        Decimals of floats; an int has none.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    totals: int = 0
    digits: int = 3


@dataclass(frozen=True)
class HoverPanel:
    """Points of one panel of a figure; the pointer, or the arrow keys, show what each is.

    All rows of `HoverRows` that have both coordinates are points.

    Parameters
    ----------
    task : str
        Whose values of `HoverRows` are shown.
    box : tuple of float
        Left, top, right and bottom of the panel in the units of the figure, from
        `molpool_common.axes_box`.
    x_range, y_range : tuple of float
        Values at its ends.
    x, y : str
        What stands along the axes: ``measured``, ``predicted``, ``error`` (predicted less
        measured), or a column of `HoverRows`.
    """

    task: str
    box: tuple[float, float, float, float]
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    x: str = "measured"
    y: str = "predicted"


@dataclass(frozen=True)
class HoverRows:
    """Rows that the panels of a page show, once for all its figures.

    Parameters
    ----------
    ids : sequence of str, length N
        Names.
    values : mapping of str to sequence of ndarray [N]
        By task: measured, predicted and, where there are intervals, their lower and upper ends.
    columns : mapping of str to ndarray [N]
        What else points are plotted against, for all tasks.
    molecules : CompactMolecules or None
        Pictures, row by row.
    level : float or None
        Share of molecules that the intervals shall cover, where it is known.
    """

    ids: Sequence[str]
    values: Mapping[str, Sequence[FloatArray]]
    columns: Mapping[str, FloatArray] = field(default_factory=dict)
    molecules: CompactMolecules | None = None
    level: float | None = None


@dataclass(frozen=True)
class Figure:
    """A figure with a text for those who cannot see it and its numbers for those who reuse them.

    Parameters
    ----------
    svg : str
        An ``<svg>`` element, from `molpool_common._plotting.figure_svg`.
    alt : str
        What the figure shows, in words.
    caption : str
        How to read it.
    data : Table or None
        The numbers behind it.
    hover : sequence of HoverPanel
        Its points that say what they are.
    """

    svg: str
    alt: str
    caption: str
    data: Table | None = None
    hover: Sequence[HoverPanel] = ()


@dataclass(frozen=True)
class Card:
    """One or two pictures of molecules with what there is to say of them.

    Parameters
    ----------
    title : str
        What it is about.
    pictures : sequence of str
        ``<svg>`` elements, of `molpool_common.draw_molecule`; empty where there is none.
    alt : str
        What they show, in words.
    facts : mapping of str to Cell
        Lines below them.
    """

    title: str
    pictures: Sequence[str]
    alt: str
    facts: Mapping[str, Cell] = field(default_factory=dict)


@dataclass(frozen=True)
class Cards:
    """Cards beside one another; floats with `digits` decimals."""

    cards: Sequence[Card]
    caption: str = ""
    digits: int = 2


@dataclass(frozen=True)
class Code:
    """Preformatted text behind a line that unfolds it."""

    summary: str
    text: str


@dataclass(frozen=True)
class Widget:
    """A part that scripts draw, such as molecules to turn.

    Parameters
    ----------
    html : str
        Markup to trust.
    style : str
        Style sheet; colours are the page's variables, such as ``var(--ink)``.
    scripts : sequence of str
        Run one after another once the whole page is there.
    data : mapping
        Plain values by the id of the element that holds them as JSON.
    """

    html: str
    style: str = ""
    scripts: Sequence[str] = ()
    data: Mapping[str, Any] = field(default_factory=dict)


Part = Text | Lines | Facts | Table | Figure | Cards | Code | Widget


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    parts: list[Part] = field(default_factory=list)


def render_report(
    title: str, subtitle: str, sections: Sequence[Section], *, rows: HoverRows | None = None
) -> str:
    """Return the page as text.

    Parameters
    ----------
    title, subtitle : str
        Heading and the line below it.
    sections : sequence of Section
        In order; each gets a link at the top.
    rows : HoverRows, optional
        What the points of figures with `HoverPanel` are.

    Returns
    -------
    str
        HTML that needs no other file and no network, and runs no script but its own, which its
        content policy names by their digests.
    """
    template = _environment().get_template("report.html")
    parts = [part for section in sections for part in section.parts]
    widgets = [part for part in parts if isinstance(part, Widget)]
    scripts = [_script("table.js")]
    # Without rows there is nothing that a point could say.
    hovers = rows is not None and any(isinstance(p, Figure) and p.hover for p in parts)
    scripts += [_script("hover.js")] if hovers else []
    scripts += [script for widget in widgets for script in widget.scripts]
    tasks = list(rows.values) if rows is not None and hovers else []
    return template.render(
        title=title,
        subtitle=subtitle,
        sections=sections,
        tasks=tasks,
        styles=[Markup(w.style) for w in widgets if w.style],
        rows=_hover_rows(rows) if rows is not None and hovers else None,
        scripts=[Markup(script) for script in scripts],
        hashes=Markup(" ".join(dict.fromkeys(_digest(script) for script in scripts))),
    )


def _digest(script: str) -> str:
    """Return what a content policy calls an inline script."""
    return f"'sha256-{base64.b64encode(sha256(script.encode()).digest()).decode('ascii')}'"


@cache
def _script(name: str) -> str:
    environment = _environment()
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


@cache
def _environment() -> Environment:
    environment = Environment(
        # StrictUndefined: a misspelt name in the template is an error, not an empty place on the
        # page.
        loader=PackageLoader("molpool_common"),
        autoescape=True,
        undefined=StrictUndefined,
    )
    environment.globals["on_paper"] = _ON_PAPER
    environment.filters |= {"shown": _shown, "words": _words, "panels": _panels}
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment


def _shown(value: Cell, digits: int) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        if SMALLEST <= abs(value) < 0.5 * 10.0**-digits:
            return f"{value:.1e}"  # all decimals would be 0: a p-value, a learning rate
        return f"{value:.{digits}f}" if abs(value) < 1e6 else f"{value:.{digits}e}"
    return f"{value:,d}" if isinstance(value, int) else value


def _words(table: Table) -> list[bool]:
    """Return which columns are of words, which begin where they are read from."""
    columns = [[row[j] for row in table.rows] for j in range(len(table.columns))]
    return [
        j > 0 and all(isinstance(cell, str | None) for cell in cells) and any(cells)
        for j, cells in enumerate(columns)
    ]


def _panels(figure: Figure, tasks: Sequence[str]) -> list[dict[str, Any]]:
    """Return the panels of a figure whose points say what they are, as a script reads them."""
    return [
        {
            "task": tasks.index(panel.task),
            "box": [round(float(end), 2) for end in panel.box],
            "x_range": [float(end) for end in panel.x_range],
            "y_range": [float(end) for end in panel.y_range],
            "x": panel.x,
            "y": panel.y,
        }
        for panel in figure.hover
        if panel.task in tasks
    ]


def _hover_rows(rows: HoverRows) -> dict[str, Any]:
    molecules = rows.molecules
    return {
        "ids": list(rows.ids),
        "interval": "interval" if rows.level is None else f"{100 * rows.level:g} % interval",
        "values": [[_base64(column) for column in of] for of in rows.values.values()],
        "columns": {name: _base64(column) for name, column in rows.columns.items()},
        "molecules": None
        if molecules is None
        else {"labels": list(molecules.labels), "text": molecules.text},
    }


def _base64(values: FloatArray) -> str:
    # Single precision: more than a card prints, in half the bytes.
    return base64.b64encode(np.asarray(values, dtype="<f4").tobytes()).decode("ascii")
