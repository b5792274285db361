"""Models of `molpool-train mil`, over bags of instances.

Bags are computed from SMILES, or their features stand in tables, which fit into memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from mil_attn import (
    BagData,
    Failure,
    MILConfig,
    MILDataConfig,
    MILError,
    MILModule,
    bag_column,
    columns_of_bags,
    encode,
    likeliest_classes,
    predict,
    read_bags,
)
from molpool_common import (
    Float32Array,
    FloatArray,
    InputError,
    IntArray,
    TaskType,
    cache_folder,
    is_parquet,
    parse_smiles,
    smiles_column_of,
    table_header,
    validate_values,
)

from molpool_pipelines.models._bag_members import AttentionMember, BagBlend, BagModel
from molpool_pipelines.models._calibration import Calibration, with_intervals
from molpool_pipelines.models._config import PredictConfig
from molpool_pipelines.models._descriptors import named_features
from molpool_pipelines.models._files import (
    calibration_file,
    is_bag_blend,
    model_files,
    run_key,
    run_section,
)
from molpool_pipelines.models._protocol import GIVEN, Kind, Predicted
from molpool_pipelines.runs import is_reserved, truth_column
from molpool_pipelines.scores import NearestTraining, training_molecules
from molpool_pipelines.tables import strata_of


class MILModel:
    """Models over bags of one set of tasks, whose mean predicts.

    Parameters
    ----------
    modules : sequence of MILModule
        Of the same tasks; they are not asked where there is a blend.
    data : MILDataConfig
        What their bags are.
    blend : BagBlend or None
        Several models of bags, which predict together.
    """

    kind: Kind = "mil"
    chunk_rows = 128

    def __init__(
        self, modules: Sequence[MILModule], data: MILDataConfig, blend: BagBlend | None = None
    ) -> None:
        self._modules, self._blend = modules, blend
        self.data = data
        one: BagModel = AttentionMember(modules[0]) if blend is None else blend
        self._is_classifier = one.is_classifier
        self.task_names = one.task_names
        kind: TaskType = "classification" if one.is_classifier else "regression"
        self.task_types = (kind,) * len(self.task_names)
        self.n_members = len(modules) if blend is None else len(blend.names)

    @property
    def feature_names(self) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
        """Names of the features of instances and of bags; None where there are none."""
        if self._blend is not None:
            return self._blend.feature_names_3d or None, self._blend.feature_names_2d or None
        scaler = self._modules[0].scaler
        if scaler is None:
            return None, None
        three, two = scaler.instances, scaler.x2d
        return None if three is None else three.names, None if two is None else two.names

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the run folder of a model, or the folder of an ensemble of them.

        Raises
        ------
        InputError, MILError
            If there is no configuration, or the members predict different tasks.
        """
        data = validate_values(MILDataConfig, _data_section(path))
        if is_bag_blend(path):
            return cls([], data, BagBlend.load(path))
        modules = [MILModule.load(file) for file in model_files(path)]
        tasks = [list(module.task_names) for module in modules]
        other = next((t for t in tasks if t != tasks[0]), None)
        if other is not None:
            raise InputError(
                "model_dir",
                expected=f"members of the same tasks {tasks[0]}",
                found=str(other),
                where=str(path),
            )
        return cls(modules, data)

    def predict(self, smiles: Sequence[str], batch_size: int) -> Predicted:
        """Predict molecules; those without conformers or descriptors have a reason instead."""
        bags, reasons = self._read(smiles)
        # A chunk without any molecule is no reason to stop a table of millions.
        if bags is None:
            return self._nothing(reasons)
        return _of_rows(self.predict_bags(bags, batch_size), _rows(bags), reasons)

    def encode(self, smiles: Sequence[str]) -> Float32Array:
        """Return embeddings [N, H] of molecules, NaN without conformers or descriptors.

        Raises
        ------
        InputError
            If none of its models is a network, or no molecule has features.
        """
        bags, reasons = self._read(smiles)
        if bags is None:
            raise InputError("X", expected="molecules with features", found=f"none: {reasons[0]}")
        return self._encoded(bags, _rows(bags), len(smiles))

    def encode_table(self, config: PredictConfig) -> Float32Array:
        """Return embeddings [N, H] of the bags of a table, NaN of those without features.

        Raises
        ------
        InputError, MILError
            If none of its models is a network, or the table does not fit them.
        """
        bags = _bags_of_table(config, self)
        rows, total = _there(bags)
        return self._encoded(bags, rows, total)

    def _encoded(self, bags: BagData, rows: IntArray, total: int) -> Float32Array:
        if self._blend is not None:
            found = self._blend.encode(bags)
        else:
            found = np.hstack([encode(module, bags) for module in self._modules])
        full = np.full((total, found.shape[1]), np.nan, dtype=np.float32)
        full[rows] = found
        return full

    def _read(self, smiles: Sequence[str]) -> tuple[BagData | None, list[str | None]]:
        """Return the bags of molecules, None where none has features, and why one has none."""
        reasons: list[str | None] = [None] * len(smiles)
        try:
            bags = BagData.from_smiles(
                smiles,
                features=self.data.features,
                cache=cache_folder(self.data.cache_dir),
                workers=self.data.workers,
                describe_2d=partial(named_features, cache=self.data.cache_dir),
                structure=self.data.structure,
            )
        except MILError:
            # No molecule of the chunk has features. One alone says why, in its own error.
            reasons = [self._reason(text) for text in smiles]
            if None in reasons:
                raise
            return None, reasons
        for failure in bags.failures:
            # Rows that failed stay in the table with their reason; bags are of the others.
            reasons[failure.row] = failure.reason
        return bags, reasons

    def predict_bags(self, bags: BagData, batch_size: int) -> Predicted:
        """Predict bags whose features are there.

        A class is called where the mean probability reaches the mean of the members' thresholds.
        """
        if self._blend is not None:
            found, spread = self._blend.predict_with_sd(bags)
            calls = found >= np.asarray(self._blend.thresholds) if self._is_classifier else None
            return Predicted(found, spread, calls, [None] * len(found))
        # Members are averaged as probabilities: that is what thresholds were chosen on.
        each = np.stack([predict(m, bags, batch_size=batch_size) for m in self._modules])
        mean = each.mean(axis=0)
        sd = each.std(axis=0, ddof=1) if len(each) > 1 else None
        called = None
        if self._is_classifier:
            called = mean >= np.mean([m.thresholds for m in self._modules], axis=0)
        return Predicted(mean, sd, called, [None] * len(mean))

    def _nothing(self, reasons: list[str | None]) -> Predicted:
        none = np.full((len(reasons), len(self.task_names)), np.nan)
        called = np.zeros(none.shape, dtype=bool) if self._is_classifier else None
        return Predicted(none, none if self.n_members > 1 else None, called, reasons)

    def _reason(self, smiles: str) -> str | None:
        """Return why a molecule has no features, None where it has."""
        try:
            BagData.from_smiles(
                [smiles],
                features=self.data.features,
                structure=self.data.structure,
                describe_2d=partial(named_features, cache=self.data.cache_dir),
            )
        except MILError as error:
            return str(error)
        return None


