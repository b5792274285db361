"""Pages of text, tables and figures, as HTML and as PDF from the same parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from molpool_common import (
    Code,
    Facts,
    Figure,
    Part,
    Section,
    Table,
    Text,
    atomic_path,
    figure_svg,
    render_report,
    style,
    write_text,
)

from molpool_pipelines.retention.figures import Drawn

REM_PER_INCH = 7
"""Of a figure at its largest: text of 9 points is then that of the page."""

Piece = Text | Facts | Table | Code | Drawn


@dataclass(frozen=True)
class Chapter:
    """A heading and what stands below it."""

    title: str
    pieces: list[Piece] = field(default_factory=list)


@dataclass(frozen=True)
class Page:
    """All of a report.

    Parameters
    ----------
    title, subtitle : str
        Heading and the line below it.
    chapters : sequence of Chapter
        In order.
    """

    title: str
    subtitle: str
    chapters: Sequence[Chapter]

    def write_html(self, path: Path) -> None:
        """Write one self-contained page."""
        sections = [Section(c.title, [_part(p) for p in c.pieces]) for c in self.chapters]
        write_text(path, render_report(self.title, self.subtitle, sections))

    def write_pdf(self, path: Path) -> None:
        """Write the same as PDF, A4."""
        from molpool_pipelines.retention.pdf import render_pdf

        with atomic_path(path) as temporary:
            temporary.write_bytes(render_pdf(self.title, self.subtitle, self.chapters))


def _part(piece: Piece) -> Part:
    if not isinstance(piece, Drawn):
        return piece
    with style():
        svg = figure_svg(piece.picture)
    # Without a bound a narrow figure would be blown up to the width of the page.
    widest = REM_PER_INCH * piece.picture.get_size_inches()[0]
    svg = svg.replace("<svg ", f'<svg style="max-width: {widest:.0f}rem" ', 1)
    return Figure(svg, piece.alt, piece.caption, piece.data)
