"""Ensembles: what they leave behind, what is predicted by whom, and how they are resumed."""

from __future__ import annotations

import importlib
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from molpool_pipelines.runs import read_run_predictions

TASKS = ("LogP", "LogS", "QED")
UNSEEN = ["CCCCN", "no molecule", "c1ccccc1CCO"]
ON = ("--joint-sampling.enabled", "true")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def flags(small: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two seeds on two folds, two epochs each, and molecules to predict."""
    path = tmp_path_factory.mktemp("unseen") / "new.csv"
    path.write_text("SMILES,price\n" + "".join(f"{s},1\n" for s in UNSEEN))
    return [
        *small,
        *("--page", "true"),
        *("--ensemble.n-seeds", "2", "--ensemble.n-folds", "2"),
        *("--predict-path", str(path), "--on-bad-smiles", "keep"),
        *ON,
    ]


@pytest.fixture(scope="module")
def outcome(run: Any, flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    result = run(*flags, "--save-dir", folder)
    assert result.code == 0, result.err
    return result, folder


@pytest.fixture(scope="module")
def folder(outcome: Any) -> Path:
    return Path(outcome[1])


@pytest.fixture(scope="module")
def predictions(folder: Path) -> pl.DataFrame:
    return read_run_predictions(folder)


@pytest.fixture(scope="module")
def members(folder: Path) -> Any:
    from chemprop_multitask import Ensemble

    return Ensemble.load(folder).members


def columns(frame: pl.DataFrame, form: str) -> Any:
    return frame.select(form.format(task) for task in TASKS).to_numpy()


class TestFolder:
    def test_members_have_folders_of_their_own(self, folder: Path) -> None:
        names = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
        assert names == {
            *(f"checkpoints/member-00{m}/{n}.ckpt" for m in range(4) for n in ("best", "last")),
            *(f"models/member-00{m}.pt" for m in range(4)),
            ".lock",
            "SHA256SUMS",
            "calibration.npz",
            "config.resolved.yaml",
            "environment.json",
            "log.jsonl",
            "metrics.json",
            "predictions.parquet",
            "predictions_new.csv",
            "predictions_new.csv-metadata.json",
            "predictions_new.parquet",
            "rejected.csv",
            "report.html",
            "sampling.parquet",
            "table_rows.parquet",
        }

    def test_log_and_statistics_name_the_member(self, folder: Path) -> None:
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        epochs = [(e["member"], e["epoch"]) for e in lines if e["event"] == "epoch"]
        assert epochs == [(m, e) for m in range(4) for e in range(2)]
        drawn = pl.read_parquet(folder / "sampling.parquet")
        assert drawn.select("member", "epoch").rows() == epochs

    def test_members_draw_rows_of_their_own(self, folder: Path) -> None:
        drawn = pl.read_parquet(folder / "sampling.parquet").filter(epoch=0)
        counts = drawn.select(c for c in drawn.columns if c.startswith(("labels", "distinct")))
        assert len(set(counts.rows())) == 4


class TestPredictions:
    def test_test_rows_are_the_mean_of_all(self, predictions: pl.DataFrame, members: Any) -> None:
        rows = predictions.filter(split="test")
        each = np.stack([m.predict(rows["SMILES"].to_list()) for m in members])
        assert rows["fold"].is_null().all()
        # Batches are cut elsewhere, so sums of single precision round differently.
        np.testing.assert_allclose(
            columns(rows, "{} predicted"), each.mean(axis=0), rtol=1e-4, atol=1e-4
        )
        np.testing.assert_allclose(
            columns(rows, "{}_sd"), each.std(axis=0, ddof=1), rtol=1e-4, atol=1e-4
        )

    def test_other_rows_are_out_of_fold(self, predictions: pl.DataFrame, members: Any) -> None:
        assert set(predictions["split"]) == {"val", "test"}
        for fold in (0, 1):
            rows = predictions.filter(split="val", fold=fold)
            own = [members[fold], members[fold + 2]]  # the first seed's folds come first
            each = np.stack([m.predict(rows["SMILES"].to_list()) for m in own])
            np.testing.assert_allclose(
                columns(rows, "{} predicted"), each.mean(axis=0), rtol=1e-4, atol=1e-4
            )

    def test_every_row_of_the_table_once(self, predictions: pl.DataFrame) -> None:
        assert sorted(predictions["row"]) == list(range(1, 151))

    def test_unseen_molecules(self, folder: Path, members: Any) -> None:
        said = pl.read_parquet(folder / "predictions_new.parquet")
        ends = ("", "_sd", "_lower", "_upper")
        last = ("similarity", "nearest", "outside_domain", "error")
        given = ["row", "SMILES", "price"]
        assert said.columns == [*given, *(t + e for t in TASKS for e in ends), *last]
        assert said["SMILES"].to_list() == UNSEEN
        assert said.row(1)[len(given) : -1] == (None,) * (4 * len(TASKS) + 3)
        assert [e is None for e in said["error"]] == [True, False, True]
        each = np.stack([m.predict([UNSEEN[0], UNSEEN[2]]) for m in members])
        right = said.filter(pl.col("error").is_null())
        np.testing.assert_allclose(columns(right, "{}"), each.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(columns(right, "{}_sd"), each.std(axis=0, ddof=1), rtol=1e-5)
        text = pl.read_csv(folder / "predictions_new.csv")
        np.testing.assert_allclose(columns(text, "{}"), columns(said, "{}"), rtol=1e-12)


class TestMetrics:
    def test_are_those_of_the_mean_and_of_each_member(
        self, folder: Path, predictions: pl.DataFrame, members: Any
    ) -> None:
        scores = json.loads((folder / "metrics.json").read_text())["splits"]["test"]
        rows = predictions.filter(split="test").drop_nulls("LogP")
        said = [rows["LogP predicted"].to_numpy()]
        said += [m.predict(rows["SMILES"].to_list())[:, 0] for m in members]
        for table, one in zip((scores, *scores["members"]), said, strict=True):
            mae = np.abs(one - rows["LogP"].to_numpy()).mean()
            # Single precision, batches cut elsewhere.
            assert table["tasks"]["LogP"]["metrics"]["mae"]["value"] == pytest.approx(mae, rel=1e-4)

    def test_report_shows_members_and_spread(self, folder: Path) -> None:
        page = (folder / "report.html").read_text()
        for text in (
            "mean of all",
            "Spread of the members",
            "a line for each of 4 models",
            "did not see it",
        ):
            assert text in page

    def test_screen_says_which_member(self, outcome: Any) -> None:
        assert "Member 2 (4 in all): seed 1, fold 0" in outcome[0].out
        assert "mean of 4 members" in outcome[0].out
        assert "1 of 3 rows get no prediction" in outcome[0].out


def stop_in(monkeypatch: pytest.MonkeyPatch, member: int, epoch: int) -> None:
    """Send SIGTERM in a member's epoch, both from 1."""
    from molpool_pipelines.fitting import TrainingScreen

    start, move = TrainingScreen.on_train_start, TrainingScreen.on_train_batch_end
    started: list[None] = []

    def begin(self: Any, *arguments: Any, **named: Any) -> None:
        started.append(None)
        start(self, *arguments, **named)

    def stop(self: Any, trainer: Any, *arguments: Any, **named: Any) -> None:
        move(self, trainer, *arguments, **named)
        if len(started) == member and trainer.current_epoch == epoch - 1:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(TrainingScreen, "on_train_start", begin)
    monkeypatch.setattr(TrainingScreen, "on_train_batch_end", stop)


def go_on(folder: Path) -> str:
    """Return the last words of a run that was stopped."""
    return f"Interrupted. Go on with: molpool-train chemprop --resume --save-dir {folder}\n"


def best_in(checkpoint: Path) -> float:
    """Return the loss below which the screen of a resumed run gives a star."""
    import torch

    callbacks = torch.load(checkpoint, weights_only=False)["callbacks"]
    return float(callbacks["TrainingScreen"]["best"])


def told(folder: Path, member: int) -> list[float]:
    """Return the validation losses that the log tells of a member."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [e["val_loss"] for e in lines if e["event"] == "epoch" and e["member"] == member]


class TestResume:
    def test_goes_on_in_the_third_member(
        self, run: Any, flags: list[str], folder: Path, tmp_path: Path
    ) -> None:
        stopped = tmp_path / "stopped"
        with pytest.MonkeyPatch.context() as patch:
            stop_in(patch, member=3, epoch=2)
            outcome = run(*flags, "--save-dir", stopped)
        assert outcome.code == 130
        assert outcome.err.endswith(go_on(stopped))
        assert not (stopped / "models").exists()
        assert not (stopped / "checkpoints" / "member-003").exists()
        assert best_in(stopped / "checkpoints/member-002/last.ckpt") == told(stopped, 2)[0]
        resumed = run("--resume", "--save-dir", stopped)
        assert resumed.code == 0, resumed.err
        for name in ("predictions", "predictions_new", "sampling"):
            one, whole = (pl.read_parquet(f / f"{name}.parquet") for f in (stopped, folder))
            assert one.equals(whole), name
        lines = [json.loads(s) for s in (stopped / "log.jsonl").read_text().splitlines()]
        after = lines[[e["event"] for e in lines].index("resumed") :]
        epochs = [(e["member"], e["epoch"]) for e in after if e["event"] == "epoch"]
        assert epochs == [(2, 1), (3, 0), (3, 1)]
        # All epochs of all members stand in the report, also of those trained before the break.
        assert "Epochs, all models</dt><dd>8" in (stopped / "report.html").read_text()

    @pytest.mark.parametrize(
        ("place", "members"), [("_title", 1), ("evaluate", 2)], ids=["between", "after"]
    )
    def test_stopped_outside_of_any_member_it_says_how_to_go_on(
        self, run: Any, small: list[str], tmp_path: Path, place: str, members: int
    ) -> None:
        """SIGTERM once a number of members is trained and the next has not begun."""
        fitting = importlib.import_module("molpool_pipelines.fitting._chemprop_run")
        stopped, original = tmp_path / "stopped", getattr(fitting, place)

        def stop(*arguments: Any) -> Any:
            if len(list(stopped.glob("checkpoints/*/last.ckpt"))) == members:
                signal.raise_signal(signal.SIGTERM)
            return original(*arguments)

        two = ("--ensemble.n-seeds", "2", "--training.epochs", "1")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fitting, place, stop)
            outcome = run(*small, *two, "--save-dir", stopped)
        assert outcome.code == 130
        assert outcome.err.endswith(go_on(stopped))
        events = [json.loads(s)["event"] for s in (stopped / "log.jsonl").read_text().splitlines()]
        assert events == ["started", *["epoch"] * members, "interrupted"]
        resumed = run("--resume", "--save-dir", stopped)
        assert resumed.code == 0, resumed.err
        events = [json.loads(s)["event"] for s in (stopped / "log.jsonl").read_text().splitlines()]
        assert events.count("epoch") == 2

    def test_a_finished_run_predicts_other_molecules(
        self, run: Any, folder: Path, members: Any, tmp_path: Path
    ) -> None:
        more = tmp_path / "more.csv"
        more.write_text("SMILES\nCCOCC\n")
        before = {m: (folder / f"models/member-00{m}.pt").read_bytes() for m in range(4)}
        outcome = run("--resume", "--save-dir", folder, "--predict-path", more)
        assert outcome.code == 0, outcome.err
        said = pl.read_parquet(folder / "predictions_more.parquet")
        each = np.stack([m.predict(["CCOCC"]) for m in members])
        np.testing.assert_allclose(columns(said, "{}"), each.mean(axis=0), rtol=1e-5)
        assert before == {m: (folder / f"models/member-00{m}.pt").read_bytes() for m in range(4)}
