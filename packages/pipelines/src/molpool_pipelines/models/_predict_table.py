"""Predict a table that may be larger than memory, some thousand rows at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
from chemprop_multitask import ChempropError
from molpool_common import (
    SCALE_WORDS,
    FrameWriter,
    InputError,
    IntArray,
    ScaleName,
    canonical_smiles,
    check_output,
    frames_written,
    free_memory,
    is_parquet,
    listed,
    mapped,
    parse_smiles,
    smiles_column_of,
    table_metadata,
    tell,
    write_table,
)

from molpool_pipelines.models._calibration import Calibration, with_intervals
from molpool_pipelines.models._config import LEVEL, ApplicabilityConfig, PredictConfig
from molpool_pipelines.models._descriptors import FeatureFiles
from molpool_pipelines.models._files import (
    calibration_file,
    check_model_path,
    is_mil,
    is_tabular,
    path_names,
    reads_feature_tables,
    run_section,
)
from molpool_pipelines.models._finished import AboutModel, Combined, scales_of
from molpool_pipelines.models._output_columns import OutputColumns
from molpool_pipelines.models._protocol import Predicted, SavedModel, spread
from molpool_pipelines.models._recentring import Recentring
from molpool_pipelines.models._run_tables import measured_again
from molpool_pipelines.models._shift import ShiftModel
from molpool_pipelines.models._toward import sample_of, shift_kind, shift_toward, strata_column
from molpool_pipelines.runs import (
    OUTSIDE,
    as_file,
    earlier_predictions,
    rejected_rows,
    write_rejected,
)
from molpool_pipelines.scores import (
    Nearest,
    NearestTraining,
    TrainingMolecules,
    training_molecules,
)
from molpool_pipelines.tables import TableFiles, TaskType, exact_labels, strata_of, survey

if TYPE_CHECKING:
    from rdkit.Chem import Mol


STRATUM = "stratum\0"
"""Column of strata in chunks, as no user's column is called."""

_FIRST = 5
"""Rows without a prediction that are named."""

_FREED_EVERY = 1 << 14
"""Rows after which free memory goes back to the system: graphs of each batch leave other holes."""


@dataclass
class PredictedTable:
    """What `predict_table` wrote.

    Parameters
    ----------
    path : Path
        The file.
    n_tasks, n_members : int
        Of the model.
    of_bags : bool
        Whether rows are bags whose features stood in tables.
    note : str or None
        What the user should know.
    rows, bad, far : int
        Rows read, those without a prediction, and those of molecules less similar than `far_below`
        to any training molecule.
    far_below : float
        Tanimoto similarity.
    dropped : bool
        Whether rows without a prediction were left out of the file.
    task_names, task_types : tuple of str
        Tasks of the model, and what they are.
    rejected : list of DataFrame
        Rows without a prediction, as `rejected_rows` has them.
    first_bad : list of str
        Row and reason of the first without a prediction.
    seconds : float
        That predicting took.
    """

    path: Path
    n_tasks: int
    n_members: int
    of_bags: bool = False
    note: str | None = None
    rows: int = 0
    bad: int = 0
    far: int = 0
    far_below: float = 0.3
    dropped: bool = False
    task_names: tuple[str, ...] = ()
    task_types: tuple[TaskType, ...] = ()
    rejected: list[pl.DataFrame] = field(default_factory=list)
    first_bad: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, frame: pl.DataFrame, source: str) -> None:
        """Count the rows of a chunk of the table `source`, and keep what was wrong with them."""
        wrong = frame.filter(pl.col("error").is_not_null())
        self.rows += frame.height
        self.bad += wrong.height
        named = wrong.select("row", "error").head(_FIRST - len(self.first_bad)).rows()
        # At most `_FIRST` over all chunks: head of 0 rows is empty.
        self.first_bad += [f"{row} ({reason})" for row, reason in named]
        smiles = (
            pl.col("SMILES")
            if "SMILES" in wrong.columns
            else pl.lit(None, dtype=pl.String).alias("SMILES")
        )
        if wrong.height:
            columns = ("row", "id", pl.lit(source).alias("source"), smiles, "error")
            self.rejected.append(rejected_rows(wrong.select(*columns).rows()))
        if OUTSIDE in frame.columns:
            self.far += int(frame[OUTSIDE].sum())


