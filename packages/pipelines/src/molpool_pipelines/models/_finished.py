"""From what a model says of a chunk of rows to what a table says: units, classes, domain, models.

Frames here have the names of `molpool_pipelines.runs._columns`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from molpool_common import (
    FloatArray,
    InputError,
    ScaleName,
    TaskType,
    from_scale,
    listed,
    spread_from_scale,
)

from molpool_pipelines.models._blend_weights import blend_weights
from molpool_pipelines.models._calibration import Calibration
from molpool_pipelines.models._config import Combination
from molpool_pipelines.models._files import TABULAR, model_files, run_section
from molpool_pipelines.models._tabular import mix
from molpool_pipelines.runs import (
    AT_CEILING,
    AT_FLOOR,
    BAGS_FOLDER,
    OUTSIDE,
    TABULAR_FOLDER,
    about_tasks,
)
from molpool_pipelines.scores import Predictions, aligned, pair_rows, read_predictions


@dataclass(frozen=True)
class AboutModel:
    """What a table of predictions has to know of a model.

    Parameters
    ----------
    name : str
        What it is called.
    path : Path
        Where it lies.
    kind : str
        ``chemprop``, ``mil`` or ``tabular``.
    tasks : mapping of str to {"regression", "classification"}
        Its tasks.
    scales : tuple of str, length T
        Scale on which it says each of them.
    calibration : Calibration or None
        What gives intervals and thresholds.
    far : float
        Similarity below which a molecule is outside its domain.
    """

    name: str
    path: Path
    kind: str
    tasks: Mapping[str, TaskType]
    scales: tuple[ScaleName, ...]
    calibration: Calibration | None = None
    far: float = 0.3

    def described(self) -> dict[str, Any]:
        """Return what the description of a table says of the model."""
        found: dict[str, Any] = {"name": self.name, "path": str(self.path.absolute())}
        found |= {"kind": self.kind, "sha256": model_digest(self.path)}
        if self.calibration is not None:
            found["calibration"] = self.calibration.described(list(self.tasks))
        return found

    def of_tasks(self) -> dict[str, dict[str, Any]]:
        """Return unit, scale and threshold of each task, where there are such."""
        scales = dict(zip(self.tasks, self.scales, strict=True))
        found = about_tasks(list(self.tasks), scales)
        if self.calibration is not None:
            for task, threshold in zip(self.tasks, self.calibration.thresholds, strict=True):
                if np.isfinite(threshold):
                    found[task]["threshold"] = float(threshold)
            for task, ends in self.calibration.odds.where(list(self.tasks), self.scales).items():
                found[task] |= ends
        return found

    def finished(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return predictions in the units of the table, with classes and the domain."""
        frame = self._in_units(self._with_classes(frame))
        if "similarity" not in frame.columns:
            return frame
        after = frame.columns.index("nearest") + 1
        return frame.insert_column(after, (frame["similarity"] < self.far).alias(OUTSIDE))

    def _with_classes(self, frame: pl.DataFrame) -> pl.DataFrame:
        if self.calibration is None:
            return frame
        for task, threshold in zip(self.tasks, self.calibration.thresholds, strict=True):
            name = f"{task} decision"
            # A model over bags has thresholds of its own.
            if np.isfinite(threshold) and name not in frame.columns:
                called = (frame[f"{task} predicted"] >= threshold).alias(name)
                frame = frame.insert_column(_after(frame, task), called)
        return frame

    def _in_units(self, frame: pl.DataFrame) -> pl.DataFrame:
        columns: list[pl.Series] = []
        for task, scale in zip(self.tasks, self.scales, strict=True):
            if scale == "none":
                continue
            mean = _numbers(frame, f"{task} predicted")
            columns.append(_series(f"{task} predicted", from_scale(mean, [scale])))
            if f"{task}_sd" in frame.columns:
                sd = spread_from_scale(_numbers(frame, f"{task}_sd"), mean, [scale])
                columns.append(_series(f"{task}_sd", sd))
            columns += [
                _series(name, from_scale(_numbers(frame, name), [scale]))
                for name in ends_of(task, frame.columns)
            ]
        return frame.with_columns(columns)


def ends_of(task: str, columns: Sequence[str]) -> list[str]:
    """Return the columns that hold ends of a task's intervals."""
    pattern = re.compile(re.escape(task) + r"_(lower|upper)(_[\d.]+)?")
    return [name for name in columns if pattern.fullmatch(name)]


def _after(frame: pl.DataFrame, task: str) -> int:
    """Return the place behind the last column of a task."""
    own = {f"{task} predicted", f"{task}_sd", *ends_of(task, frame.columns)}
    return max(frame.columns.index(name) for name in own if name in frame.columns) + 1


