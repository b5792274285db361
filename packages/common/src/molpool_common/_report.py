"""One self-contained HTML page: sections of text, tables and figures, readable anywhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from molpool_common._arrays import FloatArray

if TYPE_CHECKING:
    # RDKit is an extra.
    from molpool_common._drawing import CompactMolecules

Cell = str | float | int | None

SMALLEST = 1e-12
"""What is nearer to 0 is rendered as 0: what rounding left of it."""


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
        render=lambda part: _render(part, tasks),
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
    return Environment(
        # StrictUndefined: a misspelt name in the template is an error, not an empty place on the
        # page.
        loader=PackageLoader("molpool_common"),
        autoescape=True,
        undefined=StrictUndefined,
    )


def _render(part: Part, tasks: Sequence[str]) -> Markup:
    match part:
        case Text():
            kind = ' class="note"' if part.note else ""
            return Markup(f"<p{kind}>") + escape(part.text) + Markup("</p>")
        case Lines():
            items = Markup("").join(Markup("<li>{}</li>").format(line) for line in part.lines)
            return Markup('<ul class="lines">{}</ul>').format(items)
        case Facts():
            rows = (
                Markup("<dt>{}</dt><dd>{}</dd>").format(name, _show(value, part.digits))
                for name, value in part.facts.items()
            )
            return Markup("<dl>") + Markup("").join(rows) + Markup("</dl>")
        case Table():
            return _table(part)
        case Code():
            return Markup("<details><summary>{}</summary><pre>{}</pre></details>").format(
                part.summary, part.text
            )
        case Figure():
            return _figure(part, tasks)
        case Cards():
            return _cards(part)
        case Widget():
            return _widget(part)


_ON_PAPER = 12
"""Columns of a table that a sheet holds; the style sheet says so too."""


def _table(table: Table) -> Markup:
    words = [_of_words(j, table.rows) for j in range(len(table.columns))]
    head = Markup("").join(
        Markup('<th scope="col"{}><button type="button">{}</button></th>').format(of, c)
        for of, c in zip(words, table.columns, strict=True)
    )
    first_total = len(table.rows) - table.totals
    body = Markup("").join(
        Markup('<tr class="total">' if i >= first_total else "<tr>")
        + Markup("").join(map(_cell, row, words, repeat(table.digits)))
        + Markup("</tr>")
        for i, row in enumerate(table.rows)
    )
    beyond = len(table.columns) - _ON_PAPER
    content = Markup(
        '<div class="scroll{}" tabindex="0"><table><thead><tr>{}</tr></thead>'
        "<tbody>{}</tbody></table></div>"
    ).format(" broad" if beyond > 0 else "", head, body)
    if beyond > 0:
        content += Markup('<p class="paper">{} more columns are on the screen.</p>').format(beyond)
    if not table.caption:
        return content
    # Outside of what scrolls, so that a wide table does not take its caption off a phone.
    return Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(table.caption, content)


def _of_words(column: int, rows: Sequence[Sequence[Cell]]) -> Markup:
    """Return the class of a column of words, which begin where they are read from."""
    cells = [row[column] for row in rows]
    words = column > 0 and all(isinstance(cell, str | None) for cell in cells) and any(cells)
    return Markup(' class="words"' if words else "")


def _cell(value: Cell, words: Markup, digits: int) -> Markup:
    # Columns sort by the exact number, which the text rounds.
    exact = Markup(' data-value="{}"').format(value) if isinstance(value, int | float) else ""
    return Markup("<td{}{}>{}</td>").format(words, exact, _show(value, digits))


def _show(value: Cell, digits: int) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        if SMALLEST <= abs(value) < 0.5 * 10.0**-digits:
            return f"{value:.1e}"  # all decimals would be 0: a p-value, a learning rate
        return f"{value:.{digits}f}" if abs(value) < 1e6 else f"{value:.{digits}e}"
    return f"{value:,d}" if isinstance(value, int) else value


def _figure(figure: Figure, tasks: Sequence[str]) -> Markup:
    data: Any = ""
    if figure.data is not None:
        data = Markup("<details><summary>Numbers</summary>{}</details>").format(_table(figure.data))
    hover = [panel for panel in figure.hover if panel.task in tasks]
    if not hover:
        return Markup(
            '<figure><div class="plot" role="img" tabindex="0" aria-label="{}">{}</div>'
            "<figcaption>{}</figcaption>{}</figure>"
        ).format(figure.alt, Markup(figure.svg), figure.caption, data)
    # An application, as the arrow keys are its own.
    return Markup(
        '<figure class="hovers"><div class="plot" role="application" tabindex="0" '
        'aria-label="{} {}">{}</div><figcaption>{} {}</figcaption>{}{}</figure>'
    ).format(
        figure.alt,
        "The arrow keys go from point to point.",
        Markup(figure.svg),
        figure.caption,
        "The pointer, or the arrow keys, show id and values of a point; a click keeps them.",
        _json("class", "points", [_hover_panel(panel, tasks) for panel in hover]),
        data,
    )


def _hover_panel(panel: HoverPanel, tasks: Sequence[str]) -> dict[str, Any]:
    return {
        "task": tasks.index(panel.task),
        "box": [round(float(end), 2) for end in panel.box],
        "x_range": [float(end) for end in panel.x_range],
        "y_range": [float(end) for end in panel.y_range],
        "x": panel.x,
        "y": panel.y,
    }


def _hover_rows(rows: HoverRows) -> Markup:
    molecules = rows.molecules
    values = {
        "ids": list(rows.ids),
        "interval": "interval" if rows.level is None else f"{100 * rows.level:g} % interval",
        "values": [[_base64(column) for column in of] for of in rows.values.values()],
        "columns": {name: _base64(column) for name, column in rows.columns.items()},
        "molecules": None
        if molecules is None
        else {"labels": list(molecules.labels), "text": molecules.text},
    }
    return _json("id", "hover-rows", values)


def _base64(values: FloatArray) -> str:
    # Single precision: more than a card prints, in half the bytes.
    return base64.b64encode(np.asarray(values, dtype="<f4").tobytes()).decode("ascii")


def _json(attribute: str, name: str, value: Any) -> Markup:
    """Return an element that holds plain values for a script."""
    # `<` could end the element, or start a comment in it.
    text = json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return Markup('<script type="application/json" {}="{}">{}</script>').format(
        Markup(attribute), name, Markup(text)
    )


def _cards(cards: Cards) -> Markup:
    wide = any(len(card.pictures) > 1 for card in cards.cards)
    items = Markup("").join(_card(card, cards.digits) for card in cards.cards)
    caption = Markup("<figcaption>{}</figcaption>").format(cards.caption) if cards.caption else ""
    return Markup('<figure>{}<ul class="cards{}">{}</ul></figure>').format(
        caption, " wide" if wide else "", items
    )


def _card(card: Card, digits: int) -> Markup:
    drawn = Markup("").join(Markup("<div>{}</div>").format(Markup(svg)) for svg in card.pictures)
    pictures: Any = ""
    if card.pictures:
        pictures = Markup('<div class="pictures" role="img" aria-label="{}">{}</div>').format(
            card.alt, drawn
        )
    facts = Markup("").join(
        Markup("<dt>{}</dt><dd>{}</dd>").format(name, _show(value, digits))
        for name, value in card.facts.items()
    )
    return Markup("<li>{}<strong>{}</strong><dl>{}</dl></li>").format(pictures, card.title, facts)


def _widget(widget: Widget) -> Markup:
    values = (_json("id", name, value) for name, value in widget.data.items())
    return Markup(widget.html) + Markup("").join(values)
