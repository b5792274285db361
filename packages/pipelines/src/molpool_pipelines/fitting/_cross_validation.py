"""Repeated k-fold cross-validation as one command: a run for each fold, gathered in one folder.

The folds are written in Chemprop's format (``splits.json``), and each fold is an ordinary run that
takes its rows from there: it can be trained again alone, here or with Chemprop's own command. The
folder itself holds the test rows of all folds, with repeat and fold, as `molpool-evaluate compare`
takes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import polars as pl
from molpool_common import (
    IN_UNITS,
    LABELS,
    InputError,
    RunFolder,
    TaskType,
    default_folder,
    formulas_marked,
    kfold,
    read_split_file,
    told,
)
from molpool_common import console as new_console
from rich.console import Console
from rich.table import Table

from molpool_pipelines.fitting._config import (
    CrossValidated,
    CVConfig,
    TrainAutoCommand,
    TrainAutoConfig,
    TrainBlendCommand,
    TrainBlendConfig,
    TrainChempropCommand,
    TrainChempropConfig,
    TrainMILCommand,
    TrainMILConfig,
    TrainTabularCommand,
    TrainTabularConfig,
)
from molpool_pipelines.fitting._interruption import interruptible
from molpool_pipelines.fitting._results import SHOWN, write_page
from molpool_pipelines.fitting._rows import read_bag_inputs
from molpool_pipelines.runs import (
    CELLS,
    ENVIRONMENT,
    FOLD_SCORES,
    MACRO,
    REPORT,
    SPLIT,
    SPLIT_FILE,
    BaselineSet,
    MemberMetrics,
    Metrics,
    MetricValue,
    RunConfig,
    SplitMetrics,
    TableRows,
    TaskMetrics,
    check_folder,
    open_folder,
    read_metrics,
    read_run_predictions,
    write_predictions,
)
from molpool_pipelines.runs import METRICS as METRICS_FILE
from molpool_pipelines.tables import (
    MoleculeTable,
    has_names,
    load_molecules,
    row_positions,
    split_inputs,
)

OfMolecules = TrainChempropCommand | TrainTabularCommand | TrainBlendCommand | TrainAutoCommand
Command = OfMolecules | TrainMILCommand

_SINGLE: dict[type, tuple[type[RunConfig], str]] = {
    TrainChempropCommand: (TrainChempropConfig, "chemprop"),
    TrainTabularCommand: (TrainTabularConfig, "tabular"),
    TrainBlendCommand: (TrainBlendConfig, "blend"),
    TrainAutoCommand: (TrainAutoConfig, "auto"),
    TrainMILCommand: (TrainMILConfig, "mil"),
}
"""Configuration of a single run and name of the command, by what the command takes."""


@dataclass(frozen=True)
class Cell:
    """One fold of one repeat.

    Parameters
    ----------
    repeat, fold : int
        From 0.
    config : RunConfig
        Its run.
    """

    repeat: int
    fold: int
    config: Any

    @property
    def path(self) -> Path:
        """The folder of its run."""
        return Path(self.config.save_dir)


def cross_validate(
    config: Command,
    train: Callable[[Any], Path],
    *,
    name: str,
    arguments: Sequence[str] = (),
) -> Path:
    """Train a run for each fold of each repeat and gather their test rows.

    Parameters
    ----------
    config : TrainChempropCommand, TrainTabularCommand or TrainMILCommand
        With ``cv.folds``.
    train : callable
        Trains one run from its configuration.
    name : str
        Names the folder where `config.save_dir` does not; the command too.
    arguments : sequence of str
        The command line, for the record.

    Returns
    -------
    Path
        The folder. A resumed one goes on with the fold it was at.

    Raises
    ------
    InputError
        If table, split or folder are wrong; then nothing has been written.
    """
    console = new_console()
    command = _SINGLE[type(config)][1]
    path = Path(config.save_dir) if config.save_dir else default_folder(name)
    check_folder(config, path)
    _check(config)
    entries, rows = _of_bags(config) if isinstance(config, TrainMILCommand) else _read(config)
    if config.resume:
        _refuse_changed(path, rows)
    run = open_folder(config, path, arguments)
    rows.write(run)
    if run.checkpoints.is_dir():
        # Those of the folds are in their own folders.
        run.checkpoints.rmdir()
    if entries is not None and not (config.resume and (path / SPLIT_FILE).is_file()):
        # On one line: indented, each row would have its own.
        run.write_text(SPLIT_FILE, json.dumps(entries))
    cells = [_cell(config, path, k, *place) for k, place in enumerate(config.cv.cells)]
    with interruptible(run, command):
        for cell in told(cells, "Folds", len(cells)):
            _train_cell(console, cell, config.cv, train, resume=config.resume)
        gathered = _gather(run, cells)
    _show(console, gathered, len(cells))
    said = read_metrics(path).of_reported.baselines
    for line in [] if said is None else said.spoken():
        console.print(line, highlight=False)
    console.print(f"Report: {path / REPORT}", highlight=False, soft_wrap=True)
    return path


def is_command(config: object) -> TypeGuard[Command]:
    """Return whether a configuration says whether to cross-validate."""
    return isinstance(config, CrossValidated)


def single_run(config: Command) -> Any:
    """Return the configuration of a run, without the section of cross-validation."""
    plain = _SINGLE[type(config)][0]
    values = {key: getattr(config, key) for key in plain.model_fields}
    return plain.model_construct(config.model_fields_set - {"cv"}, **values)


def _check(config: Command) -> None:
    """Refuse what would contradict the folds."""
    if config.data.predict_path is not None:
        raise InputError(
            "data.predict_path",
            expected="none with cv.folds, whose models each see a part of the table",
            found=repr(config.data.predict_path),
            hint="Train one run on all of it to predict other molecules.",
        )
    named = {"data.test_path": config.data.test_path}
    if isinstance(config, TrainMILCommand):
        named["split.split_column"] = config.split.split_column
    else:
        named["data.split_column"] = config.data.split_column
    for key, value in named.items():
        if value is not None:
            raise InputError(
                key,
                expected="none with cv.folds, which draws the folds itself",
                found=repr(value),
                hint="--split-file takes the folds of a file.",
            )


Entries = list[dict[str, list[int]]] | None
"""Rows of each fold, repeat after repeat, as Chemprop reads them; None where runs draw them."""


def _read(config: OfMolecules) -> tuple[Entries, TableRows]:
    """Return the rows of each fold of a table of molecules, and its digests."""
    table = load_molecules(
        config.data,
        config.data_path,
        on_bad_smiles=config.on_bad_smiles,
        min_labels=config.data.least_labels,
        read=config.read,
    )
    return _entries(config, table), TableRows.of_molecules(table, named=has_names(config.data))


def _of_bags(config: TrainMILCommand) -> tuple[Entries, TableRows]:
    """Return the digests of bags, after the number of folds was held against given ones."""
    # torch takes seconds to import.
    from mil_attn import bag_folds

    if config.split.split_file is not None:
        _check_number("split.split_file", len(read_split_file(config.split.split_file)), config.cv)
    # What is computed of molecules is in the cache then, for the folds.
    inputs = read_bag_inputs(single_run(config))
    if config.split.split_type == "stored" and config.split.split_file is None:
        stored = len(bag_folds(inputs.data, config))
        _check_number("split.fold_column", stored * config.cv.repeats, config.cv)
    return None, inputs.rows


def _refuse_changed(path: Path, rows: TableRows) -> None:
    """Refuse to go on with another table than the one that the cross-validation began with."""
    before = TableRows.read(path)
    changes = before.changes(rows) if before is not None else []
    if changes:
        raise InputError(
            "data_path",
            expected="the table that the folds were drawn of",
            found="; ".join(changes),
            where=str(path),
            hint="Start another cross-validation with the table as it is now.",
        )


def _check_number(key: str, found: int, cv: CVConfig) -> None:
    if found != len(cv.cells):
        raise InputError(
            "cv.folds",
            expected=f"folds times repeats {found}, as many as {key} has splits",
            found=str(len(cv.cells)),
        )


def _entries(config: OfMolecules, table: MoleculeTable) -> Entries:
    """Return the rows of each fold; None where the user's own file has them."""
    data, cv = config.data, config.cv
    if data.split_file is not None:
        _check_number("data.split_file", len(read_split_file(data.split_file)), cv)
        return None
    rows = np.flatnonzero(table.hold_out)
    positions = row_positions(table)[0][rows]
    keep, held, _ = data.split_ratios
    val_ratio = 0.0 if data.train_on_val else held / (keep + held)
    entries = []
    for repeat in range(cv.repeats):
        folds = kfold(
            data.split_type,
            cv.folds or 0,
            val_ratio=val_ratio,
            seed=_seed(data.split_seed, config.seed) + repeat,
            **split_inputs(table.take(rows), data),
        )
        entries += [
            {
                part: positions[of].tolist()
                for part, of in zip(("train", "val", "test"), fold, strict=True)
            }
            for fold in folds
        ]
    return entries