def _data_section(path: Path) -> Mapping[str, Any]:
    """Return the ``data`` section of the run, or of the first member, of a model over bags.

    Raises
    ------
    InputError
        If there is no configuration.
    """
    if not path.is_dir():
        raise InputError(
            "model_dir",
            expected="the run folder of a model over bags, whose configuration says what is "
            "computed of molecules",
            found=f"the file {str(path)!r} alone",
        )
    section = run_section(path, "data")
    if not section:
        raise InputError(
            "model_dir",
            expected="the configuration of a run beside the models over bags",
            found="none",
            where=str(path),
        )
    return section


def _rows(bags: BagData) -> IntArray:
    """Return the row of each bag: `BagData.from_smiles` names bags by it, from 1."""
    return np.array([int(name) - 1 for name in bags.ids], dtype=np.int64)


def _of_rows(found: Predicted, rows: Any, reasons: list[str | None]) -> Predicted:
    """Return predictions of some rows as those of all."""

    def all_rows(values: Any, fill: Any) -> Any:
        if values is None:
            return None
        full = np.full((len(reasons), values.shape[1]), fill)
        full[rows] = values
        return full

    return Predicted(
        all_rows(found.mean, np.nan),
        all_rows(found.sd, np.nan),
        all_rows(found.decisions, False),
        reasons,
    )


def predict_bags(config: PredictConfig, model: MILModel) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Return the predictions of a table's bags, and how the table was read.

    Parameters
    ----------
    config : PredictConfig
        Names the table and, for kind ``features``, those of features.
    model : MILModel
        Predicts them.

    Returns
    -------
    frame : DataFrame
        ``row`` (of the bag, from 1), ``id``, ``SMILES`` where the table has them, and its other
        columns that have one value in each bag; of each task
        ``TASK predicted``, ``TASK_sd``, intervals and ``TASK decision`` where there are these;
        ``instances``, how many the bag has; ``error``, why a bag has no prediction.
    notes : tuple of str

    Raises
    ------
    InputError, MILError
        If the tables do not fit the model.
    """
    section = _section(config, model)
    bags = _bags_of_table(config, model)
    failed = {failure.row: failure for failure in bags.failures}
    there, total = _there(bags)
    reasons = [failed[row].reason if row in failed else None for row in range(total)]
    found = model.predict_bags(bags, config.batch_size)
    calibration, distance = _calibrated(Path(config.model_dir or ""), bags)
    strata = _strata(config, section, bags, calibration)
    found = with_intervals(found, calibration, config.level, distance=distance, strata=strata)
    known = dict(zip(there.tolist(), range(len(bags)), strict=True))

    def everywhere(values: Sequence[Any], of_failed: Callable[[Failure], Any]) -> list[Any]:
        return [values[known[r]] if r in known else of_failed(failed[r]) for r in range(total)]

    columns = [
        pl.Series("row", range(1, total + 1), dtype=pl.Int64),
        pl.Series("id", everywhere(bags.ids, lambda f: f.id), dtype=pl.String),
    ]
    if bags.smiles is not None:
        columns.append(pl.Series("SMILES", everywhere(bags.smiles, lambda f: f.smiles or None)))
    columns += _carried(config, section, model, columns[1].to_list())
    columns += found.to_columns(model.task_names, model.task_types, there, total)
    if section.multiclass:
        for name, values in likeliest_classes(model.task_names, found.mean).items():
            columns.append(pl.Series(f"{name} class", everywhere(values, lambda _: None)))
    sizes = everywhere(bags.sizes.tolist(), lambda _: None)
    columns.append(pl.Series("instances", sizes, dtype=pl.Int64))
    columns.append(pl.Series("error", reasons, dtype=pl.String))
    return pl.DataFrame(columns), tuple(bags.notes)


def _there(bags: BagData) -> tuple[IntArray, int]:
    """Return the rows of a table's bags that have features, and how many rows there are."""
    failed = {failure.row for failure in bags.failures}
    total = len(bags) + len(failed)
    return np.array([row for row in range(total) if row not in failed], dtype=np.int64), total


