"""`molpool-evaluate score`: how good predictions are, where, and how sure one can be of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
from molpool_common import (
    InputError,
    RunFolder,
    check_free,
    default_folder,
    read_table,
    require_columns,
)
from rich.console import Console

from molpool_pipelines.scores.classes import score_classes
from molpool_pipelines.scores.config import ScoreConfig
from molpool_pipelines.scores.metrics import Resampling, score_tasks
from molpool_pipelines.scores.prediction_table import Predictions
from molpool_pipelines.scores.predictions import PREDICTIONS, read_predictions
from molpool_pipelines.scores.result import Scores
from molpool_pipelines.scores.strata import Known, score_strata
from molpool_pipelines.scores.training_molecules import training_molecules
from molpool_pipelines.scores.uncertainty import score_uncertainty


def score_predictions(config: ScoreConfig, arguments: Sequence[str] = ()) -> Path:
    """Score predictions, write the files and show the table.

    Parameters
    ----------
    config : ScoreConfig
        What is scored.
    arguments : sequence of str
        The command line, for the record.

    Returns
    -------
    Path
        The folder with ``metrics.json``, ``metrics.csv`` and figures.

    Raises
    ------
    InputError, ChempropError, MILError
        If predictions or truth are wrong; nothing is written then.
    """
    console = Console()
    source = _source(config)
    path = Path(config.save_dir) if config.save_dir else default_folder(source.stem, "scores")
    check_free(path, overwrite=config.overwrite)
    _check_bins(config)
    everything = _read(config, source)
    found, side = _side(everything, config.side)
    scores = score(found, _known(config, source, everything), config, side)

    from molpool_pipelines.reports import score_figures
    from molpool_pipelines.scores.screen import show_scores

    run = RunFolder.create(path, overwrite=config.overwrite, arguments=arguments)
    run.checkpoints.rmdir()  # nothing is trained here
    run.write_json("metrics.json", scores.to_dict())
    run.write_text("metrics.csv", scores.to_frame().write_csv())
    run.write_frame(PREDICTIONS, found.to_frame())  # what `compare --result-files` compares
    for name, figure in score_figures(found, scores).items():
        run.write_file(name, partial(figure.savefig, format="png", dpi=160))
    show_scores(console, scores)
    console.print(f"Scores: {path}", highlight=False, markup=False, soft_wrap=True)
    return path


def score(found: Predictions, known: Known, config: ScoreConfig, side: str) -> Scores:
    """Return all scores of rows.

    Parameters
    ----------
    found : Predictions
        The rows.
    known : Known
        What was trained on.
    config : ScoreConfig
        Intervals and bins.
    side : str
        The side that the rows are of, for the record.
    """
    resampling = Resampling(config.n_bootstrap, config.level, config.seed)
    strata, notes = score_strata(
        found,
        known,
        similarity_bins=config.similarity_bins,
        label_bins=config.label_bins,
        resampling=resampling,
        min_rows=config.min_rows,
    )
    columns = range(len(found.tasks))
    of_kind = {k: [t for t in columns if found.task_types[t] == k] for k in found.task_types}
    uncertain = {
        found.tasks[t]: score_uncertainty(found.y_true[:, t], found.y_pred[:, t], found.sd[:, t])
        for t in of_kind.get("regression", [])
        if found.sd is not None
    }
    calls = found.decisions
    classes = {
        found.tasks[t]: score_classes(
            found.y_true[:, t], found.y_pred[:, t], None if calls is None else calls[:, t]
        )
        for t in of_kind.get("classification", [])
    }
    return Scores(
        name=found.name,
        side=side,
        n=len(found),
        overall=score_tasks(found, resampling),
        uncertainty={task: u for task, u in uncertain.items() if u is not None},
        classes={task: c for task, c in classes.items() if c is not None},
        strata=tuple(strata),
        notes=(*_bounds_note(found), *notes),
        level=config.level,
    )


def _source(config: ScoreConfig) -> Path:
    given = {"--predictions": config.predictions, "--model-dir": config.model_dir}
    there = [flag for flag, value in given.items() if value is not None]
    if len(there) != 1:
        raise InputError(
            "--predictions",
            expected="one of --predictions and --model-dir",
            found=" and ".join(there) or "neither",
        )
    if config.model_dir is not None and config.data_path is None:
        raise InputError("--data-path", expected="a table to predict and score", found="none")
    return Path(config.predictions or config.model_dir or "")


def _check_bins(config: ScoreConfig) -> None:
    for key in ("similarity_bins", "label_bins"):
        ends = getattr(config, key)
        if not ends or any(a >= b for a, b in pairwise(ends)):
            raise InputError(key, expected="one or more ascending numbers", found=str(ends))


def _read(config: ScoreConfig, source: Path) -> Predictions:
    if config.model_dir is None:
        return read_predictions(
            source, columns=config.columns, truth=config.data_path, task_types=config.task_types
        )
    from molpool_pipelines.scores.comparison.config import CompareConfig
    from molpool_pipelines.scores.comparison.predicted import predict_test_data

    asked = CompareConfig(
        model_dirs=[str(source)],
        test_data=config.data_path,
        columns=config.columns,
        task_types=config.task_types,
    )
    return predict_test_data(asked, source)


def _side(found: Predictions, side: str | None) -> tuple[Predictions, str]:
    """Return the rows to score: of the side asked for, or of the one that counts."""
    if side == "all" or (side is None and found.side is None):
        return found, "all"
    if side is None:
        assert found.side is not None
        there = set(found.side.tolist())
        side = next((s for s in ("test", "val", "train") if s in there), None)
        if side is None:
            return found, "all"
    return found.of_side(side), side


def _known(config: ScoreConfig, source: Path, found: Predictions) -> Known:
    """Return what trained the model: of train_path, the run folder, or the train side."""
    if config.train_path is not None:
        path = Path(config.train_path)
        if path.is_dir():
            return _of_run(config, path)
        table = read_table(path)
        name = config.columns.smiles
        require_columns(table, [name], key="columns.smiles", where=path.name)
        labels = {
            t: int(table[t].cast(pl.String).is_not_null().sum())
            for t in found.tasks
            if t in table.columns
        }
        return Known(table[name].drop_nulls().to_list(), labels)
    if config.model_dir is not None:
        return _of_run(config, source)
    return _of_rows(found)


def _of_run(config: ScoreConfig, path: Path) -> Known:
    molecules = training_molecules(path) if path.is_dir() else None
    if molecules is None:
        return Known()
    return _of_rows(read_predictions(path, columns=config.columns))


def _of_rows(found: Predictions) -> Known:
    """Return the training molecules and labels among predicted rows."""
    if found.side is None:
        return Known()
    sides = ("train", "val") if found.fold is not None else ("train",)
    train = found.take(np.isin(found.side, sides))
    if not len(train):
        return Known()
    counts = np.isfinite(train.y_true).sum(axis=0)
    smiles = () if train.smiles is None else [s for s in train.smiles if s is not None]
    return Known(list(dict.fromkeys(smiles)), dict(zip(found.tasks, counts.tolist(), strict=True)))


def _bounds_note(found: Predictions) -> list[str]:
    total = int(found.n_bounds.sum())
    return [f"{total} labels of all sides are bounds (<, >) and left out."] if total else []