def _seed(own: int | None, of_run: int) -> int:
    return own if own is not None else of_run


def _cell(config: Command, path: Path, k: int, repeat: int, fold: int) -> Cell:
    folder = path / CELLS / f"repeat-{repeat}-fold-{fold}"
    one = single_run(config)
    update: dict[str, Any] = {
        "save_dir": str(folder),
        # Weights and shuffling differ between repeats, so that these show what training varies.
        "seed": config.seed + repeat,
        "resume": False,
        "overwrite": False,
    }
    if not isinstance(config, TrainMILCommand):
        file = config.data.split_file or str((path / SPLIT_FILE).absolute())
        data = {"split_file": file, "split_index": k, "split_seed": None}
        update["data"] = config.data.model_copy(update=data)
    else:
        own = _seed(config.split.split_seed, config.seed)
        split = {"n_folds": config.cv.folds, "fold": fold, "split_seed": own + repeat}
        if config.split.split_file is not None:
            split = {"split_index": k}
        update["split"] = config.split.model_copy(update=split)
    return Cell(repeat, fold, one.model_copy(update=update))


def _train_cell(
    console: Console, cell: Cell, cv: CVConfig, train: Callable[[Any], Path], *, resume: bool
) -> None:
    # What is written last.
    if (cell.path / (REPORT if cell.config.page else METRICS_FILE)).is_file():
        return
    console.print(
        f"Repeat {cell.repeat + 1} of {cv.repeats}, fold {cell.fold + 1} of {cv.folds}",
        style="bold",
        highlight=False,
    )
    begun = resume and (cell.path / ENVIRONMENT).is_file()
    train(cell.config.model_copy(update={"resume": begun}))