def predict_table(config: PredictConfig) -> PredictedTable:
    """Predict the molecules of a table and write one file.

    Parameters
    ----------
    config : PredictConfig
        Model, table, output.

    Raises
    ------
    InputError, ChempropError, MILError
        If model, table or output are wrong; then nothing is written.
    """
    paths = _model_paths(config)
    table = TableFiles.find(
        [_given(config.data_path, "--data-path", "a table of molecules")], read=config.read
    )
    path = table.files[0]
    # Features in tables are joined by id, which needs all of both tables at once.
    if any(map(reads_feature_tables, paths)):
        return _predict_feature_tables(config, paths, path)
    _refuse_features(config)
    smiles, names = _columns(config, paths[0], table)
    output = _output(config, path)
    # A pass over the ids costs little beside the predictions, gives the bar its length, and refuses
    # repeated ids before hours of work.
    total, names, said = _surveyed(config, table, smiles, names)
    # torch takes seconds to import: what is wrong with the table was said before.
    if config.threads is not None:
        import torch

        torch.set_num_threads(config.threads)
    serving = Serving.load(config, paths).toward(config, table, sample_of(table, smiles, total))
    columns = OutputColumns(path.name, smiles, names, serving.combined, config.level)
    kept, columns, more = _carried(table, columns, serving.strata, numbers=is_parquet(output))
    notes = [*table.notes(), *said, *more, *serving.notes]
    done = PredictedTable(
        output, len(serving.combined.tasks), serving.n_members, note=" ".join(notes) or None
    )
    done.dropped = config.on_bad_smiles == "drop"
    done.far_below = config.applicability.threshold
    done.task_names = tuple(serving.combined.tasks)
    done.task_types = tuple(serving.combined.tasks.values())
    start = perf_counter()
    # The smaller: conformers of a chunk are held in memory, and 128 molecules of them fill it as
    # thousands of graphs do.
    rows = min(config.chunk_rows, serving.chunk_rows)
    carried = table.frames(kept, rows)
    read = _chunks(table, smiles, names, rows, serving.strata)
    chunks = zip(read, carried, strict=True)
    for n in _written(serving, chunks, columns, done):
        tell("Predicting", n, total, "molecules")
    done.seconds = perf_counter() - start
    write_rejected(output, pl.concat([rejected_rows([]), *done.rejected]))
    return done


def _carried(
    table: TableFiles, columns: OutputColumns, strata: str | None, *, numbers: bool
) -> tuple[list[str], OutputColumns, list[str]]:
    """Return the columns that are carried along, how they stand beside ours, and what to say.

    Predictions that the table has of the same tasks give way to the new ones.
    """
    about, tasks = table_metadata(table.files[0]), columns.combined.tasks
    earlier, measured = earlier_predictions(table.columns, about, tasks)
    replaced = earlier - {columns.smiles, columns.names, strata}
    kept = [name for name in table.columns if name not in replaced]
    # Text and worksheets have what was measured as it was written; Parquet has a type for numbers.
    found = table.of_numbers({*tasks, *measured} & set(kept)) if numbers else frozenset[str]()
    said = [f"Columns of earlier predictions are replaced: {listed(sorted(replaced))}."]
    return kept, replace(columns, numbers=found, measured=measured), said if replaced else []


