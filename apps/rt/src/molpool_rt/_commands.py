"""What each command does: call the pipeline, leave its files, print what it returned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import molpool_pipelines.retention as rt
from molpool_common import answer, console, doing

from molpool_rt import _screen as screen


def prepare(config: rt.PrepareConfig, arguments: Sequence[str]) -> None:
    """Prepare, leave a folder for each cap, and say what was dropped, capped and filled."""
    each = config.each_cap()
    # All folders before the first is written.
    paths = [one.free_folder("prepare") for one in each]
    for one, path in zip(each, paths, strict=True):
        _prepare(one, path, arguments)
    answer(folders=paths)


def _prepare(config: rt.PrepareConfig, path: Path, arguments: Sequence[str]) -> None:
    out = console()
    with doing("Preparing") as step:
        prepared = rt.prepare(config, step)
    # Its own configuration: `like` may have changed how gaps are filled.
    with prepared.config.open_folder(path, arguments) as run:
        prepared.write(run)
    files = [path / name for name in prepared.files]
    then = ("fit", "--data", *files, "--save-dir", "runs/rt")
    if config.like is not None or config.target_col not in prepared.rows.columns:
        # Ids are those of an earlier table, to which a model was fitted.
        then = ("predict", "--artefact", "runs/rt", "--data", *files)
    steps = [("molpool-rt", *then)]
    answer(run=path, files=files, counts=prepared.counts, notes=prepared.notes, steps=steps)
    screen.show_prepared(out, prepared)
    for name, rows in prepared.files.items():
        out.print(f"{path / name}: {rows.height:,} rows", soft_wrap=True)
    if prepared.rejected.height:
        out.print(f"{path / 'rejected.csv'}: {prepared.rejected.height:,} rows", soft_wrap=True)


def fit(config: rt.FitConfig, arguments: Sequence[str]) -> None:
    """Fit, leave a run folder, and print the scales."""
    # The folder is checked first and made last: a fit that fails leaves nothing behind.
    out, path = console(), config.free_folder("fit")
    with doing("Reading") as step:
        # Read apart from the fit, so that its counts are on the screen while the fit runs.
        training = rt.read_training(config, step)
    screen.show_training(out, training)
    with doing("Fitting") as step:
        fitted = rt.fit(config, training, step)
    with config.open_folder(path, arguments) as run:
        fitted.write(run)
    _answer_json(path, rt.METRICS)
    predict_new = ("molpool-rt", "predict", "--artefact", path, "--data", "NEW.csv")
    answer(steps=[(*predict_new, "--output", "predictions.csv")])
    screen.show_fitted(out, fitted)
    file, n_pairs = path / "coefficients.npz", training.stats.G
    out.print(f"{file}: coefficients of {n_pairs:,} pairs", soft_wrap=True)


def predict(config: rt.PredictConfig, arguments: Sequence[str]) -> None:
    """Predict, write the file, and say how many rows came from which level."""
    out = console()
    with doing("Predicting") as step:
        predictions = rt.predict(config, step)
    answer(
        files=[f for f in (predictions.path, predictions.rejected) if f is not None],
        levels=predictions.levels,
        reasons=predictions.reasons,
        calibrated=predictions.calibrated,
        notes=predictions.notes,
    )
    screen.show_predictions(out, predictions)


def evaluate(config: rt.EvaluateConfig, arguments: Sequence[str]) -> None:
    """Evaluate, leave a folder, and print the tables, the thinnest support first."""
    out, path = console(), config.free_folder("evaluate")
    with doing("Evaluating") as step:
        evaluation = rt.evaluate(config, step)
    with config.open_folder(path, arguments) as run:
        evaluation.write(run)
    _answer_json(path, rt.EVALUATION)
    screen.show_evaluation(out, evaluation)
    tables = ("folds.csv", "drift.csv", "strata.csv", "rejected.csv")
    more = [name for name in tables if (path / name).is_file()]
    out.print(f"{path}: {', '.join(['evaluation.json', 'evaluation.csv', *more])}", soft_wrap=True)


def coefficients(config: rt.CoefficientsConfig, arguments: Sequence[str]) -> None:
    """Write the coefficients of a fit, and name the file."""
    path, table = rt.write_coefficients(config)
    answer(files=[path], rows=table.height)
    console().print(f"{path}: {table.height:,} coefficients", soft_wrap=True)


def windows(config: rt.WindowsConfig, arguments: Sequence[str]) -> None:
    """Write windows of retention time, and name the file."""
    path, table = rt.write_windows(config)
    answer(files=[path], rows=table.height)
    console().print(f"{path}: {table.height:,} windows of {100 * config.level:g} %", soft_wrap=True)


def plot(config: rt.PlotConfig, arguments: Sequence[str]) -> None:
    """Write every figure, and name the files."""
    path = config.free_folder("plot")
    # All plotted before the folder is made.
    plots = rt.plot(config)
    with config.open_folder(path, arguments) as run:
        _name_files([file for one in plots for file in one.save(run.path, config.formats)])
        run.log("finished", figures=len(plots))


def report(config: rt.ReportConfig, arguments: Sequence[str]) -> None:
    """Write the page and the PDF, and name them."""
    _name_files(rt.report(config))


def simulate(config: rt.SimulateRunConfig, arguments: Sequence[str]) -> None:
    """Write the tables and say where."""
    path = config.free_folder("simulate")
    made = rt.simulate(config)
    with config.open_folder(path, arguments) as run:
        sizes = rt.write_tables(made, run.path, config.format)
        run.log("finished", **sizes)
    answer(run=path, sizes=sizes)
    console().print(f"{path}: {screen.sizes(sizes)}", soft_wrap=True)


def shift(config: rt.ShiftRunConfig, arguments: Sequence[str]) -> None:
    """Run the study, leave tables, figure and page, and print the errors."""
    out, path = console(), config.free_folder("shift")
    with doing("Simulating") as step:
        study = rt.shift(config, step)
    with config.open_folder(path, arguments) as run:
        study.write(run)
    _answer_json(path, "shift.json")
    out.print(screen.shift_table(study))
    files = "shift.csv, shift.json, runs.csv, shift.png, report.html, report.pdf"
    out.print(f"{path}: {files}", soft_wrap=True)


def run(config: rt.RunConfig, arguments: Sequence[str]) -> None:
    """Do all of it, print each result as it comes, and name the report."""
    out = console()
    with doing("Starting") as step:
        path = rt.run(config, arguments, screen.Steps(out), step)
    _answer_json(path, rt.EVALUATION)
    files = "report.html, report.pdf, evaluation.json, models/"
    out.print(f"{path}: {files}", soft_wrap=True)


def _answer_json(path: Path, name: str) -> None:
    """Answer with a folder and with what a file of it holds."""
    found = json.loads((path / name).read_text(encoding="utf-8"))
    answer(run=path, **{name.removesuffix(".json"): found})


def _name_files(files: Sequence[Path]) -> None:
    answer(files=files)
    for file in files:
        console().print(str(file), soft_wrap=True)
