"""One report of fits and of their evaluation: an HTML page, and the same chapters as PDF.

`report` reads run folders and writes both; `Page` is a report of any content, which the study of
covariate shift uses too.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
import polars as pl
from fpdf import FPDF
from fpdf.fonts import FontFace
from molpool_common import (
    Cell,
    Code,
    Facts,
    Figure,
    InputError,
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

from molpool_pipelines.retention._config import ReportConfig, free_file
from molpool_pipelines.retention._evaluate import Evaluation, nonempty
from molpool_pipelines.retention._figures import (
    ERRORS,
    INTERVALS,
    Plot,
    evaluation_plots,
    fit_plots,
    load_results,
)
from molpool_pipelines.retention._fit import FittedRun, standard_deviations

MOST_FLAGGED = 25
"""Flagged peaks on the page; flagged.csv has more."""

FLAGGED_HEADS = {
    "run": "run",
    "species": "species",
    "compound": "compound",
    "observed": "measured",
    "expected": "expected",
    "difference": "difference",
    "deviations": "deviations",
    "candidate": "candidate",
    "candidate_expected": "expected of it",
}
"""Columns of flagged peaks on the page, and their heads."""

MOST_SCALES = 100
"""Scales on the page; metrics.json has all of them."""


def report(config: ReportConfig) -> list[Path]:
    """Write the page, and the PDF where it is wanted, and return the files.

    Raises
    ------
    InputError, RTRidgeError
        If a file exists, there are neither fits nor an evaluation, or a folder holds other files.
    """
    output = Path(config.output)
    if output.suffix == ".pdf":
        raise InputError(
            "output",
            expected="the name of the page; the PDF goes beside it",
            found=repr(output.name),
        )
    files = [output, output.with_suffix(".pdf")] if config.pdf else [output]
    for file in files:
        # Both before anything is plotted: the page must not be replaced where the PDF is refused.
        free_file(file, overwrite=config.overwrite)
    page = build_page(config.title, *load_results(config))
    page.write_html(output)
    if config.pdf:
        page.write_pdf(output.with_suffix(".pdf"))
    return files


def build_page(title: str, runs: Sequence[FittedRun], evaluation: Evaluation | None) -> Page:
    """Return the report of some fits and of their evaluation, where there is one."""
    chapters = [] if evaluation is None else _evaluation_chapters(evaluation)
    chapters += [_fit_chapter(run) for run in runs]
    if runs:
        code: list[Piece] = [
            Code(f"{run.name}: keys that are not at their default", run.settings) for run in runs
        ]
        chapters.append(Chapter("Configuration", code))
    parts = [f"{len(runs)} {'fit' if len(runs) == 1 else 'fits'}"] if runs else []
    parts += [] if evaluation is None else [f"{evaluation.n_rows:,} test rows"]
    return Page(title, ", ".join(parts), chapters)


def _evaluation_chapters(evaluation: Evaluation) -> list[Chapter]:
    plots = list(evaluation_plots(evaluation))
    support = [plot for plot in plots if plot.name.startswith("support")]
    drift = [plot for plot in plots if plot.name.startswith("drift")]
    pieces: list[Piece] = [Text(_headline(evaluation))]
    pieces += [Text(note, note=True) for note in evaluation.notes]
    if evaluation.n_left_out:
        pieces.append(Text(f"{evaluation.n_left_out:,} rows of pairs never seen are left out."))
    if len(evaluation.scored) > 1:
        pieces.append(_comparison(evaluation))
    pieces += support
    tables = Chapter("By support", [*_support_tables(evaluation)])
    if evaluation.folds is not None:
        pieces.append(_folds(evaluation.folds))
    chapters = [Chapter("Errors and intervals", pieces), tables]
    if evaluation.strata is not None:
        chapters.append(Chapter("By stratum", [*_strata(evaluation.strata)]))
    return [*chapters, Chapter("Drift by run", [*drift])] if drift else chapters


def _strata(strata: pl.DataFrame) -> Iterator[Table]:
    heads = ["model", "stratum", "rows", "MAE", "RMSE", "bias"]
    heads += ["in 80 %", "width 80 %", "in 95 %", "width 95 %"]
    for part in strata.partition_by("column", maintain_order=True):
        yield Table(
            heads,
            [list(row) for row in part.drop("column").rows()],
            caption=f"Rows that a model predicts, by {part['column'][0]}. Bias: mean of measured "
            "less predicted time; widths are means.",
        )


def _folds(folds: pl.DataFrame) -> Table:
    heads = ["model", "repeat", "fold", "rows", "MAE", "RMSE"]
    heads += ["in 80 %", "in 95 %", "width 80 %", "width 95 %"]
    return Table(
        heads,
        [list(row) for row in folds.head(200).rows()],
        caption="Rows held out in each fold, that each model predicts.",
    )


def _headline(evaluation: Evaluation) -> str:
    # On the common rows: a model that predicts only easy pairs would win on its own.
    best = min(evaluation.scored, key=lambda s: s.common["rmse"][-1] or float("inf"))
    overall = best.common.row(-1, named=True)
    if overall["rmse"] is None:
        return "No row is predicted by all models."
    several = len(evaluation.scored) > 1
    least = f"Least error on the {evaluation.n_common:,} rows that all models predict: {best.name},"
    return (
        (least if several else f"{best.name}:")
        + f" RMSE {overall['rmse']:.3f}, MAE {overall['mae']:.3f}. Of its 95 % intervals"
        f" {100 * overall['coverage_95']:.1f} % hold the measured time."
    )


def _comparison(evaluation: Evaluation) -> Table:
    rows: list[list[Cell]] = []
    for scored in evaluation.scored:
        overall, own = scored.common.row(-1, named=True), scored.table.row(-1, named=True)
        rows.append(
            [
                scored.name,
                *(overall[c] for c in ("rmse", "mae", "coverage_50", "coverage_80", "coverage_95")),
                overall["pair_rmse_p99"],
                own["n_missing"],
            ]
        )
    heads = ["model", "RMSE", "MAE", "in 50 %", "in 80 %", "in 95 %", "pair RMSE p99"]
    return Table(
        [*heads, "no prediction"],
        rows,
        caption=f"On the {evaluation.n_common:,} of {evaluation.n_rows:,} rows that all predict; "
        "the last column counts rows that a model says nothing of.",
    )


def _support_tables(evaluation: Evaluation) -> Iterator[Table]:
    for scored in evaluation.scored:
        levels = ", ".join(f"{name} {count:,}" for name, count in scored.levels.items())
        table = nonempty(scored.table)
        yield Table(
            list(ERRORS.values()),
            [list(row) for row in table.select(*ERRORS).rows()],
            caption=f"{scored.name}: all rows it predicts, the thinnest support first. "
            f"{100 * scored.share_unseen:.1f} % of the rows are of pairs never seen. Rows by "
            f"level: {levels}. Pair RMSE: percentiles over the pairs.",
            totals=1,
        )
        yield Table(
            list(INTERVALS.values()),
            [list(row) for row in table.select(*INTERVALS).rows()],
            caption=f"{scored.name}: share of the rows within each interval, mean width of the "
            "intervals, mean and sd of (measured - predicted) / sd.",
            totals=1,
        )


def _fit_chapter(run: FittedRun) -> Chapter:
    metrics = run.metrics
    diagnostics = {k: v for k, v in metrics["diagnostics"].items() if v is not None}
    facts: dict[str, Cell] = {
        "Model": metrics["model"].replace("_", " "),
        "Method": metrics["method"],
        "Training rows": metrics["rows"],
        "Pairs": metrics["pairs"],
        "Groups": metrics["groups"],
        "Compounds": metrics["compounds"],
        "Supercategories": metrics["supercategories"],
        "Covariates": ", ".join(metrics["covariates"]) or "none",
        "Log likelihood": metrics["log_likelihood"],
        **{name: f"{value:.4g}" for name, value in diagnostics.items()},
    }
    if found := metrics.get("calibration"):
        facts["Intervals"] = _calibration_words(found)
    facts = {name: value for name, value in facts.items() if value is not None}
    notes: list[Piece] = [Text(note, note=True) for note in metrics["notes"]]
    pieces: list[Piece] = [Facts(facts), *notes, *_structures(run), _scales(run)]
    return Chapter(f"Fit: {run.name}", [*pieces, *fit_plots(run), *_flagged(run)])


def _flagged(run: FittedRun) -> Iterator[Piece]:
    """Yield the peaks that are likely not what they are called, the farthest off."""
    if run.flagged is None:
        return
    total = run.metrics.get("flagged") or run.flagged.height
    if not run.flagged.height:
        yield Text("No peak is far off from what its run's other rows lead to expect.")
        return
    shown = run.flagged.head(MOST_FLAGGED)
    yield Table(
        list(FLAGGED_HEADS.values()),
        [list(row) for row in shown.select(*FLAGGED_HEADS).rows()],
        caption=f"Peaks far off from what the fit to all other rows expects, {shown.height} of "
        f"{total:,}; flagged.csv lists more. Difference: measured less expected time; deviations: "
        "in usual deviations of the compound. Candidate: a compound of the species that is "
        "expected where the peak was found.",
        digits=3,
    )


def _calibration_words(found: dict[str, float]) -> str:
    """Return on what calibrated intervals rest, and what level they support."""
    what, how = "rows of", "held out"
    if found.get("later"):
        what, how = "errors on", "by fits to earlier or later ones"
    said = f"calibrated on {found['rows']:,} {what} {found['runs']:,} runs {how}"
    # Not said by fits of version 0.2 and before.
    if "highest_level" in found:
        said += f", up to {100 * found['highest_level']:.4g} %"
    return said


def _structures(run: FittedRun) -> Iterator[Table]:
    """Yield the candidates of a structure that was chosen, and of one for pairs never seen."""
    left_out = {"structure": "runs", "structure_unseen": "groups and pairs"}
    for key, what in left_out.items():
        # Runs of earlier versions have none.
        rows = run.metrics.get(key) or []
        if not rows:
            continue
        columns = ("name", "weight", "rmse", "mae", "error_se", "log_density", "log_density_se")
        yield Table(
            ["structure", "weight", "RMSE", "MAE", "± log", "log density", "±"],
            [[row[name] for name in columns] for row in rows],
            caption=f"Structures that were tried, by their errors on {what} left out, in the unit "
            "of the retention time. ±: standard error, over folds, of the logarithm of the error "
            "over the first's, and of the log predictive density of a row less the first's.",
            digits=4,
        )


def _scales(run: FittedRun) -> Table:
    rows: list[list[Cell]] = [
        [name, "0 (exactly)" if s["mean"] == 0 else s["mean"], s["low"], s["high"]]
        for name, s in standard_deviations(run.metrics["scales"]).items()
    ][:MOST_SCALES]
    return Table(
        ["scale", "estimate", "95 % from", "to"],
        rows,
        caption="Standard deviations with 95 % intervals, in the unit of the retention time (of "
        "slopes: over that of the covariate). A dash: the method gives none.",
        digits=4,
    )


# --- pages of any content ---

Piece = Text | Facts | Table | Code | Plot


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
        with atomic_path(path) as temporary:
            temporary.write_bytes(_pdf(self))


def _part(piece: Piece) -> Part:
    if not isinstance(piece, Plot):
        return piece
    with style():
        svg = figure_svg(piece.figure)
    return Figure(svg, piece.alt, piece.caption, piece.data)


# --- the same on A4, with an outline ---

FONT = "DejaVu"
MARGIN = 16
"""mm."""
DPI = 200
ROW = 5.5
"""Height of a row, mm, about."""
MOST_ROWS = 60
"""Rows of a table on paper; the page has the rest."""


def _pdf(page: Page) -> bytes:
    pdf = _Pdf(page.title)
    pdf.heading(page.title, 17)
    pdf.paragraph(page.subtitle, grey=True)
    for chapter in page.chapters:
        pdf.start_section(chapter.title)
        pdf.heading(chapter.title, 13)
        for piece in chapter.pieces:
            pdf.piece(piece)
    return bytes(pdf.output())


class _Pdf(FPDF):  # type: ignore[misc]  # fpdf2 has no types
    def __init__(self, title: str) -> None:
        super().__init__(format="A4")
        # fpdf2's core fonts have no Greek letters, which captions use; DejaVu comes with
        # matplotlib.
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
        # A heading keeps room for a few lines below it.
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
            case Plot():
                self._figure(piece)

    def _table(self, table: Table) -> None:
        # A table that fits on a page is not broken; a longer one starts where twelve rows fit.
        if self.will_page_break(12 + ROW * min(len(table.rows) + 1, 12)):
            self.add_page()
        if table.caption:
            self.paragraph(table.caption, grey=True, size=8)
        rows = [[_show(v, table.digits) for v in row] for row in table.rows]
        # The last row is the total and always shown.
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
        # A4 is 178 mm wide inside the margins: more than nine columns need the smaller font.
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

    def _figure(self, plot: Plot) -> None:
        buffer = io.BytesIO()
        with style():
            plot.figure.savefig(buffer, format="png", dpi=DPI)
        width, height = plot.figure.get_size_inches()
        # 19 mm per inch of the figure: its 9 points come out as 7 on paper, beside text of 9.
        wide = min(self.epw, width * 19)
        if self.will_page_break(wide * height / width + 12):
            self.add_page()
        self.image(buffer, w=wide, alt_text=plot.alt)
        self.ln(1)
        self.paragraph(plot.caption, grey=True, size=8)


def _show(value: Cell, digits: int) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.{digits}f}"
    return f"{value:,d}" if isinstance(value, int) else value