def _written(
    serving: Serving,
    chunks: Iterable[tuple[pl.DataFrame, pl.DataFrame]],
    columns: OutputColumns,
    done: PredictedTable,
) -> Iterator[int]:
    """Predict and write frames with what is carried along, and yield the rows that are done."""
    with ExitStack() as stack:
        writer: FrameWriter | None = None
        for (_, carried), predicted in _predicted(serving, chunks):
            done.add(predicted, columns.source)
            rows, about = columns.beside(predicted, carried)
            if writer is None:
                # Its description says what the first frame turned out to have.
                writer = stack.enter_context(
                    frames_written(done.path, metadata=about, smiles=about["smiles_column"])
                )
            writer.write(rows.filter(predicted["error"].is_null()) if done.dropped else rows)
            if done.rows // _FREED_EVERY > (done.rows - predicted.height) // _FREED_EVERY:
                free_memory()
            yield done.rows


def _predicted(
    serving: Serving, chunks: Iterable[tuple[pl.DataFrame, pl.DataFrame]]
) -> Iterator[tuple[tuple[pl.DataFrame, pl.DataFrame], pl.DataFrame]]:
    """Yield chunks with their predictions, made by the workers of the engine where it has any."""
    waiting: deque[tuple[pl.DataFrame, pl.DataFrame]] = deque()

    def frames() -> Iterator[pl.DataFrame]:
        for chunk in chunks:
            waiting.append(chunk)
            yield chunk[0]

    for predicted in mapped(Serving.predict, serving, frames()):
        yield waiting.popleft(), predicted


def _model_paths(config: PredictConfig) -> list[Path]:
    if config.models and config.model_dir is not None:
        raise InputError("--models", expected="one of --model-dir and --models", found="both")
    given = config.models or [_given(config.model_dir, "--model-dir", "a saved model")]
    paths = [Path(path) for path in given]
    for path in paths:
        check_model_path(path, "models" if config.models else "model_dir")
        if config.latent and is_mil(path):
            raise InputError(
                "--latent",
                expected="models of molecules, which learn the limits of assays",
                found="a model over bags",
                where=str(path),
            )
    twice = [str(p) for i, p in enumerate(paths) if p.absolute() in map(Path.absolute, paths[:i])]
    if twice:
        raise InputError("--models", expected="different models", found=f"{twice[0]!r} twice")
    return paths


def _surveyed(
    config: PredictConfig, table: TableFiles, smiles: str, names: str | None
) -> tuple[int, str | None, list[str]]:
    """Return the number of rows, the column that names them, and what there is to say of it."""
    try:
        return survey(table, names or smiles, distinct=names is not None), names, []
    except InputError as error:
        # That of the run's configuration named other rows; one that the user names must.
        if names is None or config.id_column is not None or "id" not in error.expected:
            raise
        note = f"Rows are told by their number, as column {names!r} does not: {error.found}."
        return survey(table, smiles, distinct=False), None, [note]