def _gather(run: RunFolder, cells: Sequence[Cell]) -> pl.DataFrame:
    """Write the test rows of all folds and their scores; return the scores, a row each."""
    frames, scores = [], []
    for cell in cells:
        frame = read_run_predictions(cell.path).filter(pl.col(SPLIT) == "test")
        # Of an ensemble's own folds, which are none of these.
        frame = frame.drop("fold", strict=False).with_columns(
            pl.lit(cell.repeat).cast(pl.Int64).alias("repeat"),
            pl.lit(cell.fold).cast(pl.Int64).alias("fold"),
        )
        frames.append(frame)
        scores.append(_scores(cell))
    found = pl.concat(scores)
    held = _intervals(cells)
    types = dict(found.filter(pl.col("type") != "").select("task", "type").unique().rows())
    write_predictions(run, pl.concat(frames, how="diagonal_relaxed"), types)
    run.write_text(FOLD_SCORES, formulas_marked(found).write_csv())
    means = _means(found, sum(len(frame) for frame in frames))
    means = means.model_copy(update={"baselines": _baselines(cells, means), "intervals": held})
    metrics = Metrics(
        kind=read_metrics(cells[0].path).kind,
        name=run.path.name,
        reported="test",
        splits={"test": means},
        notes=[
            f"Cross-validation: values are means over {len(cells)} folds, each scored by itself "
            f"({FOLD_SCORES}); {MACRO} as in the folds.",
            *(["Intervals are of each fold's own rows that its model has not seen."] * bool(held)),
        ],
    )
    run.write_json(METRICS_FILE, metrics.to_dict())
    run.log("finished", folds=len(cells))
    write_page(run)
    return found


