"""The covariate-shift study: how errors grow with the distance of a run from the training runs."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from molpool_common import Cell, Facts, RunFolder, Table, Text, formulas_marked, validate_values
from rt_ridge import ShiftConfig, ShiftResult, plot_shift, run_shift

from molpool_pipelines.retention._config import Progress, ShiftRunConfig, silent
from molpool_pipelines.retention._figures import Plot
from molpool_pipelines.retention._report import Chapter, Page

_COLUMNS = {
    "mae": "MAE",
    "mae_95": "±",
    "coverage_95": "in 95 %",
    "z_mean": "z mean",
    "z_sd": "z sd",
    "missing": "none",
}


def shift(config: ShiftRunConfig, progress: Progress = silent) -> ShiftStudy:
    """Simulate laboratories, fit and score them; writes nothing.

    Raises
    ------
    InputError, RTRidgeError
        If the configuration is contradictory.
    """
    # The package's own class, without the keys of the folder.
    study = validate_values(ShiftConfig, config.model_dump(include=set(ShiftConfig.model_fields)))
    result = run_shift(study, progress=progress)
    return ShiftStudy(study, result, result.summary())


@dataclass(frozen=True)
class ShiftStudy:
    """Errors of each method by distance of the run.

    Attributes
    ----------
    config : ShiftConfig
        Laboratories, model and bins.
    result : ShiftResult
        Run by run.
    summary : DataFrame
        Means over the replicates, by number of anchors, method and bin of distance.
    """

    config: ShiftConfig
    result: ShiftResult
    summary: pl.DataFrame

    def write(self, run: RunFolder) -> None:
        """Write tables, the figure, the page and the PDF."""
        run.write_text("runs.csv", formulas_marked(self.result.runs).write_csv())
        run.write_text("shift.csv", formulas_marked(self.summary).write_csv())
        content = {"bins": list(self.result.bins), "summary": self.summary.to_dicts()}
        run.write_json("shift.json", content)
        plot = Plot(
            "shift",
            plot_shift(self.result),
            "Mean absolute error by distance of the run, a panel for each number of anchors.",
            "Mean absolute error with 95 % intervals over the replicates, by percentile of the "
            "distance of the test run's standards from those of the training runs.",
        )
        plot.save(run.path, ["png", "svg"])
        page = self._page(plot)
        page.write_html(run.path / "report.html")
        page.write_pdf(run.path / "report.pdf")
        run.log("finished")

    def _page(self, plot: Plot) -> Page:
        lab, study = self.config.simulate, self.config
        facts: dict[str, Cell] = {
            "Replicates": study.replicates,
            "Species": lab.n_species,
            "Compounds": lab.n_compounds,
            "Clusters": "k-means on the standards" if study.inferred_clusters else "true ones",
            "Descriptors": "given to the model" if study.descriptors else "not used",
            "Rows per pair": lab.fixed_runs_per_species_compound or "varied",
        }
        intro = (
            "Simulated laboratories. Partial pooling and the cluster x compound baseline are fed "
            "the same clusters. Baselines predict nothing for pairs they have not seen: that share "
            "is the column none. Distances are percentiles."
        )
        rows = [
            [r["anchors"], r["method"], r["bin"], *(r[c] for c in _COLUMNS)]
            for r in self.summary.iter_rows(named=True)
        ]
        heads = ["anchors", "method", "distance", *_COLUMNS.values()]
        caption = "Means over the replicates; ± is half the 95 % interval."
        chapters = [
            Chapter("Error by distance", [Text(intro), plot]),
            Chapter("Numbers", [Table(heads, rows, caption=caption)]),
            Chapter("Settings", [Facts(facts)]),
        ]
        subtitle = f"{study.replicates} replicates, anchors {', '.join(map(str, study.anchors))}"
        return Page("Covariate shift", subtitle, chapters)
