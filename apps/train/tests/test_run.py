"""One run with a curriculum, and everything that it leaves behind."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from molpool_common import load_config
from molpool_pipelines.fitting import TrainChempropConfig
from molpool_pipelines.runs import read_run_predictions
from scipy import stats
from sklearn import metrics as peer

TASKS = ("LogP", "LogS", "QED")
ALPHA = 0.4
WARMUP = {"high": 0.9, "medium": 0.1, "low": 0.0}  # models.md, section 1

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outcome(run: Any, small: list[str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("runs") / "first"
    result = run(
        *small,
        *("--page", "true"),
        *("--baselines", "fast"),
        *("--joint-sampling.enabled", "true"),
        *("--joint-sampling.task-oversampling.alpha", ALPHA),
        *("--joint-sampling.curriculum.enabled", "true"),
        *("--save-dir", folder),
    )
    assert result.code == 0, result.err
    return result, folder


@pytest.fixture(scope="module")
def folder(outcome: Any) -> Path:
    return Path(outcome[1])


@pytest.fixture(scope="module")
def screen(outcome: Any) -> str:
    return str(outcome[0].out)


@pytest.fixture(scope="module")
def predictions(folder: Path) -> pl.DataFrame:
    return read_run_predictions(folder)


@pytest.fixture(scope="module")
def train_rows(predictions: pl.DataFrame, demo_csv: Path) -> pl.DataFrame:
    quality = pl.read_csv(demo_csv).select(id="Molecule Name", quality="Quality")
    return predictions.filter(split="train").join(quality, on="id", maintain_order="left")


class TestFolder:
    def test_holds_what_the_design_says_and_no_temporary_file(self, folder: Path) -> None:
        names = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
        simple = ("mean", "neighbours", "lightgbm")
        assert names == {
            *(f"baselines/{n}/model.json" for n in simple),
            *(f"baselines/{n}/member-000-{n}.npz" for n in simple),
            *(f"baselines/{n}/predictions.parquet" for n in simple),
            ".lock",
            "SHA256SUMS",
            "calibration.npz",
            "checkpoints/best.ckpt",
            "checkpoints/last.ckpt",
            "config.resolved.yaml",
            "environment.json",
            "log.jsonl",
            "metrics.json",
            "model.pt",
            "predictions.parquet",
            "report.html",
            "sampling.parquet",
            "table_rows.parquet",
        }

    def test_configuration_reads_back(self, folder: Path) -> None:
        config = load_config(TrainChempropConfig, folder / "config.resolved.yaml")
        assert config.data.target_columns == list(TASKS)
        assert config.data.split_ratios == (0.6, 0.2, 0.2)
        assert config.joint_sampling.task_oversampling.alpha == ALPHA
        assert config.training.epochs == 2
        assert not config.resume

    def test_environment_names_command_and_packages(self, folder: Path) -> None:
        environment = json.loads((folder / "environment.json").read_text())
        assert environment["arguments"][:2] == ["molpool-train", "chemprop"]
        assert {"torch", "rdkit", "molpool-train"} <= set(environment["packages"])

    def test_log_tells_the_run_in_order(self, folder: Path) -> None:
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        events = [line["event"] for line in lines]
        assert events == ["started", "note", "epoch", "epoch", "finished"]
        assert [line["epoch"] for line in lines[2:4]] == [0, 1]
        assert all(np.isfinite(line["train_loss"]) for line in lines[2:4])


class TestPredictions:
    def test_every_row_of_the_table_once(self, predictions: pl.DataFrame, demo_csv: Path) -> None:
        table = pl.read_csv(demo_csv)
        assert sorted(predictions["id"]) == sorted(table["Molecule Name"])
        joined = predictions.join(table, left_on="id", right_on="Molecule Name", suffix=" table")
        assert (joined["SMILES"] == joined["SMILES table"]).all()
        for task in TASKS:
            np.testing.assert_array_equal(
                joined[task].fill_null(np.nan), joined[f"{task} table"].fill_null(np.nan)
            )

    def test_rows_count_from_the_first_below_the_header(self, predictions: pl.DataFrame) -> None:
        assert (predictions["id"] == predictions["row"].map_elements("DEMO-{:05d}".format)).all()

    def test_splits_follow_the_ratios(self, predictions: pl.DataFrame) -> None:
        sizes = dict(predictions.group_by("split").len().iter_rows())
        # A molecule with several rows may shift a boundary, by a few rows at most.
        assert sizes["train"] == pytest.approx(90, abs=5)
        assert sizes["val"] == pytest.approx(30, abs=5)

    def test_saved_model_predicts_the_same(self, folder: Path, predictions: pl.DataFrame) -> None:
        from chemprop_multitask import ChempropModel

        model = ChempropModel.load(folder / "model.pt")
        again = model.predict(predictions["SMILES"].to_list())
        stored = predictions.select(f"{t} predicted" for t in TASKS).to_numpy()
        # Batches are cut elsewhere, so sums of single precision round differently.
        np.testing.assert_allclose(again, stored, rtol=1e-4, atol=1e-4)


class TestMetrics:
    @pytest.mark.parametrize("split", ["train", "val", "test"])
    @pytest.mark.parametrize("task", TASKS)
    def test_are_those_of_the_predictions(
        self, folder: Path, predictions: pl.DataFrame, split: str, task: str
    ) -> None:
        rows = predictions.filter(pl.col("split") == split).drop_nulls(task)
        true, said = rows[task].to_numpy(), rows[f"{task} predicted"].to_numpy()
        scores = json.loads((folder / "metrics.json").read_text())["splits"][split]["tasks"][task]
        assert scores["n"] == len(true)
        expected = {
            "mae": peer.mean_absolute_error(true, said),
            "rmse": peer.root_mean_squared_error(true, said),
            "r2": peer.r2_score(true, said),
            "pearson": stats.pearsonr(true, said).statistic,
            "spearman": stats.spearmanr(true, said).statistic,
            "ma_rae": np.abs(true - said).sum() / np.abs(true - true.mean()).sum(),
        }
        for name, value in expected.items():
            assert scores["metrics"][name]["value"] == pytest.approx(value, rel=1e-9, abs=1e-12), (
                name
            )


@pytest.fixture(scope="module")
def log(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "sampling.parquet")


class TestSampling:
    def test_one_row_an_epoch(self, log: pl.DataFrame) -> None:
        assert log["epoch"].to_list() == [0, 1]
        assert log["phase"].to_list() == ["warmup", "warmup"]

    def test_statistics_are_those_of_the_row_weights(
        self, log: pl.DataFrame, train_rows: pl.DataFrame
    ) -> None:
        labelled = train_rows.select(pl.col(TASKS).is_not_null()).to_numpy()
        counts = labelled.sum(axis=0)
        primary = np.where(labelled, counts, np.inf).min(axis=1)
        quality = np.array([WARMUP[q] for q in train_rows["quality"]])
        w = (primary + 1e-6) ** -ALPHA * quality
        p = w / w.sum()
        drawn = p[p > 0]
        expected = {
            "min": p.min(),
            "max": p.max(),
            "entropy": -(drawn * np.log(drawn)).sum(),
            "effective_samples": 1 / (p**2).sum(),
            "n_rows": len(p),
            "n_drawable": len(drawn),
        }
        for name, value in expected.items():
            assert log[name].to_list() == pytest.approx([value, value], rel=1e-9), name

    def test_draws_are_counted(self, log: pl.DataFrame, train_rows: pl.DataFrame) -> None:
        qualities = [c for c in log.columns if c.startswith("quality: ")]
        assert qualities == ["quality: high", "quality: medium", "quality: low"]
        assert log.select(pl.sum_horizontal(qualities)).to_series().to_list() == [
            len(train_rows),
            len(train_rows),
        ]
        assert log["quality: low"].to_list() == [0, 0]  # the warm-up gives it no weight
        assert (log["distinct_rows"] <= log["n_drawable"]).all()

    def test_epochs_draw_anew(self, log: pl.DataFrame) -> None:
        drawn = log.select(c for c in log.columns if c.startswith(("labels", "quality", "dist")))
        assert drawn.row(0) != drawn.row(1)


class TestScreen:
    def test_an_epoch_a_line_then_the_metrics(self, screen: str) -> None:
        epochs = [line for line in screen.splitlines() if re.match(r" +\d+ +\d\.\d{4}", line)]
        assert len(epochs) == 2
        assert all("warmup" in line for line in epochs)
        assert "Metrics by task, test molecules" in screen
        assert all(f"│ {task}" in screen for task in (*TASKS, "mean over tasks"))

    def test_fits_eighty_columns(self, screen: str, folder: Path) -> None:
        assert all(len(line) <= 80 for line in screen.splitlines() if str(folder) not in line)

    def test_ends_with_the_report(self, screen: str, folder: Path) -> None:
        assert f"Report: {folder / 'report.html'}" in screen.splitlines()


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.headings: list[str] = []
        self.alternatives: list[str] = []
        self.drawings = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        if values.get("class") in {"plot", "pictures"}:
            self.drawings += 1
        if values.get("role") in {"img", "application"}:
            self.alternatives.append(values.get("aria-label") or "")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.tags and self.tags[-1] == "h2" and data.strip():
            self.headings.append(data)


@pytest.fixture(scope="module")
def page(folder: Path) -> _Text:
    parser = _Text()
    parser.feed((folder / "report.html").read_text())
    return parser


class TestReport:
    def test_has_a_section_for_every_question(self, page: _Text) -> None:
        for title in ("Summary", "Metrics by task", "Training", "Sampling"):
            assert title in page.headings
        assert "Configuration" in page.headings

    def test_every_drawing_has_words(self, page: _Text) -> None:
        # Losses, labels drawn, qualities drawn, predicted against measured; and molecules.
        assert len(page.alternatives) == page.drawings > 4
        assert all(len(text) > 20 for text in page.alternatives)

    def test_shows_the_metrics_of_the_file(self, page: _Text, folder: Path) -> None:
        metrics = json.loads((folder / "metrics.json").read_text())["splits"]
        for split in ("val", "test"):
            for task in TASKS:
                assert (
                    f"{metrics[split]['tasks'][task]['metrics']['mae']['value']:.3f}" in page.text
                )

    def test_holds_the_configuration(self, page: _Text) -> None:
        assert f"alpha: {ALPHA}" in page.text

    def test_training_time_has_one_decimal(self, page: _Text) -> None:
        assert re.search(r"Training time, s\d+\.\d\D", page.text)


def test_second_run_needs_permission(run: Any, small: list[str], folder: Path) -> None:
    refused = run(*small, "--save-dir", folder)
    assert refused.code == 2
    assert "which holds a run" in refused.err
    assert "--overwrite true" in refused.err


def test_same_seed_same_predictions(run: Any, small: list[str], plain: Any, tmp_path: Path) -> None:
    assert run(*small, "--training.epochs", 1, "--save-dir", tmp_path / "again").code == 0
    one, other = (read_run_predictions(path) for path in (plain[1], tmp_path / "again"))
    assert one.equals(other)
