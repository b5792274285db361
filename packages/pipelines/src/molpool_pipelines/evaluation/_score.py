"""Scoring: how good predictions are, where, and how sure one can be of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
from molpool_common import (
    InputError,
    RunFolder,
    check_free,
    check_output,
    default_folder,
    formulas_marked,
    only_warned,
    read_table,
    read_yaml,
    require_columns,
    write_table,
)

from molpool_pipelines.evaluation._test_data import predict_test_data
from molpool_pipelines.fitting import rows_of_run
from molpool_pipelines.reports import score_figures, score_page
from molpool_pipelines.runs import (
    CONFIG,
    METRICS,
    REPORT,
    TABLE_ROWS,
    about_tasks,
    as_file,
    check_same_table,
    rejected_rows,
    write_predictions,
    write_rejected,
)
from molpool_pipelines.scores import (
    Predictions,
    ScoreConfig,
    Scores,
    TrainingSet,
    read_predictions,
    score,
    training_molecules,
)


def score_predictions(config: ScoreConfig, arguments: Sequence[str] = ()) -> tuple[Scores, Path]:
    """Score predictions and write the files.

    Parameters
    ----------
    config : ScoreConfig
        What is scored.
    arguments : sequence of str
        The command line, for the record.

    Returns
    -------
    scores : Scores
    folder : Path
        With ``metrics.json``, ``metrics.csv``, the predictions and figures.

    Raises
    ------
    InputError, ChempropError, MILError
        If predictions or truth are wrong; nothing is written then.
    """
    source = _source(config)
    path = Path(config.save_dir) if config.save_dir else default_folder(source.stem, "scores")
    check_free(path, overwrite=config.overwrite, restart=True)
    output = None if config.output is None else Path(config.output)
    if output is not None:
        read = [Path(p) for p in (config.predictions, config.data_path) if p is not None]
        check_output(output, overwrite=config.overwrite, inputs=read)
    # After the folder, as both are cheap, and before anything is read.
    _check_bins(config)
    changes = _changes(config, source)
    everything = _read(config, source)
    everything = replace(everything, notes=(*changes, *everything.notes))
    by_default = (s for s in ("test", "val", "train") if s in everything.splits)
    split = config.split or next(by_default, "all")
    found = everything if split == "all" else everything.of_split(split)
    # The training set is of all rows: `found` is one split of them.
    scores = score(found, _training_set(config, source, everything), config, split)
    # Only now, so that rows that cannot be scored leave no folder behind.
    with RunFolder.create(
        path, overwrite=config.overwrite, restart=True, arguments=arguments
    ) as run:
        _write(run, config, found, scores)
    return scores, path


def _write(run: RunFolder, config: ScoreConfig, found: Predictions, scores: Scores) -> None:
    run.checkpoints.rmdir()  # nothing is trained here
    run.write_json(METRICS, scores.to_metrics().to_dict())
    run.write_text("metrics.csv", formulas_marked(scores.to_frame()).write_csv())
    rejected = rejected_rows([]) if found.rejected is None else found.rejected
    write_rejected(run, rejected)
    frame = found.to_frame()
    if config.on_bad_smiles == "keep" and len(rejected):
        frame = pl.concat([frame, _rows_of_nulls(rejected)], how="diagonal")
    types = dict(zip(found.tasks, found.task_types, strict=True))
    write_predictions(run, frame, types)  # what `compare --result-files` compares
    if config.output is not None:
        table, said = as_file(frame, types, of_tasks=about_tasks(found.tasks))
        write_table(Path(config.output), table, metadata=said)

    def draw() -> None:
        for name, figure in score_figures(found, scores).items():
            run.write_file(name, partial(figure.savefig, format="png", dpi=160))
        run.write_text(REPORT, score_page(found, scores))

    only_warned("figures and page", "Metrics and predictions are; score again for these.", draw)


def _rows_of_nulls(rejected: pl.DataFrame) -> pl.DataFrame:
    # Rows of a table without names are called by their number.
    names = pl.col("id").fill_null(pl.col("row").cast(pl.String))
    return rejected.select(names, "SMILES", pl.col("reason").alias("error"))


def _changes(config: ScoreConfig, source: Path) -> list[str]:
    """Refuse the table of a run as its truth where it has changed since the run was started."""
    stored = source / CONFIG
    if config.data_path is None or not stored.is_file() or not (source / TABLE_ROWS).is_file():
        return []
    own = read_yaml(stored).data.get("data_path")
    if own is None or Path(own).resolve() != Path(config.data_path).resolve():
        return []
    accept = config.accept_changed_table
    return check_same_table(source, rows_of_run(source), accept=accept)


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
            source,
            columns=config.columns,
            truth=config.data_path,
            task_types=config.task_types,
            read=config.read,
            join=config.join,
            on_bad_smiles=config.on_bad_smiles,
            standardize=config.standardize,
        )
    return predict_test_data(
        source,
        config.data_path or "",
        columns=config.columns,
        task_types=config.task_types,
        read=config.read,
        on_bad_smiles=config.on_bad_smiles,
    )


def _training_set(config: ScoreConfig, source: Path, found: Predictions) -> TrainingSet:
    """Return what trained the model: of train_path, the run folder, or the training rows."""
    if config.train_path is not None:
        path = Path(config.train_path)
        if path.is_dir():
            return _of_run(config, path)
        table = read_table(path, config.read, key="train_path")
        name = config.columns.smiles
        require_columns(table, [name], key="columns.smiles", where=path.name)
        labels = {
            t: int(table[t].cast(pl.String).is_not_null().sum())
            for t in found.tasks
            if t in table.columns
        }
        return TrainingSet(table[name].drop_nulls().to_list(), labels)
    if config.model_dir is not None:
        return _of_run(config, source)
    return _of_rows(found)


def _of_run(config: ScoreConfig, path: Path) -> TrainingSet:
    molecules = training_molecules(path) if path.is_dir() else None
    if molecules is None:
        return TrainingSet()
    return _of_rows(read_predictions(path, columns=config.columns))


def _of_rows(found: Predictions) -> TrainingSet:
    """Return the training molecules and labels among predicted rows."""
    if found.split is None:
        return TrainingSet()
    # With folds a validation row trained the models of the other folds.
    trained = ("train", "val") if found.fold is not None else ("train",)
    train = found.take(np.isin(found.split, trained))
    if not len(train):
        return TrainingSet()
    counts = np.isfinite(train.y_true).sum(axis=0)
    smiles = () if train.smiles is None else [s for s in train.smiles if s is not None]
    return TrainingSet(
        list(dict.fromkeys(smiles)), dict(zip(found.tasks, counts.tolist(), strict=True))
    )
