"""One self-contained HTML page: sections of text, tables and figures, readable anywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

Cell = str | float | int | None

SMALLEST = 1e-12
"""What is nearer to 0 is rendered as 0: what rounding left of it."""


@dataclass(frozen=True)
class Text:
    """A paragraph; `note` sets it off."""

    text: str
    note: bool = False


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
    """

    svg: str
    alt: str
    caption: str
    data: Table | None = None


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


Part = Text | Facts | Table | Figure | Code | Widget


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    parts: list[Part] = field(default_factory=list)


def render_report(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """Return the page as text.

    Parameters
    ----------
    title, subtitle : str
        Heading and the line below it.
    sections : sequence of Section
        In order; each gets a link at the top.

    Returns
    -------
    str
        HTML that needs no other file and no network.
    """
    template = _environment().get_template("report.html")
    widgets = [p for section in sections for p in section.parts if isinstance(p, Widget)]
    return template.render(
        title=title,
        subtitle=subtitle,
        sections=sections,
        render=_render,
        styles=[Markup(w.style) for w in widgets if w.style],
        scripts=[Markup(script) for w in widgets for script in w.scripts],
    )


@cache
def _environment() -> Environment:
    return Environment(
        # StrictUndefined: a misspelt name in the template is an error, not an empty place on the
        # page.
        loader=PackageLoader("molpool_common"),
        autoescape=True,
        undefined=StrictUndefined,
    )


def _render(part: Part) -> Markup:
    match part:
        case Text():
            kind = ' class="note"' if part.note else ""
            return Markup(f"<p{kind}>") + escape(part.text) + Markup("</p>")
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
            return _figure(part)
        case Widget():
            return _widget(part)


def _table(table: Table) -> Markup:
    head = Markup("").join(
        Markup('<th scope="col"><button type="button">{}</button></th>').format(c)
        for c in table.columns
    )
    first_total = len(table.rows) - table.totals
    body = Markup("").join(
        Markup('<tr class="total">' if i >= first_total else "<tr>")
        + Markup("").join(_cell(value, table.digits) for value in row)
        + Markup("</tr>")
        for i, row in enumerate(table.rows)
    )
    content = Markup(
        '<div class="scroll" tabindex="0"><table><thead><tr>{}</tr></thead>'
        "<tbody>{}</tbody></table></div>"
    ).format(head, body)
    if not table.caption:
        return content
    # Outside of what scrolls, so that a wide table does not take its caption off a phone.
    return Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(table.caption, content)


def _cell(value: Cell, digits: int) -> Markup:
    # Columns sort by the exact number, which the text rounds.
    exact = Markup(' data-value="{}"').format(value) if isinstance(value, int | float) else ""
    return Markup("<td{}>{}</td>").format(exact, _show(value, digits))


def _show(value: Cell, digits: int) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        if SMALLEST <= abs(value) < 0.5 * 10.0**-digits:
            return f"{value:.1e}"  # all decimals would be 0: a p-value, a learning rate
        return f"{value:.{digits}f}" if abs(value) < 1e6 else f"{value:.{digits}e}"
    return f"{value:,d}" if isinstance(value, int) else value


def _figure(figure: Figure) -> Markup:
    data: Any = ""
    if figure.data is not None:
        data = Markup("<details><summary>Numbers</summary>{}</details>").format(_table(figure.data))
    return Markup(
        '<figure><div class="plot" role="img" tabindex="0" aria-label="{}">{}</div>'
        "<figcaption>{}</figcaption>{}</figure>"
    ).format(figure.alt, Markup(figure.svg), figure.caption, data)


def _widget(widget: Widget) -> Markup:
    values = (
        # `<` could end the element, or start a comment in it.
        Markup('<script type="application/json" id="{}">{}</script>').format(
            name, Markup(json.dumps(value, allow_nan=False).replace("<", "\\u003c"))
        )
        for name, value in widget.data.items()
    )
    return Markup(widget.html) + Markup("").join(values)
