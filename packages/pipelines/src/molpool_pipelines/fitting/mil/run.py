"""Train, evaluate and write one run whose inputs are known to be right."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import polars as pl
import torch
from mil_attn import (
    EpochRecord,
    FitResult,
    MILModule,
    check_resumable,
    export_attention,
    export_attention_page,
    export_attention_sdf,
    fit,
)
from molpool_common import RunFolder
from rich.console import Console
from sampling_core import RarePositiveSampler

from molpool_pipelines.fitting.config import TrainMILConfig
from molpool_pipelines.fitting.mil.inputs import MILInputs, check_inputs
from molpool_pipelines.fitting.mil.results import evaluate, predictions_of
from molpool_pipelines.fitting.mil.screen import MILScreen
from molpool_pipelines.fitting.mil.structures import structures, top_molecules
from molpool_pipelines.fitting.results import shown_rows
from molpool_pipelines.fitting.sampling import SamplingLog
from molpool_pipelines.fitting.screen import metric_table
from molpool_pipelines.reports import MILRun, mil_report
from molpool_pipelines.runs import Tracker

LAST = "last.ckpt"
MODEL = "model.pt"
UNSEEN = "predictions_unseen"
SDF = "attention_test.sdf"
PAGE = "attention.html"


def check_run(config: TrainMILConfig, inputs: MILInputs, path: Path) -> None:
    """Refuse before anything is written what could not be trained or gone on with."""
    check_inputs(config, inputs)
    rare_positive_sampler(config, inputs)
    with torch.random.fork_rng():
        module = MILModule.from_data(config, inputs.side("train"))
    last = path / "checkpoints" / LAST
    if config.resume and last.exists():
        check_resumable(last, module)


def rare_positive_sampler(config: TrainMILConfig, inputs: MILInputs) -> RarePositiveSampler | None:
    """Return what draws molecules with a rare positive more often; None where no task is rare."""
    if config.task_kind != "classification":
        return None
    sampling = config.sampling
    return RarePositiveSampler.if_any_rare(
        inputs.side("train").labels,  # type: ignore[arg-type]  # checked: it has labels
        sampling.rare_prev_thr,
        sampling.rare_oversample_mult,
        sampling.sample_weight_cap,
        seed=config.seed,
    )


def _sampling_log(sampler: RarePositiveSampler, inputs: MILInputs) -> SamplingLog:
    train = inputs.side("train")
    assert train.labels is not None
    return SamplingLog(sampler, train.labels, train.task_names, positives=True)


class MILFitting:
    """One run from checked inputs to a full run folder: `train`, `write`, `close`, in this order.

    Parameters
    ----------
    console : Console
        The screen.
    config : TrainMILConfig
        The run.
    run : RunFolder
        Where it goes.
    inputs : MILInputs
        Bags and sides.
    tracker : Tracker
        Where numbers are logged besides.
    """

    def __init__(
        self,
        console: Console,
        config: TrainMILConfig,
        run: RunFolder,
        inputs: MILInputs,
        tracker: Tracker,
    ) -> None:
        self._console = console
        self._config = config
        self._run = run
        self._inputs = inputs
        self._tracker = tracker
        self._sampler = rare_positive_sampler(config, inputs)
        self._log = None if self._sampler is None else _sampling_log(self._sampler, inputs)

    def train(self) -> None:
        """Fit the model; an interrupted run can be resumed.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C or SIGTERM, with the command that goes on.
        """
        last = self._run.checkpoints / LAST
        screen = MILScreen(self._console, self._config.training.epochs)
        try:
            with warnings.catch_warnings(record=True) as told:
                self._result: FitResult = fit(
                    self._config,
                    self._inputs.side("train"),
                    self._inputs.side("val") if "val" in self._inputs.sides else None,
                    sampler=self._sampler,
                    callbacks=[*([self._log] if self._log else []), screen],
                    on_epoch=self._told(screen),
                    checkpoint_dir=self._run.checkpoints,
                    resume_from=last if self._config.resume and last.exists() else None,
                    seed=self._config.seed,
                    threshold_metric=self._config.threshold_metric,
                )
        except KeyboardInterrupt:
            self._run.log("interrupted")
            raise KeyboardInterrupt(
                f"Interrupted. Go on with: molpool-train mil --resume --save-dir {self._run.path}"
            ) from None
        module = self._result.module
        for task, value in self._config.thresholds.items():
            module.thresholds[module.task_names.index(task)] = value
        self._inputs.notes.extend(str(w.message) for w in told if w.category is UserWarning)

    def _told(self, screen: MILScreen) -> Callable[[EpochRecord], None]:
        """Return what tells of an epoch: screen, log, sampling.parquet and tracker."""

        def tell(record: EpochRecord) -> None:
            screen.epoch(record)
            self._run.log("epoch", **vars(record))
            values = {k: v for k, v in vars(record).items() if k != "epoch" and v is not None}
            if self._log is not None:
                self._run.write_frame("sampling.parquet", self._log.frame())
                values |= self._log.numbers("sampling/")
            self._tracker.metrics(values, step=record.epoch)

        return tell

    def write(self) -> None:
        """Evaluate, and write model, predictions, attention, metrics and report."""
        run, inputs, module = self._run, self._inputs, self._result.module
        self._results = evaluate(self._config, inputs, module)
        files = [run.write_file(MODEL, module.save)]
        run.write_frame("predictions.parquet", self._results.predictions)
        run.write_json("metrics.json", self._results.to_dict())
        if inputs.data.failures:
            failed = pl.DataFrame([f._asdict() for f in inputs.data.failures])
            run.write_text("left_out.csv", failed.write_csv())
        attention = self._write_attention(module)
        if inputs.unseen is not None:
            frame = predictions_of(module, inputs.unseen)
            files.append(run.write_frame(f"{UNSEEN}.parquet", frame))
            files.append(run.write_text(f"{UNSEEN}.csv", frame.write_csv()))
        page = mil_report(
            MILRun(
                run.path.name,
                self._config,
                inputs,
                self._result,
                self._results,
                attention,
                self._sampler,
                self._log,
            )
        )
        self._page = run.write_text("report.html", page)
        for file in (*files, self._page):
            self._tracker.file(file)
        run.log("finished", epochs=len(self._result.records))

    def _write_attention(self, module: MILModule) -> pl.DataFrame | None:
        """Write the attention of the sides asked for; return that of the test side."""
        if module.network.in_3d is None:
            return None
        export, of_test = self._config.export, None
        for side in export.attention:
            if side not in self._inputs.sides:
                continue
            frame = export_attention(
                module,
                self._inputs.side(side),
                self._run.path / f"attention_{side}",
                effects=export.effects,
            )
            of_test = frame if side == "test" else of_test
        self._write_structures(of_test)
        if self._inputs.unseen is not None:
            path = self._run.path / "attention_unseen"
            export_attention(module, self._inputs.unseen, path, effects=export.effects)
        return of_test

    def _write_structures(self, of_test: pl.DataFrame | None) -> None:
        """Write the conformers of the test molecules of highest predictions, and their page."""
        n, files = self._config.export.sdf, [self._run.path / name for name in (SDF, PAGE)]
        for file in files:
            file.unlink(missing_ok=True)  # of a run that was replaced
        if self._config.data.kind != "smiles" or of_test is None or not n:
            return
        data = self._inputs.side("test")
        mols = structures(self._config, data, top_molecules(of_test, n))
        export_attention_sdf(of_test, mols, files[0])
        title = f"{self._run.path.name}: attention to conformers"
        export_attention_page(of_test, mols, files[1], data=data, title=title)

    def close(self) -> None:
        """Print the table of metrics and where the files are."""
        columns, rows = shown_rows(self._results.metrics["test"])
        self._console.print(metric_table(rows, columns, "Metrics by task, test bags"))
        self._console.print(f"Report: {self._page}", highlight=False, soft_wrap=True)
