"""`molpool-rt predict`: a table in, a table with intervals out, some rows at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from molpool_common import InputError, frames_written, is_parquet, listed
from rich.console import Console
from rt_ridge import COVERAGES, LEVELS, CompoundDescriptors

from molpool_pipelines.retention.artefacts import Artefact
from molpool_pipelines.retention.batches import Batch, BatchReader
from molpool_pipelines.retention.config import PredictConfig
from molpool_pipelines.retention.descriptors import read_descriptors
from molpool_pipelines.retention.folder import check_file
from molpool_pipelines.tables import TableFiles


def main(config: PredictConfig, arguments: Sequence[str]) -> None:
    """Predict, write the file, and say how many rows came from which level."""
    if config.artefact is None:
        raise InputError("artefact", expected="the run folder of a fit", found="none")
    output = check_file(Path(config.output), overwrite=config.overwrite)
    _check_suffix(output)
    table = TableFiles.find(config.data, "data")
    artefact = Artefact.load(config.artefact)
    keep = [table.require(name, "keep_cols") for name in config.keep_cols]
    known = None
    if config.descriptors is not None:
        known = artefact_descriptors(artefact, config.descriptors, config.compound_col)
    reader = BatchReader(
        table, [artefact], config, with_target=False, extra=keep, descriptors=known
    )
    columns = output_columns(reader)
    twice = [name for name, times in Counter(columns).items() if times > 1]
    if twice:
        raise InputError(
            "keep_cols",
            expected="columns that are not of the output anyway",
            found=listed([repr(n) for n in twice]),
        )
    console = Console(highlight=False)
    levels: Counter[str] = Counter()
    with frames_written(output) as writer, console.status(f"Predicting {table.name}"):
        for batch in reader.batches():
            frame = predicted(artefact, batch, reader).select(columns)
            levels.update(dict(frame["level"].value_counts().iter_rows()))
            writer.write(frame)
        if not levels:
            raise InputError("data", expected="at least one row", found="none", where=table.name)
    console.print(f"{output}: {sum(levels.values()):,} rows", soft_wrap=True)
    if artefact.summaries.calibration is not None:
        console.print("Intervals are calibrated on runs held out from the fit.")
    for level in LEVELS:
        if levels[level]:
            console.print(f"  {levels[level]:>12,}  {_told(level)}")


def artefact_descriptors(artefact: Artefact, path: str, compound: str) -> CompoundDescriptors:
    """Return the descriptors of a table that a fit was made with.

    Raises
    ------
    InputError, RTRidgeError
        If the fit has none, or the table lacks one.
    """
    effect = artefact.summaries.coefficients.descriptors
    if effect is None:
        raise InputError(
            "descriptors", expected="a fit with descriptors", found=f"{artefact.name} without"
        )
    return read_descriptors(path, compound, effect.names)


def _told(level: str) -> str:
    if level == "pair":
        return "by coefficients of their own pair"
    return "without a prediction: never seen" if level == "none" else f"by the level {level}"


def output_columns(reader: BatchReader) -> list[str]:
    """Return the columns of the output, in order."""
    ends = [f"{end}_{c * 100:.0f}" for c in COVERAGES for end in ("lower", "upper")]
    source = ["file"] if len(reader.table.files) > 1 else []
    ids = [*source, "row", *reader.id_columns, *reader.extra]
    return [*ids, "predicted", "sd", "sd_mean", *ends, "level", "n_train"]


def predicted(artefact: Artefact, batch: Batch, reader: BatchReader) -> pl.DataFrame:
    """Return the predictions of a batch.

    Returns
    -------
    DataFrame
        file, row, the ids, columns carried over; predicted, sd (of a new measurement), sd_mean
        (of the expected value), the ends of the central intervals, level and n_train.
    """
    frame, n_rows = batch.frame, batch.frame.height
    prediction = reader.predict(artefact, frame)
    columns = {
        "file": pl.repeat(batch.where, n_rows, eager=True),
        "row": np.arange(batch.first_row, batch.first_row + n_rows),
        **{name: frame[name] for name in reader.id_columns},
        **{name: batch.raw[name] for name in reader.extra},
        "predicted": prediction.mean,
        "sd": prediction.std,
        "sd_mean": prediction.std_mean,
    }
    for coverage in COVERAGES:
        half = prediction.half_width(coverage)
        columns[f"lower_{coverage * 100:.0f}"] = prediction.mean - half
        columns[f"upper_{coverage * 100:.0f}"] = prediction.mean + half
    columns |= {"level": prediction.level, "n_train": reader.support(artefact, frame)[0]}
    return pl.DataFrame(columns).with_columns(pl.selectors.float().fill_nan(None))


def _check_suffix(output: Path) -> None:
    if not is_parquet(output) and output.suffix != ".csv":
        raise InputError(
            "output", expected="a name that ends in .parquet or .csv", found=repr(output.name)
        )
