"""What a model over bags says of every bag, and how well: intervals, decisions, metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from mil_attn import (
    BagData,
    SplitName,
    bag_column,
    classes_of,
    fold_score,
    likeliest_classes,
)
from molpool_common import FloatArray, MetricTable, ScaleName, from_scale

from molpool_pipelines.fitting._config import TrainMILConfig
from molpool_pipelines.fitting._intervals import IntervalRequest, distance_to, extremes
from molpool_pipelines.fitting._predicted import PredictedRows
from molpool_pipelines.fitting._results import Results, results_of
from molpool_pipelines.models import BagModel, Basis, Calibration
from molpool_pipelines.runs import SPLIT, rejected_rows
from molpool_pipelines.tables import MoleculeTable, strata_of

if TYPE_CHECKING:
    from multitask_models import AssayLimits


@dataclass(frozen=True)
class SaidOfBags:
    """Labelled bags of a split with what a model says of them.

    Parameters
    ----------
    bags : BagData
        N of them.
    mean, sd : ndarray [N, T]
        Predictions, and their uncertainty, NaN where there is none.
    distance : ndarray [N] or None
        1 - Tanimoto similarity to the nearest molecule that trained.
    """

    bags: BagData
    mean: FloatArray
    sd: FloatArray
    distance: FloatArray | None = None

    @classmethod
    def of(cls, model: BagModel, bags: BagData, known: BagData | None) -> SaidOfBags:
        """Return what a model says of bags, and how far they are from those that trained."""
        distance = None
        if known is not None and known.smiles is not None and bags.smiles is not None:
            distance = distance_to(known.smiles, bags.smiles)
        return cls(bags, *model.predict_with_sd(bags), distance)


def evaluate_bags(
    config: TrainMILConfig,
    said: Mapping[SplitName, SaidOfBags],
    model: BagModel,
    limits: AssayLimits,
    basis: Basis = "validation",
) -> Results:
    """Score every split, and give the test bags intervals that validation calibrates.

    Parameters
    ----------
    config : TrainMILConfig
        The run.
    said : mapping of str to SaidOfBags
        By split.
    model : BagModel
        What says it of new bags.
    limits : AssayLimits
        Where predictions and intervals end.
    basis : str
        What the bags that calibrate are to the models that predict them.
    """
    data = {split: one.bags for split, one in said.items()}
    predicted = {split: one.mean for split, one in said.items()}
    tasks = list(model.task_names)
    with_sd = all(np.isfinite(one.sd).any() for one in said.values())
    parts = [
        PredictedRows(
            split,
            table_of_bags(one.bags, scales_of(config, tasks), _strata(config, one.bags)),
            one.mean,
            one.sd if with_sd else None,
            distance=one.distance,
        )
        for split, one in said.items()
    ]
    known_labels = [part.table.targets for part in parts if part.split != "test"]
    ends = extremes(np.concatenate(known_labels))
    request = IntervalRequest(config.level, limits, ends, basis, config.shift)
    kinds = [config.task_kind] * len(tasks)
    results = results_of(parts, kinds, request)
    more: dict[str, dict[str, Any]] = {split: dict(results.more.get(split, {})) for split in data}
    for split in data:
        score = _fold_score(results.metrics[split], config.training.min_w)
        more[split]["fold_score"] = score
    if "test" in data and model.is_classifier:
        more["test"]["decisions"] = _all_decisions(
            model, data["test"], predicted["test"], results.calibration
        )
    frame = _of_bags(results.predictions, data, predicted, model)
    if config.data.multiclass:
        likeliest = likeliest_classes(model.task_names, np.concatenate([*predicted.values()]))
        frame = frame.with_columns(**{f"{c} class": pl.Series(v) for c, v in likeliest.items()})
        remarks = (*results.remarks, *_right_classes(data["test"], predicted["test"]))
        results = replace(results, remarks=remarks)
    known = results.calibration
    if known is not None:
        # Classes are called at the models' own thresholds.
        known = replace(known, thresholds=np.full(len(tasks), np.nan))
    return replace(results, predictions=frame, more=more, calibration=known)


def _right_classes(bags: BagData, probabilities: FloatArray) -> list[str]:
    """Return how many bags are put into the right class of each column, and into the largest."""
    assert bags.labels is not None
    said = []
    for column, (names, places) in classes_of(bags.task_names).items():
        true = bags.labels[:, places]
        there = ~np.isnan(true).any(axis=1)
        right = true[there, probabilities[there][:, places].argmax(axis=1)].mean()
        largest = int(true[there].sum(axis=0).argmax())
        said.append(
            f"{column}: {right:.0%} of {there.sum()} test bags are put into the right class "
            f"({true[there, largest].mean():.0%} are {names[largest]})."
        )
    return said


def _strata(config: TrainMILConfig, bags: BagData) -> list[str] | None:
    if config.strata_column is None or config.data_path is None:
        return None
    column = bag_column(
        config.data_path,
        config.strata_column,
        bags.ids,
        config.data,
        key="strata_column",
        optional=True,
        read=config.read,
    )
    return strata_of(column)


def scales_of(config: TrainMILConfig, tasks: Sequence[str]) -> tuple[ScaleName, ...]:
    """Return the scale on which each task is learnt."""
    return tuple(config.data.transform.get(task, "none") for task in tasks)


def table_of_bags(
    bags: BagData, scales: tuple[ScaleName, ...] = (), strata: list[str] | None = None
) -> MoleculeTable:
    """Return labelled bags as a table of molecules has its rows; SMILES are empty where unknown."""
    assert bags.labels is not None
    n = len(bags)
    return MoleculeTable(
        task_names=tuple(bags.task_names),
        smiles=[""] * n if bags.smiles is None else list(bags.smiles),
        groups=list(bags.ids),
        targets=bags.labels,
        quality=None,
        times=None,
        hold_out=np.ones(n, dtype=bool),
        origin=pl.DataFrame({"id": list(bags.ids)}, schema={"id": pl.String}),
        dropped=rejected_rows([]),
        strata=strata,
        scales=scales,
    )


def _of_bags(
    frame: pl.DataFrame,
    data: Mapping[SplitName, BagData],
    predicted: Mapping[SplitName, FloatArray],
    model: BagModel,
) -> pl.DataFrame:
    """Return predictions with the size of each bag and the decisions."""
    sizes = np.concatenate([bags.sizes for bags in data.values()])
    if any(bags.smiles is None for bags in data.values()):
        frame = frame.drop("SMILES")
    frame = frame.insert_column(frame.get_column_index(SPLIT) + 1, pl.Series("instances", sizes))
    if not model.is_classifier:
        return frame
    # By the model's own probabilities, on which thresholds were chosen.
    each = np.concatenate(list(predicted.values()))
    for t, task in enumerate(model.task_names):
        called = pl.Series(f"{task} decision", each[:, t] >= model.thresholds[t])
        frame = frame.drop(called.name, strict=False)
        frame = frame.insert_column(frame.get_column_index(f"{task} predicted") + 1, called)
    return frame


@dataclass(frozen=True)
class Decisions:
    """Right and wrong of one task's decisions at its threshold."""

    task: str
    threshold: float
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def precision(self) -> float | None:
        """Share of the called that are positive; None where nothing is called."""
        return _share(self.true_positives, self.false_positives)

    @property
    def recall(self) -> float | None:
        """Share of the positives that are called; None where there is none."""
        return _share(self.true_positives, self.false_negatives)

    @property
    def accuracy(self) -> float | None:
        """Share of right decisions."""
        right = self.true_positives + self.true_negatives
        return _share(right, self.false_positives + self.false_negatives)


