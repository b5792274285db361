"""`molpool-rt report`: one page, and one PDF, of fits and of their evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from molpool_common import Cell, Code, Facts, InputError, Table, Text
from rich.console import Console

from molpool_pipelines.retention.config import ReportConfig
from molpool_pipelines.retention.evaluation import Evaluation, with_rows
from molpool_pipelines.retention.figures import (
    ERRORS,
    INTERVALS,
    FittedRun,
    evaluation_figures,
    fit_figures,
)
from molpool_pipelines.retention.folder import check_file
from molpool_pipelines.retention.pages import Chapter, Page, Piece
from molpool_pipelines.retention.screen import OFFSET

MOST_SCALES = 100
"""Scales on the page; metrics.json has all of them."""


def main(config: ReportConfig, arguments: Sequence[str]) -> None:
    """Write the page and the PDF, and name them."""
    output = Path(config.output)
    files = [output, output.with_suffix(".pdf")] if config.pdf else [output]
    if output.suffix == ".pdf":
        raise InputError(
            "output",
            expected="the name of the page; the PDF goes beside it",
            found=repr(output.name),
        )
    for file in files:
        check_file(file, overwrite=config.overwrite)
    if not config.runs and config.evaluation is None:
        raise InputError("runs", expected="folders of fits, or --evaluation", found="neither")
    runs = [FittedRun.load(folder) for folder in config.runs]
    evaluation = None if config.evaluation is None else Evaluation.load(config.evaluation)
    page = build_page(config.title, runs, evaluation)
    write_page(page, output, pdf=config.pdf)
    console = Console(highlight=False, soft_wrap=True)
    for file in files:
        console.print(str(file))


def write_page(page: Page, output: Path, *, pdf: bool) -> None:
    """Write the page, and the PDF beside it."""
    page.write_html(output)
    if pdf:
        page.write_pdf(output.with_suffix(".pdf"))


def build_page(title: str, runs: Sequence[FittedRun], evaluation: Evaluation | None) -> Page:
    """Return the report of some fits and of their evaluation, where there is one."""
    chapters = [] if evaluation is None else _evaluation_chapters(evaluation)
    chapters += [_fit_chapter(run) for run in runs]
    if runs:
        code: list[Piece] = [
            Code(f"{run.name}: keys that are not at their default", run.config) for run in runs
        ]
        chapters.append(Chapter("Configuration", code))
    parts = [f"{len(runs)} {'fit' if len(runs) == 1 else 'fits'}"] if runs else []
    parts += [] if evaluation is None else [f"{evaluation.n_rows:,} test rows"]
    return Page(title, ", ".join(parts), chapters)


def _evaluation_chapters(evaluation: Evaluation) -> list[Chapter]:
    drawn = list(evaluation_figures(evaluation))
    support = [one for one in drawn if one.name.startswith("support")]
    drift = [one for one in drawn if one.name.startswith("drift")]
    pieces: list[Piece] = [Text(_headline(evaluation))]
    if evaluation.n_left_out:
        pieces.append(Text(f"{evaluation.n_left_out:,} rows of pairs never seen are left out."))
    if len(evaluation.scored) > 1:
        pieces.append(_comparison(evaluation))
    pieces += support
    tables = Chapter("By support", [*_support_tables(evaluation)])
    chapters = [Chapter("Errors and intervals", pieces), tables]
    return [*chapters, Chapter("Drift by run", [*drift])] if drift else chapters


def _headline(evaluation: Evaluation) -> str:
    best = min(evaluation.scored, key=lambda s: s.common["rmse"][-1] or float("inf"))
    whole = best.common.row(-1, named=True)
    if whole["rmse"] is None:
        return "No row is predicted by all models."
    several = len(evaluation.scored) > 1
    least = f"Least error on the {evaluation.n_common:,} rows that all models predict: {best.name},"
    return (
        (least if several else f"{best.name}:")
        + f" RMSE {whole['rmse']:.3f}, MAE {whole['mae']:.3f}. Of its 95 % intervals"
        f" {100 * whole['coverage_95']:.1f} % hold the measured time."
    )


def _comparison(evaluation: Evaluation) -> Table:
    rows: list[list[Cell]] = []
    for scored in evaluation.scored:
        whole, own = scored.common.row(-1, named=True), scored.table.row(-1, named=True)
        rows.append(
            [
                scored.name,
                *(whole[c] for c in ("rmse", "mae", "coverage_50", "coverage_80", "coverage_95")),
                whole["pair_rmse_p99"],
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
        table = with_rows(scored.table)
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
        **{name: f"{value:.4g}" for name, value in metrics["diagnostics"].items() if value},
    }
    told: dict[str, Cell] = {name: value for name, value in facts.items() if value is not None}
    notes: list[Piece] = [Text(note, note=True) for note in metrics["notes"]]
    pieces: list[Piece] = [Facts(told), *notes, _scales(run)]
    return Chapter(f"Fit: {run.name}", [*pieces, *fit_figures(run)])


def _scales(run: FittedRun) -> Table:
    rows: list[list[Cell]] = [
        [name, "0 (exactly)" if s["mean"] == 0 else s["mean"], s["low"], s["high"]]
        for name, s in run.metrics["scales"].items()
        if not name.startswith(OFFSET)
    ][:MOST_SCALES]
    return Table(
        ["scale", "estimate", "95 % from", "to"],
        rows,
        caption="Standard deviations with 95 % intervals, in the unit of the retention time (of "
        "slopes: over that of the covariate). A dash: the method gives none.",
        digits=4,
    )
