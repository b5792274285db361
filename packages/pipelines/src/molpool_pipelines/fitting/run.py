"""Train, evaluate and write one run whose inputs are known to be right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
from chemprop_multitask import (
    ChempropError,
    Ensemble,
    EpochRecord,
    MoleculeData,
    NonFiniteLossError,
)
from molpool_common import RunFolder, listed
from rich.console import Console

from molpool_pipelines.affinity import Affinity
from molpool_pipelines.fitting.config import TrainChempropConfig
from molpool_pipelines.fitting.inputs import Inputs
from molpool_pipelines.fitting.results import evaluate, shown_rows
from molpool_pipelines.fitting.screen import TrainingScreen, metric_table
from molpool_pipelines.fitting.separate import wholes
from molpool_pipelines.fitting.trainees import Trainee
from molpool_pipelines.fitting.unseen import write_unseen
from molpool_pipelines.reports import MemberRun, TrainingRun, training_report
from molpool_pipelines.runs import AFFINITY, GROUPS, Tracker

MODEL = "model.pt"
MODELS = "models"


class Fitting:
    """One run from checked inputs to a full run folder: `train`, `write`, `close`, in this order.

    Parameters
    ----------
    console : Console
        The screen.
    config : TrainChempropConfig
        The run.
    run : RunFolder
        Where it goes.
    inputs : Inputs
        Checked tables.
    trainees : sequence of Trainee
        The model, or the members of the ensemble.
    tracker : Tracker
        Where numbers are logged besides.
    affinity : Affinity or None
        What the groups were made from, if they were measured.
    """

    def __init__(
        self,
        console: Console,
        config: TrainChempropConfig,
        run: RunFolder,
        inputs: Inputs,
        trainees: Sequence[Trainee],
        tracker: Tracker,
        affinity: Affinity | None = None,
    ) -> None:
        self._console = console
        self._config = config
        self._run = run
        self._inputs = inputs
        self._trainees = trainees
        self._tracker = tracker
        self._affinity = affinity
        self._members: list[MemberRun] = []

    @property
    def _loss(self) -> str:
        each = dict.fromkeys(t.model.loss_description for t in self._trainees)
        return "; ".join(each)  # groups of classes and groups of values have different ones

    def train(self) -> None:
        """Fit each model; an interrupted run can be resumed, and goes on with the same one.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C or SIGTERM, with the command that goes on.
        ChempropError
            If a loss is not finite, naming molecules and tasks.
        """
        self._say(f"Loss: {self._loss}")
        for trainee in self._trainees:
            try:
                records = self._fit(trainee)
            except KeyboardInterrupt:
                self._run.log("interrupted")
                raise KeyboardInterrupt(
                    "Interrupted. Go on with: molpool-train chemprop --resume "
                    f"--save-dir {self._run.path}"
                ) from None
            except NonFiniteLossError as error:
                self._run.log("failed", error=str(error))
                raise ChempropError(error.describe(_places(error, trainee))) from None
            self._members.append(MemberRun(trainee, records))

    def _fit(self, trainee: Trainee) -> list[EpochRecord]:
        """Fit one model; one that was through before it was interrupted comes back as it was."""
        if title := _title(trainee, self._trainees):
            self._say(title)
        log = [trainee.log] if trainee.log else []
        screen = TrainingScreen(self._console, self._config.training.epochs, trainee.log)
        return trainee.model.fit(
            trainee.train,
            trainee.val if len(trainee.val) else None,
            sampler=trainee.sampling.sampler,
            callbacks=[*trainee.sampling.callbacks, *log, screen],
            on_epoch=self._told(trainee, screen),
            checkpoint_dir=trainee.checkpoints(self._run.path),
            resume_from=trainee.last_checkpoint(self._run.path) if self._config.resume else None,
            seed=trainee.seed,
        )

    def _told(self, trainee: Trainee, screen: TrainingScreen) -> Callable[[EpochRecord], None]:
        """Return what tells of an epoch: screen, log, sampling.parquet and tracker."""
        joint = self._config.joint_sampling
        which = _which(trainee)
        prefix = "" if trainee.name is None else f"{trainee.name}/"

        def tell(record: EpochRecord) -> None:
            screen.epoch(record)
            self._run.log("epoch", **which, **vars(record))
            values = {k: v for k, v in vars(record).items() if k != "epoch" and v is not None}
            numbers = {prefix + k: v for k, v in values.items()}
            if trainee.log is not None and joint.log_weight_statistics:
                self._run.write_frame("sampling.parquet", self._drawn(trainee))
                if joint.log_to_mlflow:
                    numbers |= trainee.log.numbers(f"{prefix}sampling/")
            self._tracker.metrics(numbers, step=record.epoch)

        return tell

    def _drawn(self, trainee: Trainee) -> pl.DataFrame:
        """Return what was drawn so far, with member and group where there are several."""
        frames = [
            t.log.frame().select(
                *(pl.lit(number).alias(name) for name, number in _which(t).items()), pl.all()
            )
            for t in (*(m.trainee for m in self._members), trainee)
            if t.log is not None
        ]
        return pl.concat(frames, how="diagonal_relaxed")

    def write(self) -> None:
        """Evaluate, and write models, predictions, metrics and report."""
        inputs, run = self._inputs, self._run
        ensemble = Ensemble([whole.model for whole in wholes(self._trainees)])
        self._results = evaluate(inputs, self._trainees)
        if len(inputs.table.dropped):
            run.write_text("dropped_rows.csv", inputs.table.dropped.write_csv())
        if len(self._trainees) == 1:
            model = run.write_file(MODEL, self._trainees[0].model.save)
        else:
            model = run.write_folder(MODELS, ensemble.save)
        run.write_frame("predictions.parquet", self._results.predictions)
        run.write_json("metrics.json", self._results.to_dict())
        files = [model]
        if inputs.unseen is not None:
            mean, sd = ensemble.predict(MoleculeData(inputs.unseen.smiles, cache=inputs.graphs))
            spread = sd if len(ensemble.members) > 1 else None
            self._unseen = write_unseen(run, inputs.unseen, ensemble.task_names, mean, spread)
            files += self._unseen
        self._page = run.write_text("report.html", self._report())
        if self._affinity is not None:
            files += [run.path / name for name in (AFFINITY, GROUPS)]
        self._track([*files, self._page])
        run.log("finished", epochs=sum(len(m.records) for m in self._members), loss=self._loss)

    def _report(self) -> str:
        return training_report(
            TrainingRun(
                name=self._run.path.name,
                config=self._config,
                loss=self._loss,
                inputs=self._inputs,
                members=self._members,
                results=self._results,
                affinity=self._affinity,
            )
        )

    def _track(self, files: Sequence[Path]) -> None:
        for side, table in self._results.metrics.items():
            means = {f"{side}/{name}": macro.mean for name, macro in table.macro().items()}
            self._tracker.metrics({k: v for k, v in means.items() if v is not None})
        for file in files:
            self._tracker.file(file)

    def close(self) -> None:
        """Print the table of metrics and where the files are."""
        side = self._results.reported_side
        columns, rows = shown_rows(self._results.metrics[side])
        n = self._config.ensemble.n_members
        mean = f", mean of {n} members" if n > 1 else ""
        title = f"Metrics by task, {side} molecules{mean}"
        self._console.print(metric_table(rows, columns, title))
        if self._inputs.unseen is not None:
            self._say(f"Predictions: {self._unseen[-1]}")
        self._say(f"Report: {self._page}")

    def _say(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True)


def _which(trainee: Trainee) -> dict[str, int]:
    """Return the numbers by which log and statistics tell models of one run apart."""
    which = {} if trainee.member is None else {"member": trainee.member.number}
    return which if trainee.group is None else which | {"group": trainee.group.number}


def _title(trainee: Trainee, trainees: Sequence[Trainee]) -> str:
    """Return what the screen says before a model is trained; nothing of a single one."""
    words = []
    if (member := trainee.member) is not None:
        n = len({t.member.number for t in trainees if t.member is not None})
        words.append(
            f"Member {member.number + 1} of {n}: seed {member.seed_number + 1}, "
            f"fold {member.fold + 1}"
        )
    if (group := trainee.group) is not None:
        n = len({t.group.number for t in trainees if t.group is not None})
        words.append(f"Group {group.number + 1} of {n}: {', '.join(trainee.model.task_names)}")
    return "; ".join(words)


def _places(error: NonFiniteLossError, trainee: Trainee) -> str:
    """Return the molecules of a loss that is not finite as their tables call them."""
    table = trainee.tables.train if error.stage == "training" else trainee.tables.val
    origin = table.origin[list(error.rows)]
    names = [
        f"row {row} of {source}" + ("" if name == str(row) else f" ({name})")
        for name, source, row in origin.select("id", "source", "row").iter_rows()
    ]
    return listed(names)
