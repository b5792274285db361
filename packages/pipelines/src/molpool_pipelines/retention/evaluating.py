"""`molpool-rt evaluate`: errors and coverage by support, of one fit or of several beside."""

from __future__ import annotations

from collections.abc import Sequence

from molpool_common import InputError, RunFolder
from rich.console import Console
from rt_ridge import CompoundDescriptors

from molpool_pipelines.retention.artefacts import Artefact, load_all
from molpool_pipelines.retention.batches import BatchReader
from molpool_pipelines.retention.config import EvaluateConfig, ScoreConfig
from molpool_pipelines.retention.descriptors import read_descriptors
from molpool_pipelines.retention.evaluation import Evaluation, Scored
from molpool_pipelines.retention.folder import free_folder, open_folder
from molpool_pipelines.retention.scoring import Scorer
from molpool_pipelines.retention.screen import comparison_table, support_table
from molpool_pipelines.tables import TableFiles


def main(config: EvaluateConfig, arguments: Sequence[str]) -> None:
    """Evaluate, leave a folder, and print the tables, the thinnest support first."""
    console = Console(highlight=False)
    path = free_folder(config, "evaluate")
    artefacts = load_all(config.artefacts)
    evaluation = evaluate(config, TableFiles.find(config.data, "data"), artefacts, console)
    run = open_folder(config, path, arguments)
    write(evaluation, run)
    show(evaluation, console)
    console.print(f"{path}: evaluation.json, evaluation.csv", soft_wrap=True)


def evaluate(
    config: ScoreConfig, table: TableFiles, artefacts: Sequence[Artefact], console: Console
) -> Evaluation:
    """Score every artefact on the rows of a table, some at a time.

    Raises
    ------
    InputError, RTRidgeError
        If the table lacks what an artefact was fitted with, a value is wrong, or no row is left.
    """
    run = config.run_col if config.run_col in table else None
    extra = [] if run is None else [run]
    known = _descriptors(config, artefacts)
    reader = BatchReader(table, artefacts, config, with_target=True, extra=extra, descriptors=known)
    scorer = Scorer(config, artefacts, reader, run)
    with console.status(f"Evaluating on {table.name}") as status:
        for batch in reader.batches(config.max_test_rows):
            scorer.add(batch)
            status.update(f"Evaluating on {table.name}: {scorer.n_read:,} rows")
    calibrated = [a.name for a in artefacts if a.summaries.calibration is not None]
    if calibrated:
        console.print(f"Intervals calibrated on runs held out: {', '.join(calibrated)}.")
    if not scorer.n_used:
        why = "of pairs that were seen in training" if config.require_seen_group else "at all"
        raise InputError(
            "data",
            expected=f"rows {why}",
            found=f"none in {scorer.n_read:,}",
            where=table.name,
        )
    return scorer.evaluation()


def _descriptors(config: ScoreConfig, artefacts: Sequence[Artefact]) -> CompoundDescriptors | None:
    effects = (a.summaries.coefficients.descriptors for a in artefacts)
    names = list(dict.fromkeys(n for e in effects if e is not None for n in e.names))
    if config.descriptors is None or not names:
        return None
    return read_descriptors(config.descriptors, config.compound_col, names)


def write(evaluation: Evaluation, run: RunFolder) -> None:
    """Write evaluation.json, evaluation.csv and, where runs are known, drift.csv."""
    run.write_json("evaluation.json", evaluation.to_json())
    run.write_text("evaluation.csv", evaluation.frame().write_csv())
    if evaluation.drift is not None:
        run.write_text("drift.csv", evaluation.drift.write_csv())
    run.log("finished", rows=evaluation.n_rows)


def show(evaluation: Evaluation, console: Console) -> None:
    """Print a table a fit and, of several, one of all on the rows that all of them predict."""
    if evaluation.n_left_out:
        console.print(f"{evaluation.n_left_out:,} rows of pairs never seen are left out.")
    console.print(
        "Rows by training rows of their pair. none: without a prediction; pair p99: of the pairs'"
        " RMSE; 50, 80, 95 %: share within that interval."
    )
    for scored in evaluation.scored:
        console.print(support_table(scored, _caption(scored)))
    if len(evaluation.scored) > 1:
        console.print(
            f"RMSE on the {evaluation.n_common:,} rows that all predict, by support in"
            f" {evaluation.scored[0].name}",
            style="bold",
        )
        console.print(comparison_table(evaluation))


def _caption(scored: Scored) -> str:
    return f"{100 * scored.share_unseen:.1f} % of the rows are of pairs never seen."
