"""Train, evaluate and write one run whose inputs are known to be right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from chemprop_multitask import ChempropModel, EpochRecord, MoleculeData
from molpool_common.molecules import MoleculeTable
from molpool_common.runfolder import RunFolder
from molpool_common.tracking import Tracker
from rich.console import Console

from molpool_train.config import TrainChempropConfig
from molpool_train.inputs import Inputs
from molpool_train.report import TrainingRun, training_report
from molpool_train.results import SIDES, evaluate, shown_rows
from molpool_train.sampling import Sampling, SamplingLog, build_sampling
from molpool_train.screen import TrainingScreen, metric_table

__all__ = ["Fitting", "build_sampling"]

MODEL = "model.pt"


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
    sampling : Sampling
        How training rows are drawn.
    tracker : Tracker
        Where numbers are logged besides.
    """

    def __init__(
        self,
        console: Console,
        config: TrainChempropConfig,
        run: RunFolder,
        inputs: Inputs,
        sampling: Sampling,
        tracker: Tracker,
    ) -> None:
        self._console = console
        self._config = config
        self._run = run
        self._inputs = inputs
        self._sampling = sampling
        self._tracker = tracker
        self._log = SamplingLog(sampling, inputs.tables.train) if sampling.sampler else None
        self._screen = TrainingScreen(console, config.training.epochs, self._log)
        self._data = {side: self._side(side) for side in SIDES}
        self._model = ChempropModel.from_config(
            config,
            task_names=inputs.table.task_names,
            task_types=inputs.task_types,
            seed=config.seed,
        )

    def _side(self, side: str) -> MoleculeData:
        table: MoleculeTable = getattr(self._inputs.tables, side)
        weights = self._sampling.weights if side == "train" else None
        return MoleculeData(table.mols, table.targets, task_names=table.task_names, weights=weights)

    def train(self) -> None:
        """Fit the model; an interrupted run can be resumed.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C or SIGTERM, with the command that goes on.
        """
        log = [self._log] if self._log else []
        self._console.print(f"Loss: {self._model.loss_description}", highlight=False)
        try:
            self._records = self._model.fit(
                self._data["train"],
                self._data["val"] if len(self._data["val"]) else None,
                sampler=self._sampling.sampler,
                callbacks=[*self._sampling.callbacks, *log, self._screen],
                on_epoch=self._epoch,
                checkpoint_dir=self._run.checkpoints,
                resume_from=self._checkpoint(),
                seed=self._config.seed,
            )
        except KeyboardInterrupt:
            self._run.log("interrupted")
            raise KeyboardInterrupt(
                "Interrupted. Go on with: molpool-train chemprop --resume "
                f"--save-dir {self._run.path}"
            ) from None

    def _checkpoint(self) -> Path | None:
        """Return the checkpoint to go on from; a run stopped in its first epoch has none."""
        last = self._run.checkpoints / "last.ckpt"
        return last if self._config.resume and last.is_file() else None

    def _epoch(self, record: EpochRecord) -> None:
        """Tell of an epoch on the screen, in the log, in sampling.parquet and to the tracker."""
        self._screen.epoch(record)
        self._run.log("epoch", **vars(record))
        values = {k: v for k, v in vars(record).items() if k != "epoch" and v is not None}
        self._tracker.metrics(values, step=record.epoch)
        joint = self._config.joint_sampling
        if self._log is None or not joint.log_weight_statistics:
            return
        self._run.write_frame("sampling.parquet", self._log.frame())
        if joint.log_to_mlflow:
            self._tracker.metrics(self._log.numbers("sampling/"), step=record.epoch)

    def write(self) -> None:
        """Evaluate, and write model, predictions, metrics and report."""
        inputs, run = self._inputs, self._run
        self._results = evaluate(self._model, inputs.tables, self._data)
        if len(inputs.table.dropped):
            run.write_text("dropped_rows.csv", inputs.table.dropped.write_csv())
        model = run.write_file(MODEL, self._model.save)
        run.write_frame("predictions.parquet", self._results.predictions)
        run.write_json("metrics.json", self._results.to_dict())
        self._page = run.write_text("report.html", self._report())
        self._track([model, self._page])
        run.log("finished", epochs=len(self._records), loss=self._model.loss_description)

    def _report(self) -> str:
        return training_report(
            TrainingRun(
                name=self._run.path.name,
                config=self._config,
                facts=_facts(self._inputs, self._records, self._model.loss_description),
                notes=self._inputs.notes,
                records=self._records,
                results=self._results,
                train=self._inputs.tables.train,
                sampling=self._log,
            )
        )

    def _track(self, files: Sequence[Path]) -> None:
        for side, table in self._results.metrics.items():
            means = {f"{side}/{name}": macro.mean for name, macro in table.macro().items()}
            self._tracker.metrics({k: v for k, v in means.items() if v is not None})
        for file in files:
            self._tracker.file(file)

    def close(self) -> None:
        """Print the table of metrics and where the report is."""
        side = self._results.reported_side
        columns, rows = shown_rows(self._results.metrics[side])
        title = f"Metrics by task, {side} molecules"
        self._console.print(metric_table(rows, columns, title))
        self._console.print(f"Report: {self._page}", highlight=False, soft_wrap=True)


def _facts(
    inputs: Inputs, records: Sequence[EpochRecord], loss: str
) -> dict[str, str | int | float | None]:
    tables = inputs.tables
    losses = [r.val_loss for r in records if r.val_loss is not None]
    return {
        "Training rows": len(tables.train),
        "Validation rows": len(tables.val),
        "Test rows": len(tables.test),
        "Distinct molecules": len(set(inputs.table.groups)),
        "Labels in training": int(np.isfinite(tables.train.targets).sum()),
        "Task types": ", ".join(
            f"{inputs.task_types.count(kind)} {kind}" for kind in sorted(set(inputs.task_types))
        ),
        "Loss": loss,
        "Epochs": len(records),
        "Best epoch": int(np.argmin(losses)) + 1 if losses else None,
        "Training time, s": sum(r.seconds for r in records),
    }
