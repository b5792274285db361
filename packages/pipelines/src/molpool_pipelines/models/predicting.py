"""Predict a table that may be larger than memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import polars as pl
from molpool_common import InputError, frames_written
from rich.console import Console

from molpool_pipelines.models.predicting_bags import has_tables, predict_bags
from molpool_pipelines.models.saved import (
    SavedModel,
    check_model_path,
    is_mil,
    load_model,
    run_section,
)
from molpool_pipelines.models.screen import molecules_bar
from molpool_pipelines.scores import PredictConfig
from molpool_pipelines.tables import TableFiles, survey

FAR = 0.3
"""Tanimoto similarity below which a molecule counts as unlike all training molecules."""

_SHOWN = 5


@dataclass
class Tally:
    """What was done so far.

    Parameters
    ----------
    rows, bad, far : int
        Rows written, those without a prediction, and those of molecules less similar than `FAR` to
        any training molecule.
    first_bad : list of str
        Row and reason of the first without a prediction.
    """

    rows: int = 0
    bad: int = 0
    far: int = 0
    first_bad: list[str] = field(default_factory=list)

    def add(self, frame: pl.DataFrame) -> None:
        """Count the rows of a chunk."""
        wrong = frame.filter(pl.col("error").is_not_null())
        self.rows += frame.height
        self.bad += wrong.height
        shown = wrong.select("row", "error").head(_SHOWN - len(self.first_bad)).rows()
        self.first_bad += [f"{row} ({reason})" for row, reason in shown]
        if "similarity" in frame.columns:
            self.far += int((frame["similarity"] < FAR).sum())


def predict_table(config: PredictConfig, *, console: Console | None = None) -> Path:
    """Predict the molecules of a table and write one file.

    Parameters
    ----------
    config : PredictConfig
        Model, table, output.
    console : Console, optional
        Where to tell of it.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError, ChempropError, MILError
        If model, table or output are wrong; then nothing is written.
    """
    console = console or Console()
    model_path = Path(_given(config.model_dir, "--model-dir", "a saved model"))
    check_model_path(model_path)
    table = TableFiles.find([_given(config.data_path, "--data-path", "a table of molecules")])
    path = table.files[0]
    if is_mil(model_path) and has_tables(model_path):
        return _predict_bags(config, model_path, path, console)
    _refuse_features(config)
    smiles, names = _columns(config, model_path, table)
    output = _output(config, path)
    total = survey(table, names or smiles, distinct=names is not None)

    # torch takes seconds to import: what is wrong with the table was said before.
    from molpool_pipelines.models.chunks import ChunkPredictor

    if config.threads is not None:
        import torch

        torch.set_num_threads(config.threads)
    model = load_model(model_path)
    predictor = ChunkPredictor.from_config(config, model, model_path)
    if predictor.note:
        console.print(predictor.note, highlight=False)
    tally = Tally()
    start = perf_counter()
    with frames_written(output) as writer, molecules_bar(console, "Predicting", total) as advance:
        for frame in _chunks(table, smiles, names, min(config.chunk_rows, model.most_rows)):
            done = predictor.predict(frame)
            writer.write(done)
            tally.add(done)
            advance(done.height)
    _tell(console, tally, output, model, perf_counter() - start)
    return output


def _predict_bags(config: PredictConfig, model: Path, table: Path, console: Console) -> Path:
    output = _output(config, table)
    frame = predict_bags(config, model)
    with frames_written(output) as writer:
        writer.write(frame)
    console.print(f"{frame.height} bags predicted.", highlight=False)
    console.print(f"Predictions: {output}", highlight=False, markup=False)
    return output


def _refuse_features(config: PredictConfig) -> None:
    for flag, value in (
        ("--features-3d", config.features_3d),
        ("--features-2d", config.features_2d),
    ):
        if value is not None:
            raise InputError(flag, expected="none: the model reads SMILES", found=repr(value))


def _given(value: str | None, flag: str, expected: str) -> str:
    if value is None:
        raise InputError(flag, expected=expected, found="none")
    return value


def _columns(config: PredictConfig, model_path: Path, table: TableFiles) -> tuple[str, str | None]:
    """Return the columns of SMILES and of ids; None where rows are numbered."""
    section = run_section(model_path, "data")
    smiles = config.smiles_column or section.get("smiles_column") or "SMILES"
    table.require(smiles, "--smiles-column")
    if config.id_column is not None:
        return smiles, table.require(config.id_column, "--id-column")
    named = section.get("id_column")
    return smiles, named if named in table.columns else None


def _output(config: PredictConfig, table: Path) -> Path:
    stem = table.name.partition(".")[0]
    path = Path(config.output) if config.output else Path(f"{stem}_predictions.parquet")
    if path.suffix not in {".parquet", ".csv"}:
        raise InputError("--output", expected="a .parquet or .csv file", found=repr(str(path)))
    if not path.absolute().parent.is_dir():
        raise InputError(
            "--output", expected="a file in an existing folder", found=f"{str(path)!r}"
        )
    if not os.access(path.absolute().parent, os.W_OK):
        raise InputError("--output", expected="a folder that may be written to", found=str(path))
    if path.exists() and path.samefile(table):
        raise InputError("--output", expected="another file than data_path", found=str(path))
    if path.exists() and not config.overwrite:
        raise InputError(
            "--output",
            expected="a new file",
            found=f"{str(path)!r}, which is there",
            hint="--overwrite true replaces it.",
        )
    return path


def _chunks(table: TableFiles, smiles: str, names: str | None, rows: int) -> Iterator[pl.DataFrame]:
    """Yield ``row`` (from 1), ``id`` and ``SMILES``."""
    done = 0
    for frame in table.texts([smiles, *([] if names is None else [names])], rows):
        row = pl.Series("row", range(done + 1, done + frame.height + 1), dtype=pl.Int64)
        ids = row.cast(pl.String) if names is None else frame[names]
        yield pl.DataFrame([row, ids.alias("id"), frame[smiles].alias("SMILES")])
        done += frame.height


def _tell(console: Console, tally: Tally, output: Path, model: SavedModel, seconds: float) -> None:
    good = tally.rows - tally.bad
    lines = [
        f"{good} of {tally.rows} molecules predicted, {len(model.task_names)} tasks"
        + (f", {model.n_members} models" if model.n_members > 1 else "")
        + f"; {tally.rows / max(seconds, 1e-9):.0f} molecules/s."
    ]
    if tally.bad:
        rest = tally.bad - len(tally.first_bad)
        lines.append(
            f"{tally.bad} rows have no prediction, column error says why: rows "
            f"{', '.join(tally.first_bad)}{f' and {rest} more' if rest else ''}."
        )
    if tally.far:
        lines.append(
            f"{tally.far} molecules are unlike every training molecule (Tanimoto similarity below "
            f"{FAR:g}): trust their predictions less."
        )
    for line in (*lines, f"Predictions: {output}"):
        console.print(line, highlight=False, markup=False)