@dataclass(frozen=True)
class Serving:
    """The models that predict a table, and how their predictions become one.

    Parameters
    ----------
    predictors : sequence of ChunkPredictor, length M
        The models.
    combined : Combined
        What they are and how they are combined.
    notes : list of str
        What the user should know.
    strata : str or None
        Column of the table whose values intervals hold within.
    """

    predictors: Sequence[ChunkPredictor]
    combined: Combined
    notes: list[str]
    strata: str | None = None

    @classmethod
    def load(cls, config: PredictConfig, paths: Sequence[Path]) -> Serving:
        """Read the models, recentred by newly measured molecules where there are such."""
        predictors, about, notes = [], [], []
        for path, name in zip(paths, path_names(paths), strict=True):
            model = load_model(path)
            scales = getattr(model, "scales", None) or scales_of(path, model.task_names)
            predictor = ChunkPredictor.from_config(config, model, path)
            if config.recalibrate is not None:
                predictor, said = _recentred(config, predictor, path, scales)
                notes += said if len(paths) == 1 else [f"{name}: {note}" for note in said]
            types = dict(zip(model.task_names, model.task_types, strict=True))
            far = config.applicability.threshold
            about.append(
                AboutModel(name, path, model.kind, types, scales, predictor.calibration, far)
            )
            predictors.append(predictor)
            notes += [predictor.note] if predictor.note else []
        return cls(predictors, Combined.of(about, config.combine), list(dict.fromkeys(notes)))

    def toward(
        self, config: PredictConfig, table: TableFiles, sample: Callable[[], list[str]]
    ) -> Serving:
        """Return the same with what the intervals need of the table: strata and weights."""
        paths = [about.path for about in self.combined.models]
        columns = [
            strata_column(config, path, table, predictor.calibration)
            for path, predictor in zip(paths, self.predictors, strict=True)
        ]
        weighted = [
            _toward(predictor, config, path, sample)
            for path, predictor in zip(paths, self.predictors, strict=True)
        ]
        said = [p.note for p in weighted if p.note and p.note not in self.notes]
        strata = next((column for column in columns if column is not None), None)
        return replace(self, predictors=weighted, notes=[*self.notes, *said], strata=strata)

    @property
    def n_members(self) -> int:
        """Models of which each prediction is a mean."""
        return sum(predictor.model.n_members for predictor in self.predictors)

    @property
    def chunk_rows(self) -> int:
        """Rows to predict at a time at most."""
        return min(predictor.model.chunk_rows for predictor in self.predictors)

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of a chunk with predictions, in the units of the table."""
        each = [
            about.finished(predictor.predict(frame))
            for about, predictor in zip(self.combined.models, self.predictors, strict=True)
        ]
        return self.combined.join(each)


def _recentred(
    config: PredictConfig, predictor: ChunkPredictor, path: Path, scales: tuple[ScaleName, ...]
) -> tuple[ChunkPredictor, list[str]]:
    """Return the predictor moved by newly measured molecules, and what they said."""
    assert config.recalibrate is not None
    calibration, tasks = predictor.calibration, predictor.model.task_names
    if calibration is None or calibration.prior is None:
        raise InputError(
            "--recalibrate",
            expected="a run whose calibration says how far series are off",
            found="none",
            where=str(path),
            hint="Runs leave it where rows validate; train again.",
        )
    table = measured_again(config, path, tasks, scales)
    read = _parsed(table.smiles)
    predicted = predictor.model.predict(table.smiles, predictor.batch_size)
    assert len(read.rows) == len(table)
    exact = exact_labels(table.targets, table.censoring)
    learnt = Recentring.learn(exact - predicted.mean, calibration.prior)
    said = [
        f"{task}: {n} new labels, moved by {shift:+.3g}"
        + ("" if scale == "none" else f" ({SCALE_WORDS[scale]})")
        for task, n, shift, scale in zip(tasks, learnt.n, learnt.shift, scales, strict=True)
        if n
    ]
    note = f"Recalibrated by {Path(config.recalibrate).name}. {'; '.join(said)}."
    moved = replace(predictor, calibration=replace(calibration, recentring=learnt))
    return moved, [note, *_trained_on(table.smiles, path)]


def _trained_on(smiles: Sequence[str], path: Path) -> list[str]:
    """Return a warning where newly measured molecules trained the model of a run."""
    known = training_molecules(path)
    trained = set() if known is None else set(canonical_smiles(known.smiles))
    seen = sum(text in trained for text in canonical_smiles(smiles))
    if not seen:
        return []
    return [
        f"{seen} of the {len(smiles)} newly measured molecules trained the model, which predicts "
        "them better than new ones: predictions are moved too little. Leave these out."
    ]


def load_model(path: Path) -> SavedModel:
    """Read whatever model of ours there is, only from a trusted source.

    Parameters
    ----------
    path : Path
        A run folder, a folder of an ensemble, or a model file.

    Raises
    ------
    InputError, ChempropError, MILError
        If there is no model, or one that cannot be read.
    """
    check_model_path(path)
    # Each kind imports its own framework, which takes seconds.
    if is_tabular(path):
        from molpool_pipelines.models._tabular import TabularModel

        return TabularModel.load(path)
    if is_mil(path):
        from molpool_pipelines.models._mil import MILModel

        return MILModel.load(path)
    from molpool_pipelines.models._chemprop import ChempropModel

    return ChempropModel.load(path)


def _predict_feature_tables(
    config: PredictConfig, paths: Sequence[Path], table: Path
) -> PredictedTable:
    from molpool_pipelines.models._mil import MILModel, predict_bags

    if shift_kind(config, paths[0]) != "none":
        raise InputError(
            "--shift", expected="none: rows are bags of features", found=repr(config.shift)
        )
    if len(paths) > 1 or config.recalibrate is not None:
        raise InputError(
            "--models" if len(paths) > 1 else "--recalibrate",
            expected="none with a model over bags whose features stand in tables",
            found=str(len(paths)) if len(paths) > 1 else repr(config.recalibrate),
        )
    output = _output(config, table)
    start = perf_counter()
    saved = MILModel.load(paths[0])
    types = dict(zip(saved.task_names, saved.task_types, strict=True))
    scales = scales_of(paths[0], saved.task_names)
    about = AboutModel(path_names(paths)[0], paths[0], saved.kind, types, scales)
    predicted, notes = predict_bags(config, saved)
    frame = about.finished(predicted)
    done = PredictedTable(output, len(saved.task_names), saved.n_members, of_bags=True)
    done.note = " ".join(notes) or None
    done.dropped = config.on_bad_smiles == "drop"
    done.task_names, done.task_types = saved.task_names, saved.task_types
    done.add(frame, table.name)
    kept = frame.filter(pl.col("error").is_null()) if done.dropped else frame
    combined = Combined.of([about], "none")
    known = {} if calibration_file(paths[0]) is None else {"levels": list(config.level)}
    rows, said = as_file(kept, types, of_tasks=about.of_tasks(), **combined.described(), **known)
    write_table(output, rows, metadata=said)
    write_rejected(output, pl.concat([rejected_rows([]), *done.rejected]))
    done.seconds = perf_counter() - start
    return done


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
    own = config.smiles_column or section.get("smiles_column") or "SMILES"
    smiles = smiles_column_of(table.columns, own, given=config.smiles_column is not None)
    table.require(smiles, "--smiles-column")
    if config.id_column is not None:
        return smiles, table.require(config.id_column, "--id-column")
    named = section.get("id_column")
    # A run's id column need not be in another table; one that the user names must be.
    return smiles, named if named in table.columns else None


def _output(config: PredictConfig, table: Path) -> Path:
    stem = table.name.partition(".")[0]
    path = Path(config.output) if config.output else Path(f"{stem}_predictions.parquet")
    check_output(path, overwrite=config.overwrite, inputs=[table])
    return path


def _chunks(
    table: TableFiles, smiles: str, names: str | None, rows: int, strata: str | None = None
) -> Iterator[pl.DataFrame]:
    """Yield ``row`` (from 1), ``id`` and ``SMILES``, and the strata as `STRATUM`."""
    done = 0
    read = dict.fromkeys(name for name in (smiles, names, strata) if name is not None)
    for frame in table.texts(list(read), rows):
        row = pl.Series("row", range(done + 1, done + frame.height + 1), dtype=pl.Int64)
        ids = row.cast(pl.String) if names is None else frame[names]
        columns = [row, ids.alias("id"), frame[smiles].alias("SMILES")]
        if strata is not None:
            columns.append(frame[strata].alias(STRATUM))
        yield pl.DataFrame(columns)
        done += frame.height


class _Read(NamedTuple):
    """Which of N SMILES are molecules: their positions, molecules, and why the others are none."""

    rows: IntArray
    mols: list[Mol]
    reasons: list[str | None]


@dataclass(frozen=True)
class ChunkPredictor:
    """Predicts chunks of a table.

    Parameters
    ----------
    model : SavedModel
        The model.
    batch_size : int
        Molecules predicted at a time.
    stop_at_bad : bool
        Whether a SMILES that does not parse is an error.
    nearest : NearestTraining or None
        Finds the nearest training molecule, where that is asked for.
    training : TrainingMolecules or None
        Those molecules.
    note : str or None
        What the user should know.
    calibration : Calibration or None
        What gives intervals, where the run left it.
    levels : sequence of float
        Of the intervals.
    files : FeatureFiles
        A row for each row of the table, where the user gave such a file.
    shift : ShiftModel or None
        What weighs the rows that calibrate, where that is asked for.
    latent : bool
        Whether values behind the assays are predicted, which may lie beyond their limits.
    """

    model: SavedModel
    batch_size: int = 256
    stop_at_bad: bool = False
    nearest: NearestTraining | None = None
    training: TrainingMolecules | None = None
    note: str | None = None
    calibration: Calibration | None = None
    levels: Sequence[float] = (LEVEL,)
    files: FeatureFiles = field(default_factory=FeatureFiles)
    shift: ShiftModel | None = None
    latent: bool = False

    @classmethod
    def from_config(cls, config: PredictConfig, model: SavedModel, path: Path) -> ChunkPredictor:
        """Return the predictor of a configuration; reads the training molecules of the run."""
        found = cls(
            model,
            config.batch_size,
            config.on_bad_smiles == "error",
            calibration=_calibration(path, unlimited=config.latent),
            levels=config.level,
            files=_files(config, model),
            latent=config.latent,
        )
        section = config.applicability
        needed = found.calibration is not None and (
            found.calibration.needs_distance or shift_kind(config, path) != "none"
        )
        if not section.enabled and not needed:
            return found
        default = ApplicabilityConfig()
        if needed and (section.radius, section.n_bits) != (default.radius, default.n_bits):
            raise InputError(
                "applicability",
                expected=f"radius {default.radius} and {default.n_bits} bits, by which the run's "
                "intervals are calibrated",
                found=f"{section.radius} and {section.n_bits}",
            )
        training = training_molecules(path)
        if training is None:
            note = "No similarity to training molecules: model_dir is no run that names them."
            return replace(found, note=note)
        nearest = NearestTraining(training.mols, section.radius, section.n_bits)
        return replace(found, nearest=nearest, training=training)

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of a chunk (``row, id, SMILES``) with their predictions.

        Of each task ``TASK predicted`` and, where the model has them, ``TASK_sd`` and
        ``TASK decision``; ``similarity`` and ``nearest``, the id of the most similar training
        molecule; and ``error``, why a row has no prediction.

        Raises
        ------
        InputError
            At SMILES that do not parse, if these are errors.
        """
        smiles = frame["SMILES"].to_list()
        read, predicted = self._predicted(smiles, frame)
        for place, reason in zip(read.rows.tolist(), predicted.reasons, strict=True):
            read.reasons[place] = reason
        tasks, n = self.model.task_names, frame.height
        found = None if self.nearest is None else self.nearest.find(read.mols)
        strata = None
        if STRATUM in frame.columns:
            strata = strata_of(frame[STRATUM].gather(read.rows))
            frame = frame.drop(STRATUM)
        texts = [smiles[i] or "" for i in read.rows.tolist()]
        predicted = self._with_intervals(predicted, found, strata, texts)
        columns = [
            *frame.get_columns(),
            *predicted.to_columns(tasks, self.model.task_types, read.rows, n),
        ]
        columns += self._similarity(read, found, n)
        columns.append(pl.Series("error", read.reasons, dtype=pl.String))
        return pl.DataFrame(columns)

    def _predicted(
        self, smiles: Sequence[str | None], frame: pl.DataFrame
    ) -> tuple[_Read, Predicted]:
        """Return predictions of the rows that are molecules."""
        if self.nearest is None and self.model.kind == "chemprop":
            # Featurising reads SMILES itself; only where it stops is it worth while to read them.
            read = _not_empty(smiles)
            # All that is wrong is named at once, not the empty ones alone.
            if not (self.stop_at_bad and any(read.reasons)):
                try:
                    return self._of_read(read, smiles, frame)
                except ChempropError:
                    pass
        return self._of_read(_parsed(smiles), smiles, frame)

    def _of_read(
        self, read: _Read, smiles: Sequence[str | None], frame: pl.DataFrame
    ) -> tuple[_Read, Predicted]:
        if self.stop_at_bad:
            _refuse_bad(frame, read.reasons)
        texts = [smiles[i] or "" for i in read.rows.tolist()]
        # Models over bags know no limits, and none but Chemprop's takes files.
        asked: dict[str, Any] = {"latent": True} if self.latent else {}
        if self.files:
            asked["features"] = self.files.of_rows(frame["row"].to_numpy()[read.rows] - 1)
        return read, self.model.predict(texts, self.batch_size, **asked)

    def _with_intervals(
        self,
        predicted: Predicted,
        found: Nearest | None,
        strata: Sequence[str] | None,
        smiles: Sequence[str],
    ) -> Predicted:
        distance = None if found is None else 1 - found.similarity
        shift = None
        if self.shift is not None and distance is not None:
            shift = self.shift.of(smiles, distance)
        found_with = with_intervals(
            predicted, self.calibration, self.levels, distance=distance, strata=strata, shift=shift
        )
        # A value behind the assay stands at no limit.
        return replace(found_with, at_limits={}) if self.latent else found_with

    def _similarity(self, read: _Read, found: Nearest | None, n: int) -> list[pl.Series]:
        if found is None or self.training is None:
            return []
        ids: list[str | None] = [None] * n
        for place, row in zip(read.rows.tolist(), found.row.tolist(), strict=True):
            ids[place] = self.training.ids[row]
        return [
            spread("similarity", found.similarity, read.rows, n),
            pl.Series("nearest", ids, dtype=pl.String),
        ]