def _intervals(cells: Sequence[Cell]) -> dict[str, dict[str, Any]]:
    """Return how often the intervals of all folds hold: shares of all labels, mean of widths."""
    each = [read_metrics(cell.path).splits["test"].intervals for cell in cells]
    found: dict[str, dict[str, Any]] = {}
    for task in dict.fromkeys(task for fold in each for task in fold):
        of = [fold[task] for fold in each if task in fold]
        n = sum(one["n"] for one in of)
        found[task] = {
            "level": of[0]["level"],
            "n": n,
            "inside": sum(one["n"] * one["inside"] for one in of) / n,
            "median_width": sum(one["n"] * one["median_width"] for one in of) / n,
        }
    return found


def _baselines(cells: Sequence[Cell], means: SplitMetrics) -> BaselineSet | None:
    """Return the simple models beside all folds; none beside bags, which have no such."""
    kind = read_metrics(cells[0].path).kind
    if kind == "mil":
        return None
    # LightGBM takes a while to import, and bags do without.
    from molpool_pipelines.fitting._gathered import gathered_baselines

    first = [cell.path for cell in cells if cell.repeat == 0]
    types = {task: of.type for task, of in means.tasks.items()}
    model = "Chemprop" if kind == "chemprop" else "the model"
    return gathered_baselines(first, [cell.path for cell in cells], types, model)


def _scores(cell: Cell) -> pl.DataFrame:
    found = read_metrics(cell.path).splits["test"]
    rows: list[tuple[Any, ...]] = [
        (cell.repeat, cell.fold, task, of.type, of.n, metric, value.value)
        for task, of in found.tasks.items()
        for metric, value in of.metrics.items()
    ]
    rows += [
        (cell.repeat, cell.fold, MACRO, "", value.n or 0, metric, value.value)
        for metric, value in found.macro.items()
    ]
    names = ("repeat", "fold", "task", "type", "n", "metric", "value")
    kinds = (pl.Int64, pl.Int64, pl.String, pl.String, pl.Int64, pl.String, pl.Float64)
    return pl.DataFrame(rows, schema=dict(zip(names, kinds, strict=True)), orient="row")


def _means(scores: pl.DataFrame, n_rows: int) -> SplitMetrics:
    """Return means over folds, of those on which a metric is defined."""
    found = MemberMetrics()
    by = scores.group_by("task", "type", "metric", maintain_order=True)
    for task, kind, metric, value, defined, n, folds in by.agg(
        pl.col("value").mean(),
        pl.col("value").count().alias("defined"),
        pl.col("n").sum(),
        pl.len().alias("folds"),
    ).iter_rows():
        left = folds - defined
        note = f"undefined on {left} of {folds} folds" if left else None
        one = MetricValue(value=value, note=note)
        if task == MACRO:
            found.macro[metric] = one
        else:
            of = TaskMetrics(type=kind, n=n, metrics={})
            found.tasks.setdefault(task, of).metrics[metric] = one
    return SplitMetrics(**dict(found), n=n_rows)


def _show(console: Console, scores: pl.DataFrame, n_folds: int) -> None:
    """Print mean and standard deviation over folds, a row per task."""
    kinds: list[TaskType] = [k for k in SHOWN if k in scores["type"].unique().to_list()]
    names = [name for kind in kinds for name in SHOWN[kind]]
    table = Table(
        title=f"Metrics by task, mean ± standard deviation over {n_folds} folds",
        title_justify="left",
        title_style="bold",
    )
    table.add_column("task")
    for name in names:
        table.add_column(LABELS[name], justify="right")
    for task in scores["task"].unique(maintain_order=True).to_list():
        row = [] if task != MACRO else [name for name in names if name in IN_UNITS]
        table.add_row(
            task, *("–" if name in row else _cell_of(scores, task, name) for name in names)
        )
    console.print(table)


def _cell_of(scores: pl.DataFrame, task: str, metric: str) -> str:
    values = scores.filter(pl.col("task") == task, pl.col("metric") == metric)["value"].drop_nulls()
    if not len(values):
        return "–"
    numbers = values.to_numpy()
    spread = f"±{numbers.std(ddof=1):.2f}" if len(numbers) > 1 else ""
    return f"{numbers.mean():.3f}{spread}"
