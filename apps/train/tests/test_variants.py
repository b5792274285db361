"""Runs that differ from the usual one: other samplers, other tables, interrupted, tracked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import molpool_pipelines.fitting as fitting
import numpy as np
import polars as pl
import pytest
from molpool_pipelines.runs import read_rejected, read_run_predictions
from molpool_train.cli import main

pytestmark = pytest.mark.slow

ON = ("--joint-sampling.enabled", "true")
CURRICULUM = (*ON, "--joint-sampling.curriculum.enabled", "true")
QUICK = ("--training.epochs", "1")


@pytest.fixture
def trained(run: Any, small: list[str], tmp_path: Path) -> Any:
    """Run with more flags; return the outcome and the folder."""

    def call(*arguments: object) -> tuple[Any, Path]:
        outcome = run(*small, *arguments, "--save-dir", tmp_path / "run")
        assert outcome.code == 0, outcome.err
        return outcome, tmp_path / "run"

    return call


def log_lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_plain_shuffle(plain: Any) -> None:
    outcome, folder = plain
    assert not (folder / "sampling.parquet").exists()
    assert "Plain shuffling" in (folder / "report.html").read_text()
    assert "entropy" not in outcome.out


def test_hierarchical_draws_the_rarest_task_more_often(trained: Any) -> None:
    _, folder = trained(
        *CURRICULUM, *QUICK, "--joint-sampling.composition-mode", "hierarchical",
        "--joint-sampling.task-oversampling.alpha", 0, "--joint-sampling.num-samples", 3000,
    )  # fmt: skip
    log = pl.read_parquet(folder / "sampling.parquet")
    # α = 0: each of three tasks gets 1000 of 3000 draws; rows of another task carry QED labels
    # too, so QED is drawn at least as often. Binomial(3000, 1/3) falls below 897 (4 sd) once in
    # 30 000, and the seed is fixed.
    assert log["labels: QED"][0] > 897


def test_weighted_strategy_shuffles_and_weighs_the_loss(
    run: Any, small: list[str], plain: Any, tmp_path: Path
) -> None:
    weighted = ("--joint-sampling.curriculum.strategy", "weighted")
    off = ("--joint-sampling.task-oversampling.enabled", "false")
    folder = tmp_path / "weighted"
    flags = (*CURRICULUM, *weighted, *off)
    assert run(*small, *QUICK, *flags, "--save-dir", folder).code == 0
    one, other = (read_run_predictions(path) for path in (plain[1], folder))
    log = pl.read_parquet(folder / "sampling.parquet")
    assert log["phase"].to_list() == ["warmup"]
    weights = log.select("loss weight: high", "loss weight: medium", "loss weight: low").row(0)
    assert weights == (0.9, 0.1, 0.0)
    # It shuffles, so each row comes once; the statistics are those of the weights.
    n = {q: log[f"quality: {q}"][0] for q in ("high", "medium", "low")}
    assert log["distinct_rows"].to_list() == [sum(n.values())]
    mass = 0.9 * n["high"] + 0.1 * n["medium"]
    kish = mass**2 / (0.81 * n["high"] + 0.01 * n["medium"])
    assert log["effective_samples"][0] == pytest.approx(kish, rel=1e-12)
    assert one["split"].equals(other["split"])
    assert not np.allclose(one["LogP predicted"], other["LogP predicted"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # mlflow's own use of its dependencies
class TestCurriculumWithoutValidation:
    NONE: ClassVar = ("--data.split-ratios", "0.8", "0", "0.2", "--training.epochs", "4")

    def test_it_says_that_it_stays_in_its_first_phase(
        self, run: Any, small: list[str], tmp_path: Path
    ) -> None:
        folder = tmp_path / "stays"
        outcome = run(*small, *CURRICULUM, *self.NONE, "--save-dir", folder)
        assert outcome.code == 0, outcome.err
        said = "curriculum: without a validation split it stays in phase 'warmup'"
        assert said in " ".join(outcome.out.split())
        assert outcome.out.index("curriculum:") < outcome.out.index("epoch    train")
        assert any(said in n for n in json.loads((folder / "metrics.json").read_text())["notes"])
        assert set(pl.read_parquet(folder / "sampling.parquet")["phase"]) == {"warmup"}

    @pytest.mark.parametrize("strategy", ["sampled", "weighted"])
    def test_fixed_epochs_bring_it_to_its_last(
        self, run: Any, small: list[str], tmp_path: Path, strategy: str
    ) -> None:
        folder = tmp_path / strategy
        fixed = ("--joint-sampling.curriculum.phase-epochs", "1")
        how = ("--joint-sampling.curriculum.strategy", strategy)
        tracked = ("--tracking.enabled", "true")
        outcome = run(*small, *CURRICULUM, *self.NONE, *fixed, *how, *tracked, "--save-dir", folder)
        assert outcome.code == 0, outcome.err
        assert "curriculum:" not in outcome.out + outcome.err
        log = pl.read_parquet(folder / "sampling.parquet")
        assert log["phase"].to_list() == ["warmup", "expand", "robust", "polish"]
        kind = "loss" if strategy == "weighted" else "draw"
        assert log[f"{kind} weight: high"].to_list() == pytest.approx([0.9, 0.6, 0.5, 0.7])
        tracker = mlflow_of(tmp_path)
        assert tracker("sampling/phase") == [0, 1, 2, 3]
        assert tracker(f"sampling/{kind} weight: high") == pytest.approx([0.9, 0.6, 0.5, 0.7])


def mlflow_of(folder: Path) -> Callable[[str], list[float]]:
    """Return what reads a metric of the only run in the local store of a folder of runs."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    return lambda name: [m.value for m in client.get_metric_history(run.info.run_id, name)]