def _files(config: PredictConfig, model: SavedModel) -> FeatureFiles:
    if config.files and model.kind != "chemprop":
        key = config.files[0]
        raise InputError(key, expected="none: no Chemprop model", found=repr(getattr(config, key)))
    return FeatureFiles.read(config)


def _toward(
    predictor: ChunkPredictor, config: PredictConfig, path: Path, sample: Callable[[], list[str]]
) -> ChunkPredictor:
    """Return the predictor, its intervals weighted toward a table's molecules if so asked."""
    kind = shift_kind(config, path)
    if kind == "none":
        return predictor
    shift, note = shift_toward(kind, path, predictor.calibration, predictor.nearest, sample)
    both = note if predictor.note is None else f"{predictor.note} {note}"
    return replace(predictor, shift=shift, note=both)


def _calibration(path: Path, *, unlimited: bool = False) -> Calibration | None:
    """Return what calibrates a run; without the limits at which intervals end, if so asked."""
    file = calibration_file(path)
    found = None if file is None else Calibration.load(file)
    if found is None or not unlimited:
        return found
    none = np.full(len(found.task_types), np.inf)
    return replace(found, floor=-none, ceiling=none)


def _not_empty(smiles: Sequence[str | None]) -> _Read:
    reasons = [None if text and text.strip() else "empty" for text in smiles]
    rows = np.flatnonzero([reason is None for reason in reasons])
    return _Read(rows, [], list(reasons))


def _parsed(smiles: Sequence[str | None]) -> _Read:
    parsed = parse_smiles(smiles)
    reasons: list[str | None] = [None] * len(smiles)
    for bad in parsed.bad:
        reasons[bad.row] = bad.reason
    rows = np.flatnonzero([reason is None for reason in reasons])
    return _Read(rows, [mol for mol in parsed.mols if mol is not None], reasons)


def _refuse_bad(frame: pl.DataFrame, reasons: Sequence[str | None]) -> None:
    bad = [i for i, reason in enumerate(reasons) if reason is not None]
    if bad:
        text, row = frame["SMILES"][bad[0]], frame["row"][bad[0]]
        raise InputError(
            "SMILES",
            expected="SMILES that RDKit parses",
            found=f"{'nothing' if text is None else repr(text)} in row {row} ({reasons[bad[0]]})",
            hint=f"Rows: {listed([frame['row'][i] for i in bad])}. --on-bad-smiles keep leaves "
            "them without predictions, drop leaves them out.",
        )
