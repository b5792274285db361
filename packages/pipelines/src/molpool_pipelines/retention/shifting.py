"""`molpool-rt shift`: how errors grow with the distance of a run from those of the training."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from molpool_common import Cell, Facts, Table, Text, validate_values
from rich.console import Console
from rich.table import Table as Screen
from rt_ridge import ShiftConfig, ShiftResult, plot_shift, run_shift

from molpool_pipelines.retention.config import ShiftRunConfig
from molpool_pipelines.retention.figures import Drawn, save
from molpool_pipelines.retention.folder import free_folder, open_folder
from molpool_pipelines.retention.pages import Chapter, Page


def main(config: ShiftRunConfig, arguments: Sequence[str]) -> None:
    """Run the study, leave tables, figure and page, and print the errors."""
    console = Console(highlight=False)
    path = free_folder(config, "shift")
    study = validate_values(ShiftConfig, config.model_dump(include=set(ShiftConfig.model_fields)))
    with console.status("Simulating") as status:
        result = run_shift(study, progress=status.update)
    summary = result.summary()
    run = open_folder(config, path, arguments)
    run.write_text("runs.csv", result.runs.write_csv())
    run.write_text("shift.csv", summary.write_csv())
    run.write_json("shift.json", {"bins": list(result.bins), "summary": summary.to_dicts()})
    drawn = _figure(result)
    save([drawn], run.path, ["png", "svg"])
    page = _page(study, summary, drawn)
    page.write_html(run.path / "report.html")
    page.write_pdf(run.path / "report.pdf")
    run.log("finished")
    console.print(_screen(summary, result.bins))
    console.print(
        f"{path}: shift.csv, shift.json, runs.csv, shift.png, report.html, report.pdf",
        soft_wrap=True,
    )


def _figure(result: ShiftResult) -> Drawn:
    return Drawn(
        "shift",
        plot_shift(result),
        "Mean absolute error by distance of the run, a panel for each number of anchors.",
        "Mean absolute error with 95 % intervals over the replicates, by percentile of the "
        "distance of the test run's standards from those of the training runs.",
    )


def _page(study: ShiftConfig, summary: pl.DataFrame, drawn: Drawn) -> Page:
    lab = study.simulate
    facts: dict[str, Cell] = {
        "Replicates": study.replicates,
        "Species": lab.n_species,
        "Compounds": lab.n_compounds,
        "Clusters": "k-means on the standards" if study.inferred_clusters else "true ones",
        "Descriptors": "given to the model" if study.descriptors else "not used",
        "Rows a pair": lab.fixed_runs_per_species_compound or "varied",
    }
    intro = (
        "Simulated laboratories. Partial pooling and the cluster x compound baseline are fed the "
        "same clusters. Baselines predict nothing for pairs they have not seen: that share is "
        "the column none. Distances are percentiles."
    )
    rows = [
        [r["anchors"], r["method"], r["bin"], *(r[c] for c in _COLUMNS)]
        for r in summary.iter_rows(named=True)
    ]
    heads = ["anchors", "method", "distance", *_COLUMNS.values()]
    table = Table(heads, rows, caption="Means over the replicates; ± is half the 95 % interval.")
    chapters = [
        Chapter("Error by distance", [Text(intro), drawn]),
        Chapter("Numbers", [table]),
        Chapter("Settings", [Facts(facts)]),
    ]
    subtitle = f"{study.replicates} replicates, anchors {', '.join(map(str, study.anchors))}"
    return Page("Covariate shift", subtitle, chapters)


_COLUMNS = {
    "mae": "MAE",
    "mae_95": "±",
    "coverage_95": "in 95 %",
    "z_mean": "z mean",
    "z_sd": "z sd",
    "missing": "none",
}


def _screen(summary: pl.DataFrame, bins: Sequence[str]) -> Screen:
    title = "MAE by distance of the run, percentiles"
    table = Screen(title=title, title_justify="left", title_style="bold")
    table.add_column("anchors", justify="right")
    table.add_column("method")
    for name in bins:
        table.add_column(name, justify="right")
    grouped = summary.group_by("anchors", "method", maintain_order=True)
    for (anchors, method), part in grouped:
        found = dict(zip(part["bin"], part["mae"], strict=True))
        cells = ("–" if found[b] is None else f"{found[b]:.3f}" for b in bins)
        table.add_row(str(anchors), str(method), *cells)
    return table