def _all_decisions(
    model: BagModel, bags: BagData, p: FloatArray, calibration: Calibration | None
) -> dict[str, dict[str, Any]]:
    """Return decisions by task; thresholds are of the probabilities that the table shows."""
    assert bags.labels is not None
    cuts = np.asarray(model.thresholds, dtype=np.float64)[None, :]
    shown = cuts if calibration is None else calibration.probabilities(cuts)
    found: dict[str, dict[str, Any]] = {}
    for t, task in enumerate(model.task_names):
        of = _decisions(task, cuts[0, t], bags.labels[:, t], p[:, t])
        found[task] = {
            **vars(of),
            "threshold": float(shown[0, t]),
            "precision": of.precision,
            "recall": of.recall,
            "accuracy": of.accuracy,
        }
    return found


def predictions_of_bags(
    model: BagModel,
    data: BagData,
    scales: Sequence[ScaleName],
    *,
    calibration: Calibration | None = None,
    with_failures: bool = False,
    multiclass: bool = False,
) -> pl.DataFrame:
    """Return predictions of bags without labels.

    Parameters
    ----------
    model : BagModel
        The model.
    data : BagData
        The bags.
    scales : sequence of str, length T
        On which the model says the tasks.
    calibration : Calibration or None
        Says where values end, if assays have limits.
    with_failures : bool
        Whether molecules without features have a row too, with the reason in column ``error``.
    multiclass : bool
        Whether tasks are the classes of columns, of which the likeliest is told.
    """
    columns: dict[str, Any] = {"id": data.ids}
    p = model.predict_with_sd(data)[0]
    if calibration is not None and not model.is_classifier:
        p = calibration.probabilities(p)
    p = from_scale(p, scales)
    more = {} if not multiclass else likeliest_classes(model.task_names, p)
    more = {f"{column} class": values for column, values in more.items()}
    for t, task in enumerate(model.task_names):
        columns[f"{task} predicted"] = p[:, t]
        if model.is_classifier:
            columns[f"{task} decision"] = p[:, t] >= model.thresholds[t]
    frame = pl.DataFrame(columns | more)
    if not (with_failures and data.failures):
        return frame
    # Where they stood, so that the file joins line by line to the user's table.
    failed = {f.row: f for f in data.failures}
    n = len(data) + len(failed)
    places = [row for row in range(n) if row not in failed] + list(failed)
    lost = pl.DataFrame(
        {"id": [f.id for f in failed.values()], "error": [f.reason for f in failed.values()]}
    )
    return pl.concat([frame, lost], how="diagonal")[np.argsort(places)]


def _fold_score(table: MetricTable, min_w: float) -> float | None:
    values = [task.values.get("average_precision") for task in table.tasks]
    defined = [v for v in values if v is not None]
    # Tasks without a positive have no average precision: counted as 0 they would hide what the
    # model can do.
    return fold_score(float(np.mean(defined)), min(defined), min_w) if defined else None


def _decisions(task: str, threshold: float, y: FloatArray, p: FloatArray) -> Decisions:
    # At the threshold counts as positive, as in `predictions_of_bags` and in scikit-learn's curves.
    called = p >= threshold
    return Decisions(
        task,
        float(threshold),
        int((called & (y == 1)).sum()),
        int((called & (y == 0)).sum()),
        int((~called & (y == 1)).sum()),
        int((~called & (y == 0)).sum()),
    )


def _share(part: int, rest: int) -> float | None:
    return part / (part + rest) if part + rest else None
