"""A report as PDF: the same chapters, on A4 pages with an outline."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from fpdf import FPDF
from fpdf.fonts import FontFace
from molpool_common import Cell, Code, Facts, Table, Text, style

from molpool_pipelines.retention.figures import Drawn

if TYPE_CHECKING:
    from molpool_pipelines.retention.pages import Chapter, Piece

FONT = "DejaVu"
MARGIN = 16
"""mm."""
DPI = 200
ROW = 5.5
"""Height of a row, mm, about."""
MOST_ROWS = 60
"""Rows of a table on paper; the page has the rest."""


def render_pdf(title: str, subtitle: str, chapters: Sequence[Chapter]) -> bytes:
    """Return the bytes of a PDF.

    Parameters
    ----------
    title, subtitle : str
        Heading and the line below it.
    chapters : sequence of Chapter
        In order; each is an entry of the outline.
    """
    pdf = _Pdf(title)
    pdf.heading(title, 17)
    pdf.paragraph(subtitle, grey=True)
    for chapter in chapters:
        pdf.start_section(chapter.title)
        pdf.heading(chapter.title, 13)
        for piece in chapter.pieces:
            pdf.piece(piece)
    return bytes(pdf.output())


class _Pdf(FPDF):  # type: ignore[misc]  # fpdf2 has no types
    def __init__(self, title: str) -> None:
        super().__init__(format="A4")
        fonts = Path(mpl.get_data_path()) / "fonts" / "ttf"
        for face, file in (("", "DejaVuSans.ttf"), ("B", "DejaVuSans-Bold.ttf")):
            self.add_font(FONT, face, str(fonts / file))
        self.add_font(f"{FONT}Mono", "", str(fonts / "DejaVuSansMono.ttf"))
        self.set_title(title)
        self.set_lang("en")
        self.set_margin(MARGIN)
        self.set_auto_page_break(True, MARGIN)
        self.add_page()

    def footer(self) -> None:
        self.set_y(-11)
        self.set_font(FONT, "", 8)
        self.set_text_color(110)
        self.cell(0, 5, f"{self.page_no()}", align="R")

    def heading(self, text: str, size: int) -> None:
        if self.will_page_break(30):
            self.add_page()
        self.ln(2)
        self.set_font(FONT, "B", size)
        self.set_text_color(0)
        self.multi_cell(0, size * 0.5, text, new_x="LMARGIN", new_y="NEXT")
        self.ln(1.5)

    def paragraph(self, text: str, *, grey: bool = False, size: float = 9) -> None:
        self.set_font(FONT, "", size)
        self.set_text_color(100 if grey else 0)
        self.multi_cell(0, size * 0.5, text, align="L", new_x="LMARGIN", new_y="NEXT")
        self.set_text_color(0)
        self.ln(1.5)

    def piece(self, piece: Piece) -> None:
        match piece:
            case Text():
                self.paragraph(piece.text)
            case Facts():
                rows = [[k, _show(v, piece.digits)] for k, v in piece.facts.items()]
                self._grid(None, rows, [3, 5])
            case Table():
                self._table(piece)
            case Code():
                self._code(piece)
            case Drawn():
                self._figure(piece)

    def _table(self, table: Table) -> None:
        if self.will_page_break(12 + ROW * min(len(table.rows) + 1, 12)):
            self.add_page()
        if table.caption:
            self.paragraph(table.caption, grey=True, size=8)
        rows = [[_show(v, table.digits) for v in row] for row in table.rows]
        shown = rows if len(rows) <= MOST_ROWS else [*rows[: MOST_ROWS - 1], rows[-1]]
        self._grid(list(table.columns), shown, None)
        if len(rows) > len(shown):
            left_out = f"{len(rows) - len(shown)} rows are left out here; the page has them."
            self.paragraph(left_out, grey=True, size=7.5)

    def _grid(
        self, head: list[str] | None, rows: list[list[str]], widths: list[int] | None
    ) -> None:
        every = rows if head is None else [head, *rows]
        if not every:
            return
        size = 8.0 if len(every[0]) <= 9 else 6.0
        self.set_font(FONT, "", size)
        self.set_draw_color(200)
        # The first column names the row, the others are numbers; facts are text on both sides.
        align: Any = "LEFT" if head is None else ("LEFT", *["RIGHT"] * (len(every[0]) - 1))
        longest = widths or [
            1 + max(5, *(len(row[j]) for row in every)) for j in range(len(every[0]))
        ]
        with self.table(
            rows=(),
            first_row_as_headings=head is not None,
            headings_style=FontFace(emphasis="BOLD", fill_color=(240, 242, 244)),
            borders_layout="HORIZONTAL_LINES",
            text_align=align,
            col_widths=tuple(longest),
            line_height=size * 0.55,
            padding=0.6,
        ) as grid:
            for row in every:
                grid.row(row)
        self.ln(2.5)

    def _code(self, code: Code) -> None:
        self.paragraph(code.summary, grey=True, size=8)
        self.set_font(f"{FONT}Mono", "", 7)
        self.multi_cell(0, 3.2, code.text, align="L", new_x="LMARGIN", new_y="NEXT")
        self.ln(2)

    def _figure(self, drawn: Drawn) -> None:
        buffer = io.BytesIO()
        with style():
            drawn.picture.savefig(buffer, format="png", dpi=DPI)
        width, height = drawn.picture.get_size_inches()
        wide = min(self.epw, width * 19)
        if self.will_page_break(wide * height / width + 12):
            self.add_page()
        self.image(buffer, w=wide, alt_text=drawn.alt)
        self.ln(1)
        self.paragraph(drawn.caption, grey=True, size=8)


def _show(value: Cell, digits: int) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.{digits}f}"
    return f"{value:,d}" if isinstance(value, int) else value