def _bags_of_table(config: PredictConfig, model: MILModel) -> BagData:
    """Return the bags of a table without labels, as a model reads them."""
    assert config.data_path is not None
    section = _section(config, model)
    return read_bags(
        config.data_path,
        section,
        MILConfig(task_kind=model.task_types[0]),
        labelled=False,
        read=config.read,
        describe_2d=partial(named_features, cache=section.cache_dir),
    )


def _carried(
    config: PredictConfig, section: MILDataConfig, model: MILModel, ids: Sequence[str]
) -> list[pl.Series]:
    """Return what the table says of whole bags, features apart: what was measured, series."""
    features = {name for names in model.feature_names for name in names or ()}
    found = columns_of_bags(
        config.data_path or "",
        ids,
        section,
        without={*features, section.smiles_column},
        read=config.read,
    )
    # As with molecules: text has what was measured as it was written, Parquet numbers.
    numbers = config.output is None or is_parquet(Path(config.output))
    columns = []
    for of in found:
        name = f"{of.name}{GIVEN}" if is_reserved(of.name) else of.name
        if of.name in model.task_names:
            name, values = truth_column(of.name), of.cast(pl.Float64, strict=False)
            of = values if numbers and values.null_count() == of.null_count() else of
        columns.append(of.alias(name))
    return columns


def _calibrated(path: Path, bags: BagData) -> tuple[Calibration | None, FloatArray | None]:
    """Return what gives intervals, and how far molecules are from those that trained."""
    file = calibration_file(path)
    calibration = None if file is None else Calibration.load(file)
    if calibration is None or not calibration.needs_distance or bags.smiles is None:
        return calibration, None
    training = training_molecules(path)
    read = parse_smiles(list(bags.smiles)).mols
    mols = [mol for mol in read if mol is not None]
    if training is None or len(mols) < len(read):
        return calibration, None
    return calibration, 1 - NearestTraining(training.mols).find(mols).similarity


def _strata(
    config: PredictConfig, section: MILDataConfig, bags: BagData, calibration: Calibration | None
) -> list[str] | None:
    if calibration is None or not calibration.has_strata:
        return None
    assert config.data_path is not None
    column = config.strata_column or str(run_key(Path(config.model_dir or ""), "strata_column"))
    key, read = "--strata-column", config.read
    values = bag_column(
        config.data_path, column, bags.ids, section, key=key, optional=True, read=read
    )
    return strata_of(values)


def _section(config: PredictConfig, model: MILModel) -> MILDataConfig:
    """Return the ``data`` section of the run, as it reads this table."""
    update: dict[str, Any] = {}
    if config.id_column is not None:
        update["id_column"] = config.id_column
    if config.smiles_column is not None:
        update["smiles_column"] = config.smiles_column
    elif model.data.kind == "smiles" and config.data_path is not None:
        header = table_header(Path(config.data_path), read=config.read)
        own = smiles_column_of(header, model.data.smiles_column, given=False)
        update["smiles_column"] = own
    three, two = model.feature_names
    # Else all columns but ids would be features, the labels of a table that has them too.
    if model.data.kind == "bags" and three is not None:
        update["feature_columns"] = list(three)
    if model.data.kind == "features":
        update["columns_3d"] = list(three or ())
        update["columns_2d"] = list(two or ())
    for key in ("features_3d", "features_2d"):
        given, trained = getattr(config, key), getattr(model.data, key)
        if given is not None and trained is None:
            raise InputError(
                f"--{key.replace('_', '-')}",
                expected=f"none: the model has no {key}",
                found=repr(given),
            )
        if given is not None:
            update[key] = given
    return model.data.model_copy(update=update)