def test_classification(run: Any, demo_csv: Path, small: list[str], tmp_path: Path) -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score

    tasks = ["LogP", "LogS", "QED"]
    classes = pl.read_csv(demo_csv).with_columns(
        (pl.col(t) > pl.col(t).median()).cast(pl.Int64) for t in tasks
    )
    classes.write_csv(tmp_path / "classes.csv")
    folder = tmp_path / "run"
    table = ("--data-path", tmp_path / "classes.csv")
    outcome = run(*small, *table, *ON, *QUICK, "--save-dir", folder)
    assert outcome.code == 0, outcome.err
    assert "ROC AUC" in outcome.out
    said = read_run_predictions(folder).filter(split="test").drop_nulls("LogP")
    assert said["LogP predicted"].is_between(0, 1).all()
    test = json.loads((folder / "metrics.json").read_text())["splits"]["test"]
    scores = {name: m["value"] for name, m in test["tasks"]["LogP"]["metrics"].items()}
    true, probability = said["LogP"], said["LogP predicted"]
    assert scores["roc_auc"] == pytest.approx(roc_auc_score(true, probability), rel=1e-9)
    expected = average_precision_score(true, probability)
    assert scores["average_precision"] == pytest.approx(expected, rel=1e-9)


def test_dropped_rows_are_listed(
    run: Any, demo_csv: Path, small: list[str], tmp_path: Path
) -> None:
    lines = demo_csv.read_text().splitlines()
    for row, smiles in ((3, "nonsense"), (8, "")):
        name, _, rest = lines[row].split(",", 2)
        lines[row] = f"{name},{smiles},{rest}"
    path = tmp_path / "holes.csv"
    path.write_text("\n".join(lines) + "\n")
    folder = tmp_path / "run"
    drop = ("--data-path", path, "--on-bad-smiles", "drop")
    outcome = run(*small, *drop, *QUICK, "--save-dir", folder)
    assert outcome.code == 0, outcome.err
    assert "2 rows left out" in outcome.out
    dropped = read_rejected(folder)
    assert dropped["row"].to_list() == [3, 8]
    assert dropped["SMILES"].to_list() == ["nonsense", None]
    assert dropped["source"].to_list() == ["holes.csv"] * 2
    kept = read_run_predictions(folder)["row"]
    assert sorted(kept) == [r for r in range(1, 151) if r not in (3, 8)]


@pytest.mark.parametrize(
    ("legacy", "key", "note"),
    [
        (
            "optimization: {task_sampling_alpha: 0.5}\n",
            "hierarchical",
            "joint_sampling.task_oversampling.alpha",
        ),
        (
            "curriculum: {enabled: true, patience: 2}\n",
            "multiplicative",
            "curriculum: moved to joint_sampling.curriculum",
        ),
    ],
    ids=["alpha", "curriculum"],
)
def test_legacy_keys_run_and_say_the_new_ones(
    trained: Any, tmp_path: Path, legacy: str, key: str, note: str
) -> None:
    config = tmp_path / "old.yaml"
    config.write_text(legacy)
    outcome, folder = trained("--config", config, *QUICK)
    assert "old.yaml: " in outcome.err
    assert note in outcome.err
    resolved = (folder / "config.resolved.yaml").read_text()
    assert f"composition_mode: {key}" in resolved
    assert "task_sampling_alpha" not in resolved
    assert (folder / "sampling.parquet").exists()


def test_early_stop_is_no_fault(trained: Any) -> None:
    # Nothing improves at a learning rate of 1e-12, so patience ends the run.
    rates = ("--training.learning-rate", 1e-12, "--training.patience", 1)
    _, folder = trained("--training.epochs", 30, *rates)
    events = log_lines(folder)
    assert events[-1]["event"] == "finished"
    assert events[-1]["epochs"] < 30