def _numbers(frame: pl.DataFrame, name: str) -> FloatArray:
    return frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy().reshape(-1, 1)


def _series(name: str, values: FloatArray) -> pl.Series:
    return pl.Series(name, values[:, 0]).fill_nan(None)


def scales_of(path: Path, tasks: Sequence[str]) -> tuple[ScaleName, ...]:
    """Return the scale on which a model of a run says each task, as its configuration has it."""
    section = run_section(path if path.is_dir() else path.parent, "data")
    said = section.get("transform") or {}
    return tuple(said.get(task, "none") for task in tasks)


def model_digest(path: Path) -> str:
    """Return the SHA-256 of the files of a model, in order of name."""
    folders = (path, path / TABULAR_FOLDER)
    folder = next((f for f in folders if (f / TABULAR).is_file()), None)
    # Networks of a blend are a folder within.
    inside = [] if folder is None else sorted(f for f in folder.rglob("*") if f.is_file())
    blend = [file for file in sorted(path.glob(f"{BAGS_FOLDER}/*")) if file.is_file()]
    files = [*model_files(path), *blend] if folder is None else inside
    digest = sha256()
    for file in files:
        with file.open("rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


@dataclass(frozen=True)
class Combined:
    """How the predictions of several models become those of one table.

    Make one with `of`.

    Parameters
    ----------
    models : sequence of AboutModel, length M
        The models.
    how : {"mean", "blend", "none"}
        One prediction per task, or that of each model.
    tasks : mapping of str to {"regression", "classification"}
        Tasks of the table.
    weights : ndarray [M, T]
        Of each model in each task; 0 where it has none of this name.
    """

    models: Sequence[AboutModel]
    how: Combination
    tasks: Mapping[str, TaskType]
    weights: FloatArray

    @classmethod
    def of(cls, models: Sequence[AboutModel], how: Combination) -> Combined:
        """Return how models are combined.

        Raises
        ------
        InputError
            If two of them take one task for different things, or cannot be weighed.
        """
        if how == "none" and len(models) > 1:
            alone = {own_task(t, m.name): kind for m in models for t, kind in m.tasks.items()}
            return cls(models, how, alone, np.empty((len(models), 0)))
        tasks: dict[str, TaskType] = {}
        for model in models:
            for task, kind in model.tasks.items():
                if tasks.setdefault(task, kind) != kind:
                    raise InputError(
                        "--models",
                        expected=f"one kind of task {task!r} in all models",
                        found=f"{tasks[task]}, and {kind} in {model.name}",
                        hint="--combine none keeps them apart.",
                    )
        there = np.array([[float(task in m.tasks) for task in tasks] for m in models])
        weights = there / there.sum(axis=0)
        if how == "blend" and len(models) > 1:
            weights = _blended(models, tasks)
        return cls(models, how, tasks, weights)

    def described(self) -> dict[str, Any]:
        """Return what the description of a table says of it."""
        found: dict[str, Any] = {"models": [model.described() for model in self.models]}
        if len(self.models) > 1:
            found["combined"] = self.how
        if len(self.models) > 1 and self.how != "none":
            found["weights"] = {
                model.name: dict(zip(self.tasks, own.tolist(), strict=True))
                for model, own in zip(self.models, self.weights, strict=True)
            }
        return found

    def of_tasks(self) -> dict[str, dict[str, Any]]:
        """Return what is known of each task."""
        found: dict[str, dict[str, Any]] = {}
        for model in self.models:
            for task, said in model.of_tasks().items():
                name = own_task(task, model.name) if self.apart else task
                found.setdefault(name, {}).update(said)
        if len(self.models) > 1 and not self.apart:
            # Of several models neither a threshold nor a scale is that of the table.
            for said in found.values():
                for key in ("threshold", "transform", "floor", "ceiling"):
                    said.pop(key, None)
        return found

    @property
    def apart(self) -> bool:
        """Whether each model has columns of its own."""
        return self.how == "none" and len(self.models) > 1

    def join(self, frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
        """Return one frame of the finished frames of each model."""
        if len(self.models) == 1:
            return frames[0]
        shared = frames[0].select("row", "id", "SMILES").get_columns()
        own = self._apart(frames) if self.apart else self._mixed(frames)
        return pl.DataFrame([*shared, *own, *_domain(frames), _errors(frames)])

    def _apart(self, frames: Sequence[pl.DataFrame]) -> list[pl.Series]:
        columns = []
        for model, frame in zip(self.models, frames, strict=True):
            for task in model.tasks:
                for name in _columns_of(task, frame.columns):
                    new = own_task(task, model.name) + name.removeprefix(task)
                    columns.append(frame[name].alias(new))
        return columns

    def _mixed(self, frames: Sequence[pl.DataFrame]) -> list[pl.Series]:
        columns = []
        for t, task in enumerate(self.tasks):
            weights = self.weights[:, [t]]
            means = _stacked(frames, f"{task} predicted")
            mean, sd = mix(means, _stacked(frames, f"{task}_sd"), weights)
            columns.append(_series(f"{task} predicted", mean))
            if np.isfinite(sd).any() and self.tasks[task] == "regression":
                columns.append(_series(f"{task}_sd", sd))
            names = dict.fromkeys(n for f in frames for n in _shared(task, f.columns))
            for name in names:
                ends = _stacked(frames, name)
                # Ends of models that say none would be made up by the others.
                known = (np.isfinite(ends) | ~np.isfinite(means) | (weights[:, None] == 0)).all(0)
                mixed, _ = mix(ends, np.full_like(ends, np.nan), weights)
                columns.append(_series(name, np.where(known, mixed, np.nan)))
        return columns


def own_task(task: str, model: str) -> str:
    """Return what a task is called where each of several models has its own columns."""
    return f"{task} ({model})"


def _columns_of(task: str, columns: Sequence[str]) -> list[str]:
    own = [f"{task} predicted", f"{task}_sd", *_shared(task, columns), f"{task} decision"]
    return [name for name in own if name in columns]


def _shared(task: str, columns: Sequence[str]) -> list[str]:
    """Return what is said of a task besides, of which several models have the weighted mean."""
    odds = [task + ending for ending in (AT_FLOOR, AT_CEILING) if task + ending in columns]
    return [*ends_of(task, columns), *odds]


def _stacked(frames: Sequence[pl.DataFrame], name: str) -> FloatArray:
    """Return a column of each frame, NaN where it is not there [M, N, 1]."""
    nothing = np.full((frames[0].height, 1), np.nan)
    return np.stack([_numbers(f, name) if name in f.columns else nothing for f in frames])


def _domain(frames: Sequence[pl.DataFrame]) -> list[pl.Series]:
    """Return the least similarity to the training molecules of any model, and the flag."""
    known = [frame for frame in frames if "similarity" in frame.columns]
    if len(known) < len(frames):
        return []
    similarity = np.stack([_numbers(frame, "similarity")[:, 0] for frame in known])
    filled = np.where(np.isnan(similarity), np.inf, similarity)
    which = filled.argmin(axis=0)
    nearest = [known[m]["nearest"][i] for i, m in enumerate(which.tolist())]
    outside = pl.DataFrame([frame[OUTSIDE].alias(str(m)) for m, frame in enumerate(known)])
    return [
        pl.Series("similarity", similarity[which, np.arange(len(which))]).fill_nan(None),
        pl.Series("nearest", nearest, dtype=pl.String),
        outside.select(pl.any_horizontal(pl.all())).to_series().alias(OUTSIDE),
    ]


def _errors(frames: Sequence[pl.DataFrame]) -> pl.Series:
    each = pl.DataFrame([frame["error"].alias(str(m)) for m, frame in enumerate(frames)])
    return each.select(pl.coalesce(pl.all())).to_series().alias("error")


def _blended(models: Sequence[AboutModel], tasks: Mapping[str, TaskType]) -> FloatArray:
    """Return weights of models by rows that validated all of them.

    Raises
    ------
    InputError
        If they are of other tasks, or no row validated all.
    """
    hint = "--combine mean weighs them equally."
    other = next((m for m in models if dict(m.tasks) != dict(tasks)), None)
    if other is not None:
        raise InputError(
            "--combine blend",
            expected="models of the same tasks",
            found=f"{listed(list(other.tasks))} in {other.name}",
            hint=hint,
        )
    names = [model.name for model in models]
    try:
        read = [read_predictions(model.path).of_split("val") for model in models]
        found, _ = aligned([one.of_tasks(list(tasks)) for one in read], names, "auto")
        rows = pair_rows([_without_folds(one) for one in found], names, common_rows=True)
    except InputError as error:
        raise InputError(
            "--combine blend",
            expected="run folders whose validation rows are the same molecules",
            found=str(error),
            hint=hint,
        ) from None
    return blend_weights(rows.y_true, rows.y_pred, tuple(tasks.values()))


def _without_folds(found: Predictions) -> Predictions:
    # Which fold predicted a row is no part of its name: another model has other folds.
    return replace(found, repeat=None, fold=None)
