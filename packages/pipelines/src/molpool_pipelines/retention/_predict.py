"""Predict a table by the artefact of a fit, some rows at a time.

`predict_frames` yields predictions, `predict` writes them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from molpool_common import InputError, frames_written, listed
from rt_ridge import LEVELS, CompoundDescriptors

from molpool_pipelines.retention._batches import Artefact, Batch, BatchReader
from molpool_pipelines.retention._compounds import read_descriptors
from molpool_pipelines.retention._config import (
    COEFFICIENTS,
    PredictConfig,
    Progress,
    free_table,
    silent,
)
from molpool_pipelines.retention._identifiers import COMPOUND, NAMED, PreparedNames
from molpool_pipelines.retention._rejected import Rejected
from molpool_pipelines.runs import LOWER, UPPER, write_rejected
from molpool_pipelines.tables import TableFiles

_SD, _SD_MEAN, _MEASURED = "_sd", "_sd_mean", "_measured"
"""Endings of columns: sd of a new measurement, of the expected time; the measured time."""


@dataclass(frozen=True)
class PredictionFile:
    """A file of predictions.

    Attributes
    ----------
    path : Path
        The file.
    levels : dict of str to int
        Rows by the level that their coefficients came from, the most specific first.
    calibrated : bool
        Whether the intervals are conformal.
    reasons : dict of str to int
        Rows without a prediction, by reason.
    rejected : Path or None
        The file that lists them, where there are any.
    notes : list of str
        How the table was read, and what intervals rest on.
    """

    path: Path
    levels: dict[str, int]
    calibrated: bool
    reasons: dict[str, int]
    rejected: Path | None
    notes: list[str]


def predict(config: PredictConfig, progress: Progress = silent) -> PredictionFile:
    """Write a row of predictions for each row of a table.

    Parameters
    ----------
    config : PredictConfig
        Artefact, tables and the file to write.
    progress : callable
        Called with what is being done.

    Raises
    ------
    InputError, RTRidgeError
        If the file exists, the artefact or the table is wrong, or there is no row.
    """
    output = free_table(config.output, overwrite=config.overwrite, inputs=_inputs(config))
    predictor = RowPredictor.open(config)
    reader = predictor.reader
    levels, reasons, rejected = Counter[str](), Counter[str](), Rejected()
    progress(f"Predicting {reader.table.name}")
    # Written beside and moved at the end: a table that fails in its last chunk leaves no half file.
    with frames_written(output, metadata=predictor.metadata()) as writer:
        for frame in predictor.frames():
            levels.update(dict(frame["level"].value_counts().iter_rows()))
            reasons.update(dict(frame["reason"].drop_nulls().value_counts().iter_rows()))
            _set_aside(rejected, frame, reader)
            writer.write(frame)
        if not levels:
            where = reader.table.name
            raise InputError("data", expected="at least one row", found="none", where=where)
    found = {level: levels[level] for level in LEVELS if levels[level]}
    calibrated = predictor.artefact.summaries.calibration is not None
    beside = write_rejected(output, rejected.frame())
    why = dict(reasons.most_common())
    return PredictionFile(output, found, calibrated, why, beside, predictor.notes())


def _set_aside(rejected: Rejected, frame: pl.DataFrame, reader: BatchReader) -> None:
    """Take the rows without a prediction."""
    rows = frame.drop_nulls("reason")
    one = pl.Series([reader.table.files[0].name]).new_from_index(0, rows.height)
    source = rows["file"] if "file" in rows.columns else one
    rejected.add(rows["row"], rows[reader.compound], source, rows["reason"])


def predict_frames(config: PredictConfig) -> Iterator[pl.DataFrame]:
    """Yield what `predict` writes, some rows at a time.

    Yields
    ------
    DataFrame
        file (where there are several), row, the ids as they came, the names that a preparation
        knows them by, the columns of `keep_cols` (the measured retention time as
        ``RT_measured``); ``RT``, the prediction, ``RT_sd`` (of a new measurement), ``RT_sd_mean``
        (of the expected time), the ends of the central interval (``RT_lower`` and ``RT_upper``, or
        ``RT_lower_80`` and so on of several levels); level, n_train and reason (why there is no
        prediction). Times and deviations in the unit of the target.
    """
    yield from RowPredictor.open(config).frames()


def _inputs(config: PredictConfig) -> dict[str, list[Path]]:
    """Return the files that are read, which the output may not replace."""
    artefact = [] if config.artefact is None else [Path(config.artefact)]
    artefact += [path / COEFFICIENTS for path in artefact]
    descriptors = [] if config.descriptors is None else [Path(config.descriptors)]
    data = TableFiles.find(config.data, "data", read=config.read).files
    return {"data": data, "artefact": artefact, "descriptors": descriptors}


_OF_NO_COMPOUND = [
    level for level in LEVELS if level not in ("pair", "none") and "compound" not in level
]
"""Levels of rows whose compound the training lacks."""

_UNSEEN = "never seen in training, and this fit has no level for it"


@dataclass(frozen=True)
class RowPredictor:
    """Predicts the rows of a table.

    Attributes
    ----------
    artefact : Artefact
        By which.
    reader : BatchReader
        Of the table.
    target : str
        What the retention time is called.
    levels : list of float
        Of intervals.
    names : PreparedNames
        Names of ids, where the table was prepared.
    undescribed : set of int
        Compounds so far of which a fit with descriptors knows neither these nor a time.
    """

    artefact: Artefact
    reader: BatchReader
    target: str
    levels: list[float]
    names: PreparedNames
    undescribed: set[int] = field(default_factory=set)

    @classmethod
    def open(cls, config: PredictConfig) -> RowPredictor:
        """Return the predictor of a configuration, the columns that it needs there.

        Raises
        ------
        InputError, RTRidgeError
            If the artefact or the table is wrong.
        """
        if config.artefact is None:
            raise InputError("artefact", expected="the run folder of a fit", found="none")
        table = TableFiles.find(config.data, "data", read=config.read)
        artefact = Artefact.load(config.artefact)
        extra = [table.require(name, "keep_cols") for name in config.keep_cols]
        reader = BatchReader(
            table,
            [artefact],
            config,
            with_target=False,
            extra=extra,
            descriptors=_descriptors(config, artefact),
            absent=config.absent_covariates,
            with_gaps=True,
        )
        target = artefact.target(config.target_col)
        names = PreparedNames.beside(table.files[0])
        found = cls(artefact, reader, target, config.level, names)
        # Checked before the first row is read: the writer would refuse it only at the first chunk.
        repeated = [name for name, times in Counter(found.columns).items() if times > 1]
        if repeated:
            raise InputError(
                "keep_cols",
                expected="columns that are not of the output anyway",
                found=listed([repr(n) for n in repeated]),
            )
        return found

    @property
    def columns(self) -> list[str]:
        """Columns of the output, in order."""
        reader, rt = self.reader, self.target
        # Rows are numbered within their file, so that several files need its name.
        source = ["file"] if len(reader.table.files) > 1 else []
        ids = [*source, "row", *reader.id_columns, *self._named, *self._kept]
        ends = [f"{rt}{end}" for pair in self._ends.values() for end in pair]
        numbers = [f"{rt}{ending}" for ending in ("", _SD, _SD_MEAN)]
        return [*ids, *numbers, *ends, "level", "n_train", "reason"]

    @property
    def _kept(self) -> dict[str, str]:
        """Columns that are carried over, by what they are called in the output."""
        measured = {self.target: self.target + _MEASURED}
        return {measured.get(name, name): name for name in self.reader.extra}

    @property
    def _ends(self) -> dict[float, tuple[str, str]]:
        """Endings of the columns of each level's interval."""
        several = len(self.levels) > 1
        words = {level: f"_{100 * level:g}" if several else "" for level in self.levels}
        return {level: (LOWER + word, UPPER + word) for level, word in words.items()}

    @property
    def _named(self) -> dict[str, str]:
        """Columns of ids that have names, by the column of names."""
        ids = {name: id_ for name, id_ in NAMED.items() if id_ in self.reader.id_columns}
        return {name: id_ for name, id_ in ids.items() if self.names.of(name)}

    def metadata(self) -> dict[str, Any]:
        """Return what a file of predictions says of itself."""
        calibration = self.artefact.summaries.calibration
        rests = None
        if calibration is not None:
            rests = {"rows": calibration.n_rows, "runs": calibration.n_runs}
        return {
            "target": self.target,
            "levels": self.levels,
            "calibration": rests,
            "model": {"method": self.artefact.summaries.method, "digest": self.artefact.digest()},
            "covariates": list(self.artefact.summaries.feature_names),
        }

    def notes(self) -> list[str]:
        """Return how the table was read, what it lacks, and what intervals rest on."""
        said = [*self.reader.table.notes(), *self.reader.rows.notes, *self.reader.notes()]
        if n := len(self.undescribed):
            ids = pl.Series(sorted(self.undescribed)[:5])
            some = listed(self.names.apply(COMPOUND, ids).to_list())
            said.append(
                f"Predicted without descriptors, {n} compounds that the training lacks: {some}"
                f"{' ...' if n > len(ids) else ''}. --descriptors takes a table that has theirs."
            )
        calibration = self.artefact.summaries.calibration
        if calibration is None:
            return [*said, "Intervals are the model's own, not calibrated on runs held out."]
        if high := [level for level in self.levels if level > calibration.highest_level]:
            shares = listed([f"{100 * level:g} %" for level in high])
            said.append(f"Too few rows calibrate for {shares}: some rows have no such interval.")
        return said

    def frames(self) -> Iterator[pl.DataFrame]:
        """Yield predictions, some rows at a time."""
        for batch in self.reader.batches():
            yield self._predicted(batch)

    def _predicted(self, batch: Batch) -> pl.DataFrame:
        reader, frame, n_rows = self.reader, batch.frame, batch.frame.height
        prediction = reader.predict(self.artefact, frame)
        gaps = pl.Series([None], dtype=pl.String).new_from_index(0, n_rows)
        gaps = gaps if batch.gaps is None else batch.gaps
        placed = pl.Series(gaps.is_null())
        level = pl.Series(prediction.level, dtype=pl.String).set(~placed, "none")
        self._note_undescribed(frame.filter(level.is_in(_OF_NO_COMPOUND)))
        numbers = {"": prediction.mean, _SD: prediction.std, _SD_MEAN: prediction.std_mean}
        for share, (lower, upper) in self._ends.items():
            half = prediction.half_width(share)
            # Without bounds, as where too few rows calibrate, is without an interval.
            half = np.where(np.isfinite(half), half, np.nan)
            numbers |= {lower: prediction.mean - half, upper: prediction.mean + half}
        columns = {
            "file": pl.repeat(batch.where, n_rows, eager=True),
            # From 1, as a spreadsheet counts data lines.
            "row": np.arange(batch.first_row, batch.first_row + n_rows),
            **{name: batch.raw[name] for name in reader.id_columns},
            **{name: batch.raw[of] for name, of in self._kept.items()},
            **{name: self.names.apply(name, frame[id_]) for name, id_ in self._named.items()},
            # Null, as CSV readers take NaN for text.
            **{
                f"{self.target}{k}": pl.Series(v).fill_nan(None).set(~placed, None)
                for k, v in numbers.items()
            },
            "level": level,
            "n_train": pl.Series(reader.support(self.artefact, frame)[0]).set(~placed, 0),
            "reason": gaps.set(placed & (level == "none"), _UNSEEN),
        }
        return pl.DataFrame(columns).select(self.columns)

    def _note_undescribed(self, frame: pl.DataFrame) -> None:
        effect, given = self.artefact.summaries.coefficients.descriptors, self.reader.descriptors
        if effect is None:
            return
        known = np.concatenate([effect.ids, effect.ids[:0] if given is None else given.ids])
        self.undescribed.update(np.setdiff1d(frame[self.reader.compound], known).tolist())


def _descriptors(config: PredictConfig, artefact: Artefact) -> CompoundDescriptors | None:
    if config.descriptors is None:
        return None
    effect = artefact.summaries.coefficients.descriptors
    if effect is None:
        raise InputError(
            "descriptors", expected="a fit with descriptors", found=f"{artefact.name} without"
        )
    prepared = PreparedNames.of_fit(config.data)
    return read_descriptors(
        config.descriptors, config.compound_col, effect.names, read=config.read, prepared=prepared
    )