def test_a_frozen_foundation_stays_as_it_was(run: Any, small: list[str], tmp_path: Path) -> None:
    from chemprop_multitask import ChempropModel

    folders = [tmp_path / name for name in ("first", "second")]
    columns, rest = small.index("--target-columns"), small.index("--data.id-column")
    two = (*small[:columns], "--target-columns", "LogP", "QED", *small[rest:])
    assert run(*two, *QUICK, "--save-dir", folders[0]).code == 0
    foundation = ("--from-foundation", folders[0] / "model.pt", "--model.freeze-encoder", "true")
    outcome = run(*small, *QUICK, *foundation, "--save-dir", folders[1])
    assert outcome.code == 0, outcome.err
    old, new = (
        ChempropModel.load(folder).module.message_passing.state_dict() for folder in folders
    )
    assert all(old[name].equal(new[name]) for name in old)


class TestResume:
    """Stopped in the second of four epochs, then gone on with."""

    @pytest.fixture
    def flags(self, small: list[str]) -> list[str]:
        patience = ["--joint-sampling.curriculum.patience", "1"]
        return [*small, *CURRICULUM, *patience, "--training.epochs", "4"]

    @pytest.fixture
    def interrupted(
        self, run: Any, flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Path:
        from molpool_pipelines.fitting import TrainingScreen

        move = TrainingScreen.on_train_batch_end

        def stop(self: Any, trainer: Any, *arguments: Any, **named: Any) -> None:
            move(self, trainer, *arguments, **named)
            if trainer.current_epoch == 1 and trainer.global_step % 6 == 3:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(TrainingScreen, "on_train_batch_end", stop)
            outcome = run(*flags, "--save-dir", tmp_path / "stopped")
        assert outcome.code == 130
        assert f"--resume --save-dir {tmp_path / 'stopped'}" in outcome.err
        assert not (tmp_path / "stopped" / "predictions.parquet").exists()
        return tmp_path / "stopped"

    def test_ends_as_if_never_stopped(
        self, run: Any, flags: list[str], tmp_path: Path, interrupted: Path
    ) -> None:
        # Nothing but the folder is needed: the run brings its own configuration.
        assert run("--resume", "--save-dir", interrupted).code == 0
        assert run(*flags, "--save-dir", tmp_path / "whole").code == 0
        for name in ("predictions", "sampling"):
            resumed, whole = (
                pl.read_parquet(folder / f"{name}.parquet")
                for folder in (interrupted, tmp_path / "whole")
            )
            assert resumed.equals(whole), name
        events = [line["event"] for line in log_lines(interrupted)]
        assert events == [
            "started", "note", "epoch", "interrupted",
            "resumed", "epoch", "epoch", "epoch", "finished",
        ]  # fmt: skip

    def test_other_settings_are_refused(self, run: Any, interrupted: Path) -> None:
        outcome = run("--resume", "--save-dir", interrupted, "--seed", 7)
        assert outcome.code == 2
        assert "seed: expected 42, as the run was started with; found 7" in outcome.err

    def test_overwrite_starts_afresh(self, run: Any, flags: list[str], interrupted: Path) -> None:
        (interrupted / "notes.txt").write_text("mine")
        more = ("--overwrite", "--training.epochs", 1)
        assert run(*flags, *more, "--save-dir", interrupted).code == 0
        events = [line["event"] for line in log_lines(interrupted)]
        assert events == ["started", "note", "epoch", "finished"]
        assert (interrupted / "notes.txt").read_text() == "mine"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # mlflow's own use of its dependencies
def test_tracking_is_logged(trained: Any, tmp_path: Path) -> None:
    _, folder = trained(*ON, *QUICK, "--page", "true", "--tracking.enabled", "true")

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("molpool")
    assert experiment is not None
    (logged,) = client.search_runs([experiment.experiment_id])
    assert logged.info.status == "FINISHED"
    assert logged.info.run_name == "run"
    assert logged.data.params["training.epochs"] == "1"
    scores = json.loads((folder / "metrics.json").read_text())["splits"]["test"]["macro"]
    assert scores
    assert "train_loss" in logged.data.metrics
    assert "sampling/entropy" in logged.data.metrics
    files = {f.path for f in client.list_artifacts(logged.info.run_id)}
    assert files == {"figures", "model", "model.pt", "report.html"}


@pytest.mark.parametrize(("number", "code"), [("0", 2), ("1", 0)])
def test_the_first_of_several_processes_answers_alone(
    number: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A folder without metrics: what another process finds where the first is not there yet.
    monkeypatch.setattr(fitting, "train_chemprop", lambda *_, **__: tmp_path)
    started = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    for name, value in {"TORCHELASTIC_RUN_ID": "any", **started}.items():
        monkeypatch.setenv(name, value)
    assert main(["chemprop", "--data-path", "table.csv"]) == code
